"""How long results of functions are cached, and what runs again after an edit."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit import eventually, serve_module, write_module
from kit.events import EventClient, starts

pytestmark = pytest.mark.once

HEAD = "import time\nimport dagger\nfrom dagger import dag, function, object_type\n\n@object_type\nclass Probe:\n"
CLOCKS = HEAD + (
    "    @function\n    def default(self, name: str = '') -> str:\n        return str(time.time_ns())\n\n"
    "    @function(cache='session')\n    def per_session(self) -> str:\n        return str(time.time_ns())\n\n"
    "    @function(cache='never')\n    def never(self) -> str:\n        return str(time.time_ns())\n\n"
    "    @function(cache='2s')\n    def short(self) -> str:\n        return str(time.time_ns())\n\n"
    "    @function(cache='never')\n    def never_box(self) -> dagger.Directory:\n        return dag.directory().with_new_file('now', str(time.time_ns()))\n"
)


@pytest.fixture(scope="module")
def clocks(connected, tmp_path_factory):
    return write_module(tmp_path_factory.mktemp("clocks"), CLOCKS)


def call_probe(connected, module, selection):
    return connected.data(f"{{ probe {{ {selection} }} }}", "-m", module)["probe"]


def test_results_are_kept_across_sessions(connected, clocks):
    # FCH-001.
    first = call_probe(connected, clocks, "default")
    before = connected.execs()
    assert call_probe(connected, clocks, "default") == first
    assert connected.execs() == before
    assert call_probe(connected, clocks, 'default(name: "x")') != first


def test_results_may_be_kept_in_a_session(connected, clocks):
    # FCH-002.
    found = call_probe(connected, clocks, "perSession again: perSession")
    assert found["perSession"] == found["again"]
    assert call_probe(connected, clocks, "perSession")["perSession"] != found["perSession"]


def test_results_may_never_be_kept(connected, clocks):
    found = call_probe(connected, clocks, 'never again: never a: neverBox { file(path: "now") { contents } } b: neverBox { file(path: "now") { contents } }')
    assert found["never"] != found["again"]
    assert found["a"] != found["b"]


def test_results_may_be_kept_for_a_time(connected, clocks):
    with connected.session() as session:
        serve_module(session, clocks)
        first = session.query("{ probe { short } }")
        assert session.query("{ probe { short } }") == first
        eventually(lambda: session.query("{ probe { short } }") != first, what="the result to expire")


def test_parallel_calls_of_one_query_get_one_answer(connected, clocks):
    # FCH-002.
    found = call_probe(connected, clocks, "a: short b: short c: short d: short")
    assert len(set(found.values())) == 1, found


def test_parallel_equal_calls_run_once(connected, folder):
    module = write_module(folder, CLOCKS)
    assert connected.run("functions", "-m", module).ok()
    before = connected.execs()
    with ThreadPoolExecutor(4) as pool:
        with connected.session() as session:
            serve_module(session, module)
            found = list(pool.map(lambda _: session.query("{ probe { default } }")["probe"]["default"], range(4)))
    assert len(set(found)) == 1
    # The constructor is no process, because the module has none of its own.
    assert connected.execs() - before <= 2


def test_equal_modules_share_results_wherever_they_are(connected, folder):
    one, two = (write_module(folder / name, CLOCKS.replace("''", "'shared'")) for name in ("one", "two"))
    first = call_probe(connected, one, "default")
    before = connected.execs()
    assert call_probe(connected, two, "default") == first
    assert connected.execs() == before


def test_an_edit_runs_only_the_function_again(connected, folder):
    module = write_module(folder / "m", CLOCKS, config=json.dumps({"name": "probe", "sdk": "python", "engineVersion": "v0.21.8", "source": "code"}))
    (module / "code").mkdir()
    for name in ("src", "pyproject.toml"):
        (module / name).rename(module / "code" / name)
    first = call_probe(connected, module, "default")
    before = connected.execs()
    (module / "README.md").write_text("beside the source")
    assert call_probe(connected, module, "default") == first
    assert connected.execs() == before
    source = module / "code/src/probe/__init__.py"
    source.write_text(source.read_text() + "\n# edited\n")
    with EventClient(connected, module) as client:
        assert client.query("{ probe { default } }")["data"]["probe"]["default"] != first["default"]
        ends = {event["span"]: event["outcome"] for event in client.events if event["event"] == "end"}
    execs = [start for start in starts(client.events) if start["work"] == "exec"]
    ran = [start["name"] for start in execs if ends[start["span"]] != "cached"]
    # The runtime serves the constructor, and then the function.
    assert ran == 2 * ["runtime of module probe"], client.events


def test_results_are_not_kept_in_views_before_caching(connected, folder):
    module = write_module(folder, CLOCKS.replace("@function(cache='session')", "@function").replace("@function(cache='never')", "@function").replace("@function(cache='2s')", "@function"), engine_version="v0.19.3")
    assert call_probe(connected, module, "default") != call_probe(connected, module, "default")
    kept = json.loads((module / "dagger.json").read_text())
    (module / "dagger.json").write_text(json.dumps({**kept, "disableDefaultFunctionCaching": False}))
    assert call_probe(connected, module, "default") == call_probe(connected, module, "default")


def test_xs_007_ctx_010_context_directories_are_keyed_by_content(connected, folder):
    code = (
        "import time\nimport dagger\nfrom typing import Annotated\nfrom dagger import DefaultPath, function, object_type\n\n@object_type\nclass Probe:\n"
        "    kept: Annotated[dagger.Directory, DefaultPath('/data')]\n\n"
        "    @function\n    async def read(self, file: Annotated[dagger.File, DefaultPath('/data/x.txt')]) -> str:\n"
        "        return f'{await file.contents()} {await self.kept.entries()} {time.time_ns()}'\n\n"
        "    @function\n    def outside(self, given: Annotated[dagger.Directory, DefaultPath('../../..')]) -> str:\n"
        "        return ''\n"
    )
    module = write_module(folder / "m", code)
    (folder / ".git").mkdir()
    (folder / "data").mkdir()
    (folder / "data/x.txt").write_text("one")
    first = call_probe(connected, module, "read")["read"]
    assert first.startswith("one ['x.txt'] ")
    connected.run("call", "-m", module, "outside").failed("path should be relative to the context directory")
    (folder / "other.txt").write_text("not read")
    assert call_probe(connected, module, "read")["read"] == first
    # A directory in a private field of the object is part of the key, too.
    (folder / "data/y.txt").write_text("more")
    with_more = call_probe(connected, module, "read")["read"]
    assert with_more.startswith("one ['x.txt', 'y.txt'] ")
    (folder / "data/x.txt").write_text("two")
    assert call_probe(connected, module, "read")["read"].startswith("two ")
    # Equal content is the same argument in every session.
    (folder / "data/x.txt").write_text("one")
    before = connected.execs()
    assert call_probe(connected, module, "read")["read"] == with_more
    (folder / "data/y.txt").unlink()
    assert call_probe(connected, module, "read")["read"] == first
    assert connected.execs() == before
    # CTX-010: within a session as well.
    with connected.session() as session:
        serve_module(session, module)
        assert session.query("{ probe { read } }")["probe"]["read"] == first
        (folder / "data/x.txt").write_text("three")
        assert session.query("{ probe { read } }")["probe"]["read"].startswith("three ")
