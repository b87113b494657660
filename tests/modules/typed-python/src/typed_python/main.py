import abc
import typing
from collections.abc import Sequence
from dataclasses import InitVar
from typing import Annotated, ClassVar, Optional, Self

import dagger
from dagger import DefaultPath, Doc, Ignore, Name, dag, function
from dagger import object_type as ot

from . import parts
from .constants import *
from .parts.levels import Level, Number

Source = Annotated[dagger.Directory, DefaultPath("."), Ignore(["*.pyc", ".git"]), Doc("The code.")]
Names = list[str]


@dagger.interface
class Quacker(typing.Protocol):
    """Quacks."""

    @function
    async def quack(self, times: int = 1) -> str: ...

    @function
    def next(self) -> Self: ...


class Mixin(abc.ABC):
    @function
    def mixed(self, of: "parts.Part") -> "TypedPython":
        """Comes from a mixin."""
        return self

    @function
    def hidden(self) -> str:
        return ""


@ot
class TypedPython(Mixin):
    """The main object.

        Its documentation has indentation.
    """

    greeting: Annotated[str, Doc("What is said.")] = dagger.field(default=GREETING)
    level: Level = dagger.field(default=Level.LOW)
    part: parts.Part | None = dagger.field(default=None)
    made: list[parts.Part] = dagger.field(default=list, init=False)
    seed: InitVar[int] = 1
    known: ClassVar[list[str]] = []
    state: str = "private"

    def __post_init__(self, seed: int):
        self.state += str(seed)

    @function
    def z_first(self, source: Source) -> dagger.Container:
        return dag.container().with_directory("/src", source)

    @function(name="renamed", doc="Has a name and documentation of its own.")
    def original(self, from_: str, words: Names = WORDS) -> str:
        """Not shown."""
        return from_

    @function
    def defaults(
        self,
        text: str = "a\tb" "\u00e9",
        number: int = -5,
        ratio: float = 1.5,
        whole: float = 2,
        flag: bool = True,
        words: list[str] = ("x", "y"),
        nothing: str | None = None,
        level: Level = Level.HIGH,
        numbers: Sequence[Number] | None = None,
        platform: Optional[dagger.Platform] = dagger.Platform("linux/amd64"),
        mode: dagger.CacheSharingMode = dagger.CacheSharingMode.LOCKED,
    ) -> list[str]:
        r"""Has defaults of \every kind."""
        return []

    @function
    def types(
        self,
        one: typing.List[typing.Optional[int]],
        two: tuple[str, ...],
        three: "list[list[parts.Part]] | None",
        four: Annotated[Quacker, Name("duck")],
        five: typing.Union[None, dagger.Secret],
    ) -> list[Self]:
        return []

    @classmethod
    @function
    def of_class(cls, x: str) -> None:
        """A class method."""

    @staticmethod
    @function
    async def of_nothing(x: str):
        """A static method."""

    def hidden(self) -> str:
        return "not exposed"

    new_part = function(parts.Part)
