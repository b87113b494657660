"""Damage on disk: damaged data is set aside and made again, and the engine starts."""

import json
import os
import shutil
from pathlib import Path

from kit import eventually


def makes(name: str, reader: str = "") -> str:
    """A process that writes `/d/NAME` and `/top-NAME`, and a later one that reads both."""
    script = f"mkdir /d; echo {name} is right > /d/{name}; echo right > /top-{name}"
    read = 'withExec(args: ["sh", "-c", "cat /d/* /top-* ; : %s"]) { stdout }' % reader
    return '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "%s"]) { %s } } } }' % (script, read)


def said(data: dict) -> str:
    return data["container"]["from"]["withExec"]["withExec"]["stdout"]


def layer_of(rondel, name: str) -> Path:
    [found] = {path.parents[2] for path in rondel.state.glob(f"layers/*/fs/d/{name}")}
    return found


def damage_notes(rondel) -> list[str]:
    """Notes of the status about damage, without those about missing limits."""
    return [note for note in rondel.status()["notes"] if "limit" not in note]


def flip(path: Path, at: int) -> None:
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 0x20
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


KINDS = {
    "flipped": lambda layer, name: flip(layer / "fs/d" / name, 1),
    "truncated": lambda layer, name: (layer / "fs/d" / name).write_bytes(b""),
    "missing": lambda layer, name: (layer / "fs/d" / name).unlink(),
    "emptied": lambda layer, name: shutil.rmtree(layer / "fs"),
    "recordless": lambda layer, name: (layer / "meta.json").write_text('{"version": 1, "ent'),
}


def test_a_damaged_layer_is_set_aside_and_made_again(fresh):
    """In the session that made it, in another one, and after a restart."""
    for name, damage in KINDS.items():
        document = makes(name)
        with fresh.session() as session:
            assert said(session.query(document)) == f"{name} is right\nright\n"
            before = fresh.execs()
            layer = layer_of(fresh, name)
            damage(layer, name)
            found = fresh.run("engine", "verify", "--json")
            assert found.code == 1, found
            assert [layer.name in problem for problem in json.loads(found.out)["problems"]] == [True], found
            # The text is cached. An exec that needs the files has them made again.
            assert said(session.query(document)) == f"{name} is right\nright\n"
            assert fresh.execs() == before
            assert said(session.query(makes(name, "another"))) == f"{name} is right\nright\n"
            assert fresh.execs() == before + 2
            assert (layer / "fs/d" / name).read_text() == f"{name} is right\n"
        assert any("was set aside" in note and layer.name[:12] in note for note in fresh.status()["notes"])
        fresh.verify()
    fresh.stop()
    for name in KINDS:
        assert said(fresh.data(makes(name))) == f"{name} is right\nright\n"
    assert fresh.execs() == 0 and not damage_notes(fresh)
    assert not (fresh.state / "quarantine").exists()


def test_a_cache_hit_notices_a_missing_layer(fresh):
    """Without `engine verify`."""
    for name, damage in [("gone", shutil.rmtree), ("hollow", lambda layer: shutil.rmtree(layer / "fs")), ("less", lambda layer: (layer / "fs/top-less").unlink())]:
        document, leaf = makes(name), 'file(path: "/d/%s") { contents }' % name
        opened = document[: document.index("withExec", document.index("withExec") + 1)] + leaf + " } } } }"
        fresh.data(document)
        layer = layer_of(fresh, name)
        damage(layer)
        # The engine does not look at a layer again that it has just checked.
        eventually(lambda: fresh.query(opened).code == 0 and (layer / "fs/d" / name).exists(), what="the layer to be made again")
        assert fresh.data(opened)["container"]["from"]["withExec"]["file"]["contents"] == f"{name} is right\n"
        fresh.verify()


def test_a_damaged_import_is_imported_again(fresh, folder):
    (folder / "in").mkdir()
    (folder / "in/file").write_text("of the host")
    document = '{ host { directory(path: "%s") { file(path: "file") { contents } } } }' % (folder / "in")
    with fresh.session() as session:
        for _ in range(2):
            assert session.query(document)["host"]["directory"]["file"]["contents"] == "of the host"
            [path] = [path for path in fresh.state.glob("layers/*/fs/file") if path.read_text() == "of the host"]
            flip(path, 3)
            assert fresh.run("engine", "verify").code == 1
            assert session.query(document)["host"]["directory"]["file"]["contents"] == "of the host"
    fresh.verify()


def test_damaged_layers_and_blobs_of_an_image_are_fetched_again(fresh):
    def size(salt: str) -> str:
        run = 'withExec(args: ["sh", "-c", "wc -c < /bin/busybox; : %s"]) { stdout }' % salt
        return fresh.data('{ container { from(address: "busybox") { %s } } }' % run)["container"]["from"]["withExec"]["stdout"]

    whole = size("1")
    blobs = sorted((fresh.state / "blobs/sha256").iterdir())
    [layer] = {path.parents[2] for path in fresh.state.glob("layers/*/fs/bin/busybox")}
    assert blobs
    for blob in blobs:
        os.truncate(blob, blob.stat().st_size // 2)
    (layer / "fs/bin/busybox").write_bytes(b"")
    assert fresh.run("engine", "verify").code == 1
    assert size("2") == whole
    fresh.verify()
    # Without `engine verify`: a short blob and a missing layer count as absent.
    for blob in (fresh.state / "blobs/sha256").iterdir():
        os.truncate(blob, 1)
    fresh.stop()
    shutil.rmtree(layer)
    assert size("3") == whole
    fresh.verify()


def test_a_damaged_index_is_set_aside_and_the_engine_starts(fresh):
    document = makes("kept")
    index = fresh.state / "index.sqlite"

    def directory() -> None:
        index.unlink()
        index.mkdir()

    kinds = [
        ("garbage", lambda: index.write_bytes(b"no database at all, certainly not one")),
        ("truncated", lambda: os.truncate(index, 5000)),
        ("a directory", directory),
    ]
    volume = fresh.data('{ cacheVolume(key: "lasting") { id } }')["cacheVolume"]["id"]
    use = '{ container { from(address: "busybox") { withMountedCache(path: "/c", cache: "%s") { withExec(args: ["sh", "-c", "echo %s >> /c/log; cat /c/log"]) { stdout } } } } }'
    fresh.data(use % (volume, "first"))
    for name, damage in kinds:
        whole = fresh.data(document)
        fresh.stop()
        damage()
        again = fresh.query(document)
        assert again.json() == whole
        assert "index.sqlite.damaged" in again.err and "made again" in again.err, (name, again.err)
        assert fresh.execs() == 2, name
        [note] = damage_notes(fresh)
        assert "index.sqlite.damaged" in note
        fresh.verify()
        # The damage is reported once, and the new index works.
        assert "index.sqlite.damaged" not in fresh.query(document).err
        assert fresh.execs() == 2
        fresh.stop()
        fresh.data(document)
        assert (fresh.execs(), damage_notes(fresh)) == (0, [])
    # Volumes are not in the index. They stay.
    said_last = fresh.data(use % (volume, "last"))["container"]["from"]["withMountedCache"]["withExec"]["stdout"]
    assert said_last.split() == ["first", "last"]
    fresh.stop()
    index.write_bytes(b"")
    assert fresh.data(document) == whole and fresh.execs() == 2
    fresh.verify()
