"""What is on this machine: processes, mounts, network interfaces, control groups, ports, memory."""

import contextlib
import itertools
import os
import pwd
import re
import shutil
import socket
import subprocess
from pathlib import Path

from kit.paths import ROOT

# Below the kernel's ephemeral ports. Runs of the suite start at different ports, also those whose processes were started one
# after the other.
PORTS = itertools.count(10_000 + os.getpid() * 997 % 20_000)


def free_port() -> int:
    """A port without a listener. No other caller is given the same port."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port


def is_open(port: int) -> bool:
    """Whether a port of this machine accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes_with(marker: str) -> list[int]:
    """Processes of this run with `marker` in the command line. Runs of other users do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid() or not is_ours(entry):
            continue
        line = command_line(int(entry.name)).replace(b"\0", b" ").decode(errors="replace")
        if marker in line:
            found.append(int(entry.name))
    return found


def is_ours(process: Path) -> bool:
    """Whether a process is in our user namespace or, for an ordinary user, in one of this user's.
    """
    try:
        if not ROOT and f"Uid:\t{os.getuid()}\t" in (process / "status").read_text():
            # Only root may look at an engine any closer.
            return True
        namespace = os.readlink(process / "ns/user")
    except OSError:
        return False
    return not ROOT or namespace == os.readlink("/proc/self/ns/user")


def command_line(pid: int) -> bytes:
    """The words of a command line, each followed by a zero byte. Empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def peak_memory(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def live_processes() -> dict[int, tuple[int, str]]:
    """The parent and the start time of every process that has not ended."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found[int(entry)] = (int(fields[1]), fields[19])
    return found


def descendants() -> dict[int, str]:
    """The processes below this one, and when they started."""
    processes = live_processes()
    below = {os.getpid()}
    while more := {pid for pid, (parent, _) in processes.items() if parent in below} - below:
        below |= more
    return {pid: processes[pid][1] for pid in below - {os.getpid()}}


def mount_lines(pid="self") -> list[str]:
    """Mounts of a process: root, mount point, kind, source, options. Without the kernel's numbers.
    """
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return []
    # The root of the mount, its mount point, and from the separator on: kind, source, options.
    return [" ".join([*line.split()[3:5], line.partition(" - ")[2]]) for line in lines]


def mounts_naming(folder: Path) -> set[str]:
    """Mounts in any mount namespace that name `folder` or something in it."""
    seen = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            seen.setdefault(os.readlink(f"/proc/{pid}/ns/mnt"), pid)
    return {line for pid in ["self", *seen.values()] for line in mount_lines(pid) if str(folder) in line}


def network_interfaces() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def packet_filter() -> dict[str, str]:
    """The tables of the packet filter with their rules. Empty where it cannot be read."""
    if not ROOT or not shutil.which("nft"):
        return {}
    rules = subprocess.run(["nft", "--stateless", "list", "ruleset"], text=True, capture_output=True, check=True).stdout
    return {table.partition(" {")[0]: table for table in re.split(r"^(?=table )", rules, flags=re.M) if table}


def control_groups() -> set[str]:
    return {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}


def shared_folders(home: Path) -> list[str]:
    """The folders in which programs leave files."""
    own = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    runtime = [f"/run/user/{os.geteuid()}", os.environ.get("XDG_RUNTIME_DIR", "/run")]
    places = ["/tmp", "/var/tmp", "/run", "/run/lock", "/run/netns", "/dev/shm", *runtime, own, own / ".cache", own / ".config"]
    places += [own / ".local/state", own / ".local/share", home]
    return sorted({os.path.realpath(place) for place in places if os.path.isdir(place)})


def own_ids() -> set[int]:
    """This user's ID and its subordinate IDs."""
    user = pwd.getpwuid(os.geteuid())
    ids = {user.pw_uid}
    with contextlib.suppress(OSError):
        for line in Path("/etc/subuid").read_text().splitlines():
            owner, first, count = line.split(":")
            if owner in (user.pw_name, str(user.pw_uid)):
                ids |= set(range(int(first), int(first) + int(count)))
    return ids


def write_program(folder: Path, name: str, script: str) -> None:
    """An executable shell script."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
