"""An SDK, by the contract and the route that stand in `settings.json` beside it."""

import json
from pathlib import Path

import protocol

HERE = Path(__file__).parent
SOURCE = {"modSource": "ModuleSource", "introspectionJson": "File"}
TYPES = {
    "types-container": ("Container", {**SOURCE, "outputFilePath": "String"}),
    "typed": ("Module", SOURCE),
    "declared": ("[TypeDef]", SOURCE),
    "document": ("JSON", SOURCE),
    # What these give is not made yet when they return it.
    "types-file": ("File", SOURCE),
}
LAZY = {
    "codegen": {"codegen": ("GeneratedCode", SOURCE)},
    "codegen-sync": {"codegen": ("GeneratedCode", SOURCE)},
    "client": {"generateClient": ("Directory", {**SOURCE, "outputDir": "String"})},
    "runtime": {},
}


def register(settings):
    functions = [protocol.function("moduleRuntime", "Container", **SOURCE)]
    lazy = LAZY.get(settings["contract"])
    functions += [protocol.function(name, given, **args) for name, (given, args) in (lazy or {}).items()]
    if settings["contract"] in TYPES or lazy is not None:
        returns, args = TYPES["document" if lazy is not None else settings["contract"]]
        functions.append(protocol.function("moduleTypes", returns, **args))
    protocol.give(protocol.module([protocol.main_object("MatrixSdk", functions)]))


def files(source):
    """The module's code as `(name, file ID)`, and nothing else: cells differ in no byte of what they run."""
    subpath = protocol.chain(f'loadModuleSourceFromID(id: "{source}")', "sourceSubpath")
    return [
        (name, protocol.chain(f'loadModuleSourceFromID(id: "{source}")', "contextDirectory", f'file(path: "{subpath}/{name}")', "id"))
        for name in ("code.py", "protocol.py")
    ]


def entrypoint(source, words, *more):
    return protocol.chain(*protocol.container(*files(source)), *more, f"withEntrypoint(args: {json.dumps(words)})", "id")


def module_runtime(settings, source):
    """The runtime also says which schema version the SDK itself sees."""
    seen = [f'withEnvVariable(name: "SDK_VIEW", value: "{protocol.view()}")']
    if settings["contract"] == "runtime":
        seen.append(f'withMountedDirectory(path: "/out", source: "{seen_directory(settings, source)}")')
    return entrypoint(source, ["python3", "-B", "/matrix/code.py"], *seen)


def seen_directory(settings, source, last="id"):
    if settings["route"] == "dependency":
        return by_dependency("seen", source, last)
    return protocol.chain(*protocol.seen(protocol.container(*files(source))), last)


def codegen(settings, source):
    last = "sync" if settings["contract"] == "codegen-sync" else "id"
    return protocol.chain(f'generatedCode(code: "{seen_directory(settings, source, last)}")', "id")


def words(settings, *more):
    depth = ["--depth", "2"] if settings["route"] == "deep" else []
    return ["python3", "-B", "/matrix/code.py", "types", *more, *depth]


def by_dependency(function, source, *more):
    given = dict(files(source))
    known = f'{function}(code: "{given["code.py"]}", protocol: "{given["protocol.py"]}")'
    return protocol.chain("matrixHelper", known, *more)


def types_container(settings, source, output):
    if settings["route"] == "chain":
        return entrypoint(source, ["cp", "/types", output], protocol.exec_nested(*words(settings, "/types")))
    if settings["route"] == "dependency":
        return by_dependency("container", source, f"withEntrypoint(args: {json.dumps(words(settings, output))})", "id")
    return entrypoint(source, words(settings, output))


def typed(settings, source, _):
    if settings["route"] == "dependency":
        found = by_dependency("types", source)
    elif settings["route"] == "chain":
        run = protocol.exec_nested(*words(settings, "/types"))
        read = [run, f"withExec(args: {json.dumps(['cp', '/types', '/copy'])})", 'file(path: "/copy")', "contents"]
        found = json.loads(protocol.chain(*protocol.container(*files(source)), *read))
    else:
        run = protocol.exec_nested(*words(settings))
        found = protocol.chain(*protocol.container(*files(source)), run, "stdout")
    return protocol.chain(f'loadModuleFromID(id: "{found}")', "id")


def declared(settings, source, _):
    return [protocol.main_object("Matrix", protocol.matrix_functions(), "declared"), protocol.level()]


def document(settings, source, _):
    return protocol.document("declared")


def types_file(settings, source, _):
    run = protocol.exec_nested(*["document" if word == "types" else word for word in words(settings, "/types")])
    return protocol.chain(*protocol.container(*files(source)), run, 'file(path: "/types")', "id")


def serve():
    settings = json.loads((HERE / "settings.json").read_text())
    call = protocol.asked()
    args = call["args"]
    if not call["parentName"]:
        register(settings)
    elif call["name"] == "moduleRuntime":
        protocol.give(module_runtime(settings, args["modSource"]))
    elif call["name"] == "codegen":
        protocol.give(codegen(settings, args["modSource"]))
    elif call["name"] == "generateClient":
        protocol.give(seen_directory(settings, args["modSource"]))
    elif call["name"] == "moduleTypes":
        make = {"types-container": types_container, "typed": typed, "declared": declared, "types-file": types_file}
        protocol.give(make.get(settings["contract"], document)(settings, args["modSource"], args.get("outputFilePath")))
    else:
        protocol.give({})
