"""Speaks to the engine as a library does, with nothing but the standard library. Copied beside whatever needs it."""

import base64
import json
import os
import urllib.error
import urllib.request
from pathlib import Path

IMAGE = "python:3.13-slim"
PORT = 8080


def ask(query):
    """The data of the answer; the engine's words when there is an error."""
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query",
        json.dumps({"query": query}).encode(),
        {"Authorization": "Basic " + token, "Content-Type": "application/json"},
    )
    try:
        answer = json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        raise SystemExit(f"the engine says: {error.read().decode(errors='replace')}") from None
    if answer.get("errors"):
        raise SystemExit(f"the engine says: {answer['errors'][0]['message']}")
    return answer["data"]


def chain(*fields):
    """What the last of the fields gives, each selected on the one before."""
    found = ask("{ " + " { ".join(fields) + " }" * len(fields))
    while isinstance(found, dict):
        (found,) = found.values()
    return found


def view():
    return chain("__schemaVersion")


def give(value):
    chain("currentFunctionCall", f"returnValue(value: {json.dumps(json.dumps(value))})")


def asked():
    """The function call that this process serves, its arguments decoded."""
    call = ask("{ currentFunctionCall { name parentName parent inputArgs { name value } } }")["currentFunctionCall"]
    call["args"] = {arg["name"]: json.loads(arg["value"]) for arg in call.pop("inputArgs")}
    return call


def type_def(text):
    """`String`, `Level` for an enum, `Container` for an object, `[…]` for a list, `…?` when it need not be given."""
    if text.endswith("?"):
        return chain(f'loadTypeDefFromID(id: "{type_def(text[:-1])}")', "withOptional(optional: true)", "id")
    if text.startswith("["):
        return chain("typeDef", f'withListOf(elementType: "{type_def(text[1:-1])}")', "id")
    if text in ("String", "Boolean", "Void"):
        return chain("typeDef", f"withKind(kind: {text.upper()}_KIND)", "id")
    if text == "JSON":
        return chain("typeDef", 'withScalar(name: "JSON")', "id")
    return chain("typeDef", f'with{"Enum" if text == "Level" else "Object"}(name: "{text}")', "id")


def function(name, returns, defaults=None, **args):
    """The ID of a function."""
    defaults = defaults or {}
    more = {name: f", defaultValue: {json.dumps(json.dumps(value))}" for name, value in defaults.items()}
    fields = [f'withArg(name: "{known}", typeDef: "{type_def(text)}"{more.get(known, "")})' for known, text in args.items()]
    return chain(f'function(name: "{name}", returnType: "{type_def(returns)}")', *fields, "id")


def main_object(name, functions, description="", data=()):
    """The ID of an object with functions, and fields with their types."""
    fields = [f'withField(name: "{known}", typeDef: "{type_def(text)}")' for known, text in data]
    fields += [f'withFunction(function: "{known}")' for known in functions]
    return chain("typeDef", f'withObject(name: "{name}", description: {json.dumps(description)})', *fields, "id")


def level():
    """The ID of the enum that the matrix is about."""
    members = [f'withEnumMember(name: "{value.upper()}", value: "{value}")' for value in ("low", "high")]
    return chain("typeDef", 'withEnum(name: "Level", description: "How much.")', *members, "id")


def module(objects, enums=()):
    """The ID of a module."""
    fields = [f'withObject(object: "{known}")' for known in objects] + [f'withEnum(enum: "{known}")' for known in enums]
    return chain("module", *fields, "id")


def matrix_functions():
    return [function("told", "String", {"level": "low"}, level="Level")]


def document(description):
    """The same types as a document."""
    told = {"name": "told", "args": [{"name": "level", "type": "Level!", "default": "low"}], "returns": "String!"}
    members = [{"name": "LOW", "value": "low"}, {"name": "HIGH", "value": "high"}]
    main = {"kind": "OBJECT", "name": "Matrix", "description": description, "functions": [told]}
    return json.dumps({"types": [main, {"kind": "ENUM", "name": "Level", "members": members}]})


def container(*files):
    """The fields that select a container with `/matrix/NAME` for every `(name, file ID)`."""
    return ["container", f'from(address: "{IMAGE}")', *(f'withFile(path: "/matrix/{name}", source: "{known}")' for name, known in files)]


def exec_nested(*words):
    """The field that runs a process with API access."""
    return f"withExec(args: {json.dumps(list(words))}, experimentalPrivilegedNesting: true)"


def seen(container):
    """The fields that select a directory with a file `seen`, in which a process of `container` writes which schema version it
    sees, by the route that stands in the settings. Nothing is evaluated."""
    route = json.loads((Path(__file__).parent / "settings.json").read_text())["route"]
    words = ["python3", "-B", "/matrix/code.py", "seen"]
    if route == "chain":
        made = [exec_nested(*words, "/seen"), f"withExec(args: {json.dumps(['install', '-D', '/seen', '/out/seen'])})"]
    else:
        made = [exec_nested(*words, "/out/seen", *(["--depth", "2"] if route == "deep" else []))]
    return [*container, *made, 'directory(path: "/out")']
