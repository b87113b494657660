"""Modules that are folders of shell scripts, by an entrypoint: it gives the types, and it serves the calls.

There is no runtime that is run again for each call: `call` is a function like any other, and does with the scripts what it
likes. The processes that it starts speak for the module.
"""

import json
import tomllib

import dagger
from dagger import dag, function, object_type

KINDS = {"String": "STRING_KIND", "Int": "INTEGER_KIND", "Float": "FLOAT_KIND", "Boolean": "BOOLEAN_KIND", "Void": "VOID_KIND"}


@object_type
class EntrypointShell:
    """Shell scripts with typed comments, by an entrypoint."""

    @function
    async def types(self, workspace: dagger.Workspace) -> list[dagger.TypeDef]:
        """The main object of the module in the workspace, and its enums."""
        container = await self.container(workspace)
        said = json.loads(await container.with_exec(["python3", "-B", "/sdk/comments.py"]).stdout())
        enums = {item["name"] for item in said["types"] if item["kind"] == "ENUM"}
        return [enum(item) if item["kind"] == "ENUM" else main_object(item, enums) for item in said["types"]]

    @function
    async def call(
        self,
        workspace: dagger.Workspace,
        receiver_type: str,
        receiver_value: dagger.JSON | None,
        fn_name: str,
        fn_args: dagger.JSON,
    ) -> dagger.JSON:
        """Runs the script of one function."""
        container = await self.container(workspace)
        words = ["python3", "-B", "/sdk/once.py", fn_name, fn_args]
        done = container.with_exec(words, experimental_privileged_nesting=True, expect=dagger.ReturnType.ANY)
        if await done.exit_code():
            message = (await done.stderr()).strip()
            raise RuntimeError(message or f"`{fn_name}` ended with exit code {await done.exit_code()}")
        return dagger.JSON(await done.stdout())

    async def container(self, workspace: dagger.Workspace) -> dagger.Container:
        """The scripts, beside the programs that read and run them."""
        described = tomllib.loads(await workspace.file("dagger-module.toml").contents())
        return dag.shell_lib().of_scripts(workspace.directory("."), described["name"])


def enum(item: dict) -> dagger.TypeDef:
    made = dag.type_def().with_enum(item["name"], description=item["description"])
    for member in item["members"]:
        made = made.with_enum_member(member["name"], value=member["value"], description=member["description"])
    return made


def main_object(item: dict, enums: set) -> dagger.TypeDef:
    made = dag.type_def().with_object(item["name"], description=item["description"])
    for said in item["functions"]:
        function = dag.function(said["name"], type_def(said["returns"], enums)).with_description(said["description"])
        for arg in said["args"]:
            given = {"description": arg["description"], "default_path": arg.get("defaultPath"), "ignore": arg.get("ignore")}
            if "default" in arg:
                given["default_value"] = dagger.JSON(json.dumps(arg["default"]))
            function = function.with_arg(arg["name"], type_def(arg["type"], enums), **given)
        made = made.with_function(function)
    return made


def type_def(text: str, enums: set) -> dagger.TypeDef:
    """The type that the text means in GraphQL."""
    inner = text.removesuffix("!")
    if inner.startswith("["):
        made = dag.type_def().with_list_of(type_def(inner[1:-1], enums))
    elif inner in KINDS:
        made = dag.type_def().with_kind(dagger.TypeDefKind[KINDS[inner]])
    else:
        made = dag.type_def().with_enum(inner) if inner in enums else dag.type_def().with_object(inner)
    return made if text.endswith("!") else made.with_optional(True)
