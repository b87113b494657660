"""Serves one function call: runs the script that its comments declare, with the arguments as variables.

What a script prints is its result: text, a number, `true`, a line per element of a list, or the path of a file or
folder. A directory or file that it gets is the path of one.
"""

import json
import os
import subprocess
import sys

import comments
import register
from api import call, chain, ask


def serve():
    asked = ask("{ currentFunctionCall { name parentName inputArgs { name value } } }")["currentFunctionCall"]
    if not asked["parentName"]:
        give(register.module_id())
        return
    module = comments.read()
    given = {arg["name"]: json.loads(arg["value"]) for arg in asked["inputArgs"]}
    done = run(module, asked["name"], given)
    sys.stderr.write(done.stderr)
    if done.returncode:
        fail(asked["name"], done)
    give(result(module.functions[asked["name"]]["returns"], done.stdout))


def run(module, name, given):
    """Runs the script of a function; what it said is in what comes back."""
    types = {arg["name"]: arg["type"] for arg in module.functions[name]["args"]}
    variables = {arg: variable(module, types[arg], arg, value) for arg, value in given.items() if value is not None}
    return subprocess.run(
        [os.environ["MODULE_SHELL"], module.scripts[name]],
        cwd="/module",
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def variable(module, text, name, value):
    """An argument as the script sees it."""
    known = comments.base(text)
    if isinstance(value, list):
        return "\n".join(variable(module, known, f"{name}{at}", item) for at, item in enumerate(value))
    if known in comments.OBJECTS:
        path = f"/arguments/{name}"
        chain(call(f"load{known}FromID", id=value), call("export", path=path))
        return path
    if known in module.enums:
        # Modules of early versions have values as names.
        return {member["name"]: member["value"] for member in module.enums[known]["members"]}.get(value, value)
    return value if isinstance(value, str) else json.dumps(value)


def result(text, printed):
    """What was printed, as a value of the type."""
    inner, printed = text.removesuffix("!"), printed.removesuffix("\n")
    if inner.startswith("["):
        return [result(inner[1:-1], line) for line in printed.split("\n")] if printed else []
    if inner == "Void":
        return None
    if inner in ("Int", "Float", "Boolean"):
        return json.loads(printed)
    if inner in comments.OBJECTS:
        return chain("host", call(inner.lower(), path=os.path.join("/module", printed)), "id")
    return printed


def give(value):
    chain("currentFunctionCall", call("returnValue", value=json.dumps(value)))


def fail(name, done):
    message = done.stderr.strip() or f"`{name}` ended with exit code {done.returncode}"
    error = chain(call("error", message=message), call("withValue", name="exitCode", value=str(done.returncode)), "id")
    chain("currentFunctionCall", call("returnError", error=error))
    sys.exit(1)


if __name__ == "__main__":
    serve()
