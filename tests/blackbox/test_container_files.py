"""Files and directories inside containers."""

from kit import Chain, busybox, directory, files_of, quote

USERS = (
    'withExec(args: ["sh", "-c", "echo auser:x:1234:1234::/:/bin/sh >> /etc/passwd; echo auser:x:1234: >> /etc/group;'
    ' echo agroup:x:4321: >> /etc/group"])'
)


def busybox_in(session, workdir: str = "/code") -> Chain:
    return busybox(session).then(f"withWorkdir(path: {quote(workdir)})")


def test_cfs_001_cfs_003_directories_are_merged(session):
    source = directory(session, {"p/a": "new", "p/n/b": "2", "p/c.md": "3", "q": "parent"}).then('directory(path: "p")').id()
    base = busybox_in(session).then('withNewFile(path: "rel/a", contents: "old")').then('withNewFile(path: "rel/mine", contents: "m")')
    merged = base.then(f'withDirectory(path: "rel", source: {source}, exclude: ["*.md"])')
    assert files_of(merged.then('directory(path: "/code/rel")')) == {"a": "new", "mine": "m", "n/b": "2"}


def test_cfs_004_a_directory_is_added_below_a_mount(session):
    whole = directory(session, {"sub/inner/x": "1", "beside": "2"}).then('directory(path: "sub")').id()
    more = directory(session, {"y": "3"}).id()
    made = busybox(session).then(f'withMountedDirectory(path: "/mnt", source: {whole})')
    made = made.then(f'withDirectory(path: "/mnt/a/b/foo", source: {more})')
    assert made.run("cd /mnt; find . -type f | sort").split() == ["./a/b/foo/y", "./inner/x"]
    assert files_of(made.then('directory(path: "/mnt")')) == {"a/b/foo/y": "3", "inner/x": "1"}


def test_cfs_005_cfs_006_files_are_copied_to_a_path_or_into_a_directory(session):
    made = directory(session, {"deep/one": "1", "two": "2"})
    one, two = made.then('file(path: "deep/one")').id(), made.then('file(path: "two")').id()
    assert busybox_in(session).then(f'withFile(path: "t", source: {one})').then('file(path: "/code/t")').get("contents") == "1"
    assert busybox_in(session).then(f'withFile(path: "/abs/t", source: {one})').then('file(path: "/abs/t")').get("contents") == "1"
    assert busybox(session).then(f'withFile(path: "/tmp", source: {one})').then('file(path: "/tmp/one")').get("contents") == "1"
    for path in ("several", "several/"):
        several = busybox_in(session).then(f'withFiles(path: "{path}", sources: [{one}, {two}])')
        assert several.then('directory(path: "several")').get("entries") == ["one", "two"]


def test_cfs_007_a_new_file_has_owner_mode_and_an_expanded_path(session):
    made = busybox_in(session).then('withEnvVariable(name: "D", value: "expanded")')
    made = made.then(USERS)
    made = made.then('withNewFile(path: "${D}/f", contents: "x", permissions: 384, owner: "auser", expand: true)')
    assert made.run("stat -c '%a %U:%G' /code/expanded/f; pwd") == "600 auser:auser\n/code\n"
    assert made.then('withNewFile(path: "$D", contents: "plain")').then('file(path: "/code/$D")').get("contents") == "plain"


def test_cfs_009_files_and_directories_are_removed(session):
    made = busybox_in(session).then('withNewFile(path: "bar/x", contents: "")').then('withNewFile(path: "y", contents: "")')
    assert made.then('withoutDirectory(path: "bar")').then('directory(path: ".")').get("entries") == ["y"]
    emptied = made.then('withoutDirectory(path: "")')
    assert emptied.then('directory(path: ".")').get("entries") == []
    assert emptied.run("pwd; ls") == "/code\n"
    for content in (".", "./", "bar/."):
        kept = "/code/bar" if "bar" in content else "/code"
        assert made.then(f'withoutDirectory(path: "{content}")').run(f"ls {kept} && echo kept") == "kept\n"
    assert made.then('withoutDirectory(path: "bar/")').run("ls") == "y\n"
    removed = made.then('withWorkdir(path: "/")').then('withoutDirectory(path: "/code")')
    assert removed.run("ls -d /code 2>/dev/null || echo gone") == "gone\n"


def test_cfs_010_a_wrong_path_is_named(session):
    made = busybox(session).then('withMountedTemp(path: "/tmpfs")')
    cache = Chain(session, ['cacheVolume(key: "cfs-010")']).id()
    made = made.then(f'withMountedCache(path: "/cache", cache: {cache})')
    for selection, words in (
        ('directory(path: "/etc/passwd")', "path /etc/passwd is a file, not a directory"),
        ('directory(path: "bogus")', "bogus: no such file or directory"),
        ('file(path: "/etc")', "path /etc is a directory, not a file"),
        ('file(path: "/bogus")', "/bogus: no such file or directory"),
        ('directory(path: "/tmpfs/x")', "cannot retrieve path from tmpfs"),
        ('file(path: "/cache/x")', "cannot retrieve path from cache"),
    ):
        assert words in made.then(selection).error("sync")


def test_cfs_013_cfs_016_mounted_files_are_read_and_written(session):
    outer = directory(session, {"in/x": "outer", "y": "outer"}).id()
    inner = directory(session, {"x": "inner"}).id()
    made = busybox(session).then(f'withMountedDirectory(path: "/mnt", source: {outer})')
    made = made.then(f'withMountedDirectory(path: "/mnt/in", source: {inner})')
    assert made.then('directory(path: "/mnt/in")').then('file(path: "x")').get("contents") == "inner"
    assert made.then('file(path: "/mnt/y")').get("contents") == "outer"
    new, mounted = (Chain(session, [f'file(name: "f", contents: "{text}")']).id() for text in ("new", "mounted"))
    over = busybox(session).then('withNewFile(path: "/f", contents: "under")').then(f'withMountedFile(path: "/f", source: {mounted})')
    assert over.then('file(path: "/f")').get("contents") == "mounted"
    written = over.then(f'withFile(path: "/f", source: {new})')
    assert written.run("cat /f") == "new"
    assert over.then('withoutFile(path: "/f")').run("ls /f 2>/dev/null || echo gone") == "gone\n"
    appended = over.then('withExec(args: ["sh", "-c", "echo +>>/f"])')
    assert appended.then('file(path: "/f")').get("contents") == appended.run("cat /f") == "mounted+\n"


def test_cfs_015_cfs_019_symlinks_are_followed_inside_the_root(session):
    made = directory(session, {"real/f": "1", "link": "->real"})
    behind = made.then('directory(path: "link")').id()
    assert files_of(busybox(session).then(f'withDirectory(path: "/x", source: {behind})').then('directory(path: "/x")')) == {"f": "1"}
    clamped = busybox(session).then('withSymlink(target: "../../../../../../outside", linkName: "/escape")')
    clamped = clamped.then('withNewFile(path: "/escape/foo", contents: "in")')
    assert clamped.run("cat /outside/foo") == "in"
    through = busybox(session).then('withNewFile(path: "/real", contents: "old")').then('withSymlink(target: "real", linkName: "/l")')
    through = through.then('withNewFile(path: "/l", contents: "new")')
    assert through.run("cat /real; readlink /l") == "newreal\n"
    written = directory(session, {"real": "old", "l": "->real"}).then('withNewFile(path: "l", contents: "new")')
    assert written.then('file(path: "real")').get("contents") == "new"
    named = busybox(session).then('withSymlink(target: "/etc", linkName: "../../../../../up")')
    assert named.run("readlink /up") == "/etc\n"


def test_cfs_017_existence_is_that_of_files_and_mounts(session):
    mount = directory(session, {"d/f": "123"})
    made = busybox_in(session).then('withNewFile(path: "here", contents: "12")')
    made = made.then(f'withMountedDirectory(path: "/m", source: {mount.id()})')
    made = made.then(f'withMountedFile(path: "/mf", source: {mount.then("file(path: " + quote("d/f") + ")").id()})')
    assert made.get('a: exists(path: "here") b: exists(path: "/m/d", expectedType: DIRECTORY_TYPE) c: exists(path: "/mf") d: exists(path: "/m/none")') == {
        "a": True, "b": True, "c": True, "d": False,
    }
    assert made.get('stat(path: "here") { fileType size }') == {"fileType": "REGULAR", "size": 2}
    assert made.get('stat(path: "/m/d/f") { fileType size }') == made.get('stat(path: "/mf") { fileType size }') == {"fileType": "REGULAR", "size": 3}
    assert made.get('stat(path: "/m/d") { fileType name }') == {"fileType": "DIRECTORY", "name": "d"}


def test_cfs_020_symlinks_are_part_of_a_key(session):
    def run(target: str, name: str) -> str:
        made = busybox_in(session, "/").then(f'withSymlink(target: "{target}", linkName: "{name}")')
        return made.run("cat /proc/sys/kernel/random/uuid")

    assert run("bar", "foo") == run("bar", "foo") != run("barf", "oo")


def test_cfs_021_a_file_is_keyed_by_its_content(engine, folder):
    (folder / "f").write_text("1")
    (folder / "other").write_text("1")
    path = quote(str(folder))
    ways = (
        ("host", f"file(path: {quote(str(folder / 'f'))})"),
        ("host", f"directory(path: {path})", 'file(path: "f")'),
        ("host", f"directory(path: {path})", 'filter(include: ["f"])', 'file(path: "f")'),
    )

    def runs() -> list:
        with engine.session() as client:
            files = [Chain(client, way).id() for way in ways]
            return [busybox(client).then(f'withFile(path: "/f", source: {file})').run("cat /proc/sys/kernel/random/uuid") for file in files]

    first = runs()
    (folder / "other").write_text("2")
    assert runs() == first
    (folder / "f").write_text("2")
    assert not set(runs()) & set(first)


OWNERS = {"auser": "1234:1234", "auser:agroup": "1234:4321", "1234": "1234:1234", "5:6": "5:6", "auser:6": "1234:6", "5:agroup": "5:4321", "5": "5:5"}


def test_cfs_022_every_copy_and_mount_has_the_owner_asked_for(session):
    base = busybox(session).then(USERS).then('withUser(name: "auser")')
    source = directory(session, {"d/sub/f": "1"})
    folder, file = source.id(), source.then('file(path: "d/sub/f")').id()
    cache = Chain(session, ['cacheVolume(key: "cfs-022")']).id()
    secret = Chain(session, ['setSecret(name: "cfs-022", plaintext: "x")']).id()
    show = "cd /o; for p in $(find . | sort); do stat -c '%n %u:%g' $p; done"
    for owner, ids in [*OWNERS.items(), ("", "0:0")]:
        given = f', owner: "{owner}"' if owner else ""
        made = base.then(f'withDirectory(path: "/o/dir", source: {folder}{given})').then(f'withFile(path: "/o/file", source: {file}{given})')
        made = made.then(f'withNewFile(path: "/o/new", contents: ""{given})')
        made = made.then(f'withMountedDirectory(path: "/o/md", source: {folder}{given})').then(f'withMountedFile(path: "/o/mf", source: {file}{given})')
        lines = dict(line.split() for line in made.run(show).splitlines())
        wrong = {path: got for path, got in lines.items() if got != ids and path != "."}
        assert not wrong and len(lines) == 12, (owner, wrong, lines)
    made = base.then(f'withMountedSecret(path: "/s", source: {secret}, owner: "auser:agroup")')
    made = made.then(f'withMountedCache(path: "/c", cache: {cache}, owner: "auser:agroup")')
    assert made.run("stat -c %u:%g /s /c").split() == ["1234:4321"] * 2
