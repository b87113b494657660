"""Modules that are folders of shell scripts. Contract 3: `moduleTypes` returns the module.

The SDK runs what it likes; every process with API access that it starts on the way speaks for the module being
loaded. This one also has a setting, so that `sdk.config` of a module can say which program runs its scripts.
"""

import dagger
from dagger import dag, field, function, object_type


@object_type
class SdkShellTyped:
    """Shell scripts with typed comments, by a module that the SDK returns."""

    shell: str = field(default="sh")

    @function
    def with_config(self, shell: str = "sh") -> "SdkShellTyped":
        """The SDK with the settings of `sdk.config`."""
        self.shell = shell
        return self

    @function
    def module_runtime(self, mod_source: dagger.ModuleSource, introspection_json: dagger.File) -> dagger.Container:
        """The container that serves function calls."""
        return dag.shell_lib().container(mod_source, shell=self.shell)

    @function
    async def module_types(self, mod_source: dagger.ModuleSource, introspection_json: dagger.File) -> dagger.Module:
        """The module with its types."""
        program = ["python3", "-B", "/sdk/register.py"]
        container = dag.shell_lib().container(mod_source)
        ran = container.with_exec(program, redirect_stdout="/id", experimental_privileged_nesting=True)
        return dag.load_module_from_id(dagger.ModuleID(await ran.file("/id").contents()))
