"""`kill -9` of the engine at random moments: the next command works, finished results stay, nothing
leaks.
"""

import collections
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import termios
import threading
import time
from pathlib import Path

import pytest

from kit import IMAGES, ROOT, eventually, is_open, let_time_pass, mirror_of, processes_with, run_in
from kit.leaks import LeakCheck
from kit.oci import Layout, base_layer
from kit.kills import kill
from kit.streams import get, in_python, page_service_id, tunnel
from kit.system import mount_lines
from kit.terminal import Terminal, document_file

ROUNDS = int(os.environ.get("RONDEL_KILL_ROUNDS", "10"))
SEED = int(os.environ.get("RONDEL_KILL_SEED", "1"))
ENOUGH_ROUNDS = 20
UUID = "cat /proc/sys/kernel/random/uuid"
PHASES = ("pull", "exec", "commit")
WROTE = "everything is written"
# Seconds. A step that is done in less has no line of its start.
SHORTEST = 0.1


def all_of(documents: list) -> str:
    """One document with the selections of all documents."""
    return "{ %s }" % " ".join(f"r{n}: {document.strip()[1:-1]}" for n, document in enumerate(documents))


# The rounds.


class Client:
    """A running query and its progress."""

    def __init__(self, rondel, document: str):
        self.lines = []
        self.changed = threading.Condition()
        self.began = time.monotonic()
        self.process = rondel.start_query(document, "--progress", "plain")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stderr:
            with self.changed:
                self.lines.append((time.monotonic(), line.rstrip().partition(" ")[2].strip()))
                self.changed.notify_all()
        with self.changed:
            self.lines.append((time.monotonic(), "the end"))
            self.changed.notify_all()

    def phase(self) -> str:
        """The current phase of the query, by its progress output."""
        said = [line for _, line in self.lines]
        if "the end" in said:
            return "after"
        if any(line == f"| {WROTE}" for line in said):
            return "after" if any(line.startswith("exec ") and " DONE [" in line for line in said) else "commit"
        if any(line.startswith("exec ") for line in said):
            return "exec"
        pulls = [line for line in said if line.startswith("pull ")]
        if pulls and not any(" DONE [" in line for line in pulls):
            return "pull"
        return "between" if pulls else "start"

    def reach(self, phase: str) -> None:
        """Waits for the phase, or the end."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.phase() in (phase, "after"), 120), self.lines

    def durations(self) -> dict:
        """The durations of the phases of an undisturbed query."""
        phases, last = {}, self.began
        lines, self.lines = self.lines, []
        for at, line in lines:
            phases[self.phase()] = phases.get(self.phase(), 0) + at - last
            self.lines.append((at, line))
            last = at
        return phases

    def finish(self) -> tuple:
        """The exit code and the output."""
        out = self.process.stdout.read()
        code = self.process.wait(timeout=60)
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, out


class Work:
    """A query for each kind of round, never the same twice."""

    FILES = 1500

    def __init__(self, folder: Path, dice: random.Random, marker: str):
        self.layout = Layout(folder)
        self.dice = dice
        self.marker = marker
        self.base = base_layer(IMAGES)
        self.count = 0

    def image(self) -> str:
        """A new image with a layer of its own that takes a while."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for n in range(700):
                info = tarfile.TarInfo(f"pulled/{n % 25}/{n}")
                info.size = 8192
                archive.addfile(info, io.BytesIO(self.dice.randbytes(info.size)))
        name = f"kill.test/pulled:{self.count}"
        self.layout.image(name, self.base, buffer.getvalue())
        return name

    def of(self, kind: str) -> str:
        self.count += 1
        if kind == "pull":
            return run_in(self.image(), f"echo {self.count}; {UUID}; ls -R /pulled | wc -l")
        if kind == "exec":
            return run_in("busybox", f"echo {self.count}; sleep {self.marker}")
        fill = f"i=0; while [ $i -lt {self.FILES} ]; do echo $i > /d/$i; i=$((i+1)); done"
        return run_in("busybox", f"mkdir /d; echo {self.count}; {fill}; {UUID}; echo {WROTE}")


def unfinished(state: Path) -> list:
    """Unfinished folders of a killed engine, not yet in their final place."""
    found = [entry.name for entry in (state / "scratch").glob("*") if entry.name != "empty"]
    return found + [entry.name for entry in (state / "layers").glob("*") if not (entry / "meta.json").exists()]


def measure(rondel, work: Work) -> dict:
    """The durations of the phases on this machine."""
    took = {"start": 0.2, "exec": 0.4}
    for kind in ("pull", "commit"):
        client = Client(rondel, work.of(kind))
        code, _ = client.finish()
        assert code == 0, client.lines
        # A pull shorter than the display's threshold has one line, that of its end.
        took[kind] = client.durations().get(kind, SHORTEST)
    return took


@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_a_killed_engine_loses_no_result_and_leaves_nothing(make_engine, folder, monkeypatch):
    dice = random.Random(SEED)
    work = Work(folder / "layout", dice, f"8641{dice.randrange(10**6):06}")
    for variable in ("TMPDIR", "XDG_RUNTIME_DIR"):
        (folder / variable).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(folder / variable))
    rondel = make_engine(mirror_of(IMAGES) + f"[[mirrors]]\nlayout = {json.dumps(str(work.layout.folder))}\n")
    leaks = LeakCheck(rondel)
    try:
        rounds(rondel, leaks, work, dice)
        rondel.verify()
        rondel.stop()
        print(leaks.check())
        assert unfinished(rondel.state) == []
        assert [str(p) for name in ("TMPDIR", "XDG_RUNTIME_DIR") for p in (folder / name).iterdir()] == []
    finally:
        leaks.close()


def rounds(rondel, leaks: LeakCheck, work: Work, dice: random.Random) -> None:
    finished = [run_in("busybox", f"echo finished; {UUID}")]
    kept = rondel.data(all_of(finished))
    leaks.learn_names()
    took = measure(rondel, work)
    print("\nphases take", ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in took.items()))
    hits, cut = collections.Counter(), collections.Counter()
    for turn in range(ROUNDS):
        kind = PHASES[turn % 3]
        # Mostly in the round's own phase. Each fifth time while the engine starts, after another
        # kill.
        aim = "start" if turn % 5 == 4 else kind
        document = work.of(kind)
        if aim == "start":
            kill(rondel, rondel.engines())
        client = Client(rondel, document)
        if aim != "start":
            client.reach(aim)
        delay = dice.uniform(0, took[aim])
        let_time_pass(delay)
        eventually(lambda: rondel.engines() or client.process.poll() is not None, within=20, what="an engine")
        # An ordinary user's engine has a second process. Both end when one is killed.
        engines = rondel.engines()
        phase, over = client.phase(), any(line == "the end" for _, line in client.lines)
        kill(rondel, [dice.choice(engines)] if engines else [])
        cut_off = unfinished(rondel.state)
        eventually(lambda: client.process.poll() is not None or rondel.engines(), within=20, what="the client")
        if client.process.poll() is None:
            # The client had no answer yet, and started another engine.
            assert phase == "start", client.lines
            client.process.kill()
            kill(rondel, rondel.engines())
        code, _ = client.finish()
        assert not over or code == 0, client.lines
        # Progress reports the end of the work shortly before the answer.
        phase = "after" if code == 0 and phase != "start" else "commit" if phase == "after" else phase
        cut[phase] += bool(cut_off)
        hits[phase] += 1
        ran = rondel.execs() if rondel.engines() else 0
        again = rondel.data(all_of(finished))
        assert again == kept, f"a finished result is no hit any more after round {turn}"
        assert rondel.execs() == ran, "a finished result ran again"
        leaks.reap()
        eventually(lambda: not processes_with(work.marker), what=f"the process of `{kind}`, killed after {delay} s, to end")
        mounts = {line for line in mount_lines() if str(rondel.folder) in line}
        assert mounts == set(), (kind, delay, mounts)
        print(f"round {turn}: {kind}, killed {delay:.3f} s into `{aim}`: hit `{phase}`", flush=True)
        if kind != "exec":
            # The interrupted work is done again, and counts as a finished result from now on.
            finished.append(document)
            kept = rondel.data(all_of(finished))
    count = lambda found: ", ".join(f"{phase} {n}" for phase, n in sorted(found.items()))
    print(f"{ROUNDS} rounds hit: {count(hits)}; unfinished on disk after: {count(cut)}; {len(finished)} results were kept")
    if ROUNDS >= ENOUGH_ROUNDS:
        assert all(hits[phase] for phase in PHASES), hits


def test_streams_end_with_the_engine(fresh, folder):
    """A terminal and a tunnel end with an error when the engine is killed, and leave nothing."""
    leaks = LeakCheck(fresh)
    try:
        fresh.data(run_in("busybox", "true"))
        leaks.learn_names()
        session = fresh.session()
        tunnelled = tunnel(session, page_service_id(session, 8000), "", "endpoint")["endpoint"]
        port = int(tunnelled.split(":")[1])
        assert get(tunnelled) == "the page"
        held = socket.create_connection(("127.0.0.1", port))
        held.sendall(b"GET / HT")
        shown = 'withEnvVariable(name: "A", value: "B")\nterminal(cmd: ["sh", "-c", "echo here; exec sleep 8641351"])'
        terminal = Terminal(fresh, "query", "--doc", document_file(folder, in_python(shown)))
        usual = termios.tcgetattr(terminal.master)
        terminal.until("here\r\n")
        assert termios.tcgetattr(terminal.master) != usual
        kill(fresh, fresh.engines()[:1])
        assert held.recv(1) == b""
        held.close()
        # The terminal is restored, and shows the reason.
        terminal.until("Error:")
        assert termios.tcgetattr(terminal.master) == usual
        assert terminal.end() == 1
        assert b"engine" in terminal.said, terminal.said
        eventually(lambda: not is_open(port), what="the end of the tunnel")
        assert "engine" in session.error("{ container { id } }")["message"]
        assert session.close() == 0
        eventually(lambda: not processes_with("8641351") and not processes_with("http.server"), what="the end of both processes")
        # The next engine works.
        fresh.data(run_in("busybox", "echo again"))
        fresh.verify()
        fresh.stop()
        leaks.check()
    finally:
        leaks.close()


def test_nothing_is_written_outside_the_state_directory(fresh):
    leaks = LeakCheck(fresh)
    try:
        fresh.data(run_in("busybox", "echo somewhere > /else"))
        kill(fresh, fresh.engines())
        fresh.data(run_in("busybox", "echo again"))
        leaks.learn_names()
        fresh.stop()
        leaks.check()
        assert {entry.name for entry in fresh.folder.iterdir()} == {"s", "home", "config.toml"}
    finally:
        leaks.close()


def test_the_leak_check_sees_each_kind_of_leak(fresh, folder):
    """Makes one of each kind of leak, and cleans up."""
    leaks = LeakCheck(fresh)
    mark = folder.name
    stray = subprocess.Popen(["sh", "-c", f"sleep 0.5; echo > /tmp/{mark}; sleep 60"], start_new_session=True)
    undo = [["rm", "-f", f"/tmp/{mark}"]]
    try:
        fresh.data(run_in("busybox", "true"))
        leaks.learn_names()
        fresh.stop()
        eventually(lambda: Path("/tmp", mark).exists(), within=20, what="the file")
        expected = {"files", "processes"}
        if ROOT:
            cable, table = f"v{leaks.tag}9", ["ip", f"rondel-{leaks.tag}"]
            place = fresh.folder / "place"
            place.mkdir()
            planted = [
                ("interfaces", ["ip", "link", "add", cable, "type", "bridge"], ["ip", "link", "delete", cable]),
                ("packet filter tables", ["nft", "add", "table", *table], ["nft", "delete", "table", *table]),
                ("mounts", ["mount", "-t", "tmpfs", "none", str(place)], ["umount", str(place)]),
            ]
            for what, make, remove in planted:
                if shutil.which(make[0]):
                    subprocess.run(make, check=True)
                    undo.append(remove)
                    expected.add(what)
        eventually(lambda: leaks.left().keys() >= expected, within=20, what="the check to see all")
        found = leaks.left()
        assert found.keys() == expected, found
        assert found["files"] == {Path("/tmp", mark)}, found
        assert stray.pid in found["processes"] and len(found["processes"]) <= 2, found
    finally:
        os.killpg(stray.pid, signal.SIGKILL)
        stray.wait()
        for command in undo:
            subprocess.run(command, check=True)
    leaks.check()
    leaks.close()


def test_a_command_works_right_after_a_kill(fresh):
    """While the kernel ends a process, connections to its socket are still accepted."""
    dice = random.Random(SEED)
    kept = fresh.data(run_in("busybox", UUID))
    for turn in range(10):
        client = Client(fresh, run_in("busybox", f"echo {turn}; sleep 60"))
        client.reach("exec")
        let_time_pass(dice.uniform(0, 0.05))
        fresh.kill()
        assert fresh.data(run_in("busybox", UUID)) == kept
        client.finish()
    fresh.verify()


def test_parallel_commands_start_one_engine(fresh):
    fresh.data(run_in("busybox", "true"))
    for _ in range(5):
        kill(fresh, fresh.engines())
        clients = [Client(fresh, run_in("busybox", "true")) for _ in range(5)]
        ends = [(*client.finish(), client.lines) for client in clients]
        assert [end for end in ends if end[0] != 0] == []
        eventually(lambda: len(fresh.engines()) == (1 if ROOT else 2), what="one engine to be left")


def test_reset_after_a_kill_leaves_nothing(fresh):
    leaks = LeakCheck(fresh)
    try:
        fresh.data(run_in("busybox", "mkdir /d; echo content > /d/f; chown -R 1000:1000 /d; chmod 700 /d"))
        leaks.learn_names()
        kill(fresh, fresh.engines())
        fresh.run("engine", "reset").ok()
        assert not fresh.state.exists()
        leaks.check()
    finally:
        leaks.close()
        # The next engine finds what a failure left.
        fresh.data(run_in("busybox", "true"))
