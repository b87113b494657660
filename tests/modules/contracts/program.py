"""An SDK whose functions, and what they do, stand in `settings.json` beside it: a program per function.

A program has everything of `protocol` and of this file at hand, and the arguments of its function by name.
"""

import json
from pathlib import Path

import protocol
from protocol import chain, function, give, main_object, module

HERE = Path(__file__).parent


def probe(*objects, enums=()):
    """The ID of a module as it should be, and further types."""
    return module([main_object("Probe", [function("hello", "String")]), *objects], enums)


def process(code, *words):
    """The fields that select a container whose entrypoint is a program with this file at hand."""
    files = [
        f"withNewFile(path: {json.dumps(f'/programs/{path.name}')}, contents: {json.dumps(path.read_text())})"
        for path in (HERE / "protocol.py", HERE / "program.py")
    ]
    args = ["python3", "-B", "-c", f"import sys\nsys.path.insert(0, '/programs')\nfrom program import *\n{code}", *words]
    return ["container", f'from(address: "{protocol.IMAGE}")', *files, f"withEntrypoint(args: {json.dumps(args)})"]


def write(value):
    """Writes the output file of a types container."""
    import sys

    Path(sys.argv[1]).write_text(json.dumps(value))


def serve_hello():
    """The runtime as it should be."""
    give("hello" if protocol.asked()["name"] == "hello" else {})


def register(functions):
    made = [protocol.function(name, returns, **args) for name, (returns, args) in functions.items()]
    give(module([main_object("BrokenSdk", made)]))


def serve():
    settings = json.loads((HERE / "settings.json").read_text())
    call = protocol.asked()
    if not call["parentName"]:
        register(settings["functions"])
    elif call["name"]:
        exec(settings["programs"][call["name"]], globals(), call["args"])
    else:
        give({})
