"""Modules with mistakes, and the errors that their callers get."""

import json

import pytest

from kit import IMPORTS, eventually, processes_with, write_module
from kit.nested import NESTED_CLIENT
from kit.terminal import Terminal

CLASS = IMPORTS + "@object_type\nclass Probe:\n    @function\n"


def test_a_module_is_called(connected, folder):
    module = write_module(folder, CLASS + "    def go(self, times: int = 2) -> list[str]:\n        return ['x'] * times\n")
    assert connected.call(module, "go", "--times=3").ok().out.split() == ["x", "x", "x"]


@pytest.mark.parametrize(
    "body, words",
    [
        ("    def go(self) -> str:\n        raise ValueError('of the module')\n", ["of the module"]),
        ("    def go(self) -> str:\n        import os\n        os._exit(3)\n", []),
        ("    def go(self) -> str:\n        import os, signal\n        os.kill(os.getpid(), signal.SIGKILL)\n", []),
        ("    def go(self) -> str:\n        import os\n        os._exit(0)\n", []),
        ("    def go(self) -> int:\n        return 'text'\n", []),
        ("    async def go(self) -> str:\n        return await dag.container().from_('busybox').with_exec(['sh', '-c', 'echo own error >&2; exit 6']).stdout()\n", ["own error"]),
    ],
    ids=["raises", "exits", "is-killed", "returns-nothing", "another-type", "process-fails"],
)
def test_a_failing_function_is_an_error(connected, folder, body, words):
    module = write_module(folder, CLASS + body)
    connected.call(module, "go").failed(*words)
    assert connected.data("{ version }")


def test_trm_001_the_exit_code_of_a_process_in_a_function_is_kept(connected, folder):
    body = "    async def go(self) -> str:\n        return await dag.container().from_('busybox').with_exec(['sh', '-c', 'exit 6']).stdout()\n"
    module = write_module(folder, CLASS + body)
    connected.call(module, "go").failed(code=6)
    # A terminal opens at the failed process, not at the function's.
    terminal = Terminal(connected, "call", "-m", module, "go", "-i")
    assert "exit code: 6\r\n" in terminal.until("when you leave it, the error is told.\r\n")
    terminal.until("# ")
    terminal.type("exit 7\r")
    assert terminal.end() == 6
    assert b"when you leave it" not in terminal.said


def test_returning_twice_is_refused(connected, folder):
    indented = NESTED_CLIENT.replace("\n", "\n        ")
    body = (
        "    def go(self) -> str:\n        " + indented + "\n"
        "        for text in 'ab':\n"
        "            ask('{ currentFunctionCall { returnValue(value: ' + json.dumps(json.dumps(text)) + ') } }')\n"
        "        return 'c'\n"
    )
    # The library returns a third time, and gets the error.
    connected.call(write_module(folder, CLASS + body), "go").failed("function call return already set")


def test_a_function_may_print_megabytes(connected, folder):
    body = (
        "    def go(self) -> str:\n        import sys\n        line = 'y' * 1023 + '\\n'\n"
        "        for _ in range(8192):\n            sys.stdout.write(line)\n            sys.stderr.write(line)\n        return 'quiet'\n"
    )
    assert connected.call(write_module(folder, CLASS + body), "go").ok().out.strip() == "quiet"


def test_a_function_may_return_megabytes(connected, folder):
    body = "    def go(self) -> str:\n        return 'z' * 5_000_000\n"
    assert len(connected.call(write_module(folder, CLASS + body), "go").ok().out.strip()) == 5_000_000


def test_a_function_that_hangs_ends_with_its_client(connected, folder):
    body = "    def go(self) -> str:\n        import subprocess\n        subprocess.run(['sleep', '8640012.5'])\n        return ''\n"
    client = connected.start("call", "-m", write_module(folder, CLASS + body), "go")
    eventually(lambda: processes_with("8640012.5"), within=120, what="the function to hang")
    client.terminate()
    client.wait(timeout=20)
    client.communicate()
    eventually(lambda: not processes_with("8640012.5"), what="the function to end")


@pytest.mark.parametrize(
    "code, words",
    [
        ("this is no python\n", ["SyntaxError"]),
        ("import no_such_package\n", ["no_such_package"]),
        ("x = 1\n", []),
        (IMPORTS + "@object_type\nclass Other:\n    @function\n    def go(self) -> str:\n        return ''\n", []),
        ("import os\nos._exit(9)\n", []),
        ("print('a' * 3_000_000)\nraise SystemExit(4)\n", []),
    ],
    ids=["syntax", "import", "empty", "no-main-object", "exits", "prints"],
)
def test_a_module_that_does_not_load_is_an_error(connected, folder, code, words):
    module = write_module(folder, code)
    connected.run("functions", "-m", module).failed(*words)
    assert connected.data("{ version }")


@pytest.mark.parametrize(
    "config, words",
    [
        ("{ this is no json", ["dagger.json"]),
        ("[]", ["dagger.json"]),
        ('{"name": 5}', ["dagger.json"]),
        ('{"name": "probe", "sdk": {"source": "no-such-sdk"}, "engineVersion": "v0.21.8"}', ["no-such-sdk"]),
        ('{"name": "probe", "sdk": {"source": "python"}, "engineVersion": "v99.1.0"}', ["v99.1.0"]),
        ('{"name": "probe", "sdk": {"source": "python"}, "engineVersion": "v0.9.8"}', ["v0.9.8"]),
        ('{"name": "", "sdk": {"source": "python"}, "engineVersion": "v0.21.8"}', ["name"]),
        ('{"name": "probe", "sdk": {"source": "python"}, "engineVersion": "v0.21.8", "source": "../.."}', []),
    ],
    ids=range(8),
)
def test_a_wrong_configuration_names_what_is_wrong(connected, folder, config, words):
    module = write_module(folder, CLASS + "    def go(self) -> str:\n        return ''\n", config=config)
    connected.run("functions", "-m", module).failed(*words, code=1)


def test_an_edit_does_not_install_dependencies_again(connected, folder):
    code = CLASS + "    def go(self) -> str:\n        return 'one'\n"
    module = write_module(folder, code)
    assert connected.call(module, "go").ok().out.strip() == "one"
    before = connected.execs()
    write_module(folder, code.replace("one", "two"))
    assert connected.call(module, "go").ok().out.strip() == "two"
    # Registration and the call; dependencies are not installed again.
    assert connected.execs() - before <= 3, connected.execs() - before


def test_state_of_objects_is_kept_between_calls(connected, folder):
    code = (
        IMPORTS
        + "@object_type\nclass Box:\n    items: list[str] = dagger.field(default=list)\n    folder: dagger.Directory | None = None\n\n"
        "    @function\n    def put(self, item: str) -> 'Box':\n        self.items.append(item)\n        self.folder = (self.folder or dag.directory()).with_new_file(item, item)\n        return self\n\n"
        "    @function\n    async def names(self) -> list[str]:\n        return await self.folder.entries()\n\n"
        "@object_type\nclass Probe:\n    @function\n    def box(self) -> Box:\n        return Box()\n"
    )
    module = write_module(folder, code)
    assert connected.call(module, "box", "put", "--item=a", "put", "--item=b", "items").ok().out.split() == ["a", "b"]
    assert connected.call(module, "box", "put", "--item=a", "put", "--item=b", "names").ok().out.split() == ["a", "b"]


def test_containers_and_directories_are_arguments_and_results(connected, folder):
    code = (
        CLASS
        + "    def box(self, source: dagger.Directory, name: str = 'f') -> dagger.Container:\n"
        "        return dag.container().from_('busybox').with_directory('/src', source).with_workdir('/src')\n\n"
        "    @function\n    def made(self) -> dagger.Directory:\n        return dag.directory().with_new_file('a.txt', 'A')\n"
    )
    module = write_module(folder / "m", code)
    given = folder / "given"
    given.mkdir()
    (given / "seen.txt").write_text("seen")
    assert "seen.txt" in connected.call(module, "box", "--source", given, "with-exec", "--args", "ls", "stdout").ok().out
    assert connected.call(module, "made", "entries").ok().out.strip() == "a.txt"
    out = folder / "out"
    connected.call(module, "-o", out, "made").ok()
    assert (out / "a.txt").read_text() == "A"


def test_a_dependency_on_disk_is_called(connected, folder):
    write_module(folder / "dep", IMPORTS + "@object_type\nclass Dep:\n    @function\n    def word(self, n: int = 1) -> str:\n        return 'dep' * n\n", name="dep")
    config = json.dumps({"name": "probe", "sdk": {"source": "python"}, "engineVersion": "v0.21.8", "dependencies": [{"name": "dep", "source": "../dep"}]})
    code = CLASS + "    async def go(self) -> str:\n        return 'of ' + await dag.dep().word(n=2)\n"
    # The context of a local module is the folder with `.git`, so a sibling can be a dependency.
    (folder / ".git").mkdir()
    module = write_module(folder / "main", code, config=config)
    assert connected.call(module, "go").ok().out.strip() == "of depdep"
