"""Wrong input is a clear error and loses no data."""

import json
import subprocess
from pathlib import Path

import pytest

from kit import IMAGES, ROOT, mirror_of, run_in
from kit.oci import Layout, base_layer, link, tar

NAME = "example.com/test"


@pytest.fixture
def layout(folder):
    return Layout(folder / "layout")


@pytest.fixture
def rondel(make_engine, layout):
    engine = make_engine(mirror_of(layout.folder))
    yield engine
    engine.verify()


def healthy(rondel, layout) -> None:
    """Asserts that the engine still works."""
    layout.image(f"{NAME}:good", base_layer(IMAGES))
    assert "fine" in rondel.query(run_in(f"{NAME}:good", "echo fine")).ok().out


@pytest.mark.parametrize(
    "address, words",
    [
        ("no-such-image:1", ["no-such-image"]),
        ("busybox@sha256:" + "0" * 64, ["0000"]),
        ("busybox:no-such-tag", ["no-such-tag"]),
        ("UPPER/Case!!", ["UPPER/Case!!"]),
        ("", []),
        ("localhost:1/a:b", ["localhost:1"]),
    ],
)
def test_an_unknown_image_is_named_in_the_error(engine, address, words):
    engine.query(run_in(address, "echo fine")).failed(*words, code=1)


@pytest.mark.parametrize(
    "selection, words",
    [
        ('withExec(args: ["no-such-program"]) { stdout }', ["no-such-program"]),
        ('withUser(name: "nobody-knows") { withExec(args: ["true"]) { stdout } }', ["nobody-knows"]),
        ('withUser(name: "root:no-such-group") { withExec(args: ["true"]) { stdout } }', ["no-such-group"]),
        ('withoutDefaultArgs { withExec(args: []) { stdout } }', []),
        ('withExec(args: ["f"], useEntrypoint: true) { withoutEntrypoint { withExec(args: [], useEntrypoint: true) { stdout } } }', []),
        ('file(path: "/no/file") { contents }', ["/no/file"]),
        ('directory(path: "/no/folder") { entries }', ["/no/folder"]),
        ('file(path: "/etc") { contents }', ["etc"]),
        ('directory(path: "/etc/passwd") { entries }', ["etc/passwd"]),
        ('withExec(args: "text", nonsense: 1) { stdout }', ["nonsense"]),
        ('withExec(args: [{a: 1}]) { stdout }', ["String cannot represent"]),
        ('withEnvVariable(name: "A") { stdout }', ["value"]),
        ('withMountedDirectory(path: "/m", source: "not-an-id") { stdout }', ["not-an-id"]),
        ('withExec(args: ["true"], expect: MAYBE) { stdout }', ["MAYBE"]),
        ('withNewFile(path: {a: 5}, contents: "x") { stdout }', ["String cannot represent"]),
        ('nonsense', ["nonsense"]),
    ],
)
def test_a_wrong_argument_is_named_in_the_error(engine, selection, words):
    document = '{ container { from(address: "busybox") { %s } } }' % selection
    engine.query(document).failed(*words)
    assert engine.data("{ version }")


def test_an_id_of_another_type_is_refused(engine):
    with engine.session() as session:
        name = session.query('{ directory { id } }')["directory"]["id"]
        error = session.error("{ loadContainerFromID(id: %s) { rootfs { entries } } }" % json.dumps(name))
        assert "Container" in error["message"] or "Directory" in error["message"], error


def test_an_exec_without_an_entrypoint_fails(rondel, layout):
    layout.image(f"{NAME}:bare", base_layer(IMAGES))
    done = rondel.query('{ container { from(address: "%s:bare") { withExec(args: [], useEntrypoint: true) { stdout } } } }' % NAME)
    done.failed(code=1)
    healthy(rondel, layout)


def test_a_layer_with_a_wrong_digest_is_refused(rondel, layout):
    (digest,) = layout.image(f"{NAME}:bad", base_layer(IMAGES))
    path = layout.path(digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    rondel.query(run_in(f"{NAME}:bad", "echo fine")).failed(digest[:20], code=1)
    healthy(rondel, layout)


def test_a_truncated_layer_is_refused(rondel, layout):
    (digest,) = layout.image(f"{NAME}:short", base_layer(IMAGES))
    path = layout.path(digest)
    path.write_bytes(path.read_bytes()[:-10_000])
    rondel.query(run_in(f"{NAME}:short", "echo fine")).failed(digest[:20], code=1)
    healthy(rondel, layout)


def test_a_missing_layer_is_named_in_the_error(rondel, layout):
    (digest,) = layout.image(f"{NAME}:gone", base_layer(IMAGES))
    layout.path(digest).unlink()
    rondel.query(run_in(f"{NAME}:gone", "echo fine")).failed(digest[:20], code=1)
    healthy(rondel, layout)


def test_a_truncated_archive_of_the_right_digest_is_refused(rondel, layout):
    layout.image(f"{NAME}:half", base_layer(IMAGES)[:500_100])
    rondel.query(run_in(f"{NAME}:half", "echo fine")).failed(code=1)
    healthy(rondel, layout)


def test_a_manifest_that_is_not_json_is_refused(rondel, layout):
    layout.image(f"{NAME}:odd", base_layer(IMAGES))
    entry = layout.entries[-1]
    entry["digest"] = layout.put(b"{ this is no manifest")
    entry["size"] = 21
    layout.flush()
    rondel.query(run_in(f"{NAME}:odd", "echo fine")).failed(code=1)
    healthy(rondel, layout)


OUTSIDE = "rondel-escaped"


@pytest.mark.parametrize(
    "entries",
    [
        [("../../../../../../var/tmp/" + OUTSIDE, b"x")],
        [("/var/tmp/" + OUTSIDE, b"x")],
        [link("out", "/var/tmp"), ("out/" + OUTSIDE, b"x")],
        [link("out", "../../../../../../../../../var/tmp"), ("out/" + OUTSIDE, b"x")],
        [link("a", "b"), link("b", "a"), ("a/" + OUTSIDE, b"x")],
        [link("passwd", "../../../../../../../../etc/passwd", hard=True)],
        [link("passwd", "/etc/hostname", hard=True)],
        [link("x", "/var"), link("x/tmp", "/"), ("x/tmp/" + OUTSIDE, b"x")],
        [("a/../../../../../../../../var/tmp/" + OUTSIDE, b"x")],
        [(".wh...", b"")],
        [("a/.wh.", b"")],
    ],
    ids=range(11),
)
def test_an_archive_cannot_escape_its_root(rondel, layout, entries):
    """The archive is refused or unpacked inside the root. Files outside are not written or read."""
    layout.image(f"{NAME}:escape", base_layer(IMAGES), tar(*entries))
    done = rondel.query(run_in(f"{NAME}:escape", "cat /passwd 2>/dev/null; echo fine"))
    assert not (Path("/var/tmp") / OUTSIDE).exists()
    if done.code == 0:
        host = Path("/etc/hostname").read_text().strip() if Path("/etc/hostname").exists() else ""
        assert "fine" in done.out and (not host or host not in done.out.replace("fine", ""))
    else:
        done.failed(code=1)
    healthy(rondel, layout)


def test_symlinks_of_an_image_do_not_reach_the_host(rondel, layout, folder):
    """A symlink in an image points into the image, never at the host."""
    secret = folder / "host-secret"
    secret.write_text("of the host")
    layout.image(f"{NAME}:link", base_layer(IMAGES), tar(link("peek", str(secret)), link("dir", str(folder))))
    base = '{ container { from(address: "%s:link") { %s } } }'
    for selection in ['file(path: "/peek") { contents }', 'directory(path: "/dir") { entries }', 'file(path: "/dir/host-secret") { contents }']:
        assert "of the host" not in rondel.query(base % (NAME, selection)).failed(code=1).out


def test_a_symlink_of_a_host_directory_stays_inside(engine, folder):
    (folder / "host-secret").write_text("of the host")
    source = folder / "source"
    source.mkdir()
    (source / "peek").symlink_to(folder / "host-secret")
    with engine.session(cwd=folder) as session:
        status, answer = session.post({"query": '{ host { directory(path: "source") { file(path: "peek") { contents } } } }'})
        assert "of the host" not in json.dumps(answer)


def test_a_layer_of_very_deep_names_leaves_the_engine_working(rondel, layout):
    layout.image(f"{NAME}:deep", base_layer(IMAGES), tar(("/".join("d" * 200 for _ in range(15)) + "/f", b"x")))
    done = rondel.query(run_in(f"{NAME}:deep", "echo fine"))
    assert "fine" in done.out or done.failed(code=1)
    healthy(rondel, layout)


@pytest.mark.skipif(not ROOT, reason="a small disk is a mount, which only root makes")
def test_a_full_disk_is_an_error_and_loses_nothing(make_engine, folder):
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        rondel = make_engine()
        rondel.state = disk / "s"
        rondel.query(run_in("busybox", "echo fine")).ok()
        fill = "dd if=/dev/zero of=/big bs=1M count=64"
        rondel.query(run_in("busybox", fill)).failed("space")
        rondel.query(run_in("debian:bookworm-slim", "echo fine")).failed("space", code=1)
        assert "fine" in rondel.query(run_in("busybox", "echo fine again")).ok().out
        rondel.verify()
        rondel.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    "document",
    ["{ host { directory(path: \"/no/such/folder\") { entries } } }", "{ host { file(path: \"nothing.txt\") { contents } } }"],
)
def test_a_missing_path_of_the_host_is_an_error(engine, document):
    engine.query(document).failed("no", code=1)


def test_very_deep_directories_of_containers_are_refused_and_removed(make_engine):
    rondel = make_engine()
    script = "import os\nfor _ in range(%d):\n    os.mkdir('d')\n    os.chdir('d')\n"
    shell = 'i=0; while [ $i -lt %d ]; do mkdir d; cd d; i=$((i+1)); done'
    made = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", %s]) { rootfs { digest } } } } }'
    deep = lambda levels: made % json.dumps(shell % levels)
    assert "digest" in rondel.query(deep(200)).ok().out
    # A directory that is too deep for any path is removed as well.
    for levels in (300, 5_000):
        rondel.query(deep(levels)).failed("directories are inside one another")
    rondel.stop()
    assert "fine" in rondel.query(run_in("busybox", "echo fine")).ok().out
    folder = rondel.folder / "host"
    subprocess.run(["python3", "-c", script % 1_500], cwd=rondel.folder, check=True)
    (rondel.folder / "d").rename(folder)
    taken = "{ host { directory(path: %s) { entries } } }" % json.dumps(str(folder))
    rondel.query(taken).failed("directories are inside one another")
    wiped = "{ directory { withNewFile(path: \"f\", contents: \"x\") { export(path: %s, wipe: true) } } }"
    rondel.query(wiped % json.dumps(str(folder))).ok()
    assert [entry.name for entry in folder.iterdir()] == ["f"]
    rondel.verify()
