"""SDKs and entrypoints written by tests, from programs without the official library."""

import json
import shutil
from dataclasses import dataclass, field

from kit.paths import REPO

TEMPLATE = REPO / "tests/modules/contracts/program.py"
# The files of `protocol`, with which programs speak to the engine.
SHARED = REPO / "tests/modules/matrix/shared"
SOURCE = {"modSource": "ModuleSource", "introspectionJson": "File"}
OUTPUT = {**SOURCE, "outputFilePath": "String"}
RUNTIME = "give(chain(*process('serve_hello()'), 'id'))"

ENTRYPOINT_TYPES = {"workspace": "Workspace"}
ENTRYPOINT_CALL = {**ENTRYPOINT_TYPES, "receiverType": "String", "receiverValue": "JSON?", "fnName": "String", "fnArgs": "JSON"}
ENTRYPOINT = {"types": ("[TypeDef]", ENTRYPOINT_TYPES), "call": ("JSON", ENTRYPOINT_CALL)}
HELLO = "give([main_object('Probe', [function('hello', 'String')])])"


@dataclass
class Sdk:
    """An SDK by its functions and what they do."""

    functions: dict
    programs: dict
    config: dict | None = None
    words: list = field(default_factory=list)

    @classmethod
    def runtime(cls, code, *words):
        """Contract 1, by the program that answers the request for types."""
        program = f"give(chain(*process({code!r}), 'id'))"
        return cls({"moduleRuntime": ("Container", SOURCE)}, {"moduleRuntime": program}, words=list(words))

    @classmethod
    def types(cls, returns, program, *words, args=None):
        """`moduleTypes` with its type and its program."""
        functions = {"moduleRuntime": ("Container", SOURCE), "moduleTypes": (returns, SOURCE if args is None else args)}
        return cls(functions, {"moduleRuntime": RUNTIME, "moduleTypes": program}, words=list(words))

    @classmethod
    def container(cls, code, *words):
        """Contract 2: the program of the types container."""
        return cls.types("Container", f"give(chain(*process({code!r}, outputFilePath), 'id'))", *words, args=OUTPUT)

    @classmethod
    def typed(cls, program, *words):
        return cls.types("Module", program, *words)

    @classmethod
    def declared(cls, program, *words):
        return cls.types("[TypeDef]", program, *words)

    @classmethod
    def document(cls, document, *words):
        text = document if isinstance(document, str) else json.dumps(document)
        return cls.types("JSON", f"give({text!r})", *words)


def types_document(*more, functions=(), **main):
    """A types document with a main object."""
    hello = {"name": "hello", "returns": "String!"}
    return {"types": [{"kind": "OBJECT", "name": "Probe", "functions": [hello, *functions], **main}, *more]}


def write_config(folder, name, sdk, version="v0.21.8", **more):
    """A module that is only its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"name": name, "engineVersion": version, "sdk": sdk, **more}
    (folder / "dagger.json").write_text(json.dumps(config))
    return folder


def write_sdk(folder, sdk: Sdk, name="broken-sdk"):
    """An SDK in Python, without the official library."""
    write_config(folder, name, {"source": "python"})
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "0.1.0"\ndependencies = ["dagger-io"]\n')
    source = folder / "src"
    source.mkdir()
    for path in (TEMPLATE, *SHARED.glob("*.py")):
        shutil.copy(path, source)
    (source / "settings.json").write_text(json.dumps({"functions": sdk.functions, "programs": sdk.programs}))


def write_module_with_sdk(repository, sdk: Sdk):
    """A module `probe` that uses the SDK, and a dependency with a type of its own."""
    write_sdk(repository / "sdk", sdk)
    shutil.copytree(REPO / "tests/modules/dep", repository / "dep")
    source = {"source": "../sdk"} | ({"config": sdk.config} if sdk.config else {})
    return write_config(repository / "probe", "probe", source, dependencies=[{"name": "dep", "source": "../dep"}])


def entrypoint(types=HELLO, call="give(json.dumps('hello'))", functions=None, **more):
    """An entrypoint, by its programs."""
    return Sdk(functions or ENTRYPOINT, {"types": types, "call": call}, **more)


def write_manifest(folder, more="", name="probe", version="v0.21.8", source="../entry", kind="module"):
    """A module with an entrypoint: its `dagger-module.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = f'name = "{name}"\nengineVersion = "{version}"\n{more}\n[entrypoint]\nkind = "{kind}"\nsource = "{source}"\n'
    (folder / "dagger-module.toml").write_text(written)
    return folder


def write_module_with_entrypoint(repository, sdk: Sdk, **more):
    """A module `probe` whose entrypoint is `sdk`."""
    write_sdk(repository / "entry", sdk)
    return write_manifest(repository / "probe", **more)
