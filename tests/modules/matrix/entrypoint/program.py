"""An entrypoint whose results are not made when it returns them: each needs a process that says which schema version it sees."""

import json
from pathlib import Path

import protocol

HERE = Path(__file__).parent
RETURNS = {
    "container": "Container",
    "directory": "Directory",
    "file": "File",
    "list": "[Directory]",
    "box": "Box",
    "changes": "Changeset",
    "service": "Service",
}
WORKSPACE = {"workspace": "Workspace"}
CALL = {**WORKSPACE, "receiverType": "String", "receiverValue": "JSON?", "fnName": "String", "fnArgs": "JSON"}


def new_file(name):
    return f"withNewFile(path: {json.dumps(f'/matrix/{name}')}, contents: {json.dumps((HERE / name).read_text())})"


def base():
    return ["container", f'from(address: "{protocol.IMAGE}")', new_file("code.py"), new_file("protocol.py")]


def directory():
    """The fields that select a directory with a file `seen`."""
    if json.loads((HERE / "settings.json").read_text())["route"] != "dependency":
        return protocol.seen(base())
    read = [f'loadContainerFromID(id: "{protocol.chain(*base(), "id")}")']
    given = {name: protocol.chain(*read, f'file(path: "/matrix/{name}.py")', "id") for name in ("code", "protocol")}
    return ["matrixHelper", f'seen(code: "{given["code"]}", protocol: "{given["protocol"]}")']


def result(name):
    if name == "service":
        words = json.dumps(["python3", "-B", "/matrix/code.py", "serve"])
        service = f"asService(args: {words}, experimentalPrivilegedNesting: true)"
        return protocol.chain(*base(), f"withExposedPort(port: {protocol.PORT})", service, "id")
    if name == "file":
        return protocol.chain(*directory(), 'file(path: "seen")', "id")
    known = protocol.chain(*directory(), "id")
    if name == "container":
        return protocol.chain("container", f'withMountedDirectory(path: "/out", source: "{known}")', "id")
    if name == "changes":
        empty = protocol.chain("directory", "id")
        return protocol.chain(f'loadDirectoryFromID(id: "{known}")', f'changes(from: "{empty}")', "id")
    return {"directory": known, "list": [known], "box": {"held": known}}[name]


def types():
    functions = [protocol.function(name, returns) for name, returns in RETURNS.items()]
    return [protocol.main_object("Matrix", functions), protocol.main_object("Box", [], data=[("held", "Directory")])]


def serve():
    call = protocol.asked()
    if not call["parentName"]:
        functions = [protocol.function("types", "[TypeDef]", **WORKSPACE), protocol.function("call", "JSON", **CALL)]
        protocol.give(protocol.module([protocol.main_object("MatrixEntrypoint", functions)]))
    elif call["name"] == "types":
        protocol.give(types())
    elif call["name"] == "call":
        name = call["args"]["fnName"]
        protocol.give(json.dumps(result(name) if name else {}))
    else:
        protocol.give({})
