"""The cache on disk: listing, limits, pruning, rebuilding, and why work ran."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from kit import IMAGES, eventually, mirror_of
from kit.git_server import Sample, daemon

ENTRIES = "entryCount diskSpaceBytes entries { description diskSpaceBytes activelyUsed createdTimeUnixNano mostRecentUseTimeUnixNano recordType recordTypes dagqlCall }"


def writes(name: str, megabytes: int, leaf: str = 'file(path: "/big") { size }') -> str:
    script = f"dd if=/dev/zero bs=1M count={megabytes} 2>/dev/null | tr '\\\\0' {name[0]} > /big; echo {name} >> /big"
    return '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "%s"]) { %s } } } }' % (script, leaf)


def local_cache(rondel, selection: str):
    return rondel.data("{ engine { localCache { %s } } }" % selection)["engine"]["localCache"]


def kept(rondel) -> list[dict]:
    return rondel.run("cache", "ls", "--json").json()


def test_gc_002_limits_are_read_in_every_unit(make_engine):
    rondel = make_engine(
        mirror_of(IMAGES) + '[cache]\nmax-used = "1GB"\nreserved = 512\nminFreeSpace = "20%"\ntarget = "0.5 GiB"\n'
    )
    found = local_cache(rondel, "maxUsedSpace reservedSpace minFreeSpace targetSpace")
    disk = os.statvfs(rondel.state)
    assert (found["maxUsedSpace"], found["reservedSpace"], found["targetSpace"]) == (10**9, 512, 1 << 29)
    assert abs(found["minFreeSpace"] - disk.f_blocks * disk.f_frsize // 5) < 4096
    old = rondel.data("{ engine { localCache { keepBytes } } }", "--api-version", "v0.18.10")
    assert old["engine"]["localCache"]["keepBytes"] == 512
    rondel.stop()
    rondel.config_file.write_text(mirror_of(IMAGES) + '[cache]\nmax-used = "much"\n')
    rondel.query("{ version }").failed("much", "is no size")


def test_gc_004_gc_005_gc_007_pruning_keeps_what_is_in_use(fresh):
    for name in ["a", "b", "c"]:
        fresh.data(writes(name, 2))
    entries = local_cache(fresh, f"entrySet {{ {ENTRIES} }}")["entrySet"]
    assert entries["entryCount"] == len(entries["entries"]) >= 4
    assert entries["diskSpaceBytes"] == sum(entry["diskSpaceBytes"] for entry in entries["entries"]) > 6_000_000
    big = [entry for entry in entries["entries"] if "dd if=/dev/zero" in entry["description"]]
    assert len(big) == 3 and all(entry["dagqlCall"] == "Container.withExec" for entry in big)
    assert all(entry["recordTypes"] == [entry["recordType"]] for entry in big)
    assert all(0 < entry["createdTimeUnixNano"] <= entry["mostRecentUseTimeUnixNano"] for entry in big)

    for field in ["reservedSpace", "minFreeSpace"]:
        error = fresh.query('{ engine { localCache { prune(%s: "many") } } }' % field)
        error.failed(f"invalid {field} value")

    def bytes_now() -> int:
        return sum(record["bytes"] for record in kept(fresh))

    fresh.settle()
    with fresh.session() as session:
        session.query(writes("c", 2))
        wanted = bytes_now() - 1_000_000
        local_cache(fresh, f'prune(maxUsedSpace: "{wanted}", reservedSpace: "1TB")')
        assert bytes_now() > wanted
        local_cache(fresh, f'prune(maxUsedSpace: "{wanted}")')
        assert bytes_now() <= wanted
        names = [record["description"] for record in kept(fresh)]
        assert sum("tr '\\0' a" in name for name in names) == 0
        assert sum("tr '\\0' b" in name for name in names) == 1
        local_cache(fresh, "prune")
        before = fresh.execs()
        session.query(writes("c", 2, leaf='file(path: "/big") { contents }'))
        assert fresh.execs() == before
        assert [record["active"] for record in kept(fresh) if "tr '\\0' c" in record["description"]] == [True]
    fresh.settle()
    fresh.run("cache", "prune").ok()
    assert kept(fresh) == []
    assert os.listdir(fresh.state / "layers") == os.listdir(fresh.state / "blobs/sha256") == []
    fresh.verify()


def test_gc_006_a_pruned_result_is_made_again(fresh, folder):
    (folder / "input").write_text("from the host")
    mounted = (
        '{ host { directory(path: "%s") { id } } }' % folder,
        '{ container { from(address: "busybox") { withMountedDirectory(path: "/in", source: "%s") '
        '{ withExec(args: ["sh", "-c", "cat /in/input > /out"]) { file(path: "/out") { contents } } } } } }',
    )
    id = fresh.data(mounted[0])["host"]["directory"]["id"]
    first = fresh.data(mounted[1] % id)
    with fresh.session() as session:
        assert session.query(mounted[1] % id) == first
        fresh.run("cache", "prune").ok()
        assert session.query(mounted[1] % id) == first
    fresh.settle()
    fresh.run("cache", "prune").ok()
    fresh.query(mounted[1] % id).failed("not in the store any more", "import the directory again")
    assert fresh.data(mounted[0])["host"]["directory"]["id"] == id
    assert fresh.data(mounted[1] % id) == first
    fresh.verify()


def test_gc_006_a_pruned_repository_is_fetched_again(fresh, folder):
    sample = Sample(folder / "repos")
    with daemon(sample.bare.parent) as base:
        document = '{ git(url: "%s/r.git") { head { tree { file(path: "README") { contents } } } } }' % base
        first = fresh.data(document)
        fresh.settle()
        [record] = fresh.run("cache", "ls", "--json", "--kind", "source.git.checkout").json()
        assert (record["kind"], record["description"]) == ("repository", f"{base}/r.git")
        assert record["bytes"] > 0 and record["used"] >= record["made"] > 0 and not record["active"]
        with fresh.session() as session:
            # A new commit in the store that is kept, which is then in use.
            session.query(document.replace("head", 'branch(name: "dev")'))
            fresh.run("cache", "prune").ok()
            assert [r["active"] for r in kept(fresh) if r["kind"] == "repository"] == [True]
        fresh.settle()
        fresh.run("cache", "prune").ok()
        assert kept(fresh) == [] and os.listdir(fresh.state / "git/remotes") == []
        assert fresh.data(document) == first
        with ThreadPoolExecutor(4) as pool:
            pruning = [pool.submit(lambda: fresh.run("cache", "prune").ok()) for _ in range(3)]
            for commit in [sample.first, sample.second, sample.dev]:
                fresh.data('{ git(url: "%s/r.git") { commit(id: "%s") { tree { entries } } } }' % (base, commit))
            assert all(done.result() for done in pruning)
    fresh.verify()


def test_records_to_prune_are_chosen_by_flags(fresh):
    volume = fresh.data('{ cacheVolume(key: "chosen") { id } }')["cacheVolume"]["id"]
    document = (
        '{ container { from(address: "busybox") { withMountedCache(path: "/c", cache: "%s") '
        '{ withExec(args: ["sh", "-c", "echo x >> /c/x; wc -l < /c/x; echo $0", "%s"]) { stdout } } } } }'
    )
    assert "\n1\n" not in json.dumps(fresh.data(document % (volume, "first")))
    records = fresh.run("cache", "ls", "--json", "--kind", "volume").json()
    assert [(r["description"], r["record_type"]) for r in records] == [("chosen", "exec.cachemount")]
    fresh.settle()
    would = fresh.run("cache", "prune", "--dry-run", "--kind", "volume", "--json").json()
    assert [record["description"] for record in would["records"]] == ["chosen"]
    assert len(kept(fresh)) == len(records) + len([r for r in kept(fresh) if r["kind"] != "volume"])
    assert fresh.run("cache", "prune", "--unused-for", "1h", "--json").json()["records"] == []
    assert "2" in json.dumps(fresh.data(document % (volume, "second")))
    fresh.settle()
    assert "would free" in fresh.run("cache", "prune", "-n").ok().out
    assert "freed" in fresh.run("cache", "prune", "--kind", "exec.cachemount").ok().out
    assert "1" in json.dumps(fresh.data(document % (volume, "third")))
    listing = fresh.run("cache", "ls").ok().out
    assert "WHAT" in listing and "LAST USE" in listing and "chosen" in listing
    fresh.run("cache", "prune", "--keep", "lots").failed("is no size")
    fresh.run("cache", "prune", "--policy", "--keep", "1GB").failed("--policy")


def test_a_kill_while_pruning_leaves_a_valid_store(fresh):
    for round in range(4):
        for name in ["a", "b"]:
            fresh.data(writes(name, 1))
        fresh.settle()
        pruning = fresh.start("cache", "prune")
        if round % 2:
            eventually(lambda: len(kept(fresh)) < 3, what="something to be removed")
        fresh.kill()
        pruning.wait(timeout=30)
        fresh.data("{ version }")
        fresh.verify()
        assert not list((fresh.state / "trash").iterdir()) or fresh.verify()
    assert fresh.data(writes("a", 1))


def why(rondel, *words) -> str:
    return rondel.run("cache", "why", *words).ok().out


def test_layers_damaged_by_a_power_cut_are_made_again(fresh):
    document = writes("cut", 1, 'file(path: "/big") { size }')
    seen = fresh.data(document)
    fresh.stop()
    damaged = [*fresh.state.glob("layers/*/fs/big"), *fresh.state.glob("layers/*/fs/bin/busybox")]
    assert len(damaged) >= 1
    for path in damaged:
        path.write_bytes(b"")
    # As after a reboot of the machine.
    (fresh.state / "run").write_text("another run")
    assert fresh.data(document) == seen and fresh.execs() == 1
    fresh.verify()
    assert list((fresh.state / "doubted").iterdir()) == []
    assert fresh.data(document) == seen and fresh.execs() == 1


def test_why_names_the_input_that_differs(fresh, folder):
    def build(value: str) -> None:
        directory = fresh.data('{ host { directory(path: "%s") { id } } }' % folder)["host"]["directory"]["id"]
        fresh.data(
            '{ container { from(address: "busybox") { withEnvVariable(name: "LEVEL", value: "%s") '
            '{ withEnvVariable(name: "MY_TOKEN", value: "plain%s") { withMountedDirectory(path: "/src", source: "%s") '
            '{ withExec(args: ["sh", "-c", "cat /src/*"]) { stdout } } } } } } }' % (value, value, directory)
        )

    (folder / "main.c").write_text("one")
    build("1")
    assert "nothing like it was seen before" in why(fresh)
    build("1")
    assert "nothing ran" in why(fresh)
    (folder / "main.c").write_text("two")
    build("1")
    said = why(fresh)
    assert "ran       exec sh -c cat /src/*" in said and "mount /src: main.c" in said and "LEVEL" not in said
    build("2")
    said = why(fresh)
    assert "env LEVEL: 1 → 2" in said and "MY_TOKEN" in said and "plain" not in said and "mount /src" not in said
    assert "import" in why(fresh, "main", "--all") or "no work with" in why(fresh, "main", "--all")
    fresh.stop()
    assert "env LEVEL: 1 → 2" in why(fresh, "cat /src")
    parts = fresh.run("cache", "why", "cat /src", "--json").json()["work"][-1]["note"]["parts"]["parts"]
    assert parts["args"] == "sh -c cat /src/*" and parts["rootfs"].startswith("image ")


def test_why_explains_failures_and_shows_no_secret(fresh):
    failing = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "exit 3"]) { stdout } } } }'
    fresh.query(failing).failed("exit code: 3")
    before = fresh.execs()
    fresh.query(failing).failed("exit code: 3")
    assert fresh.execs() == before + 1, "failures are not kept"
    assert "failures are not kept" in why(fresh, "exit 3")
    with fresh.session() as session:
        for text in ["topsecretone", "topsecrettwo"]:
            id = session.query('{ setSecret(name: "s", plaintext: "%s") { id } }' % text)["setSecret"]["id"]
            session.query(
                '{ container { from(address: "busybox") { withSecretVariable(name: "S", secret: "%s") '
                '{ withExec(args: ["sh", "-c", "echo $S"]) { stdout } } } } }' % id
            )
    said = why(fresh, "echo $S")
    assert "secret variable S: handle" in said
    kept_notes = (fresh.state / "explained.jsonl").read_text()
    assert "topsecret" not in said and "topsecret" not in kept_notes


def test_a_small_limit_is_enforced_in_the_background(make_engine):
    """`min-free` is more than the disk has, so the engine removes everything that is not in use."""
    rondel = make_engine(mirror_of(IMAGES) + '[cache]\nmin-free = "100%"\nreserved = "3MB"\n')
    rondel.data(writes("a", 4))
    rondel.settle()
    eventually(lambda: sum(record["bytes"] for record in kept(rondel)) <= 3_000_000, within=60, what="space to come back")
    rondel.verify()
