"""Cache volumes: contents, sharing, owners, and kills."""

import contextlib
import http.client
import json
import os
import signal
import threading
import time

from kit import Rondel, eventually, find_field, unique


class Volumes:
    """Short forms for queries about cache volumes."""

    def __init__(self, session):
        self.session = session

    def volume(self, key: str, more: str = "") -> str:
        return self.session.query("{ cacheVolume(key: %s%s) { id } }" % (json.dumps(key), more))["cacheVolume"]["id"]

    def folder(self, files: dict, more: str = "") -> str:
        chain = "".join('withNewFile(path: "%s", contents: "%s") { ' % pair for pair in files.items())
        return find_field(self.session.query("{ directory { %s%s id %s } }" % (chain, more, "} " * len(files))), "id")

    def text(self, volume: str, script: str, mount: str = "", salt: str = "") -> str:
        return """{ container { from(address: "busybox") { withEnvVariable(name: "SALT", value: "%s") {
            withMountedCache(path: "/c", cache: "%s"%s) { withExec(args: ["sh", "-c", %s]) { stdout } } } } } }""" % (
            salt,
            volume,
            mount,
            json.dumps(script),
        )

    def run(self, *args, **more) -> str:
        return find_field(self.session.query(self.text(*args, **more)), "stdout").strip()

    def together(self, volume: str, scripts: list, mount: str = "") -> list:
        """The output of each of several processes that start at the same time."""
        said = [None] * len(scripts)

        def one(index):
            said[index] = self.run(volume, scripts[index], mount, salt=f"{volume[-20:]}{index}{unique()}")

        threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(len(scripts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert None not in said, said
        return said


def test_mnt_004_a_volume_is_kept_between_containers(engine):
    with engine.session() as session:
        v = Volumes(session)
        volume = v.volume("kept")
        assert v.run(volume, "echo one >> /c/f; cat /c/f", salt="1") == "one"
        assert v.run(volume, "echo two >> /c/f; cat /c/f", salt="2") == "one\ntwo"
    with engine.session() as session:
        v = Volumes(session)
        assert v.run(v.volume("kept"), "cat /c/f", salt="3") == "one\ntwo"
        assert v.run(v.volume("another"), "ls /c", salt="3") == ""


def test_mnt_005_a_new_volume_starts_from_a_directory(engine):
    with engine.session() as session:
        v = Volumes(session)
        volume, seed = v.volume("seeded"), v.folder({"f": "seed ", "sub/g": "deep"})
        mount = f', source: "{seed}"'
        assert v.run(volume, "echo -n one >> /c/f; cat /c/f /c/sub/g", mount, salt="1") == "seed onedeep"
        assert v.run(volume, "echo -n two >> /c/f; cat /c/f", mount, salt="2") == "seed onetwo"
        assert v.run(volume, "rm /c/f; ls /c", mount, salt="3") == "sub"
        assert v.run(volume, "ls /c", mount, salt="4") == "sub"


def test_mnt_006_a_volume_has_an_owner(engine):
    show = "stat -c '%a %u:%g' /c"
    with engine.session() as session:
        v = Volumes(session)
        assert v.run(v.volume("owned"), show, ', owner: "123:456"') == "755 123:456"
        assert v.run(v.volume("unowned"), show) == "755 0:0"
        seed = session.query(
            '{ directory { withNewDirectory(path: "d", permissions: 448) { '
            'withNewFile(path: "d/f", contents: "", permissions: 416) { id } } } }'
        )
        mount = f', source: "{find_field(seed, "id")}", owner: "123:456"'
        said = v.run(v.volume("owned and seeded"), show + "; stat -c '%a %u:%g' /c/d /c/d/f", mount)
        assert said.split("\n") == ["755 123:456", "700 123:456", "640 123:456"]


def test_a_mount_with_another_owner_or_source_is_another_volume(engine):
    log = "echo +$SALT >> /c/log; cat /c/log | tr -d '\\n'; stat -c ' %u:%g' /c"
    with engine.session() as session:
        v = Volumes(session)
        volume, seed = v.volume("one of several"), v.folder({"log": "seed", "sub/log": "below"})
        sub = find_field(session.query('{ node(id: "%s") { ... on Directory { directory(path: "sub") { id } } } }' % seed), "id")
        beside = v.folder({"log": "changed", "sub/log": "below"})
        same = find_field(session.query('{ node(id: "%s") { ... on Directory { directory(path: "sub") { id } } } }' % beside), "id")
        table = [
            ("", "1", "+1 0:0"),
            (', owner: "5:6"', "2", "+2 5:6"),
            (', owner: "7:8"', "3", "+3 7:8"),
            (', owner: "5:6"', "4", "+2+4 5:6"),
            # A name is looked up in the container. Without an owner, the volume is root's.
            (', owner: "daemon"', "5", "+5 1:1"),
            (', owner: "1:1"', "6", "+5+6 1:1"),
            (', owner: "root"', "7", "+1+7 0:0"),
            (f', source: "{seed}"', "8", "seed+8 0:0"),
            (f', source: "{sub}"', "9", "below+9 0:0"),
            (f', source: "{sub}", owner: "5:6"', "a", "below+a 5:6"),
            # Only the content of the source is part of the identity.
            (f', source: "{same}"', "b", "below+9+b 0:0"),
            # The sharing mode is no part of the identity.
            (", sharing: LOCKED", "c", "+1+7+c 0:0"),
            ("", "d", "+1+7+c+d 0:0"),
        ]
        for mount, salt, want in table:
            assert v.run(volume, log, mount, salt=salt) == want, mount
    listed = {record["description"] for record in engine.run("cache", "ls", "--json").json() if record["description"].startswith("one of several")}
    assert {"one of several", "one of several owner 5:6"} <= listed, listed


def test_cache_mounts_with_other_options_are_other_volumes(engine):
    lines = [
        ("uid=5,gid=6", "755 5:6", "+"),
        ("uid=5", "755 5:0", "+"),
        ("mode=0700", "700 0:0", "+"),
        ("mode=0700,uid=5,gid=6", "700 5:6", "+"),
        ("from=seeds,source=/a", "755 0:0", "a+"),
        ("from=seeds,source=/b", "755 0:0", "b+"),
        ("sharing=locked,uid=5,gid=6", "755 5:6", "++"),
        ("uid=0,gid=0", "755 0:0", "+"),
        ("mode=0755", "755 0:0", "+"),
    ]
    runs = "".join(
        f"RUN --mount=type=cache,id=several,target=/c,{options} echo -n + >> /c/log; stat -c '%a %u:%g' /c >> /out; cat /c/log >> /out; echo >> /out; : {at}\n"
        for at, (options, *_) in enumerate(lines)
    )
    dockerfile = (
        "FROM busybox AS seeds\nRUN mkdir /a /b && echo -n a > /a/log && echo -n b > /b/log\n"
        "FROM busybox\n" + runs
    )
    with engine.session() as session:
        folder = '{ directory { withNewFile(path: "Dockerfile", contents: %s) { dockerBuild { file(path: "/out") { contents } } } } }'
        said = find_field(session.query(folder % json.dumps(dockerfile)), "contents").split("\n")[:-1]
    want = [text for _, attributes, content in lines for text in (attributes, content)]
    assert said == want


def test_cvo_007_a_volume_has_mount_options(engine):
    with engine.session() as session:
        v = Volumes(session)
        seed = v.folder({"f": "seed"})
        volume = v.volume("with defaults", f', source: "{seed}", owner: "7:8", sharing: LOCKED')
        assert v.run(volume, "stat -c '%u:%g' /c; cat /c/f") == "7:8\nseed"
        meet = "touch /c/$SALT; sleep 0.3; ls /c | wc -l; rm /c/$SALT"
        # One after the other: no process sees the files of another.
        assert v.together(volume, [meet.replace("$SALT", str(n)) for n in range(3)]) == ["2", "2", "2"]
        other = v.volume("with other defaults", ', owner: "7:8"')
        assert v.run(other, "stat -c '%u:%g' /c", ', owner: "9:9"') == "9:9"


MEET = """touch /c/%(n)d; n=0; while [ $(ls /c | wc -l) -lt 3 ] && [ $n -lt 100 ]; do sleep 0.05; n=$((n+1)); done; ls /c | wc -l"""


def test_a_volume_is_shared_by_its_mode(engine):
    with engine.session() as session:
        v = Volumes(session)
        # SHARED: all three are in it at the same time.
        assert v.together(v.volume("shared"), [MEET % {"n": n} for n in range(3)]) == ["3", "3", "3"]
        # LOCKED: never two at the same time.
        alone = "ls /c; touch /c/here; sleep 0.2; rm /c/here"
        assert v.together(v.volume("locked"), [alone] * 3, ", sharing: LOCKED") == ["", "", ""]
        # PRIVATE: at the same time, each in one of its own.
        private = v.volume("private")
        start = time.monotonic()
        own = "ls /c | grep -v kept; touch /c/$$ /c/kept; sleep 3; ls /c | grep -vc kept"
        assert v.together(private, [own] * 3, ", sharing: PRIVATE") == ["1", "1", "1"]
        assert time.monotonic() - start < 8.5, "they waited for one another"
        # A single private user gets the volume itself, but not while another process uses it.
        assert v.run(private, "ls /c | grep kept", ", sharing: PRIVATE", salt="later") == "kept"
        mixed = v.volume("mixed")
        shared = ", sharing: SHARED"
        stays = "touch /c/busy; until [ -e /c/over ]; do sleep 0.05; done; rm /c/over"
        busy = threading.Thread(target=v.run, args=(mixed, stays, shared), daemon=True)
        busy.start()
        eventually(lambda: v.run(mixed, "ls /c", shared, salt=unique()) == "busy", what="the volume to be in use")
        assert v.run(mixed, "ls /c", ", sharing: PRIVATE", salt="mixed") == ""
        assert busy.is_alive()
        v.run(mixed, "touch /c/over", shared)
        busy.join()
        assert v.run(mixed, "ls /c", ", sharing: PRIVATE", salt="after") == "busy"


def test_a_locked_volume_of_a_bound_service_is_no_deadlock(engine):
    with engine.session() as session:
        volume = Volumes(session).volume("both want it")
        base = 'container { from(address: "busybox") { withMountedCache(path: "/c", cache: "%s", sharing: LOCKED) { %s } } }'
        service = session.query("{ %s }" % (base % (volume, 'asService(args: ["sleep", "60"]) { id }')))
        service = service["container"]["from"]["withMountedCache"]["asService"]["id"]
        bound = 'withServiceBinding(alias: "s", service: "%s") { withExec(args: ["true"]) { sync } }' % service
        message = session.error("{ %s }" % (base % (volume, bound)))["message"]
        assert "has the locked cache volume at `/c` as long as it runs, and the process itself wants it" in message, message


def test_a_cancelled_process_frees_a_locked_volume(engine):
    locked = ", sharing: LOCKED"
    with engine.session() as session:
        v = Volumes(session)
        volume = v.volume("freed")
        other = engine.session()
        holder = Volumes(other)
        text = holder.text(holder.volume("freed"), "touch /c/held; sleep 60", locked, salt=unique())
        thread = threading.Thread(target=_ignore, args=(other, {"query": text}), daemon=True)
        thread.start()
        eventually(lambda: v.run(volume, "ls /c", salt=unique()) == "held", what="the holder")
        waiter = []
        waiting = threading.Thread(target=lambda: waiter.append(v.run(volume, "ls /c; echo got it", locked, salt="w")), daemon=True)
        waiting.start()
        waiting.join(timeout=0.3)
        assert waiting.is_alive() and not waiter
        other.kill()
        waiting.join(timeout=20)
        assert waiter == ["held\ngot it"]
        thread.join(timeout=20)


def _ignore(session, body):
    """Sends a request in a session that is killed before the answer."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        session.post(body)


def test_parallel_users_seed_a_volume_once(engine):
    with engine.session() as session:
        v = Volumes(session)
        seed = v.folder({"log": "seed\\n", **{f"d/{n}": "x" for n in range(50)}})
        mount = f', source: "{seed}"'
        volume = v.volume("seeded together")
        assert v.together(volume, ["echo line >> /c/log; ls /c/d | wc -l"] * 6, mount) == ["50"] * 6
        assert v.run(volume, "sort /c/log | uniq -c | awk '{print $1, $2}'", mount, salt="end") == "6 line\n1 seed"


def test_a_volume_half_seeded_by_a_killed_engine_is_seeded_again(fresh: Rondel, folder):
    many = folder / "many"
    many.mkdir()
    for n in range(3000):
        (many / f"f{n}").write_bytes(b"x" * 20_000)

    def start(rondel) -> tuple:
        session = rondel.session(cwd=folder)
        v = Volumes(session)
        seed = session.query('{ host { directory(path: "many") { id } } }')["host"]["directory"]["id"]
        session.query('{ node(id: "%s") { ... on Directory { sync } } }' % seed)
        return session, v, v.volume("torn"), f', source: "{seed}"'

    session, v, volume, mount = start(fresh)
    text = v.text(volume, "ls /c | wc -l; cat /c/* | wc -c", mount)
    asking = threading.Thread(target=_ignore, args=(session, {"query": text}), daemon=True)
    pid = fresh.status()["pid"]
    asking.start()
    begun = lambda: next((fresh.state / "volumes").glob("*/f*"), None)  # noqa: E731
    eventually(begun, every=0.001, what="the first file of the volume")
    os.kill(pid, signal.SIGKILL)
    half = sum(1 for _ in (fresh.state / "volumes").glob("*/f*"))
    session.kill()
    asking.join(timeout=20)
    assert 0 < half < 3000, half
    session, v, volume, mount = start(fresh)
    with session:
        assert v.run(volume, "ls /c | wc -l; cat /c/* | wc -c", mount).split() == ["3000", "60000000"]
    fresh.verify()


def test_cvo_006_an_unchanged_directory_of_the_host_runs_nothing_again(engine, folder):
    (folder / "in").mkdir()
    (folder / "in/file").write_text(f"content {unique()}")

    def run() -> tuple:
        with engine.session(cwd=folder) as session:
            before = engine.execs()
            given = session.query('{ host { directory(path: "in") { id } } }')["host"]["directory"]["id"]
            said = session.query(
                """{ container { from(address: "busybox") { withMountedDirectory(path: "/in", source: "%s") {
                withExec(args: ["cat", "/in/file"]) { stdout } } } } }"""
                % given
            )
            return find_field(said, "stdout"), engine.execs() - before

    first = run()
    assert first[1] == 1
    assert run() == (first[0], 0)
    (folder / "in/file").touch()
    assert run() == (first[0], 0)
    (folder / "in/file").write_text("changed")
    assert run() == ("changed", 1)
