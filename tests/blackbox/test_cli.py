"""Commands: what they print, where, and with which exit code."""

import json

import pytest

from harness import EXAMPLES

GREETER = EXAMPLES / "greeter"


def test_version(engine):
    done = engine.run("version").ok()
    assert done.out.startswith("rondel v") and "v0.21" in done.out and done.err == ""


def test_help_and_usage_errors(engine):
    assert "call" in engine.run("--help").ok().out
    engine.run("no-such-command").failed("no-such-command")
    engine.run("call", "--no-such-flag", cwd=GREETER).failed("no-such-flag")


def test_query(engine, folder):
    done = engine.query("{ version }")
    assert list(done.json()) == ["version"]
    document = folder / "q.graphql"
    document.write_text("query Q($p: String!) { directory { withNewFile(path: $p, contents: \"x\") { entries } } }")
    asked = engine.run("query", "--doc", document, "--var", "p=a")
    assert asked.json()["directory"]["withNewFile"]["entries"] == ["a"]
    engine.query("{ nothing }").failed("nothing", code=1)
    engine.query("query {").failed(code=1)


def test_progress_goes_to_standard_error(engine):
    document = '{ container { from(address: "busybox") { withExec(args: ["echo", "shown-%s"]) { stdout } } } }'
    done = engine.run("--progress", "plain", "query", stdin=document % "a").ok()
    assert json.loads(done.out) and "echo" in done.err
    silent = engine.run("-s", "query", stdin=document % "b").ok()
    assert silent.err == ""
    engine.run("--progress", "tty", "query", stdin="{ version }").failed("no tty available")


def test_functions(connected):
    done = connected.run("functions", "-m", GREETER).ok()
    assert done.out.splitlines()[0].split() == ["Name", "Description"]
    assert any(line.startswith("hello ") for line in done.out.splitlines())


def test_call(connected):
    first = connected.run("call", "-m", GREETER, "hello", "--name=Ada").ok()
    assert "Ada" in first.out
    before = connected.execs()
    again = connected.run("call", "-m", GREETER, "hello", "--name=Ada").ok()
    assert again.out == first.out
    assert connected.execs() == before, "a remembered call started a process"
    assert "no process was started" in again.err


def test_call_from_the_folder_of_the_module(connected):
    assert "Bea" in connected.run("call", "hello", "--name", "Bea", cwd=GREETER).ok().out
    assert "Bea" in connected.run("call", "hello", "--name", "Bea", cwd=GREETER / "src").ok().out


def test_call_output_forms(connected, folder):
    plain = connected.run("call", "-m", GREETER, "hello", "--name=Eve").ok()
    as_json = connected.run("call", "-m", GREETER, "--json", "hello", "--name=Eve").ok()
    assert json.loads(as_json.out) == plain.out.rstrip("\n")
    target = folder / "deep/result.txt"
    saved = connected.run("call", "-m", GREETER, "-o", target, "hello", "--name=Eve").ok()
    assert target.read_text().strip() == plain.out.strip() and "Saved output to" in saved.err


def test_call_errors(connected, folder):
    connected.run("call", "-m", GREETER, "no-such-function").failed("no-such-function", code=1)
    connected.run("call", "-m", GREETER, "hello", "--nme=x").failed("--nme", code=1)
    connected.run("call", "-m", folder, "hello").failed(code=1)
    connected.run("call", "-m", "./nowhere", "hello").failed("nowhere", code=1)


@pytest.mark.parametrize("words", [["call", "--help"], ["call", "hello", "--help"]])
def test_help_of_functions(connected, words):
    assert "hello" in connected.run(words[0], "-m", GREETER, *words[1:]).ok().out


def test_engine_life(fresh):
    fresh.run("engine", "status").failed(code=1)
    fresh.data("{ version }")
    status = fresh.status()
    assert status["pid"] > 0
    fresh.verify()
    fresh.run("engine", "stop").ok()
    fresh.run("engine", "status").failed(code=1)


def test_an_idle_engine_ends(make_engine):
    from harness import wait_until

    rondel = make_engine("idle-seconds = 1\n")
    rondel.data("{ version }")
    wait_until(lambda: rondel.run("engine", "status").code == 1, what="the idle engine to end")


def test_a_wrong_configuration_is_explained(make_engine):
    make_engine("mirors = []\n").query("{ version }").failed("mirors", code=1)
