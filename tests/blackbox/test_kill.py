"""`kill -9` of the engine at random moments: the next command works, finished results stay, nothing leaks."""

import json
import os
import random
import time
from pathlib import Path

from harness import ROOT, processes_with

ROUNDS = int(os.environ.get("RONDEL_KILL_ROUNDS", "10"))
SEED = int(os.environ.get("RONDEL_KILL_SEED", "1"))
UUID = "cat /proc/sys/kernel/random/uuid"


def run_in(image: str, script: str) -> str:
    return '{ container { from(address: "%s") { withExec(args: ["sh", "-c", %s]) { stdout } } } }' % (image, json.dumps(script))


def leaks(rondel, marker: str) -> dict:
    state = str(rondel.state)
    mounts = [l for l in Path("/proc/self/mountinfo").read_text().splitlines() if state in l]
    return {"mounts": mounts, "processes": processes_with(marker)}


def interfaces() -> set:
    return set(os.listdir("/sys/class/net"))


def test_kill(fresh):
    dice = random.Random(SEED)
    marker = f"8641{dice.randrange(10**6):06}"
    links = interfaces()
    finished = run_in("busybox", f"echo finished; {UUID}")
    kept = fresh.data(finished)
    report = []
    for turn in range(ROUNDS):
        kind = ["pull", "exec", "commit"][turn % 3]
        if kind == "pull":
            # Another image each time would need another registry; a pull is cut off until it is done once.
            document = run_in("python:3.13-slim" if turn % 2 else "debian:bookworm-slim", f"echo {turn}")
        elif kind == "exec":
            document = run_in("busybox", f"echo {turn}; sleep {marker}")
        else:
            files = "i=0; while [ $i -lt 3000 ]; do echo $i > /d/$i; i=$((i+1)); done"
            document = run_in("busybox", f"mkdir /d; echo {turn}; {files}")
        client = fresh.start("query", stdin=-1)
        client.stdin.write(document)
        client.stdin.close()
        client.stdin = None
        delay = dice.uniform(0.0, 0.8)
        time.sleep(delay)
        try:
            fresh.kill()
        except AssertionError:
            # The engine was not there yet.
            pass
        client.communicate(timeout=60)
        assert fresh.data(finished) == kept, "a finished result is no hit any more"
        assert fresh.execs() == 0, "a finished result ran again"
        found = leaks(fresh, marker)
        assert found == {"mounts": [], "processes": []}, (kind, delay, found)
        report.append(f"{kind} after {delay:.3f} s")
    fresh.verify()
    fresh.stop()
    if ROOT:
        left = {name for name in interfaces() - links if not name.startswith("veth")}
        assert left <= {n for n in interfaces() if "rondel" in n}, left
    print("\n".join(report))


def test_nothing_is_written_outside_the_state_folder(fresh, folder):
    before = {p: set(os.listdir(p)) for p in ["/tmp", "/run", "/var/run", "/dev/shm", str(fresh.home)] if os.path.isdir(p)}
    fresh.data(run_in("busybox", "echo somewhere > /else"))
    fresh.kill()
    fresh.data(run_in("busybox", "echo again"))
    fresh.stop()
    for path, names in before.items():
        new = {name for name in set(os.listdir(path)) - names if "rondel" in name}
        assert not new, (path, new)
