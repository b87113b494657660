"""Commands: their output, where it goes, and their exit codes."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import threading

import pytest

from kit import BINARY, GREETER, eventually, processes_with, write_module


def test_version_names_the_build(engine):
    done = engine.run("version").ok()
    assert re.fullmatch(r"rondel v\S+ \(commit \S+(, modified)?; \S+ build for \S+-linux-\S+; API v0\.21\.\d+\)\n", done.out), done.out
    assert done.err == "" and engine.run("--version").ok().out == done.out
    described = engine.run("version", "--json").json()
    assert list(described) == ["version", "commit", "modified", "profile", "target", "api_version"]
    assert f"rondel {described['version']} " in done.out and f"API {described['api_version']}" in done.out
    assert engine.run("-V").ok().out == f"rondel {described['version']}\n"


@pytest.mark.once
def test_help_is_printed_and_usage_errors_name_the_word(engine, connected):
    assert "call" in engine.run("--help").ok().out
    assert engine.run("help", "cache", "ls").ok().out.startswith("List the records")
    assert engine.run("help", "call").ok().out.startswith("Call functions")
    engine.run("no-such-command").failed("no-such-command", code=2)
    connected.run("call", "--no-such-flag", cwd=GREETER).failed("no-such-flag", code=2)
    engine.run().failed("Usage: rondel", code=2)


def every_help(engine, *words) -> dict:
    """The help of a command and of all commands below it."""
    text = engine.run("help", *words).ok().out
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.MULTILINE)
    names = [line.split()[0] for line in listed[1].splitlines()] if listed else []
    below = [every_help(engine, *words, name) for name in names if name != "help"]
    return {" ".join(words): text} | {command: text for found in below for command, text in found.items()}


def test_help_uses_our_words(engine):
    texts = every_help(engine)
    assert {"", "call", "cache why", "engine status", "version"} <= set(texts)
    for command, text in texts.items():
        assert "subcommand" not in text.lower(), command
        # Placeholders are upper case: `<DIR>`, `[FUNCTION]...`.
        assert not re.search(r"[<\[][a-z]+[>\]](?!:)", text.replace("[env", "").replace("[default", "")), command
    assert "Exit codes:" in texts[""] and "130" in texts[""]


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
    connected.run("call", "-m", GREETER, "no-such-function").failed("no-such-function", code=2)
    connected.run("call", "-m", GREETER, "hello", "--nme=x").failed("--nme", "did you mean `--name`?", code=2)
    connected.run("call", "-m", folder, "hello").failed(code=1)
    connected.run("call", "-m", "./nowhere", "hello").failed("nowhere", code=1)


def test_the_module_may_stand_before_the_command(connected):
    listed = connected.run("functions", "-m", GREETER).ok().out
    assert connected.run("-m", GREETER, "functions").ok().out == listed
    # The nearest one counts, and the variable last.
    assert connected.run("-m", "./nowhere", "functions", "-m", GREETER).ok().out == listed
    assert connected.run("-m", GREETER, "functions", env={"RONDEL_MODULE": "./nowhere"}).ok().out == listed
    assert "view" in connected.run("--explain", "-m", GREETER, "functions").ok().err
    connected.run("-m", GREETER, "cache", "ls").failed("takes no `-m`", code=2)


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


@pytest.mark.once
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
    connected.run("call", "-m", module, "texts", '--args="a').failed("closing quote", "--args", code=2)
    connected.run("call", "-m", module, "numbers", '--args=["x"]').failed("int", "x", code=2)


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


@pytest.mark.parametrize("words", [["version"], ["query"], ["cache", "ls"], ["engine", "status"], ["no-such-command"], ["run", "true"]], ids=" ".join)
def test_closed_streams_are_no_panic(engine, words):
    """Without standard error, and without any standard stream but the input."""
    engine.data("{ version }")
    for closed in ["2>&-", "2>/dev/full", ">&- 2>&-"]:
        line = f'exec "$0" "$@" {closed}'
        done = subprocess.run(
            ["sh", "-c", line, str(BINARY), *words], input="{ version }", capture_output=True, text=True, env=engine.environment(), timeout=60
        )
        assert done.returncode == (2 if words == ["no-such-command"] else 0), (closed, done)
        assert done.stderr == "", (closed, done)


def test_a_full_output_is_an_error(engine):
    words = ["sh", "-c", 'exec "$0" version >/dev/full', str(BINARY)]
    done = subprocess.run(words, capture_output=True, text=True, env=engine.environment())
    assert done.returncode == 1 and "cannot write the result" in done.stderr, done


ALONE = "Hello, Ada!"
CALL = ["--progress", "plain", "call", "-m", str(GREETER), "hello", "--name=Ada"]


def lines(text: bytes) -> list[str]:
    """Lines as a person reads them: without colours, and with what a carriage return replaced left out."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode().replace("\r\n", "\n"))
    return [line.rpartition("\r")[2] for line in text.split("\n")]


class Streams:
    """A file for each of standard output and standard error: a pipe, a terminal or a file on disk, or one for both."""

    def __init__(self, folder, out: str, err: str):
        self.folder = folder
        self.out, read_out = self.open(out, "out")
        self.err, read_err = (self.out, None) if err == "same" else self.open(err, "err")
        self.readers = [read_out, read_err]

    def open(self, kind: str, name: str):
        if kind == "file":
            path = self.folder / name
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), path
        reader, writer = os.pipe() if kind == "pipe" else os.openpty()
        return writer, reader

    def read(self, reader) -> bytes:
        if not isinstance(reader, int):
            return reader.read_bytes() if reader else b""
        text = b""
        with contextlib.suppress(OSError):
            while piece := os.read(reader, 65536):
                text += piece
        os.close(reader)
        return text

    def run(self, engine, words) -> tuple[bytes, bytes]:
        process = subprocess.Popen([str(BINARY), *words], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err, env=engine.environment())
        for written in {self.out, self.err}:
            os.close(written)
        read = [self.read(reader) if isinstance(reader, int) else reader for reader in self.readers]
        assert process.wait(timeout=60) == 0, read
        return tuple(text if isinstance(text, bytes) else self.read(text) for text in read)


@pytest.mark.parametrize(
    "out, err",
    [("pipe", "pipe"), ("pipe", "same"), ("file", "file"), ("file", "same"), ("tty", "same"), ("tty", "pipe"), ("pipe", "tty"), ("tty", "tty")],
)
def test_a_result_shares_no_line_with_a_note(connected, folder, out, err):
    connected.run(*CALL).ok()
    stdout, stderr = Streams(folder, out, err).run(connected, CALL)
    assert lines(stdout).count(ALONE) == 1, (stdout, stderr)
    if err != "same":
        # Nothing but the result; a terminal gets a line end.
        assert stdout == (ALONE + ("\r\n" if out == "tty" else "")).encode()
        assert ALONE not in stderr.decode()
    elif out != "tty":
        # `2>&1 | tail -1`
        assert lines(stdout)[-1] == ALONE
    assert any("no process was started" in line for line in lines(stderr or stdout))


LISTINGS = [
    ["functions", "-m", str(GREETER)],
    ["functions", "-m", str(GREETER), "container"],
    ["cache", "ls"],
    ["cache", "ls", "--kind", "volume"],
    ["cache", "prune", "--dry-run"],
    ["cache", "why"],
    ["engine", "status"],
    ["engine", "verify"],
    ["version"],
]


@pytest.mark.parametrize("words", LISTINGS, ids=lambda words: " ".join(words).replace(str(GREETER), "greeter"))
def test_listings_are_json_on_request(connected, words):
    done = connected.run(*words, "--json").ok()
    assert isinstance(json.loads(done.out), (dict, list)) and done.err == ""
    # Without it, they are for people.
    with pytest.raises(ValueError):
        json.loads(connected.run(*words).ok().out)


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["functions", "-m", "./nowhere"], 1, "does not exist"),
        (["functions", "-m", str(GREETER), "helo"], 2, "unknown function `helo`"),
        (["--state-dir", "none", "engine", "status"], 1, "no engine is running"),
        (["--config", "none.toml", "cache", "ls"], 1, "does not exist"),
        (["cache", "prune", "--keep", "much"], 2, "`much` is no value of `--keep`"),
        (["-m", "x", "version"], 2, "takes no `-m`"),
        (["version", "--jsn"], 2, "unknown flag `--jsn`"),
    ],
)
def test_an_error_of_a_listing_is_json_on_request(connected, words, code, message):
    done = connected.run(*words, "--json").failed(code=code)
    error = json.loads(done.err)
    assert message in error["message"] and error["exitCode"] == code and done.out == "", error
    assert done.err.count("\n") == 1 and error["code"] and error["kind"], error


def test_functions_as_json(connected):
    listed = {function["name"]: function for function in connected.run("functions", "-m", GREETER, "--json").json()}
    assert listed["hello"]["type"] == "String!"
    arguments = {argument["name"]: argument for argument in listed["hello"]["arguments"]}
    assert arguments["name"] == {"name": "name", "description": "Who is greeted", "type": "String!", "required": False, "default": '"World"'}
    assert {"from-container", "files"} <= set(listed)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("what", ["waits-for-work", "waits-for-input"])
def test_a_signal_is_the_exit_code(engine, number, code, what):
    if what == "waits-for-work":
        process = engine.start_query('{ container { from(address: "busybox") { withExec(args: ["sleep", "3600.78"]) { stdout } } } }')
        eventually(lambda: processes_with("3600.78"), what="the process to run")
    else:
        process = engine.start("query", stdin=subprocess.PIPE)
        eventually(lambda: catches(process.pid, number), what="the command to wait for its document")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, (process.returncode, err)
    assert out == "" and err.endswith({130: "Interrupted.\n", 143: "Terminated.\n"}[code])
    eventually(lambda: not processes_with("3600.78"), what="the process to end")


def catches(pid: int, number: int) -> bool:
    """Whether a process handles a signal."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", open(f"/proc/{pid}/status").read(), re.MULTILINE)
    return bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_of_run_decides_what_a_signal_means(engine, number):
    for action, code in [("exit 5", 5), ("", 128 + number)]:
        trap = f"trap '{action}' INT TERM; " if action else ""
        process = engine.start("run", "sh", "-c", trap + "echo ready; while :; do sleep 0.05; done", stdin=subprocess.DEVNULL)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == code, (action, process.returncode, err)


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
    # The process that waits for an ordinary user's engine was not stopped with it.
    fresh.run("engine", "stop", timeout=60).ok()


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
