"""The display of progress: on a terminal, and as text."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from kit import BINARY, GREETER, IMPORTS, write_module
from kit.events import open_spans, outcome
from kit.graphql import sh
from kit.screen import Screen
from kit.terminal import Terminal, document_file

STEP = re.compile(r" *[✔✘⊘] .* (\d+\.\d|\d+m\d\d)s$|  \+\d+ more$| *✔ .* cached$")
SUMMARY = re.compile(r"[✔✘⊘] .*in [\d.]+(s|ms|µs|m\d\ds)(, no process was started)?$")


def in_busybox(*fields: str) -> str:
    """A document whose fields are selected beside each other."""
    named = " ".join(f"f{at}: {field} {{ stdout }}" for at, field in enumerate(fields))
    return '{ container { from(address: "busybox") { %s } } }' % named


class Shown:
    """What a terminal showed while a command ran."""

    def __init__(self, terminal: Terminal, columns: int, rows: int):
        self.code = terminal.end()
        self.bytes = terminal.everything
        screen = Screen(columns, rows).feed(self.bytes)
        self.lines = screen.lines()
        assert screen.is_restored(), self.lines
        # Every frame begins and ends as one update. The screen after each is what a person sees.
        self.frames = []
        watching = Screen(columns, rows)
        for update in self.bytes.split(b"\x1b[?2026l"):
            watching.feed(update)
            self.frames.append(watching.lines())

    def final_frame(self) -> list[str]:
        """The lines up to the summary. Nothing comes before them, and there is only one summary."""
        summaries = [at for at, line in enumerate(self.lines) if SUMMARY.match(line)]
        assert len(summaries) == 1, self.lines
        frame = self.lines[: summaries[0] + 1]
        assert all(STEP.match(line) for line in frame[:-1]), self.lines
        return frame

    def rest(self) -> list[str]:
        return self.lines[len(self.final_frame()) :]


def shown(rondel, *words, columns=100, rows=24, **more) -> Shown:
    return Shown(Terminal(rondel, *words, columns=columns, rows=rows, **more), columns, rows)


def query(rondel, folder, document: str, **more) -> Shown:
    return shown(rondel, "query", "--doc", document_file(folder, document), **more)


def test_a_run_leaves_one_frame_and_its_result(engine, folder):
    document = in_busybox(sh("echo out-$(date +%N); sleep 1"), sh("sleep 0.5; date +%N"))
    done = query(engine, folder, document)
    frame = done.final_frame()
    assert done.code == 0 and any("✔ exec sh -c" in line for line in frame), done.lines
    assert json.loads("\n".join(done.rest()))["container"], done.lines
    # It ticks: the time of the run is shown as it passes.
    times = {line.split(" · ")[0] for frame in done.frames for line in frame if " running" in line}
    assert len(times) >= 5, times
    assert all(len([line for line in frame if line]) <= 13 for frame in done.frames[:-1]), done.frames
    # All of it is cached now. Without work there is nothing to show.
    again = query(engine, folder, document)
    assert again.code == 0 and json.loads("\n".join(again.lines)) == json.loads("\n".join(done.rest())), again.lines


@pytest.mark.parametrize("rows", [10, 24])
def test_eight_at_a_time_of_which_one_fails(engine, folder, rows):
    steps = [sh(f"for i in 1 2 3 4 5 6; do echo {n} line $i; sleep 0.2; done; exit {9 if n == 5 else 0}; {os.urandom(4).hex()}") for n in range(8)]
    done = query(engine, folder, in_busybox(*steps), rows=rows)
    frame = done.final_frame()
    assert done.code == 9 and frame[-1].startswith("✘ 1 failed"), done.lines
    failed = [line for line in frame if "✘ exec" in line]
    assert len(failed) == 1 and "exit code: 9" in failed[0], done.lines
    assert done.rest() and any("exit code: 9" in line for line in done.rest()), done.lines
    assert max(sum(1 for line in frame if line) for frame in done.frames[:-3]) <= rows // 2 + 1


def test_ctrl_c_leaves_what_was_interrupted(engine, folder):
    document = in_busybox(sh(f"sleep 1000; {os.urandom(4).hex()}"))
    terminal = Terminal(engine, "query", "--doc", document_file(folder, document), columns=100, rows=24)
    terminal.until("exec sh -c sleep")
    terminal.until("running")
    terminal.type("\x03")
    done = Shown(terminal, 100, 24)
    frame = done.final_frame()
    assert done.code == 130 and frame[-1].startswith("⊘ 1 interrupted in "), done.lines
    assert any("⊘ exec sh -c sleep 1000" in line and " interrupted " in line for line in frame), done.lines
    assert done.rest() == ["Interrupted."], done.lines
    assert not any("running" in line or "●" in line for line in done.lines), done.lines
    replayed = engine.run("trace", "replay", "--final").ok().out.splitlines()
    assert replayed[-1].startswith("⊘ 1 interrupted in "), replayed


def test_ctrl_c_ends_every_step_of_the_event_stream(engine, folder):
    script = sh(f"echo begun; sleep 1000; {os.urandom(4).hex()}")
    words = [BINARY, "--progress", "json", "query", "--doc", document_file(folder, in_busybox(script))]
    process = subprocess.Popen(words, cwd=folder, env=engine.environment(), stderr=subprocess.PIPE, text=True)
    lines = []
    while not lines or "begun" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGINT)
    lines.extend(process.stderr.read().splitlines())
    assert process.wait() == 130
    assert lines.pop() == "Interrupted."
    assert json.loads(lines.pop())["end"] == "interrupted"
    events = [json.loads(line) for line in lines]
    assert open_spans(events) == {}
    assert outcome([event for event in events if event["event"] == "end"][-1:]) == "cancelled", events


def test_a_cancellation_by_the_engine_is_no_interrupt(fresh, folder):
    """The exit code 130 is for a signal of the user."""
    terminal = Terminal(fresh, "query", "--doc", document_file(folder, in_busybox(sh("sleep 1000"))))
    terminal.until("exec sh -c sleep")
    fresh.run("engine", "stop").ok()
    assert terminal.end() == 1
    shown = terminal.everything.decode()
    assert "interrupted" not in shown.lower() and re.search(r"(?m)^(\x1b\[[0-9;?]*[A-Za-z])*Error:", shown), shown


def test_every_field_that_failed_is_reported(engine):
    fields = in_busybox(*[sh(f"echo why {code}; exit {code}; {os.urandom(4).hex()}") for code in (3, 4)], sh("exit 0"))
    err = engine.run("-q", "query", stdin=fields).failed(code=3).err
    assert [line for line in err.splitlines() if "| why" in line] == ["    | why 3", "    | why 4"], err
    assert err.count("✘ exec sh -c echo why") == 2 and err.splitlines()[-1].endswith("exit code: 4"), err
    # One reason is told once.
    missing = '{ a: %s b: %s }' % (('container { from(address: "no-such-image:1") { id } }',) * 2)
    assert engine.run("-q", "query", stdin=missing).failed("no-such-image").err.count("✘ query failed") == 1


def test_output_that_is_not_recorded_is_not_pointed_to(fresh):
    document = in_busybox(sh("seq 99; exit 3"))
    pointer = "all of it: rondel trace logs"
    fresh.run("-q", "query", stdin=document).failed("49 more lines before; " + pointer)
    for recording in (fresh.state / "traces").iterdir():
        recording.unlink()
    (fresh.state / "traces").rmdir()
    (fresh.state / "traces").write_text("in the way")
    err = fresh.run("-q", "query", stdin=document).failed("49 more lines before").err
    assert pointer not in err, err


def test_output_of_programs_is_interpreted(engine, folder):
    script = r"printf '\033[31mred\033[0m \033[2J\033[5Aend\n'; for i in 1 2 3; do printf '\r%d0%%' $i; sleep 0.3; done; echo; echo 日本語テキスト; sleep 0.5"
    done = query(engine, folder, in_busybox(sh(f"{script}; : {os.urandom(4).hex()}")), columns=40)
    frames = ["\n".join(frame) for frame in done.frames]
    assert any("│ red end" in frame for frame in frames), frames[-3:]
    assert any("│ 30%" in frame and "10%" not in frame.split("│", 1)[1] for frame in frames), frames
    assert any("日 本 語" in frame or "日本語" in frame for frame in frames)
    assert b"\x1b[31mred" in done.bytes and b"\x1b[2J" not in done.bytes
    assert done.final_frame()
    plain = query(engine, folder, in_busybox(sh(f"{script}; : {os.urandom(4).hex()}")), env={"NO_COLOR": "1"})
    assert b"\x1b[31m" not in plain.bytes and plain.final_frame()


def test_an_exec_that_waits_for_a_service_is_told_apart(engine, folder):
    service = 'container { from(address: "busybox") { withExposedPort(port: 80) { asService(args: ["sh", "-c", "sleep 2; mkdir /w; echo hi >/w/index.html; httpd -f -p 80 -h /w; : %s"]) { id } } } }'
    with engine.session("-q") as session:
        data = session.query("{ %s }" % (service % os.urandom(4).hex()))
    while isinstance(data, dict):
        (data,) = data.values()
    run = 'container { from(address: "busybox") { withServiceBinding(alias: "db", service: "%s") { withExec(args: ["wget", "-qO-", "http://db"]) { stdout } } } }'
    done = query(engine, folder, "{ %s }" % (run % data))
    assert done.code == 0, done.lines
    frames = ["\n".join(frame) for frame in done.frames]
    assert any(re.search(r"◌ .*waiting for service db", frame) for frame in frames), frames
    assert any(re.search(r"● service db", frame) for frame in frames), frames
    done.final_frame()


def test_a_resized_terminal_keeps_its_scrollback(engine, folder):
    document = in_busybox(sh(f"for i in 1 2 3 4 5 6 7 8; do echo a line that is longer than forty columns, number $i; sleep 0.3; done; : {os.urandom(4).hex()}"))
    terminal = Terminal(engine, "query", "--doc", document_file(folder, document), columns=100, rows=24)
    terminal.until("number 3")
    before = len(terminal.everything)
    terminal.resize(40, 12)
    terminal.until("running")
    terminal.end()
    screen = Screen(100, 24).feed(b"earlier\r\n" * 5 + terminal.everything[:before])
    screen.screen.resize(12, 40)
    lines = screen.feed(terminal.everything[before:]).lines()
    assert [line for line in lines if line == "earlier"] == ["earlier"] * len([line for line in lines if line == "earlier"])
    assert sum(1 for line in lines if SUMMARY.match(line)) == 1 and not any("│" in line for line in lines), lines


def test_rondel_run_keeps_the_output_of_its_program(engine, folder):
    program = folder / "program.py"
    program.write_text(textwrap.dedent("""
        import base64, http.client, json, os, sys
        print("before", sys.stdout.isatty(), os.get_terminal_size().columns, flush=True)
        connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["DAGGER_SESSION_PORT"]))
        token = base64.b64encode(f"{os.environ['DAGGER_SESSION_TOKEN']}:".encode()).decode()
        document = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "sleep 1; echo %s"]) { stdout } } } }' % os.urandom(4).hex()
        connection.request("POST", "/query", json.dumps({"query": document}), {"Authorization": f"Basic {token}", "Content-Type": "application/json"})
        print("between", flush=True)
        connection.getresponse().read()
        print("after")
        sys.exit(int(sys.argv[1]))
    """))
    for code in [0, 3]:
        done = shown(engine, "run", sys.executable, program, code)
        assert done.code == code
        assert done.lines[:3] == ["before True 100", "between", "after"], done.lines
        assert SUMMARY.match(done.lines[-1]) and sum(1 for line in done.lines if SUMMARY.match(line)) == 1, done.lines
        assert all(STEP.match(line) for line in done.lines[3:-1]), done.lines


def test_listings_are_silent(connected):
    done = shown(connected, "functions", "-m", GREETER)
    again = shown(connected, "functions", "-m", GREETER)
    assert done.code == again.code == 0
    assert again.lines[0].split() == ["Name", "Description"], again.lines
    plain = connected.run("functions", "-m", GREETER).ok()
    assert plain.err == "", plain.err
    assert connected.run("call", "-m", GREETER, "hello", "--help").ok().err == ""


def test_a_list_of_records_fits_the_terminal(engine):
    engine.query(in_busybox(sh("exit 0"))).ok()
    for columns, least in [(80, 80), (120, 100)]:
        listed = shown(engine, "cache", "ls", columns=columns, rows=200)
        widths = {len(line) for line in listed.lines}
        assert listed.lines[0].split()[:3] == ["WHAT", "KIND", "SIZE"] and least <= max(widths) <= columns, listed.lines
        assert listed.lines[0].endswith("IN USE"), listed.lines


def test_a_wrong_command_line_is_no_run_that_is_done(connected):
    connected.run("functions", "-m", GREETER).ok()
    done = shown(connected, "call", "-m", GREETER, "hallo")
    assert done.code == 2 and done.lines[0] == "Error: unknown function `hallo`", done.lines


def test_an_exception_in_user_code_ends_the_run(connected, folder):
    module = write_module(folder, "import dagger\n\n@dagger.object_type\nclass Probe:\n    @dagger.function\n    def go(self) -> str:\n        return {}['missing']\n")
    done = shown(connected, "call", "-m", module, "go")
    assert done.code != 0 and done.final_frame()[-1].startswith("✘ 1 failed"), done.lines
    assert any(re.match(r"✘ probe go KeyError: 'missing' ", line) for line in done.final_frame()), done.lines
    plain = connected.run("--progress", "plain", "call", "-m", module, "go").failed().err
    assert re.search(r"(?m)^\d+ +probe go ERROR \[\d+\.\ds\] KeyError: 'missing'$", plain), plain


def test_a_call_is_named_as_on_the_command_line(connected):
    name = f"--name={os.urandom(4).hex()}"
    plain = connected.run("--progress", "plain", "call", "-m", GREETER, "from-container", name).ok().err
    assert re.search(r"(?m)^\d+ +greeter from-container DONE", plain) and "from_container" not in plain, plain


def test_reading_the_files_of_a_module_is_no_step(connected, folder):
    code = IMPORTS + "@object_type\nclass Probe:\n    @function\n    def go(self) -> str:\n        return '%s'\n" % os.urandom(4).hex()
    module = write_module(folder, code)
    for words in [["call", "-m", module, "go"], ["call", "-m", module, "go", "--help"], ["functions", "-m", module]]:
        err = connected.run("--progress", "plain", *words).ok().err
        assert not re.search(r"\bsync\b|dagger\.json", err), err
    err = connected.run("--progress", "plain", "-vv", "call", "-m", module, "go").ok().err
    assert re.search(r"(?m)^\d+ +sync .*/dagger\.json DONE", err), err


def test_progress_as_text(engine):
    document = in_busybox(sh("echo $RANDOM; echo one; printf 'x\\ry\\n'; exit %d"))
    fresh = lambda code: document.replace("%d", f"{code}; : {os.urandom(4).hex()}")
    plain = engine.run("--progress", "plain", "query", stdin=fresh(4)).failed(code=4).err.splitlines()
    assert any(re.match(r"\d+ +\| y$", line) for line in plain), plain
    assert any(re.match(r"\d+ +exec sh -c .* ERROR \[\d+\.\ds\] exit code: 4$", line) for line in plain), plain
    assert not re.search(r"[0-9a-f]{64}", "\n".join(plain).partition("Error")[0])
    dots = engine.run("--progress", "dots", "query", stdin=fresh(0)).ok().err.splitlines()
    assert re.fullmatch(r"[.:]+", dots[0]) and SUMMARY.match(dots[1]), dots
    logs = engine.run("--progress", "logs", "query", stdin=fresh(0)).ok().err.splitlines()
    assert [line.rpartition(" | ")[2] for line in logs][-2:] == ["one", "y"] and all(line.startswith("exec sh -c") for line in logs), logs
    *events, end = [json.loads(line) for line in engine.run("query", stdin=fresh(0), env={"RONDEL_PROGRESS": "json"}).ok().err.splitlines()]
    assert {"start", "log", "end"} <= {event["event"] for event in events} and end["end"] == "done"
    for flags in [["-q"], ["--silent"], ["--progress", "quiet"], ["--progress", "plain", "-s"]]:
        assert engine.run(*flags, "query", stdin=fresh(0)).ok().err == ""
    wrong = engine.run("query", stdin="{ version }", env={"RONDEL_PROGRESS": "nonsense"}).failed("nonsense", code=2).err
    assert all(value in wrong for value in ["auto", "tty", "plain", "dots", "logs", "json", "quiet"]), wrong


def test_logs_of_ci_are_grouped(engine):
    document = in_busybox(sh(f"echo one; : {os.urandom(4).hex()}"))
    lines = engine.run("query", stdin=document, env={"GITHUB_ACTIONS": "true"}).ok().err.splitlines()
    (start,) = [at for at, line in enumerate(lines) if line.startswith("::group::") and "exec sh -c" in line]
    assert lines[start + 1].endswith("| one") and lines[start + 2] == "::endgroup::", lines


def test_runs_are_recorded(fresh, folder):
    document = in_busybox(sh("seq 200; echo why >&2; exit 5"))
    fresh.query(document).failed(code=5)
    (run,) = fresh.run("trace", "list", "--json").json()
    assert run["command"] == "query" and run["result"].startswith("✘ 1 failed"), run
    listed = fresh.run("trace", "list").ok().out.splitlines()
    assert listed[0].startswith("RUN") and listed[1].startswith(run["run"])
    logs = fresh.run("trace", "logs").ok().out.splitlines()
    assert sorted(logs) == sorted([*map(str, range(1, 201)), "why"])
    assert fresh.run("trace", "logs", run["run"], "--step", "exec sh").ok().out.splitlines() == logs
    fresh.run("trace", "logs", "--step", "nothing").failed("no step with `nothing`", code=1)
    final = fresh.run("trace", "replay", "--final").ok().out.splitlines()
    assert SUMMARY.match(final[-1]) and any("✘ exec sh -c" in line for line in final), final
    picture = folder / "run.svg"
    fresh.run("trace", "replay", "--svg", picture, "--before", "$ rondel query").ok()
    assert picture.read_text().startswith("<svg") and "$ rondel query" in picture.read_text()
    replayed = shown(fresh, "trace", "replay", "--speed", 100)
    assert replayed.code == 0 and replayed.lines == final, replayed.lines
    (recording,) = (fresh.state / "traces").iterdir()
    assert recording.stat().st_mode & 0o777 == 0o600
    damaged = folder / "damaged.jsonl"
    damaged.write_text(recording.read_text().splitlines()[0] + "\n{nonsense\n")
    fresh.run("trace", "replay", damaged).failed("damaged.jsonl", "line 2", code=1)
    fresh.run("trace", "replay", "nonsense").failed("no recorded run or file `nonsense`", code=1)
    for _ in range(25):
        fresh.data("{ directory { entries } }")
    assert len(list((fresh.state / "traces").iterdir())) <= 20
    fresh.run("engine", "reset").ok()
    assert not (fresh.state / "traces").exists()
