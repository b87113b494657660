"""Commands: their output, where it goes, and their exit codes."""

import fcntl
import json
import os
import signal
import subprocess
import threading

import pytest

from kit import BINARY, GREETER, eventually, write_module


def test_version_names_both_versions(engine):
    done = engine.run("version").ok()
    assert done.out.startswith("rondel v") and "v0.21" in done.out and done.err == ""


def test_help_is_printed_and_usage_errors_name_the_word(engine):
    assert "call" in engine.run("--help").ok().out
    engine.run("no-such-command").failed("no-such-command")
    engine.run("call", "--no-such-flag", cwd=GREETER).failed("no-such-flag")


def test_query_takes_stdin_or_a_file_with_variables(engine, folder):
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


def test_functions_lists_names_and_descriptions(connected):
    done = connected.run("functions", "-m", GREETER).ok()
    assert done.out.splitlines()[0].split() == ["Name", "Description"]
    assert any(line.startswith("hello ") for line in done.out.splitlines())


def test_a_repeated_call_starts_no_process(connected):
    first = connected.run("call", "-m", GREETER, "hello", "--name=Ada").ok()
    assert "Ada" in first.out
    before = connected.execs()
    again = connected.run("call", "-m", GREETER, "hello", "--name=Ada").ok()
    assert again.out == first.out
    assert connected.execs() == before, "a remembered call started a process"
    assert "no process was started" in again.err


def test_call_finds_the_module_above_the_working_directory(connected):
    assert "Bea" in connected.run("call", "hello", "--name", "Bea", cwd=GREETER).ok().out
    assert "Bea" in connected.run("call", "hello", "--name", "Bea", cwd=GREETER / "src").ok().out


def test_call_prints_plain_or_json_or_saves(connected, folder):
    plain = connected.run("call", "-m", GREETER, "hello", "--name=Eve").ok()
    as_json = connected.run("call", "-m", GREETER, "--json", "hello", "--name=Eve").ok()
    assert json.loads(as_json.out) == plain.out.rstrip("\n")
    target = folder / "deep/result.txt"
    saved = connected.run("call", "-m", GREETER, "-o", target, "hello", "--name=Eve").ok()
    assert target.read_text().strip() == plain.out.strip() and "Saved output to" in saved.err


def test_call_names_the_wrong_word(connected, folder):
    connected.run("call", "-m", GREETER, "no-such-function").failed("no-such-function", code=1)
    connected.run("call", "-m", GREETER, "hello", "--nme=x").failed("--nme", code=1)
    connected.run("call", "-m", folder, "hello").failed(code=1)
    connected.run("call", "-m", "./nowhere", "hello").failed("nowhere", code=1)


@pytest.mark.parametrize("words", [["call", "--help"], ["call", "hello", "--help"]])
def test_help_lists_functions(connected, words):
    assert "hello" in connected.run(words[0], "-m", GREETER, *words[1:]).ok().out


def test_an_engine_starts_and_stops(fresh):
    fresh.run("engine", "status").failed(code=1)
    fresh.data("{ version }")
    status = fresh.status()
    assert status["pid"] > 0
    fresh.verify()
    fresh.run("engine", "stop").ok()
    fresh.run("engine", "status").failed(code=1)


def test_an_idle_engine_ends(make_engine):
    rondel = make_engine("idle-seconds = 1\n")
    rondel.data("{ version }")
    eventually(lambda: rondel.run("engine", "status").code == 1, what="the idle engine to end")


def test_a_wrong_configuration_is_explained(make_engine):
    make_engine("mirors = []\n").query("{ version }").failed("mirors", code=1)


LISTS = """
import json
from dagger import function, object_type

@object_type
class Probe:
    @function
    def texts(self, args: list[str]) -> str:
        return json.dumps(args)

    @function
    def numbers(self, args: list[int]) -> str:
        return json.dumps(args)
"""


def test_lists_as_flags(connected, folder):
    module = write_module(folder / "m", LISTS)

    def told(function: str, *flags: str):
        return json.loads(connected.run("call", "-m", module, function, *flags).ok().out)

    for flags, want in [
        (["--args="], []),
        (["--args", ""], []),
        (['--args=["b,ar","ba,z"]'], ["b,ar", "ba,z"]),
        (["--args=[]"], []),
        (["--args=a,b", "--args=c"], ["a", "b", "c"]),
        (["--args=a", '--args=["b,c"]'], ["a", "b,c"]),
        (['--args=a,"b,c","d""e",""'], ["a", "b,c", 'd"e', ""]),
        (["--args=[a,b]"], ["[a", "b]"]),
    ]:
        assert told("texts", *flags) == want, flags
    assert told("numbers", "--args=[1,2]") == [1, 2] and told("numbers", "--args=3,4") == [3, 4]
    connected.run("call", "-m", module, "texts", '--args="a').failed("closing quote", "--args", code=1)
    connected.run("call", "-m", module, "numbers", '--args=["x"]').failed("int", "x", code=1)


@pytest.mark.parametrize(
    "words",
    [["version"], ["query"], ["cache", "ls"], ["cache", "ls", "--json"], ["cache", "why"], ["engine", "status"], ["--help"]],
    ids=" ".join,
)
def test_a_closed_output_is_no_error(engine, words):
    engine.data("{ version }")
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [str(BINARY), *words], stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE, text=True, env=engine.environment()
    )
    os.close(writer)
    _, err = process.communicate("{ version }", timeout=60)
    assert err == "" and process.returncode in (0, 128 + signal.SIGPIPE), (process.returncode, err)


def test_a_result_starts_on_a_line_of_its_own(connected):
    words = [str(BINARY), "--progress", "plain", "call", "-m", str(GREETER), "hello", "--name=Ada"]
    alone = connected.run(*words[1:]).ok().out
    both = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=connected.environment())
    assert not alone.endswith("\n"), "nothing is added to a result that is used as it is"
    assert both.returncode == 0 and both.stdout.endswith("\n" + alone), both.stdout
    assert "process" in both.stdout.removesuffix(alone).splitlines()[-1]


def test_a_stopped_engine_is_reported(fresh):
    assert fresh.data("{ version }")
    pid = fresh.status()["pid"]
    waiting = fresh.start_query('{ container { from(address: "busybox") { withExec(args: ["sleep", "1000"]) { stdout } } } }')
    eventually(lambda: fresh.status()["execs"] == 1, what="the process to run")
    os.kill(pid, signal.SIGSTOP)
    try:
        # A waiting client and a new one both get the error.
        for done in [fresh.query("{ version }", timeout=30), fresh.run("engine", "stop", timeout=30)]:
            done.failed(f"process {pid} is stopped", f"kill -CONT {pid}", code=1)
        assert waiting.wait(timeout=30) == 1 and f"process {pid} is stopped" in waiting.stderr.read()
    finally:
        os.kill(pid, signal.SIGCONT)
    waiting.stdout.close()
    waiting.stderr.close()
    assert fresh.data("{ version }")


def test_a_folder_with_other_files_is_no_state_directory(fresh, folder):
    mine = folder / "mine"
    mine.mkdir(mode=0o755)
    (mine / "letter").write_text("dear")
    for words in [["query"], ["engine", "serve"], ["cache", "ls"]]:
        fresh.run("--state-dir", mine, *words, stdin="{ version }").failed("holds other things", "letter", code=1)
        assert [path.name for path in mine.iterdir()] == ["letter"]
    # An engine writes its log to its state directory.
    fresh.data("{ version }", env={"RONDEL_LOG": "info"})
    assert (fresh.state / "engine.log").is_file()


def test_stop_waits_for_a_busy_engine(fresh):
    """`engine stop` waits for clients, processes and a busy machine."""
    document = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "trap : TERM; %s", "%d"]) { stdout } } } }'
    fresh.data('{ container { from(address: "busybox") { id } } }')
    clients = []
    for n in range(12):
        loop = "while :; do :; done" if n < 2 else "while :; do sleep 1; done"
        clients.append(fresh.start_query(document % (loop, n), "--silent"))
    eventually(lambda: fresh.status()["execs"] == 12, within=60, what="the processes to run")
    pids = fresh.engines()
    stopped = fresh.run("engine", "stop", timeout=120).ok()
    assert stopped.err == "" or "waiting for the engine to end" in stopped.err
    assert pids and fresh.engines() == []
    for client in clients:
        assert client.wait(timeout=30) != 0
        client.stdout.close()
        client.stderr.close()


def test_stop_says_what_it_waits_for(fresh):
    """While another process holds the lock, no engine could start in the state directory."""
    assert fresh.data("{ version }")
    with (fresh.state / "lock").open("r+") as lock:
        # The thread gets the lock when the engine releases it.
        holder = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX))
        holder.start()
        stop = fresh.start("engine", "stop")
        assert stop.stderr.readline() == "waiting for the engine to end: another process holds the state directory\n"
        holder.join()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert stop.wait(timeout=30) == 0
    stop.stdout.close()
    stop.stderr.close()
