"""What the four shell SDKs share: the container that reads typed comments and runs scripts."""

import dagger
from dagger import dag, function, object_type


@object_type
class ShellLib:
    """Prepares containers for modules that are folders of shell scripts."""

    @function
    async def container(self, module: dagger.ModuleSource, shell: str = "sh") -> dagger.Container:
        """The module's scripts at `/module`, beside the programs in `inside`; its entrypoint serves function calls."""
        scripts = module.context_directory().directory(await module.source_subpath())
        programs = dag.current_module().source().directory("inside")
        return (
            dag.container()
            .from_("python:3.13-slim")
            .with_directory("/sdk", programs)
            .with_directory("/module", scripts)
            .with_env_variable("MODULE_NAME", await module.module_original_name())
            .with_env_variable("MODULE_SHELL", shell)
            .with_entrypoint(["python3", "-B", "/sdk/runtime.py"])
        )
