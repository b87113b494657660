"""A client that goes away takes its work along, unless somebody else waits for it."""

import os
import signal
import uuid

from harness import processes_with, wait_until


def sleeping(marker: str) -> str:
    return '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "sleep 3600.%s; true"]) { stdout } } } }' % marker


def start(rondel, document):
    process = rondel.start("query", stdin=-1)
    process.stdin.write(document)
    process.stdin.close()
    process.stdin = None
    return process


def marker() -> str:
    return str(uuid.uuid4().int)[:12]


def test_killing_the_client_ends_the_process(engine):
    for number in [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]:
        name = marker()
        client = start(engine, sleeping(name))
        wait_until(lambda: processes_with(f"3600.{name}"), what="the process to start")
        os.kill(client.pid, number)
        client.wait(timeout=20)
        wait_until(lambda: not processes_with(f"3600.{name}"), what=f"the process to end after signal {number}")


def test_somebody_else_who_waits_keeps_the_work(engine):
    name = marker()
    first, second = (start(engine, sleeping(name)) for _ in range(2))
    wait_until(lambda: engine.status()["clients"] >= 2, what="both clients")
    wait_until(lambda: processes_with(f"3600.{name}"), what="the process to start")
    before = processes_with(f"3600.{name}")
    first.kill()
    first.wait()
    wait_until(lambda: engine.status()["clients"] <= 2, what="the first client to be gone")
    assert processes_with(f"3600.{name}") == before
    second.kill()
    second.wait()
    wait_until(lambda: not processes_with(f"3600.{name}"), what="the process to end")


def test_stopping_the_engine_ends_the_process(fresh):
    name = marker()
    client = start(fresh, sleeping(name))
    wait_until(lambda: processes_with(f"3600.{name}"), what="the process to start")
    fresh.stop()
    client.wait(timeout=30)
    assert client.returncode != 0
    assert processes_with(f"3600.{name}") == []
    assert str(fresh.state) not in open("/proc/self/mountinfo").read()
