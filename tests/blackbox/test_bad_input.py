"""Wrong input is a clear error and loses no data. Each failure has golden texts for a pipe and for a terminal."""

import json
import subprocess
from pathlib import Path

import pytest

from kit import IMAGES, ROOT, mirror_of, run_in
from kit.failures import Failure, check_failure
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


def check(rondel, folder, name: str, document: str, code: int = 1, varies: tuple = ()) -> None:
    """Asserts that the document fails with the golden texts of `name`."""
    check_failure(rondel, folder, Failure(f"bad-{name}", ("query",), code, document, varies=varies))


def healthy(rondel, layout) -> None:
    """Asserts that the engine still works."""
    layout.image(f"{NAME}:good", base_layer(IMAGES))
    assert "fine" in rondel.query(run_in(f"{NAME}:good", "echo fine")).ok().out


@pytest.mark.parametrize(
    "name, address, words",
    [
        ("name", "no-such-image:1", ["no-such-image"]),
        ("digest", "busybox@sha256:" + "0" * 64, ["0000"]),
        ("tag", "busybox:no-such-tag", ["no-such-tag"]),
        ("upper-case", "UPPER/Case!!", ["UPPER/Case!!"]),
        ("empty", "", []),
        ("registry", "localhost:1/a:b", ["localhost:1"]),
    ],
)
def test_an_unknown_image_is_named_in_the_error(engine, folder, name, address, words):
    document = run_in(address, "echo fine")
    engine.query(document).failed(*words, code=1)
    check(engine, folder, f"image-{name}", document)


@pytest.mark.parametrize(
    "name, selection, words",
    [
        ("program", 'withExec(args: ["no-such-program"]) { stdout }', ["no-such-program"]),
        ("user", 'withUser(name: "nobody-knows") { withExec(args: ["true"]) { stdout } }', ["nobody-knows"]),
        ("group", 'withUser(name: "root:no-such-group") { withExec(args: ["true"]) { stdout } }', ["no-such-group"]),
        ("args-empty", 'withoutDefaultArgs { withExec(args: []) { stdout } }', []),
        ("entrypoint-empty", 'withExec(args: ["f"], useEntrypoint: true) { withoutEntrypoint { withExec(args: [], useEntrypoint: true) { stdout } } }', []),
        ("file", 'file(path: "/no/file") { contents }', ["/no/file"]),
        ("directory", 'directory(path: "/no/folder") { entries }', ["/no/folder"]),
        ("file-is-a-directory", 'file(path: "/etc") { contents }', ["etc"]),
        ("directory-is-a-file", 'directory(path: "/etc/passwd") { entries }', ["etc/passwd"]),
        ("argument-unknown", 'withExec(args: "text", nonsense: 1) { stdout }', ["nonsense"]),
        ("args-of-objects", 'withExec(args: [{a: 1}]) { stdout }', ["String cannot represent"]),
        ("argument-missing", 'withEnvVariable(name: "A") { stdout }', ["value"]),
        ("id", 'withMountedDirectory(path: "/m", source: "not-an-id") { stdout }', ["not-an-id"]),
        ("enum", 'withExec(args: ["true"], expect: MAYBE) { stdout }', ["MAYBE"]),
        ("path-of-object", 'withNewFile(path: {a: 5}, contents: "x") { stdout }', ["String cannot represent"]),
        ("field", 'nonsense', ["nonsense"]),
    ],
)
def test_a_wrong_argument_is_named_in_the_error(engine, folder, name, selection, words):
    document = '{ container { from(address: "busybox") { %s } } }' % selection
    engine.query(document).failed(*words)
    check(engine, folder, f"argument-{name}", document)
    assert engine.data("{ version }")


def test_an_id_of_another_type_is_refused(engine, folder):
    name = engine.data("{ directory { id } }")["directory"]["id"]
    document = "{ loadContainerFromID(id: %s) { rootfs { entries } } }" % json.dumps(name)
    check(engine, folder, "id-of-another-type", document, varies=((r'(?<=\(id: ")[^" \n]+', "ID"),))


def test_an_exec_without_an_entrypoint_fails(rondel, layout, folder):
    layout.image(f"{NAME}:bare", base_layer(IMAGES))
    document = '{ container { from(address: "%s:bare") { withExec(args: [], useEntrypoint: true) { stdout } } } }' % NAME
    check(rondel, folder, "entrypoint-missing", document)
    healthy(rondel, layout)


def test_a_layer_with_a_wrong_digest_is_refused(rondel, layout, folder):
    (digest,) = layout.image(f"{NAME}:bad", base_layer(IMAGES))
    path = layout.path(digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    rondel.query(run_in(f"{NAME}:bad", "echo fine")).failed(digest[:20], code=1)
    check(rondel, folder, "layer-digest", run_in(f"{NAME}:bad", "echo fine"))
    healthy(rondel, layout)


def test_a_truncated_layer_is_refused(rondel, layout, folder):
    (digest,) = layout.image(f"{NAME}:short", base_layer(IMAGES))
    path = layout.path(digest)
    path.write_bytes(path.read_bytes()[:-10_000])
    rondel.query(run_in(f"{NAME}:short", "echo fine")).failed(digest[:20], code=1)
    check(rondel, folder, "layer-truncated", run_in(f"{NAME}:short", "echo fine"))
    healthy(rondel, layout)


def test_a_missing_layer_is_named_in_the_error(rondel, layout, folder):
    (digest,) = layout.image(f"{NAME}:gone", base_layer(IMAGES))
    layout.path(digest).unlink()
    rondel.query(run_in(f"{NAME}:gone", "echo fine")).failed(digest[:20], code=1)
    check(rondel, folder, "layer-missing", run_in(f"{NAME}:gone", "echo fine"))
    healthy(rondel, layout)


def test_a_truncated_archive_of_the_right_digest_is_refused(rondel, layout, folder):
    layout.image(f"{NAME}:half", base_layer(IMAGES)[:500_100])
    check(rondel, folder, "archive-truncated", run_in(f"{NAME}:half", "echo fine"))
    healthy(rondel, layout)


def test_a_manifest_that_is_not_json_is_refused(rondel, layout, folder):
    layout.image(f"{NAME}:odd", base_layer(IMAGES))
    entry = layout.entries[-1]
    entry["digest"] = layout.put(b"{ this is no manifest")
    entry["size"] = 21
    layout.flush()
    check(rondel, folder, "manifest", run_in(f"{NAME}:odd", "echo fine"))
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
    ids=["up", "absolute", "link", "link-up", "loop", "hard-link-up", "hard-link", "link-to-link", "up-inside", "whiteout-up", "whiteout"],
)
def test_an_archive_cannot_escape_its_root(rondel, layout, folder, request, entries):
    """The archive is refused or unpacked inside the root. Files outside are not written or read."""
    layout.image(f"{NAME}:escape", base_layer(IMAGES), tar(*entries))
    done = rondel.query(run_in(f"{NAME}:escape", "cat /passwd 2>/dev/null; echo fine"))
    assert not (Path("/var/tmp") / OUTSIDE).exists()
    if done.code == 0:
        host = Path("/etc/hostname").read_text().strip() if Path("/etc/hostname").exists() else ""
        assert "fine" in done.out and (not host or host not in done.out.replace("fine", ""))
    else:
        document = run_in(f"{NAME}:escape", "cat /passwd 2>/dev/null; echo fine")
        check(rondel, folder, f"archive-{request.node.callspec.id}", document)
    healthy(rondel, layout)


def test_symlinks_of_an_image_do_not_reach_the_host(rondel, layout, folder):
    """A symlink in an image points into the image, never at the host."""
    secret = folder / "host-secret"
    secret.write_text("of the host")
    layout.image(f"{NAME}:link", base_layer(IMAGES), tar(link("peek", str(secret)), link("dir", str(folder))))
    base = '{ container { from(address: "%s:link") { %s } } }'
    for name, selection in [
        ("file", 'file(path: "/peek") { contents }'),
        ("directory", 'directory(path: "/dir") { entries }'),
        ("file-inside", 'file(path: "/dir/host-secret") { contents }'),
    ]:
        assert "of the host" not in rondel.query(base % (NAME, selection)).failed(code=1).out
        check(rondel, folder, f"symlink-{name}", base % (NAME, selection))


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
        check(rondel, folder, "disk-exec", run_in("busybox", fill))
        rondel.query(run_in("debian:bookworm-slim", "echo fine")).failed("space", code=1)
        check(rondel, folder, "disk-pull", run_in("debian:bookworm-slim", "echo fine"), varies=((r"scratch/\d+", "scratch/N"),))
        assert "fine" in rondel.query(run_in("busybox", "echo fine again")).ok().out
        rondel.verify()
        rondel.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    "name, field",
    [("directory", 'directory(path: "/no/such/folder") { entries }'), ("file", 'file(path: "nothing.txt") { contents }')],
)
def test_a_missing_path_of_the_host_is_an_error(engine, folder, name, field):
    check(engine, folder, f"host-{name}", "{ host { %s } }" % field)


def test_very_deep_directories_of_containers_are_refused_and_removed(make_engine, folder):
    rondel = make_engine()
    script = "import os\nfor _ in range(%d):\n    os.mkdir('d')\n    os.chdir('d')\n"
    shell = 'i=0; while [ $i -lt %d ]; do mkdir d; cd d; i=$((i+1)); done'
    made = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", %s]) { rootfs { digest } } } } }'
    deep = lambda levels: made % json.dumps(shell % levels)
    assert "digest" in rondel.query(deep(200)).ok().out
    # A directory that is too deep for any path is removed as well.
    for levels in (300, 5_000):
        check(rondel, folder, f"deep-{levels}", deep(levels))
    rondel.stop()
    assert "fine" in rondel.query(run_in("busybox", "echo fine")).ok().out
    host = folder / "host"
    subprocess.run(["python3", "-c", script % 1_500], cwd=folder, check=True)
    (folder / "d").rename(host)
    check(rondel, folder, "deep-host", '{ host { directory(path: "host") { entries } } }')
    wiped = "{ directory { withNewFile(path: \"f\", contents: \"x\") { export(path: %s, wipe: true) } } }"
    rondel.query(wiped % json.dumps(str(host))).ok()
    assert [entry.name for entry in host.iterdir()] == ["f"]
    rondel.verify()
