from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import dagger
from dagger import Doc, object_type
from dagger import field as data
from dagger import function as fn

from .. import constants

if TYPE_CHECKING:
    from ..main import TypedPython


@object_type
class Base:
    """A base class."""

    label: str = data(default="label")

    @fn
    def relabel(self, label: str = constants.GREETING) -> Base:
        """Sets the label."""
        self.label = label
        return self


@object_type
class Part(Base):
    """A part of something."""

    size: Annotated[int, Doc("Lost.")] = data(default=constants.TIMES, name="amount")
    tags: list[str] = data(default=list)
    secret: str | None = None
    counted: int = dataclasses.field(init=False, default=0)

    @fn
    async def described(self, prefix: Annotated[str, Doc("Kept.")] = "it is ") -> str:
        return prefix + self.label

    @fn
    def folder(self) -> dagger.Directory:
        return dagger.dag.directory()
