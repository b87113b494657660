"""The user's code of the cells of the built-in Python SDK, with the official library."""

import enum

import dagger
from dagger import function, object_type

from . import protocol

VIEW = protocol.view()


@dagger.enum_type
class Level(enum.Enum):
    """How much."""

    LOW = "low"
    HIGH = "high"


@object_type
class Matrix:
    __doc__ = f"registered under {VIEW}"

    @function
    def told(self, level: Level = Level.LOW) -> str:
        """What the code was told, and which schema version it sees."""
        # Under early versions the library keeps the default to itself.
        given = protocol.asked()["args"].get("level", level.name)
        return f"{given} {VIEW} -"
