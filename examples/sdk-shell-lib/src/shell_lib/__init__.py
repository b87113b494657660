"""What the four shell SDKs and the shell entrypoint share: the container that reads typed comments and runs scripts."""

import dagger
from dagger import dag, function, object_type


@object_type
class ShellLib:
    """Prepares containers for modules that are folders of shell scripts."""

    @function
    async def container(self, module: dagger.ModuleSource, shell: str = "sh") -> dagger.Container:
        """The module's scripts at `/module`, beside the programs in `inside`; its entrypoint serves function calls."""
        scripts = module.context_directory().directory(await module.source_subpath())
        return self.of_scripts(scripts, await module.module_original_name(), shell)

    @function
    def of_scripts(self, scripts: dagger.Directory, name: str, shell: str = "sh") -> dagger.Container:
        """The same for a folder of scripts that are the module `name`."""
        programs = dag.current_module().source().directory("inside")
        return (
            dag.container()
            .from_("python:3.13-slim")
            .with_directory("/sdk", programs)
            .with_directory("/module", scripts)
            .with_env_variable("MODULE_NAME", name)
            .with_env_variable("MODULE_SHELL", shell)
            .with_entrypoint(["python3", "-B", "/sdk/runtime.py"])
        )
