"""A module written for v0.11: the entrypoint always goes first."""

import json

import dagger
from dagger import dag, function, object_type


def says() -> dagger.Container:
    return dag.container().from_("busybox").with_entrypoint(["echo", "entry"])


def folder() -> dagger.Directory:
    return dag.directory().with_new_file("d/f", "x")


@object_type
class Gates:
    """What a module of its version relies on."""

    @function
    async def observed(self) -> str:
        """Everything that a later version does otherwise, as JSON."""
        return json.dumps({
            "stdout": await says().with_default_args(["echo", "default"]).stdout(),
            "withExec": await says().with_exec(["echo", "own"]).stdout(),
            "entries": await folder().entries(),
            "loaded": await dag.load_directory_from_id(await folder().id()).file("d/f").contents(),
        })
