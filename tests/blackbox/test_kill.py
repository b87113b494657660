"""`kill -9` of the engine at random moments: the next command works, finished results stay, nothing leaks."""

import collections
import contextlib
import ctypes
import fcntl
import io
import json
import os
import pwd
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import termios
import threading
import time
from pathlib import Path

import pytest
import test_streams as streams
from harness import IMAGES, ROOT, command_line, mirror_of, processes_with, wait_until
from oci import Layout, base_layer

ROUNDS = int(os.environ.get("RONDEL_KILL_ROUNDS", "10"))
SEED = int(os.environ.get("RONDEL_KILL_SEED", "1"))
ENOUGH_ROUNDS = 20
UUID = "cat /proc/sys/kernel/random/uuid"
PHASES = ("pull", "exec", "commit")
WROTE = "everything is written"


def run_in(image: str, script: str) -> str:
    return '{ container { from(address: "%s") { withExec(args: ["sh", "-c", %s]) { stdout } } } }' % (image, json.dumps(script))


def all_of(documents: list) -> str:
    """One document that asks for everything that the documents ask for."""
    return "{ %s }" % " ".join(f"r{n}: {document.strip()[1:-1]}" for n, document in enumerate(documents))


# What is on this machine, and whose it is.


def parents() -> dict:
    """Of every process that has not ended: its parent, and when it started."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found[int(entry)] = (int(fields[1]), fields[19])
    return found


def descendants() -> dict:
    """The processes below this one, and when they started."""
    everybody = parents()
    below = {os.getpid()}
    while more := {pid for pid, (parent, _) in everybody.items() if parent in below} - below:
        below |= more
    return {pid: everybody[pid][1] for pid in below - {os.getpid()}}


def mount_lines(pid="self") -> list:
    """Mounts without the numbers that the kernel gives them: where, of what kind, of what, how."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return []
    # The root of the mount, where it is, and from the separator on: kind, source, options.
    return [" ".join([*line.split()[3:5], line.partition(" - ")[2]]) for line in lines]


def mounts_naming(folder: Path) -> set:
    """Mounts at or of something in `folder`, whoever sees them."""
    seen = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            seen.setdefault(os.readlink(f"/proc/{pid}/ns/mnt"), pid)
    return {line for pid in ["self", *seen.values()] for line in mount_lines(pid) if str(folder) in line}


def interfaces() -> set:
    return set(os.listdir("/sys/class/net"))


def packet_filter() -> dict:
    """The tables of the packet filter with their rules; nothing where it cannot be read."""
    if not ROOT or not shutil.which("nft"):
        return {}
    rules = subprocess.run(["nft", "--stateless", "list", "ruleset"], text=True, capture_output=True, check=True).stdout
    return {table.partition(" {")[0]: table for table in re.split(r"^(?=table )", rules, flags=re.M) if table}


def control_groups() -> set:
    return {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}


def shared_folders(home: Path) -> list:
    """Where programs leave files."""
    own = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    runtime = [f"/run/user/{os.geteuid()}", os.environ.get("XDG_RUNTIME_DIR", "/run")]
    places = ["/tmp", "/var/tmp", "/run", "/run/lock", "/run/netns", "/dev/shm", *runtime, own, own / ".cache", own / ".config"]
    places += [own / ".local/state", own / ".local/share", home]
    return sorted({os.path.realpath(place) for place in places if os.path.isdir(place)})


class Watch:
    """Who makes what in folders, as the kernel tells root: fanotify with the names of new entries."""

    CREATE, MOVED_TO, ON_DIR = 0x100, 0x80, 0x40000000
    CLOSE_ON_EXEC, NON_BLOCKING, REPORT_DIR_AND_NAME = 1, 2, 0xC00
    ADD, HERE = 1, -100

    def __init__(self, folders: list):
        libc = ctypes.CDLL(None, use_errno=True)
        flags = self.CLOSE_ON_EXEC | self.NON_BLOCKING | self.REPORT_DIR_AND_NAME
        self.fd = libc.fanotify_init(flags, os.O_RDONLY) if ROOT else -1
        self.names = set()
        if self.fd < 0:
            return
        for folder in folders:
            mask = ctypes.c_uint64(self.CREATE | self.MOVED_TO | self.ON_DIR)
            if libc.fanotify_mark(self.fd, self.ADD, mask, self.HERE, str(folder).encode()):
                os.close(self.fd)
                self.fd = -1
                return

    def wait(self, seconds: float, is_own) -> None:
        """Waits, and notes the names that processes make of which `is_own` says so."""
        if self.fd < 0:
            time.sleep(seconds)
            return
        if not select.select([self.fd], [], [], seconds)[0]:
            return
        events = os.read(self.fd, 1 << 16)
        while events:
            length, _, _, head, _, _, pid = struct.unpack_from("=IBBHQii", events)
            # Behind the head: a record of kind, length and file system, then a handle with its own length, then the name.
            (handle,) = struct.unpack_from("=I", events, head + 12)
            name = events[head + 20 + handle : length].split(b"\0")[0].decode(errors="replace")
            if is_own(pid):
                self.names.add(name)
            events = events[length:]

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Traces:
    """What was on this machine before, and what this process's engines leave on it.

    Other engines may come and go meanwhile. What is this one's is told by the kernel: orphans become children of this process,
    and new files are noted with who made them. The names of interfaces and rules come from the other end of a container's cable.
    """

    SUBREAPER = 36
    OTHERS = re.compile(r"rnd[0-9a-f]{8}|v[0-9a-f]{8}\d+|table ip6? rondel-[0-9a-f]{8}")

    def __init__(self, rondel):
        self.rondel = rondel
        self.tag = None
        assert ctypes.CDLL(None).prctl(self.SUBREAPER, 1, 0, 0, 0) == 0
        self.early = descendants()
        self.folders = shared_folders(rondel.home)
        self.files = {folder: set(os.listdir(folder)) for folder in self.folders}
        self.mounts = collections.Counter(mount_lines())
        self.links = interfaces()
        self.rules = packet_filter()
        self.groups = control_groups()
        self.seen = {}
        self.namespaces = set()
        self.seen_groups = set()
        self.opened = set()
        self.watch = Watch(self.folders)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.over.set()
        self.thread.join()
        self.watch.close()
        ctypes.CDLL(None).prctl(self.SUBREAPER, 0, 0, 0, 0)

    def processes(self) -> dict:
        return {pid: started for pid, started in descendants().items() if self.early.get(pid) != started}

    def look(self) -> None:
        """Notes which namespaces, control groups and open files the processes have."""
        here = Path("/proc/self/cgroup").read_text().splitlines()
        while not self.over.is_set():
            self.seen.update(self.processes())
            for pid in self.seen:
                with contextlib.suppress(OSError):
                    self.seen_groups |= set(Path(f"/proc/{pid}/cgroup").read_text().splitlines()) - set(here)
                    self.namespaces.add(os.readlink(f"/proc/{pid}/ns/net"))
                    for fd in os.listdir(f"/proc/{pid}/fd"):
                        with contextlib.suppress(OSError):
                            target = os.readlink(f"/proc/{pid}/fd/{fd}")
                            (self.namespaces if target.startswith("net:[") else self.opened).add(target)
            until = time.monotonic() + 0.1
            while (left := until - time.monotonic()) > 0:
                self.watch.wait(left, lambda pid: pid in self.seen or pid in self.processes())

    def reap(self) -> None:
        """Ends the wait of orphans for somebody who asks how they ended; to be called when no child is waited for."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def learn_names(self) -> None:
        """Follows a container's cable to its other end, whose name tells those of everything else."""
        if not ROOT:
            return
        number = self.rondel.data(run_in("busybox", f"cat /sys/class/net/eth0/iflink; {UUID} >&2"))
        number = number["container"]["from"]["withExec"]["stdout"].strip()
        ends = [n for n in interfaces() if (Path("/sys/class/net") / n / "ifindex").read_text().strip() == number]
        assert len(ends) == 1 and (name := re.fullmatch(r"v([0-9a-f]{8})\d+", ends[0])), (number, ends)
        self.tag = name[1]
        assert f"rnd{self.tag}" in interfaces()
        assert not shutil.which("nft") or f"table ip rondel-{self.tag}" in packet_filter()

    def is_others(self, name: str) -> bool:
        """Whether a name is made as engines make them, and not this engine's."""
        return bool(self.OTHERS.fullmatch(name)) and (self.tag is None or self.tag not in name)

    def left_interfaces(self) -> set:
        return {name for name in interfaces() - self.links if not self.is_others(name)}

    def left_rules(self) -> set:
        now = packet_filter()
        return {
            name
            for name in now.keys() | self.rules.keys()
            if now.get(name) != self.rules.get(name) and not self.is_others(name)
        }

    def left_mounts(self) -> set:
        new = collections.Counter(mount_lines()) - self.mounts
        shown = {line for line in new if any(line.startswith(f"{namespace} ") for namespace in self.namespaces)}
        return mounts_naming(self.rondel.folder) | shown | {line for line in new if not self.in_other_state(line)}

    @staticmethod
    def in_other_state(mount: str) -> bool:
        """Whether a mount is in the state folder of another engine."""
        place = Path(mount.split()[1].encode().decode("unicode_escape"))
        try:
            return any((folder / "engine.sock").exists() or (folder / "format").exists() for folder in place.parents)
        except PermissionError:
            # Where this user may not look, no engine of this user's has mounted anything.
            return True

    def left_processes(self) -> dict:
        return {pid: command_line(pid).decode(errors="replace").replace("\0", " ") for pid in self.processes()}

    def left_groups(self) -> set:
        own = {line.split(":", 2)[2].strip("/") for line in self.seen_groups} - {""}
        new = control_groups() - self.groups
        return {folder for folder in new if (self.tag or "rondel") in folder or any(folder.endswith("/" + o) for o in own)}

    def left_files(self) -> set:
        """New entries of shared folders that this engine made: as root the kernel says who did, else the owner is asked."""
        return {path for folder in self.folders for path in self.new_entries(Path(folder)) if self.made(path)}

    def new_entries(self, folder: Path) -> list:
        with contextlib.suppress(OSError):
            return [folder / name for name in set(os.listdir(folder)) - self.files[str(folder)]]
        return []

    def made(self, path: Path) -> bool:
        if path == self.rondel.folder:
            return False
        named = (self.tag and self.tag in path.name) or self.rondel.folder.name in path.name
        if named or str(path) in self.opened or path.parent == self.rondel.home:
            return True
        if ROOT:
            return path.name in self.watch.names
        with contextlib.suppress(OSError):
            return path.lstat().st_uid in own_ids() and not path.name.startswith("pytest-of-")
        return False

    def left(self) -> dict:
        found = {
            "interfaces": self.left_interfaces(),
            "packet filter tables": self.left_rules(),
            "mounts": self.left_mounts(),
            "processes": self.left_processes(),
            "control groups": self.left_groups(),
            "files": self.left_files(),
        }
        return {what: names for what, names in found.items() if names}

    def check(self) -> str:
        """Nothing is left; the kernel may take a moment for namespaces and what is in them."""
        self.reap()
        deadline = time.monotonic() + 60
        while (found := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not found, found
        told = "the kernel named the makers of files" if self.watch.fd >= 0 else "owners named the makers of files"
        names = f"names with {self.tag}" if self.tag else "no names on the host"
        return f"left nothing: {len(self.seen)} processes, {len(self.namespaces)} network namespaces, {names}; {told}"


def own_ids() -> set:
    """This user's id, and the further ones of an ordinary user."""
    user = pwd.getpwuid(os.geteuid())
    ids = {user.pw_uid}
    with contextlib.suppress(OSError):
        for line in Path("/etc/subuid").read_text().splitlines():
            owner, first, count = line.split(":")
            if owner in (user.pw_name, str(user.pw_uid)):
                ids |= set(range(int(first), int(first) + int(count)))
    return ids


# The rounds.


class Client:
    """A query under way, and how far it has come."""

    def __init__(self, rondel, document: str):
        self.lines = []
        self.changed = threading.Condition()
        self.began = time.monotonic()
        self.process = rondel.start("query", "--progress", "plain", stdin=subprocess.PIPE)
        self.process.stdin.write(document)
        self.process.stdin.close()
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
        """What the engine is doing now, as far as it has said so."""
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
        """How long the phases of a query that was left alone took."""
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
    """What a killed engine was at: folders it had not given their final place."""
    found = [entry.name for entry in (state / "scratch").glob("*") if entry.name != "empty"]
    return found + [entry.name for entry in (state / "layers").glob("*") if not (entry / "meta.json").exists()]


def kill(rondel, pids: list) -> None:
    """Kills the processes, and waits for the end of the engine; commands that do not wait have a test of their own."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not rondel.engines() and is_let_go(rondel.state), 20, "the end of the engine")


def is_let_go(state: Path) -> bool:
    """Whether the kernel has closed the files of a killed engine, which it does a while after it took its memory away."""
    try:
        with open(state / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(state / "engine.sock")) != 0


def measure(rondel, work: Work) -> dict:
    """How long the phases take on this machine now."""
    took = {"start": 0.2, "exec": 0.4}
    for kind in ("pull", "commit"):
        client = Client(rondel, work.of(kind))
        code, _ = client.finish()
        assert code == 0, client.lines
        took[kind] = client.durations().get(kind, 0)
        assert took[kind] > 0, (kind, client.lines)
    return took


@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_kill(make_engine, folder, monkeypatch):
    dice = random.Random(SEED)
    work = Work(folder / "layout", dice, f"8641{dice.randrange(10**6):06}")
    for variable in ("TMPDIR", "XDG_RUNTIME_DIR"):
        (folder / variable).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(folder / variable))
    rondel = make_engine(mirror_of(IMAGES) + f"[[mirrors]]\nlayout = {json.dumps(str(work.layout.folder))}\n")
    traces = Traces(rondel)
    try:
        rounds(rondel, traces, work, dice)
        rondel.verify()
        rondel.stop()
        print(traces.check())
        assert unfinished(rondel.state) == []
        assert [str(p) for name in ("TMPDIR", "XDG_RUNTIME_DIR") for p in (folder / name).iterdir()] == []
    finally:
        traces.close()


def rounds(rondel, traces: Traces, work: Work, dice: random.Random) -> None:
    finished = [run_in("busybox", f"echo finished; {UUID}")]
    kept = rondel.data(all_of(finished))
    traces.learn_names()
    took = measure(rondel, work)
    print("\nphases take", ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in took.items()))
    hits, cut = collections.Counter(), collections.Counter()
    for turn in range(ROUNDS):
        kind = PHASES[turn % 3]
        # Mostly while the engine does what the round is about; each fifth time while it starts, after another kill.
        aim = "start" if turn % 5 == 4 else kind
        document = work.of(kind)
        if aim == "start":
            kill(rondel, rondel.engines())
        client = Client(rondel, document)
        if aim != "start":
            client.reach(aim)
        delay = dice.uniform(0, took[aim])
        time.sleep(delay)
        wait_until(lambda: rondel.engines() or client.process.poll() is not None, 20, "an engine")
        # An ordinary user's engine has a process that waits for it: they end together, whichever is killed.
        engines = rondel.engines()
        phase, over = client.phase(), any(line == "the end" for _, line in client.lines)
        kill(rondel, [dice.choice(engines)] if engines else [])
        cut_off = unfinished(rondel.state)
        wait_until(lambda: client.process.poll() is not None or rondel.engines(), 20, "the client")
        if client.process.poll() is None:
            # It had heard nothing yet, and goes on with an engine of its own.
            assert phase == "start", client.lines
            client.process.kill()
            kill(rondel, rondel.engines())
        code, _ = client.finish()
        assert not over or code == 0, client.lines
        # The work is said to be done a moment before the answer is given.
        phase = "after" if code == 0 and phase != "start" else "commit" if phase == "after" else phase
        cut[phase] += bool(cut_off)
        hits[phase] += 1
        ran = rondel.execs() if rondel.engines() else 0
        again = rondel.data(all_of(finished))
        assert again == kept, f"a finished result is no hit any more after round {turn}"
        assert rondel.execs() == ran, "a finished result ran again"
        traces.reap()
        wait_until(lambda: not processes_with(work.marker), what=f"the process of `{kind}`, killed after {delay} s, to end")
        mounts = {line for line in mount_lines() if str(rondel.folder) in line}
        assert mounts == set(), (kind, delay, mounts)
        print(f"round {turn}: {kind}, killed {delay:.3f} s into `{aim}`: hit `{phase}`", flush=True)
        if kind != "exec":
            # What was cut off is done anew, and is a finished result from then on.
            finished.append(document)
            kept = rondel.data(all_of(finished))
    count = lambda found: ", ".join(f"{phase} {n}" for phase, n in sorted(found.items()))
    print(f"{ROUNDS} rounds hit: {count(hits)}; unfinished on disk after: {count(cut)}; {len(finished)} results were kept")
    if ROUNDS >= ENOUGH_ROUNDS:
        assert all(hits[phase] for phase in PHASES), hits


def test_streams_end_with_the_engine(fresh, folder):
    """A terminal and a tunnel while the engine is killed: both clients hear of it, and nothing is left."""
    traces = Traces(fresh)
    try:
        fresh.data(run_in("busybox", "true"))
        traces.learn_names()
        session = fresh.session()
        tunnelled = streams.tunnel(session, streams.service_id(session, 8000), "", "endpoint")["endpoint"]
        port = int(tunnelled.split(":")[1])
        assert streams.get(tunnelled) == "the page"
        held = socket.create_connection(("127.0.0.1", port))
        held.sendall(b"GET / HT")
        shown = 'withEnvVariable(name: "A", value: "B")\nterminal(cmd: ["sh", "-c", "echo here; exec sleep 8641351"])'
        terminal = streams.Terminal(fresh, "query", "--doc", streams.document(folder, streams.python(shown)))
        usual = termios.tcgetattr(terminal.master)
        terminal.until("here\r\n")
        assert termios.tcgetattr(terminal.master) != usual
        kill(fresh, fresh.engines()[:1])
        assert held.recv(1) == b""
        held.close()
        # The terminal is the person's again, and says why.
        terminal.until("Error: ")
        assert termios.tcgetattr(terminal.master) == usual
        assert terminal.end() == 1
        assert b"engine" in terminal.said, terminal.said
        wait_until(lambda: not streams.is_open(port), what="the end of the tunnel")
        assert "engine" in session.error("{ container { id } }")["message"]
        assert session.close() == 0
        wait_until(lambda: not processes_with("8641351") and not processes_with("http.server"), what="the end of both processes")
        # The next one works, and finds nothing that it stumbles over.
        fresh.data(run_in("busybox", "echo again"))
        fresh.verify()
        fresh.stop()
        traces.check()
    finally:
        traces.close()


def test_nothing_is_written_outside_the_state_folder(fresh):
    traces = Traces(fresh)
    try:
        fresh.data(run_in("busybox", "echo somewhere > /else"))
        kill(fresh, fresh.engines())
        fresh.data(run_in("busybox", "echo again"))
        traces.learn_names()
        fresh.stop()
        traces.check()
        assert {entry.name for entry in fresh.folder.iterdir()} == {"s", "home", "config.toml"}
    finally:
        traces.close()


def test_the_check_sees_what_is_left(fresh, folder):
    """Makes one of each kind of leak, and cleans up."""
    traces = Traces(fresh)
    mark = folder.name
    stray = subprocess.Popen(["sh", "-c", f"sleep 0.5; echo > /tmp/{mark}; sleep 60"], start_new_session=True)
    undo = [["rm", "-f", f"/tmp/{mark}"]]
    try:
        fresh.data(run_in("busybox", "true"))
        traces.learn_names()
        fresh.stop()
        wait_until(lambda: Path("/tmp", mark).exists(), 20, "the file")
        expected = {"files", "processes"}
        if ROOT:
            cable, table = f"v{traces.tag}9", ["ip", f"rondel-{traces.tag}"]
            place = fresh.folder / "place"
            place.mkdir()
            leaks = [
                ("interfaces", ["ip", "link", "add", cable, "type", "bridge"], ["ip", "link", "delete", cable]),
                ("packet filter tables", ["nft", "add", "table", *table], ["nft", "delete", "table", *table]),
                ("mounts", ["mount", "-t", "tmpfs", "none", str(place)], ["umount", str(place)]),
            ]
            for what, make, remove in leaks:
                if shutil.which(make[0]):
                    subprocess.run(make, check=True)
                    undo.append(remove)
                    expected.add(what)
        wait_until(lambda: traces.left().keys() >= expected, 20, "the check to see all")
        found = traces.left()
        assert found.keys() == expected, found
        assert found["files"] == {Path("/tmp", mark)}, found
        assert stray.pid in found["processes"] and len(found["processes"]) <= 2, found
    finally:
        os.killpg(stray.pid, signal.SIGKILL)
        stray.wait()
        for command in undo:
            subprocess.run(command, check=True)
    traces.check()
    traces.close()


def test_the_next_command_may_come_at_once(fresh):
    """The kernel takes a while to end a process, and as long as it does, connections to its socket are accepted."""
    dice = random.Random(SEED)
    kept = fresh.data(run_in("busybox", UUID))
    for turn in range(10):
        client = Client(fresh, run_in("busybox", f"echo {turn}; sleep 60"))
        client.reach("exec")
        time.sleep(dice.uniform(0, 0.05))
        fresh.kill()
        assert fresh.data(run_in("busybox", UUID)) == kept
        client.finish()
    fresh.verify()


def test_commands_at_the_same_time_start_one_engine(fresh):
    fresh.data(run_in("busybox", "true"))
    for _ in range(5):
        kill(fresh, fresh.engines())
        clients = [Client(fresh, run_in("busybox", "true")) for _ in range(5)]
        ends = [(*client.finish(), client.lines) for client in clients]
        assert [end for end in ends if end[0] != 0] == []
        wait_until(lambda: len(fresh.engines()) == (1 if ROOT else 2), what="one engine to be left")


def test_reset_after_a_kill_leaves_nothing(fresh):
    traces = Traces(fresh)
    try:
        fresh.data(run_in("busybox", "mkdir /d; echo content > /d/f; chown -R 1000:1000 /d; chmod 700 /d"))
        traces.learn_names()
        kill(fresh, fresh.engines())
        fresh.run("engine", "reset").ok()
        assert not fresh.state.exists()
        traces.check()
    finally:
        traces.close()
        # Whatever a failure left is found by the next engine.
        fresh.data(run_in("busybox", "true"))
