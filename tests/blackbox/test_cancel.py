"""Work ends with its client, unless another client waits for it."""

import json
import os
import signal

from kit import PYTHON, command_line, container, document, eventually, leaf, processes_with, quote, unique
from kit.nested import nested_exec


def field(seconds: str) -> str:
    return 'container { from(address: "busybox") { withExec(args: ["sh", "-c", "sleep %s; true"]) { stdout } } }' % seconds


def sleeping(marker: str) -> str:
    return "{ %s }" % field(f"3600.{marker}")


def asleep(seconds: str) -> list[int]:
    """The sleeping process, without the shell that started it."""
    return [pid for pid in processes_with(seconds) if command_line(pid).startswith(b"sleep\0")]


def test_killing_the_client_ends_the_process(engine):
    for number in [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]:
        name = unique()
        client = engine.start_query(sleeping(name))
        eventually(lambda: processes_with(f"3600.{name}"), what="the process to start")
        os.kill(client.pid, number)
        client.wait(timeout=20)
        eventually(lambda: not processes_with(f"3600.{name}"), what=f"the process to end after signal {number}")


def test_work_goes_on_while_another_client_waits_for_it(engine):
    name = unique()
    engine.settle()
    first = engine.start_query(sleeping(name))
    eventually(lambda: asleep(f"3600.{name}"), what="the process to start")
    before = asleep(f"3600.{name}")
    # The other exec of the same query shows that the second client is waiting.
    second = engine.start_query("{ beside: %s %s }" % (field(f"1800.{name}"), field(f"3600.{name}")))
    eventually(lambda: asleep(f"1800.{name}"), what="the second client to ask")
    assert engine.status()["clients"] == 2
    first.kill()
    first.wait()
    eventually(lambda: engine.status()["clients"] == 1, what="the first client to be gone")
    assert len(before) == 1 and asleep(f"3600.{name}") == before
    assert second.poll() is None
    second.kill()
    second.wait()
    eventually(lambda: not processes_with(name), what="the processes to end")


def test_stopping_the_engine_ends_the_process(fresh):
    name = unique()
    client = fresh.start_query(sleeping(name))
    eventually(lambda: processes_with(f"3600.{name}"), what="the process to start")
    fresh.stop()
    client.wait(timeout=30)
    assert client.returncode != 0
    assert processes_with(f"3600.{name}") == []
    assert str(fresh.state) not in open("/proc/self/mountinfo").read()


def test_a_process_that_asks_for_its_own_result_gets_an_error(engine):
    volume = engine.data('{ cacheVolume(key: "%s") { id } }' % unique())["cacheVolume"]["id"]
    mounted = 'withMountedCache(path: "/c", cache: "%s")' % volume
    # The document cannot be a part of the command that it runs, so a volume passes it.
    asks = document(*container(PYTHON), mounted, nested_exec("print(json.dumps(ask(open('/c/document').read())))"), "stdout")
    write = ["python3", "-c", "import sys; open('/c/document', 'w').write(sys.argv[1])", asks]
    engine.data(document(*container(PYTHON), mounted, f"withExec(args: {quote(write)})", "stdout"))
    asked = engine.run("query", stdin=asks, timeout=60).json()
    [error] = json.loads(leaf(asked))["errors"]
    assert error["extensions"]["code"] == "EVALUATION_CYCLE", error
    assert "needs its own result" in error["message"], error
