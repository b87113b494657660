"""Modules that are folders of shell scripts. Contract 1: the runtime itself registers the types.

There is no `moduleTypes`: the engine runs the runtime with an empty function name, and `runtime.py` answers
that call with a module.
"""

import dagger
from dagger import dag, function, object_type


@object_type
class SdkShellEmptyCall:
    """Shell scripts with typed comments, by an empty call."""

    @function
    def module_runtime(self, mod_source: dagger.ModuleSource, introspection_json: dagger.File) -> dagger.Container:
        """The container that serves function calls."""
        return dag.shell_lib().container(mod_source)
