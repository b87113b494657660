"""What a failure in a container or in the code of a module looks like: golden texts, for a pipe and for a terminal."""

import json

import pytest

from kit import IMPORTS, REPO, module_config, run_in, write_module
from kit.failures import Failure, check_failure

pytestmark = pytest.mark.once

CI = (
    '''import asyncio
import sys

'''
    + IMPORTS
    + '''
TABLE = {"debug": "a"}


def pick(kind: str) -> str:
    return TABLE[kind]


@object_type
class Ci:
    @function
    def lookup(self, kind: str = "release") -> str:
        return self.image(kind)

    def image(self, kind: str) -> str:
        return "image " + pick(kind)

    @function
    def with_cause(self) -> str:
        try:
            return pick("release")
        except KeyError as error:
            raise RuntimeError("there is no such build") from error

    @function
    async def exec_fails(self) -> str:
        return await busybox().with_exec(["sh", "-c", "echo building; echo no such target >&2; exit 9"]).stdout()

    @function
    async def exec_long(self) -> str:
        return await busybox().with_exec(["sh", "-c", "seq 120; exit 2"]).stdout()

    @function
    async def exec_killed(self) -> str:
        return await busybox().with_exec(["sh", "-c", "echo working; kill -9 $$"]).stdout()

    @function
    async def exec_missing(self) -> str:
        return await busybox().with_exec(["no-such-program", "--flag"]).stdout()

    @function
    async def exec_coloured(self) -> str:
        script = "printf '\\\\033[31mred\\\\033[0m\\\\n10%%\\\\r100%%\\\\n\\\\tindented\\\\n'; exit 1"
        return await busybox().with_exec(["sh", "-c", script]).stdout()

    @function
    async def secret(self) -> str:
        token = dag.set_secret("token", "hunter2-hunter2")
        command = ["sh", "-c", "echo the token is $TOKEN; exit 3"]
        return await busybox().with_secret_variable("TOKEN", token).with_exec(command).stdout()

    @function
    async def timeout(self) -> str:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(60)
        return "late"

    @function
    async def dependency(self) -> str:
        return await dag.toolbox().check("x")

    @function
    async def dependency_exec(self) -> str:
        return await dag.toolbox().run()

    @function
    async def unknown_function(self) -> str:
        return await dag.toolbox().pythn().stdout()

    @function
    def wrong_result(self) -> str:
        return 5

    @function
    async def wrong_argument(self) -> str:
        return await busybox().with_exec("echo").stdout()

    @function
    async def missing_file(self) -> str:
        return await dag.directory().file("nope.txt").contents()

    @function
    async def service(self) -> str:
        command = ["sh", "-c", "echo cannot listen >&2; exit 4"]
        database = busybox().with_exposed_port(5432).as_service(args=command)
        return await busybox().with_service_binding("db", database).with_exec(["true"]).stdout()

    @function
    async def raised_again(self) -> str:
        try:
            return await busybox().with_exec(["false"]).stdout()
        except dagger.ExecError as error:
            assert error.exit_code == 1
            raise

    @function
    async def handled(self) -> str:
        try:
            return await busybox().with_exec(["false"]).stdout()
        except dagger.ExecError as error:
            raise RuntimeError(f"exit code {error.exit_code}") from error

    @function
    async def gathered(self) -> str:
        await asyncio.gather(fail("one"), fail("two"))
        return ""

    @function
    async def grouped(self) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail("one"))
            group.create_task(fail("two"))
        return ""

    @function
    def exits(self) -> str:
        print("about to exit")
        sys.exit(4)

    @function
    def deep(self) -> str:
        return again(0)

    @function
    def two_lines(self) -> str:
        raise ValueError("the first line\\nthe second line")


def again(depth: int) -> str:
    return again(depth + 1)


async def fail(name: str) -> None:
    raise ValueError(name)


def busybox() -> dagger.Container:
    return dag.container().from_("busybox")
'''
)

TOOLBOX = (
    IMPORTS
    + '''@object_type
class Toolbox:
    @function
    def check(self, name: str) -> str:
        return {"y": "fine"}[name]

    @function
    async def run(self) -> str:
        return await self.python().with_exec(["sh", "-c", "echo of the toolbox >&2; exit 17"]).stdout()

    @function
    def python(self) -> dagger.Container:
        return dag.container().from_("busybox")
'''
)

# Modules that fail while they are loaded, or when their main object is made: the code of `__init__.py`.
LOADED = {
    "import": "import os\nimport enumm\n\n" + IMPORTS + "@object_type\nclass Import:\n    pass\n",
    "import-of-package": "import iniconfigg_parser\n",
    "import-of-name": IMPORTS + "from dataclasses import dataclas\n",
    "syntax": IMPORTS + "@object_type\nclass Syntax:\n    @function\n    def go(self) -> str\n        return ''\n",
    "no-class": IMPORTS + "@object_type\nclass NoClas:\n    @function\n    def go(self) -> str:\n        return ''\n",
    "no-decorator": IMPORTS + "class NoDecorator:\n    def go(self) -> str:\n        return ''\n",
    "unknown-type": IMPORTS
    + "@object_type\nclass UnknownType:\n    @function\n    def go(self, to: 'Directry') -> str:\n        return ''\n",
    "constructor": IMPORTS
    + "@object_type\nclass Constructor:\n    def __init__(self):\n        self.size = int('many')\n\n"
    + "    @function\n    def go(self) -> str:\n        return ''\n",
}


@pytest.fixture(scope="module")
def tree(place):
    """A repository with all modules."""
    (place / ".git").mkdir()
    write_module(place / "ci", CI, "ci", config=module_config("ci", dependencies=["../toolbox"]))
    write_module(place / "toolbox", TOOLBOX, "toolbox")
    for name, code in LOADED.items():
        module = write_module(place / name, code, name.replace("-", "_"))
        (module / "dagger.json").write_text(module_config(name))
    other = write_module(place / "not-imported", "", "not_imported")
    (other / "dagger.json").write_text(module_config("not-imported"))
    code = IMPORTS + "@object_type\nclass NotImported:\n    @function\n    def go(self) -> str:\n        return ''\n"
    (other / "src/not_imported/main.py").write_text(code)
    empty = write_module(place / "no-package", "", "other")
    (empty / "pyproject.toml").write_text('[project]\nname = "no-package"\nversion = "0"\n')
    (empty / "dagger.json").write_text(module_config("no-package"))
    return place


def call(name: str, function: str, code: int = 1, **more) -> Failure:
    return Failure(name, ("call", "-m", "ci", function), code, **more)


# The host name of a service is made of its digest.
HOST = (r"\b[0-9a-z]{13,}\.[0-9a-z.]+|\b[0-9a-v]{13}\b", "HOST")

FUNCTIONS = [
    call("key-error", "lookup"),
    call("cause", "with-cause"),
    call("exec", "exec-fails", 9),
    call("exec-long", "exec-long", 2),
    call("exec-killed", "exec-killed", 137),
    call("exec-missing", "exec-missing"),
    call("exec-coloured", "exec-coloured"),
    call("secret", "secret", 3),
    call("timeout", "timeout"),
    call("dependency", "dependency"),
    call("dependency-exec", "dependency-exec", 17),
    call("unknown-function", "unknown-function"),
    call("wrong-result", "wrong-result"),
    call("wrong-argument", "wrong-argument"),
    call("missing-file", "missing-file"),
    call("service", "service", 4, varies=(HOST,)),
    call("raised-again", "raised-again"),
    call("handled", "handled"),
    call("gathered", "gathered"),
    call("grouped", "grouped"),
    call("exits", "exits", 4),
    call("deep", "deep"),
    call("two-lines", "two-lines"),
]
LOADS = [Failure(f"load-{name}", ("call", "-m", name, "go")) for name in [*LOADED, "not-imported", "no-package"]]
QUERIES = [
    Failure("query-exec", ("query",), 9, run_in("busybox", "echo out; echo reason >&2; exit 9")),
    Failure("query-exec-long", ("query",), 2, run_in("busybox", "seq 120; exit 2")),
    Failure("query-exec-silent", ("query",), 1, run_in("busybox", "false")),
    Failure("query-field", ("query",), 1, "{\n  container {\n    frm(address: \"busybox\") { id }\n  }\n}\n"),
    Failure("query-syntax", ("query",), 1, "{ container { id }\n"),
    # The runtime of this module knows nothing of places.
    Failure("other-sdk", ("call", "-m", str(REPO / "tests/modules/raw"), "error-and-failure")),
    Failure("other-sdk-exec", ("call", "-m", str(REPO / "tests/modules/raw"), "process-error"), 21),
]


@pytest.mark.parametrize("failure", [*FUNCTIONS, *LOADS, *QUERIES], ids=lambda failure: failure.name)
def test_a_failure_ends_with_its_cause(connected, tree, failure):
    check_failure(connected, tree, failure)


def test_files_are_named_from_where_the_user_is(connected, tree):
    """By paths of the user's tree, from wherever the command runs."""
    for cwd, module, shown in [
        (tree / "ci", ".", "src/ci/__init__.py:"),
        (tree / "ci/src", None, "ci/__init__.py:"),
        (tree / "toolbox", "../ci", "../ci/src/ci/__init__.py:"),
    ]:
        words = ["-m", module] if module else []
        done = connected.run("call", *words, "lookup", cwd=cwd).failed("KeyError: 'release'")
        assert f"\n  {shown}" in done.err, done.err


def test_an_error_carries_its_causes_to_every_client(connected, tree):
    """The message and the values of the library stay as they are; causes are one value more."""
    with connected.session(cwd=tree) as session:
        session.query('{ moduleSource(refString: "ci") { asModule { serve } } }')
        error = session.error("{ ci { dependencyExec } }")
    assert error["message"] == 'process "sh -c echo of the toolbox >&2; exit 17" did not complete successfully: exit code: 17'
    extensions = error["extensions"]
    assert (extensions["_type"], extensions["exitCode"], extensions["stderr"]) == ("EXEC_ERROR", 17, "of the toolbox")
    ci, toolbox, process = extensions["rondel.causes"]
    assert (ci["call"], toolbox["call"]) == ("ci dependency-exec", "toolbox run")
    own = [frame for frame in toolbox["frames"] if not frame["file"].startswith("/")]
    assert [frame["file"] for frame in own] == ["toolbox/src/toolbox/__init__.py"]
    assert own[0]["function"] == "Toolbox.run" and "exit 17" in own[0]["source"]
    assert process["exec"] == {
        "cmd": ["sh", "-c", "echo of the toolbox >&2; exit 17"],
        "exitCode": 17,
        "output": {"text": "of the toolbox"},
    }


def test_values_of_the_library_reach_the_client(connected, tree):
    with connected.session(cwd=tree) as session:
        session.query('{ moduleSource(refString: "ci") { asModule { serve } } }')
        error = session.error('{ ci { lookup(kind: "x") } }')
    assert error["message"] == "FunctionError: 'x'"
    assert error["extensions"]["exception.type"] == "FunctionError"
    assert "KeyError: 'x'" in error["extensions"]["exception.stacktrace"]
    assert json.dumps(error).count("rondel.causes") == 1
