"""What engines leave on this machine: processes, mounts, network, control groups and files."""

import collections
import contextlib
import ctypes
import os
import re
import select
import shutil
import struct
import threading
import time
from pathlib import Path

from kit.graphql import run_in
from kit.paths import ROOT
from kit.system import (
    command_line,
    control_groups,
    descendants,
    mount_lines,
    mounts_naming,
    network_interfaces,
    own_ids,
    packet_filter,
    shared_folders,
)
from kit.waiting import eventually, let_time_pass


class FileWatch:
    """Which processes make which entries in folders.

    The kernel tells root, by fanotify with names.
    """

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
        """Waits, and notes the names that processes make for which `is_own` is true."""
        if self.fd < 0:
            let_time_pass(seconds)
            return
        if not select.select([self.fd], [], [], seconds)[0]:
            return
        events = os.read(self.fd, 1 << 16)
        while events:
            length, _, _, head, _, _, pid = struct.unpack_from("=IBBHQii", events)
            # After the head: a record of kind, length and file system, a handle with its own
            # length, the name.
            (handle,) = struct.unpack_from("=I", events, head + 12)
            name = events[head + 20 + handle : length].split(b"\0")[0].decode(errors="replace")
            if is_own(pid):
                self.names.add(name)
            events = events[length:]

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class LeakCheck:
    """Compares what is on this machine with what was on it before, and finds what this process's engines left.

    Other engines may come and go meanwhile. The kernel says what belongs to this one: orphans become children of this
    process, and new files are noted with the process that made them. The names of interfaces and rules are learned from the
    host's end of a container's veth pair.
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
        self.links = network_interfaces()
        self.rules = packet_filter()
        self.groups = control_groups()
        self.seen = {}
        self.namespaces = set()
        self.seen_groups = set()
        self.opened = set()
        self.watch = FileWatch(self.folders)
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
        """Collects the exit codes of orphans. To be called when no child is waited for."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def learn_names(self) -> None:
        """Finds the host's end of a container's veth pair.

        Its name holds the tag of all names of this engine.
        """
        if not ROOT:
            return
        number = self.rondel.data(run_in("busybox", "cat /sys/class/net/eth0/iflink; cat /proc/sys/kernel/random/uuid >&2"))
        number = number["container"]["from"]["withExec"]["stdout"].strip()
        ends = [n for n in network_interfaces() if (Path("/sys/class/net") / n / "ifindex").read_text().strip() == number]
        assert len(ends) == 1 and (name := re.fullmatch(r"v([0-9a-f]{8})\d+", ends[0])), (number, ends)
        self.tag = name[1]
        assert f"rnd{self.tag}" in network_interfaces()
        assert not shutil.which("nft") or f"table ip rondel-{self.tag}" in packet_filter()

    def is_others(self, name: str) -> bool:
        """Whether a name has the form of engines' names, and is not this engine's."""
        return bool(self.OTHERS.fullmatch(name)) and (self.tag is None or self.tag not in name)

    def left_interfaces(self) -> set:
        return {name for name in network_interfaces() - self.links if not self.is_others(name)}

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
        """Whether a mount is in the state directory of another engine."""
        place = Path(mount.split()[1].encode().decode("unicode_escape"))
        try:
            return any((folder / "engine.sock").exists() or (folder / "format").exists() for folder in place.parents)
        except PermissionError:
            # An engine of this user mounts nothing where this user may not look.
            return True

    def left_processes(self) -> dict:
        return {pid: command_line(pid).decode(errors="replace").replace("\0", " ") for pid in self.processes()}

    def left_groups(self) -> set:
        own = {line.split(":", 2)[2].strip("/") for line in self.seen_groups} - {""}
        new = control_groups() - self.groups
        return {folder for folder in new if (self.tag or "rondel") in folder or any(folder.endswith("/" + o) for o in own)}

    def left_files(self) -> set:
        """New entries of shared folders that this engine made, by fanotify for root, else by owner.
        """
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
        """Nothing is left. The kernel may take a moment for namespaces and what is in them."""
        self.reap()
        eventually(lambda: not self.left(), within=60, every=0.1, what=lambda: f"nothing to be left: {self.left()}")
        makers = "the kernel named the makers of files" if self.watch.fd >= 0 else "owners named the makers of files"
        names = f"names with {self.tag}" if self.tag else "no names on the host"
        return f"left nothing: {len(self.seen)} processes, {len(self.namespaces)} network namespaces, {names}; {makers}"
