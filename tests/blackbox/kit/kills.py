"""`kill -9` of an engine."""

import contextlib
import fcntl
import os
import signal
import socket
from pathlib import Path

from kit.waiting import eventually


def kill(rondel, pids: list) -> None:
    """Kills the processes, and waits for the end of the engine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not rondel.engines() and is_let_go(rondel.state), within=20, what="the end of the engine")


def is_let_go(state: Path) -> bool:
    """Whether the kernel has closed the files of a killed engine.

    It frees the memory before that.
    """
    try:
        with open(state / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(state / "engine.sock")) != 0
