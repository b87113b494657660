"""Files: contents, changes, and exports to the host."""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor

from kit import Chain, busybox, directory, quote

CHUNK = 3_984_588


def file(session, contents: str, name: str = "f") -> Chain:
    return Chain(session, [f"file(name: {quote(name)}, contents: {quote(contents)})"])


def test_fil_001_a_file_is_made_from_name_and_contents(session):
    assert file(session, "hi").get("contents name size") == {"contents": "hi", "name": "f", "size": 2}
    for name in ("sub/f", "/f", "f/"):
        assert "must not contain a directory" in file(session, "", name).error("sync")
    for name in ("", ".", ".."):
        assert "cannot be the name of a file" in file(session, "", name).error("sync")
    moded = Chain(session, ['file(name: "x", contents: "", permissions: 448)'])
    assert moded.get("stat { permissions name fileType }") == {"permissions": 0o700, "name": "x", "fileType": "REGULAR"}


def test_fil_002_contents_are_read_by_lines(session):
    text = "".join(f"line {n}\n" for n in range(1, 13))
    made = file(session, text)

    def window(arguments: str) -> list:
        return [int(line.split()[1]) for line in made.get(f"contents({arguments})").splitlines()]

    assert window("offsetLines: 5, limitLines: 5") == [6, 7, 8, 9, 10]
    assert window("offsetLines: 10") == [11, 12]
    assert window("limitLines: 2") == [1, 2]
    assert window("offsetLines: 99") == []
    assert made.get("contents") == text
    assert "must not be negative" in made.error("contents(offsetLines: -1)")
    odd = "no end, ünïcode\r\n\ttab"
    assert file(session, odd).get("contents") == odd


def test_fil_003_a_file_has_a_size_and_a_name(session, engine, folder):
    made = directory(session, {"keep/that": "1234"})
    assert made.then('file(path: "keep/that")').get("size name") == {"size": 4, "name": "that"}
    message = made.then('file(path: "keep/../this")').error("size")
    assert "keep/../this: no such file or directory" in message
    assert busybox(session).then('file(path: "/etc/passwd")').get("name") == "passwd"
    (folder / "sub").mkdir()
    (folder / "sub/here").write_text("123456")
    host = Chain(session, ["host"])
    by_file = host.then(f"file(path: {quote(str(folder / 'sub/here'))})")
    by_folder = host.then(f"directory(path: {quote(str(folder))})").then('file(path: "sub/here")')
    assert by_file.get("name size") == by_folder.get("name size") == {"name": "here", "size": 6}


def test_fil_004_a_file_can_be_renamed(session):
    made = file(session, "1").then('withName(name: "baz")')
    assert made.get("name contents") == {"name": "baz", "contents": "1"}
    into = Chain(session, ["directory"]).then(f'withFile(path: "d/", source: {made.id()})')
    assert into.get('entries(path: "d")') == ["baz"]
    for name in ("", "a/b", "n" * 256):
        assert made.error(f'withName(name: "{name}") {{ name }}')


def test_fil_005_a_file_is_exported(engine, folder):
    work = folder / "work"
    (work / "there").mkdir(parents=True)
    made = Chain(None, ["directory", 'withNewFile(path: "run", contents: "1", permissions: 484)', 'file(path: "run")'])
    with engine.session(cwd=work) as client:

        def export(arguments: str):
            return Chain(client, made.parts).get(f"export({arguments})")

        assert export('path: "deep/out"') == str(work / "deep/out")
        assert (work / "deep/out").stat().st_mode & 0o777 == 0o744
        assert export(f"path: {quote(str(folder / 'abs'))}") == str(folder / "abs")
        assert export('path: "../up"') == str(folder / "up") and (folder / "up").read_text() == "1"
        for path in ("there", ".", "there/"):
            assert "directory" in Chain(client, made.parts).error(f'export(path: "{path}")')
        export('path: "there", allowParentDirPath: true')
        assert (work / "there/run").read_text() == "1"
        # Larger than a chunk of the transfer, over an existing file.
        big = busybox(client).then('withExec(args: ["sh", "-c", "head -c 9000001 /dev/zero > /big"])').then('file(path: "/big")')
        big.get('export(path: "deep/out")')
        assert (work / "deep/out").stat().st_size == 9_000_001
        assert not [name for name in os.listdir(work / "deep") if name != "out"]


def test_fil_006_contents_are_whole_and_limited(session):
    sizes = [CHUNK // 2, CHUNK, CHUNK * 2]
    script = "; ".join(f"head -c {size // 16 * 16 + size % 16} /dev/zero | tr '\\0' 'a' > /f{size}" for size in sizes)
    made = busybox(session).then(f'withExec(args: ["sh", "-c", {quote(script + "; truncate -s 134217729 /large; truncate -s 134217728 /most")}])')
    for size in sizes:
        text = made.then(f'file(path: "/f{size}")').get("contents")
        inside = made.run(f"md5sum < /f{size}").split()[0]
        assert hashlib.md5(text.encode()).hexdigest() == inside
    assert "larger than 134217728 bytes" in made.then('file(path: "/large")').error("contents(limitLines: 1)")
    assert made.then('file(path: "/most")').get("size") == 128 << 20


def test_fil_007_timestamps_are_set(session):
    made = file(session, "1").then("withTimestamps(timestamp: 1000000000)").id()
    at = busybox(session).then(f'withMountedFile(path: "/f", source: {made})')
    assert at.run("stat -c '%X %Y' /f").split() == ["1000000000"] * 2
    at = busybox(session).then(f'withFile(path: "/f", source: {made})')
    assert at.run("stat -c '%Y' /f").split() == ["1000000000"]


def test_fil_008_a_digest_may_leave_out_metadata(session):
    def digests(mode: int, text: str = "x") -> dict:
        chain = directory(session, {"f": (text, mode)}).then('file(path: "f")')
        return chain.get("whole: digest content: digest(excludeMetadata: true)")

    one, moded, other = digests(0o644), digests(0o600), digests(0o644, "y")
    assert re.fullmatch("sha256:[0-9a-f]{64}", one["whole"])
    assert one["whole"] != moded["whole"] and one["content"] == moded["content"]
    assert one["content"] != other["content"] and one == digests(0o644)


def test_fil_013_owners_are_looked_up_in_the_container(session):
    rootfs = busybox(session).then(
        'withExec(args: ["sh", "-c", "echo auser:x:1234:1234::/:/bin/sh >> /etc/passwd; echo agroup:x:4321: >> /etc/group;'
        ' echo x > /f; mkdir /d; echo y > /d/g; chmod 4755 /f"])'
    )
    owned = rootfs.then('file(path: "/f")').then('chown(owner: "auser:agroup")')
    at = busybox(session).then(f'withMountedFile(path: "/m", source: {owned.id()})')
    assert at.run("stat -c '%u:%g %a' /m") == "1234:4321 4755\n"
    folder = rootfs.then('directory(path: "/d")').then('chown(path: ".", owner: "auser")')
    at = busybox(session).then(f'withMountedDirectory(path: "/m", source: {folder.id()})')
    assert at.run("stat -c '%u:%g' /m /m/g") == "1234:1234\n" * 2
    assert "unable to find user nobodyhere" in rootfs.then('file(path: "/f")').then('chown(owner: "nobodyhere")').error("sync")


def test_fil_015_files_are_read_in_parallel(session, folder):
    for n in range(10):
        (folder / f"f{n}").write_text(f"content {n}")
    with ThreadPoolExecutor(10) as pool:
        read = pool.map(lambda n: Chain(session, ["host", f"file(path: {quote(str(folder / f'f{n}'))})"]).get("contents"), range(10))
        assert list(read) == [f"content {n}" for n in range(10)]


def test_text_is_replaced_and_found(session):
    made = file(session, "one two\ntwo\nthree two\n")

    def replaced(arguments: str) -> str:
        return made.then(f"withReplaced({arguments})").get("contents")

    assert replaced('search: "one", replacement: "1"') == "1 two\ntwo\nthree two\n"
    assert replaced('search: "two", replacement: "2", all: true') == "one 2\n2\nthree 2\n"
    assert replaced('search: "two", replacement: "2", firstFrom: 2') == "one two\n2\nthree two\n"
    found = made.then('withReplaced(search: "two", replacement: "2")').error("contents")
    assert found == "search string found multiple times: line 1 (4-7), line 2 (0-3), line 3 (6-9)"
    assert "search string not found" in made.then('withReplaced(search: "four", replacement: "4")').error("contents")
    assert replaced('search: "four", replacement: "4", all: true') == "one two\ntwo\nthree two\n"
    assert replaced('search: "two", replacement: "2", all: true, firstFrom: 2') == "one two\n2\nthree 2\n"
    hits = made.get('search(pattern: "t.o") { filePath lineNumber absoluteOffset }')
    assert [(hit["filePath"], hit["lineNumber"], hit["absoluteOffset"]) for hit in hits] == [("f", 1, 0), ("f", 2, 8), ("f", 3, 12)]
    assert len(made.get('search(pattern: "two", limit: 2) { filePath }')) == 2
    # A pattern that repeats too much is refused before the search.
    for pattern in ["\\\\p{L}{50000}", "(?i)(\\\\w{500}){20}"]:
        assert "size limit of 4194304" in made.error(f'search(pattern: "{pattern}") {{ filePath }}')
    nested = directory(session, {"d/n.txt": "needle"}).then('file(path: "d/n.txt")')
    assert nested.get('search(pattern: "needle") { filePath matchedLines }') == [{"filePath": "n.txt", "matchedLines": "needle"}]
