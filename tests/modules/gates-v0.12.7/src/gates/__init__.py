"""A module written for v0.12: the entrypoint goes before a command, and default arguments run only when they are asked for."""

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


@object_type
class Gates:
    """What a module of its version relies on."""

    @function
    async def observed(self) -> str:
        """Everything that a later version does otherwise, as JSON."""
        return json.dumps({
            "stdout": await nothing_executed(),
            "withExec": await says().with_exec(["echo", "own"]).stdout(),
            "export": await folder().export("out"),
            "loaded": await dag.load_directory_from_id(await folder().id()).file("d/f").contents(),
        })
