"""An enum whose members have names and values of their own."""

import enum

import dagger
from dagger import function, object_type


@dagger.enum_type
class Level(enum.Enum):
    """How much."""

    LOW = "low"
    """Not much."""

    HIGH = "high"
    """A lot."""


@object_type
class Enums:
    """Echoes members of an enum."""

    @function
    def echo(self, level: Level = Level.LOW) -> Level:
        """The member that was given."""
        return level

    @function
    def value(self, level: Level) -> str:
        """The value of the member that was given."""
        return level.value
