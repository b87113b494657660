"""A module written for v0.18.10: the values of an enum are its names."""

import enum
import json

import dagger
from dagger import dag, function, object_type


def folder() -> dagger.Directory:
    return dag.directory().with_new_file("d/f", "x")


@dagger.enum_type
class Level(enum.Enum):
    """How much."""

    LOW = "little"
    HIGH = "much"


@object_type
class Gates:
    """What a module of its version relies on."""

    @function
    def echo(self, level: Level = Level.LOW) -> Level:
        """The member that was given."""
        return level

    @function
    async def observed(self) -> str:
        """Everything that a later version does otherwise, as JSON."""
        return json.dumps({
            "entries": await folder().entries(),
            "withDirectory": await dag.container().with_directory("/a", directory=folder()).directory("/a/d").entries(),
            "loaded": await dag.load_directory_from_id(await folder().id()).file("d/f").contents(),
        })
