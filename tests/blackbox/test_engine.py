"""The engine's process: end, name, shared work, metrics, registries, restarts, results across
sessions.
"""

import hashlib
import http.server
import json
import shutil
import signal
import threading
import urllib.request
import uuid

from kit import IMAGES, eventually, free_port, mirror_of, processes_with, serve_module, unique, write_module


def test_eng_001_a_terminated_engine_ends_in_order(fresh):
    engine = fresh.start("engine", "serve", "--announce")
    assert engine.stdout.readline() == "ready\n"
    fresh.data("{ version }")
    engine.send_signal(signal.SIGTERM)
    assert engine.wait(timeout=30) == 0
    engine.stdout.close()
    engine.stderr.close()
    assert not (fresh.state / "engine.sock").exists()


def test_eng_002_the_engine_has_a_name_and_a_version(make_engine):
    rondel = make_engine('name = "builder-7"\n' + mirror_of(IMAGES))
    found = rondel.data("{ version engine { name clients } }")
    assert found["engine"]["name"] == "builder-7" and len(found["engine"]["clients"]) == 1
    assert found["version"].startswith("v0.")
    rondel.stop()
    rondel.config_file.write_text(mirror_of(IMAGES))
    named = rondel.data("{ engine { name } }", env={"_EXPERIMENTAL_DAGGER_ENGINE_NAME": "from-the-environment"})
    assert named["engine"]["name"] == "from-the-environment"


def test_eng_006_work_outlives_the_first_of_its_clients(engine):
    for disconnect in [False, True]:
        marker = unique()
        field = 'container { from(address: "busybox") { withExec(args: ["sh", "-c", "sleep %s.%s; echo done"]) { stdout } } }'
        document = "{ %s }" % (field % (2, marker))
        # The other exec of the same query shows that the second client is waiting.
        beside = "{ beside: %s %s }" % (field % (1, marker), field % (2, marker))
        with engine.session() as first, engine.session() as second:
            answers = []

            def ask(session):
                try:
                    answers.append(session.post({"query": document}))
                except OSError:
                    answers.append(None)

            one = threading.Thread(target=ask, args=(first,), daemon=True)
            one.start()
            eventually(lambda: processes_with(f"2.{marker}"), what="the process to start")
            before = engine.execs()
            two = threading.Thread(target=lambda: answers.append(second.query(beside)), daemon=True)
            two.start()
            eventually(lambda: processes_with(f"1.{marker}"), what="the second client to ask")
            if disconnect:
                first.kill()
            else:
                first.process.send_signal(signal.SIGINT)
            two.join(timeout=30)
            one.join(timeout=30)
            assert engine.execs() == before + 1, "the process ran once"
            done = [answer for answer in answers if isinstance(answer, dict)]
            assert done and done[0]["container"]["from"]["withExec"]["stdout"] == "done\n", answers


def test_eng_007_metrics_are_served(make_engine):
    port = free_port()
    rondel = make_engine(f'metrics = "127.0.0.1:{port}"\n' + mirror_of(IMAGES))
    with rondel.session() as session:
        session.query('{ container { from(address: "busybox") { rootfs { entries } } } }')
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
    figures = dict(line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    assert figures["dagger_connected_clients"] == "1"
    assert int(figures["dagger_dagql_cache_entries"]) > 0
    assert int(figures["dagger_local_cache_total_disk_size_bytes"]) > 1_000_000
    assert int(figures["dagger_local_cache_entries"]) > 0
    rondel.stop()
    rondel.config_file.write_text('metrics = "0.0.0.0:1"\n')
    rondel.query("{ version }").failed("not an address of loopback")


def test_eng_008_results_of_a_session_end_with_it(engine, folder):
    (folder / "file").write_text("x")

    def work() -> int:
        with engine.session() as session:
            session.query(
                '{ host { directory(path: "%s") { entries } } setSecret(name: "x", plaintext: "%s") { name } '
                'container { from(address: "busybox") { withEnvVariable(name: "A", value: "1") { envVariable(name: "A") } } } }'
                % (folder, uuid.uuid4())
            )
        engine.wait_for_clients_to_go()
        return engine.status()["results"]

    work()
    baseline = work()
    assert [work() for _ in range(5)] == [baseline] * 5


class CountingRegistry:
    """A registry with one image under one tag, which counts requests."""

    def __init__(self):
        index = json.loads((IMAGES / "index.json").read_text())
        names = [(m.get("annotations", {}).get("org.opencontainers.image.ref.name", ""), m) for m in index["manifests"]]
        descriptor = next(m for name, m in names if "busybox" in name)
        document = json.loads(self.stored(descriptor["digest"]))
        while "manifests" in document:
            descriptor = document["manifests"][0]
            document = json.loads(self.stored(descriptor["digest"]))
        self.document = document
        self.counts: dict[str, int] = {}
        self.move("first")
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, body: bytes, kind: str, send: bool):
                digest = "sha256:" + hashlib.sha256(body).hexdigest()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Content-Digest", digest)
                self.end_headers()
                if send:
                    self.wfile.write(body)

            def serve(self, send: bool):
                what = self.path.rsplit("/", 1)[-1]
                if "/manifests/" in self.path:
                    registry.count(("GET " if send else "HEAD ") + ("digest" if ":" in what else "tag"))
                    self.answer(registry.manifest, registry.kind, send)
                elif "/blobs/" in self.path:
                    registry.count("GET blob")
                    self.answer(registry.stored(what), "application/octet-stream", send)
                else:
                    self.answer(b"{}", "application/json", send)

            def do_GET(self):
                self.serve(True)

            def do_HEAD(self):
                self.serve(False)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}/counted/image:moving"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stored(self, digest: str) -> bytes:
        return (IMAGES / "blobs" / digest.replace(":", "/")).read_bytes()

    def count(self, what: str):
        self.counts[what] = self.counts.get(what, 0) + 1

    def move(self, to: str):
        self.document["annotations"] = {"moved": to}
        self.kind = self.document.get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        self.manifest = json.dumps(self.document).encode()

    def since(self) -> dict[str, int]:
        counts, self.counts = self.counts, {}
        return counts


def test_eng_010_a_tag_is_asked_for_once_per_session_and_content_once(make_engine):
    rondel = make_engine("offline = false\n")
    registry = CountingRegistry()
    try:
        document = '{ container { from(address: "%s") { rootfs { entries } } } }' % registry.address
        blobs = 1 + len(registry.document["layers"])
        asked = {"HEAD tag": 1}
        downloaded = asked | {"GET tag": 1, "GET blob": blobs}
        rondel.data(document)
        assert registry.since() == downloaded
        with rondel.session() as session:
            session.query(document)
            session.query(document)
            assert registry.since() == asked
        registry.move("second")
        rondel.data(document)
        # The manifest differs; the configuration and the layers are the same content.
        assert registry.since() == asked | {"GET tag": 1, "GET blob": 1}
        rondel.stop()
        rondel.data(document)
        assert registry.since() == asked
    finally:
        registry.server.shutdown()
        registry.server.server_close()


EXEC = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "cat /proc/sys/kernel/random/uuid | tee /out"]) { stdout file(path: "/out") { contents } } } } }'


def test_per_001_per_003_results_survive_a_restart(fresh, folder):
    source = folder / "a"
    source.mkdir()
    (source / "file").write_text("same")
    shutil.copytree(source, folder / "b")
    mounted = (
        '{ container { from(address: "busybox") { withMountedDirectory(path: "/in", source: "%s") '
        '{ withExec(args: ["sh", "-c", "cat /in/file; cat /proc/sys/kernel/random/uuid"]) { stdout } } } } }'
    )

    def directory(name: str) -> str:
        return fresh.data('{ host { directory(path: "%s") { id } } }' % (folder / name))["host"]["directory"]["id"]

    volume = fresh.data('{ cacheVolume(key: "lasting") { id } }')["cacheVolume"]["id"]
    cached = (
        '{ container { from(address: "busybox") { withMountedCache(path: "/c", cache: "%s") '
        '{ withExec(args: ["sh", "-c", "echo %s >> /c/f; cat /c/f"]) { stdout } } } } }'
    )
    written = '{ container { withNewFile(path: "/a/b", contents: "kept") { file(path: "/a/b") { contents } rootfs { entries } } } }'
    first = (fresh.data(EXEC), fresh.data(mounted % directory("a")), fresh.data(written))
    fresh.data(cached % (volume, "one"))
    listed = sorted(record["id"] for record in fresh.run("cache", "ls", "--json").json())
    fresh.stop()
    assert (fresh.data(EXEC), fresh.data(mounted % directory("b")), fresh.data(written)) == first
    assert fresh.execs() == 0
    assert sorted(record["id"] for record in fresh.run("cache", "ls", "--json").json()) == listed
    assert "one\\ntwo" in json.dumps(fresh.data(cached % (volume, "two")))
    fresh.stop()
    fresh.run("cache", "prune").ok()
    assert fresh.run("cache", "ls", "--json").json() == []
    assert fresh.data(EXEC) != first[0]


def test_per_002_results_survive_a_crash(fresh):
    first = fresh.data(EXEC)
    fresh.kill()
    assert fresh.data(EXEC) == first and fresh.execs() == 0
    fresh.verify()
    fresh.stop()
    assert fresh.data(EXEC) == first


GREETS = (
    "from dagger import function, object_type\n\n@object_type\nclass Probe:\n    greeting: str = 'Hello'\n\n"
    "    @function\n    def hello(self, name: str = 'World', times: int = 1) -> str:\n"
    "        return ' '.join([f'{self.greeting}, {name}!'] * times)\n"
)


def test_xs_001_xs_002_per_003_equal_modules_share_results(connected, folder):
    copies = [write_module(folder / name, GREETS) for name in ["one", "two"]]

    def hello(module, *words) -> str:
        return connected.run("call", "-m", module, *words).ok().out.strip()

    assert hello(copies[0], "hello", "--name=Ada") == "Hello, Ada!"
    before = connected.execs()
    assert hello(copies[1], "hello", "--name=Ada") == "Hello, Ada!"
    assert connected.execs() == before, "equal modules at two places share results"
    assert hello(copies[1], "hello") == "Hello, World!"
    assert hello(copies[1], "--greeting=Hi", "hello", "--name=Ada", "--times=2") == "Hi, Ada! Hi, Ada!"
    assert connected.execs() > before
    source = copies[1] / "src/probe/__init__.py"
    source.write_text(source.read_text().replace("{name}!", "{name}."))
    with connected.session() as session:
        serve_module(session, copies[0])
        assert hello(copies[1], "hello", "--name=Ada") == "Hello, Ada."
        assert session.query('{ probe { hello(name: "Ada") } }')["probe"]["hello"] == "Hello, Ada!"
    connected.stop()
    assert (hello(copies[0], "hello", "--name=Ada"), hello(copies[1], "hello", "--name=Ada")) == ("Hello, Ada!", "Hello, Ada.")
    assert connected.execs() == 0, "results of functions survive a restart"


def test_xs_009_equal_parts_of_directories_are_readable(engine):
    document = (
        '{ one: directory { withNewFile(path: "subdirA/f", contents: "same") { directory(path: "subdirA") { id } } } '
        '  two: directory { withNewFile(path: "subdirB/f", contents: "same") { directory(path: "subdirB") { id } } } }'
    )
    found = engine.data(document)
    for part in [found["one"], found["two"]]:
        id = part["withNewFile"]["directory"]["id"]
        mounted = (
            '{ container { from(address: "busybox") { withMountedDirectory(path: "/in", source: "%s") '
            '{ withExec(args: ["cat", "/in/f"]) { stdout } directory(path: "/in") { entries } } } } }' % id
        )
        answer = engine.data(mounted)["container"]["from"]["withMountedDirectory"]
        assert answer == {"withExec": {"stdout": "same"}, "directory": {"entries": ["f"]}}
