"""A module written for v0.21.8: `withDirectory` takes a source."""

import enum
import json

import dagger
from dagger import dag, function, object_type


def says() -> dagger.Container:
    return dag.container().from_("busybox").with_entrypoint(["echo", "entry"])


async def nothing_executed() -> str:
    try:
        return await says().with_default_args(["echo", "default"]).stdout()
    except dagger.QueryError as error:
        return str(error)


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
            "withExec": await says().with_exec(["echo", "own"]).stdout(),
            "stdout": await nothing_executed(),
            "entries": await folder().entries(),
            "withDirectory": await dag.container().with_directory("/a", source=folder()).directory("/a/d").entries(),
            "loaded": await dag.load_directory_from_id(dagger.DirectoryID(await folder().id())).file("d/f").contents(),
        })
