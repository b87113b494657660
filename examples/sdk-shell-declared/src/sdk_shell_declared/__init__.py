"""Modules that are folders of shell scripts. Contract 4: `moduleTypes` returns the types as data.

Nothing of the module runs and nothing asks the API: the comments are read, and the engine makes types of them.
"""

import dagger
from dagger import dag, function, object_type


@object_type
class SdkShellDeclared:
    """Shell scripts with typed comments, by a document."""

    @function
    def module_runtime(self, mod_source: dagger.ModuleSource, introspection_json: dagger.File) -> dagger.Container:
        """The container that serves function calls."""
        return dag.shell_lib().container(mod_source)

    @function
    async def module_types(self, mod_source: dagger.ModuleSource, introspection_json: dagger.File) -> dagger.File:
        """The types document of the module."""
        program = ["python3", "-B", "/sdk/comments.py"]
        types = dag.shell_lib().container(mod_source).with_exec(program, redirect_stdout="/types.json").file("/types.json")
        # A mistake in a comment is reported with what the program says about it.
        return await types.sync()
