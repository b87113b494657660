"""The engine's event stream, as a client gets it: titles, waits, progress, and one end for every span."""

import json
import re
import threading

import pytest

from kit import IMAGES, IMPORTS, container, document, eventually, leaf, mirror_of, processes_with, quote, sh, unique, write_module
from kit.events import EventClient, open_spans, outcome, starts
from kit.registries import Registry

# Its source does not decide the types, because a default is computed.
MODULE = (
    IMPORTS
    + """
import os

@object_type
class Probe:
    @function
    async def build(self, mark: str, code: int = len(os.sep) - 1) -> str:
        container = dag.container().from_("busybox")
        return await container.with_exec(["sh", "-c", f"echo {mark}; exit {code}"]).stdout()
"""
)


@pytest.fixture
def client(engine):
    with EventClient(engine) as client:
        yield client


def execs(*scripts: str) -> str:
    """A document that runs scripts side by side."""
    one = 'e%d: container { from(address: "busybox") { %s { stdout } } }'
    return "{ %s }" % " ".join(one % (at, sh(script)) for at, script in enumerate(scripts))


def waits(events: list[dict]) -> list[str]:
    """What a span waited for, and `running` where it went on."""
    return [event.get("on", "running") for event in events if event["event"] in ("waiting", "running")]


def test_a_module_is_shown_as_its_user_wrote_it(connected, folder):
    module = write_module(folder, MODULE)
    mark = unique()
    with EventClient(connected, module) as client:
        answer = client.query('{ probe { build(mark: "%s") } }' % mark)
        assert leaf(answer["data"]) == f"{mark}\n", answer
        assert open_spans(client.events) == {}
        all_titles = client.titles()
        written = [title for title in all_titles if title not in client.titles(internal=True)]
        assert "load module probe" in written and "probe build" in written
        assert f"exec sh -c echo {mark}; exit 0" in written
        assert "register the types of module probe" in client.titles(internal=True)
        assert "runtime of module probe" in client.titles(internal=True)
        for title in all_titles:
            assert len(title) <= 100 and title == " ".join(title.split()), title
            assert not re.search(r"[0-9a-f]{40}", title) and "/runtime" not in title, title
        # The exec that the module's code starts is below the call of the function.
        above = {start["span"]: start for start in starts(client.events)}
        span = above[client.of(f"exec sh -c echo {mark}; exit 0")[0]["span"]]
        parents = []
        while span := above.get(span["parent"]):
            parents.append(span["name"])
        assert parents == ["runtime of module probe", "probe build"], parents


def test_the_installation_of_dependencies_is_shown(connected, folder):
    module = write_module(folder, MODULE)
    # A requirement that no other module has, so that its dependencies are not installed yet.
    project = module / "pyproject.toml"
    project.write_text(project.read_text().replace('"dagger-io"', f'"dagger-io", "iniconfig!={unique()}"'))
    with EventClient(connected, module) as client:
        assert client.query("{ __typename }")["data"]
        installed = client.of("install Python dependencies of module probe")
        text = "".join(event["text"] for event in installed if event["event"] == "log")
        assert outcome(installed) == "done" and "internal" not in installed[0], installed[0]
        assert "Collecting" in text and "Successfully installed" in text, text


def test_a_failing_step_ends_everything(client):
    mark = unique()
    scripts = [f"sleep 3600.{mark}", f"echo {mark}; sleep 1; exit 7"]
    # One process needs what the others make, so that the failure of one ends the other.
    trees = [leaf(client.query(document(*container(), sh(script), "rootfs { id }"))["data"]) for script in scripts]
    mounts = [f'withMountedDirectory(path: "/m{at}", source: "{tree}")' for at, tree in enumerate(trees)]
    answer = client.query(document(*container(), *mounts, sh("true"), "stdout"))
    assert "exit code: 7" in json.dumps(answer["errors"]), answer
    eventually(lambda: open_spans(list(client.events)) == {}, what="the spans to end")
    assert not processes_with(f"3600.{mark}")
    failed = outcome(client.of(f"exec sh -c {scripts[1]}"))
    assert failed["failed"].endswith("exit code: 7"), failed
    assert outcome(client.of(f"exec sh -c {scripts[0]}")) == "cancelled"


def test_the_failure_of_a_function_ends_what_is_below_it(connected, folder):
    module = write_module(folder, MODULE)
    mark = unique()
    with EventClient(connected, module) as client:
        answer = client.query('{ probe { build(mark: "%s", code: 9) } }' % mark)
        assert answer["errors"], answer
        assert open_spans(client.events) == {}
        for title in [f"exec sh -c echo {mark}; exit 9", "probe build"]:
            assert "exit code: 9" in outcome(client.of(title))["failed"], title


def test_a_request_that_is_given_up_ends_its_spans(client):
    mark = unique()
    request = client.start(execs(f"sleep 3600.{mark}", f"sleep 3601.{mark}"))
    eventually(lambda: processes_with(f"3601.{mark}") and processes_with(f"3600.{mark}"), what="the processes")
    request.close()
    eventually(lambda: not processes_with(mark), what="the processes to end")
    eventually(lambda: open_spans(list(client.events)) == {}, what="the spans to end")
    ends = [event["outcome"] for event in client.events if event["event"] == "end"]
    assert ends.count("cancelled") >= 2, client.events


def test_a_client_that_goes_leaves_the_spans_of_others_running(engine, client):
    mark = unique()
    script = f"echo {mark}; sleep 3600.{mark}"
    with EventClient(engine) as first:
        first.start(execs(script))
        eventually(lambda: processes_with(f"3600.{mark}"), what="the process")
        request = client.start(execs(script))
        eventually(lambda: any("another client" in wait for wait in waits(list(client.events))), what="the wait")
    # The process goes on for this client, which waits for it.
    assert processes_with(f"3600.{mark}") and len(open_spans(list(client.events))) == 1
    request.close()
    eventually(lambda: not processes_with(mark), what="the process to end")
    eventually(lambda: open_spans(list(client.events)) == {}, what="the spans to end")


def test_an_exec_waits_for_its_service_by_the_name_it_is_bound_as(client):
    mark = unique()
    serve = f"sleep 1; httpd -f -p 80 -h / # {mark}"
    made = f'withExposedPort(port: 80) {{ asService(args: ["sh", "-c", {quote(serve)}]) {{ id }} }}'
    service = leaf(client.query('{ container { from(address: "busybox") { %s } } }' % made)["data"])
    bound = f'withServiceBinding(alias: "db", service: "{service}")'
    script = f"echo {mark}"
    assert leaf(client.query(document(*container(), bound, sh(script), "stdout"))["data"]) == f"{mark}\n"
    assert waits(client.of(f"exec sh -c {script}")) == ["service db", "running"]
    [start] = [start for start in starts(client.events) if start["work"] == "service"]
    assert start["name"] == "service db" and start["parent"] == 0
    # It runs beyond the exec, and is the only span that does.
    assert list(open_spans(client.events).values()) == ["service db"]


def test_a_service_that_does_not_start_has_failed(client):
    made = f'asService(args: ["sh", "-c", {quote(f"echo broken {unique()}; exit 3")}]) {{ id }}'
    exposed = document(*container(), "withExposedPort(port: 80)", made)
    bound = f'withServiceBinding(alias: "broken", service: "{leaf(client.query(exposed)["data"])}")'
    script = f"echo {unique()}"
    assert "exit code: 3" in json.dumps(client.query(document(*container(), bound, sh(script), "stdout"))["errors"])
    assert open_spans(client.events) == {}
    assert outcome(client.of("service broken")) == {"failed": "exit code: 3"}
    assert "exit code: 3" in outcome(client.of(f"exec sh -c {script}"))["failed"]


def test_an_exec_waits_for_a_locked_volume(client):
    mark = unique()
    volume = leaf(client.query('{ cacheVolume(key: "go build %s") { id } }' % mark)["data"])
    mounted = f'withMountedCache(path: "/c", cache: "{volume}", sharing: LOCKED)'

    def locking(script: str) -> str:
        return document(*container(), mounted, sh(script), "stdout")

    holder = client.start(locking(f"echo {mark}; sleep 3600.{mark}"))
    eventually(lambda: processes_with(f"3600.{mark}"), what="the holder")
    asked = threading.Thread(target=client.query, args=(locking(f"echo second {mark}"),))
    asked.start()
    title = f"exec sh -c echo second {mark}"
    eventually(lambda: title in client.titles() and waits(client.of(title)), what="the wait")
    assert waits(client.of(title)) == [f"cache volume go build {mark}"]
    holder.close()
    asked.join(timeout=60)
    assert waits(client.of(title)) == [f"cache volume go build {mark}", "running"]
    assert outcome(client.of(title)) == "done"


def test_pulls_and_pushes_report_bytes(make_engine, folder):
    registry = Registry(folder)
    try:
        name = f"{registry.address}/team/app:1"
        with EventClient(make_engine(mirror_of(IMAGES, offline=False))) as publisher:
            seed = f"head -c 3000000 /dev/urandom > /big; echo {unique()}"
            publisher.query(document(*container(), sh(seed), f"publish(address: {quote(name)})"))
            push = [event for event in publisher.of(f"push {name}") if event["event"] == "progress"]
            assert push[-1]["done"] == push[-1]["total"] > 3_000_000 and push[-1]["unit"] == "bytes"
        sizes = [layer["size"] for layer in registry.manifest("team/app", "1")["layers"]]
        with EventClient(make_engine(mirror_of(IMAGES, offline=False))) as client:
            client.query('{ container { from(address: %s) { sync } } }' % quote(name))
            [pull] = [title for title in client.titles(work="pull")]
            assert pull == f"pull {name}"
            last = [event for event in client.of(pull) if event["event"] == "progress"][-1]
            assert last["done"] == last["total"] == sum(sizes), (last, sizes)
            assert open_spans(client.events) == {}
    finally:
        registry.stop()


def test_a_sync_reports_bytes(client, folder):
    for at in range(3):
        (folder / f"f{at}").write_bytes(unique().encode() * 10_000)
    size = sum(path.stat().st_size for path in folder.iterdir())
    client.query('{ host { directory(path: "%s") { digest } } }' % folder)
    # Read once for the digest, and once to store it.
    last = [event for event in client.of(f"sync {folder}") if event["event"] == "progress"][-1]
    assert last["done"] == last["total"] == 2 * size, (last, size)


def test_an_engine_that_stops_ends_the_stream(fresh):
    mark = unique()
    with EventClient(fresh) as client:
        client.start(execs(f"echo {mark}; sleep 3600.{mark}"))
        eventually(lambda: processes_with(f"3600.{mark}"), what="the process")
        fresh.stop()
        client.reader.join(timeout=30)
        assert not client.reader.is_alive() and not processes_with(mark)
        open_spans(client.events)
