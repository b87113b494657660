"""Modules that are folders of shell scripts. Contract 2: a container registers the types.

`moduleTypes` says what has to run; the engine runs it and reads the ID of a module from the output file.
"""

import dagger
from dagger import dag, function, object_type


@object_type
class SdkShellTypesContainer:
    """Shell scripts with typed comments, by a types container."""

    @function
    def module_runtime(self, mod_source: dagger.ModuleSource, introspection_json: dagger.File) -> dagger.Container:
        """The container that serves function calls."""
        return dag.shell_lib().container(mod_source)

    @function
    def module_types(
        self, mod_source: dagger.ModuleSource, introspection_json: dagger.File, output_file_path: str
    ) -> dagger.Container:
        """The container that writes the ID of a module to the output file."""
        program = ["python3", "-B", "/sdk/register.py", output_file_path]
        return dag.shell_lib().container(mod_source).with_entrypoint(program)
