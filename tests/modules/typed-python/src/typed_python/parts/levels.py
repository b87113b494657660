import enum
from enum import Enum as E
from enum import auto

import dagger as d


@d.enum_type
class Level(E):
    """How loud.

    It has members with documentation.
    """

    LOW = "low"
    """Quiet."""

    HIGH = "high"
    """
    Loud.

    And more.
    """

    @property
    def loud(self) -> bool:
        return self is Level.HIGH


@d.enum_type
class Number(enum.StrEnum):
    ONE = auto()
    FIVE = "five"


@d.enum_type()
class Old(d.Enum):
    FIRST = "first", "The first."
    SECOND = "second"


@d.enum_type
class Mixed(str, enum.Enum):
    A = "a"
