"""Writing trees: symlinks of the target, archives, hard links, files in the place of directories.
"""

import io
import os
import tarfile

from kit import Chain, busybox, directory, files_of, quote

# As in distributions of which `/bin` is a link, and one with an absolute link.
USR_MERGED = {"usr/bin/sh": "shell", "usr/lib/x": "x", "bin": "->usr/bin", "lib": "->/usr/lib", "sbin": "->bin"}


def names(chain: Chain) -> set[str]:
    return {name for name in chain.get('glob(pattern: "**")') if not name.endswith("/")}


def writers(session) -> dict[str, Chain]:
    """Each way to write `/bin/foo`, `/sbin/in/g` and `/lib/y` to such a tree."""
    base = directory(session, USR_MERGED)
    files = {"bin/foo": "f", "sbin/in/g": "g", "lib/y": "y"}
    source = directory(session, files)
    container = Chain(session, ["container", f"withRootfs(directory: {base.id()})"])
    changes = source.then(f"changes(from: {Chain(session, ['directory']).id()})").id()
    new = base
    for path, content in files.items():
        new = new.then(f"withNewFile(path: {quote(path)}, contents: {quote(content)})")
    single = base
    for path in files:
        file = source.then(f"file(path: {quote(path)})").id()
        single = single.then(f"withFile(path: {quote(path)}, source: {file})")
    return {
        "Directory.withDirectory": base.then(f'withDirectory(path: "/", source: {source.id()})'),
        "withDirectory, filtered": base.then(f'withDirectory(path: "/", source: {source.id()}, exclude: ["none"])'),
        "withDirectory, owned": container.then(f'withDirectory(path: "/", source: {source.id()}, owner: "7:8")').then("rootfs"),
        "Container.withDirectory": container.then(f'withDirectory(path: "/", source: {source.id()})').then("rootfs"),
        "withChanges": base.then(f"withChanges(changes: {changes})"),
        "withNewFile": new,
        "withFile": single,
    }


def test_copies_follow_symlinks_of_the_target(session):
    want = {"bin", "lib", "sbin", "usr/bin/sh", "usr/bin/foo", "usr/bin/in/g", "usr/lib/x", "usr/lib/y"}
    for writer, written in writers(session).items():
        assert names(written) == want, writer
        assert written.then('file(path: "/bin/sh")').get("contents") == "shell", writer


def test_a_dockerfile_copies_to_a_root_with_symlinks(session, folder):
    folder.chmod(0o755)
    for path in ["rootfs/bin/foo", "rootfs/sbin/in/g"]:
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("new")
    archive = tarfile.open(folder / "a.tar", "w")
    for name in ["bin", "bin/tool"]:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE if name == "bin" else tarfile.REGTYPE
        entry.mode = 0o755
        archive.addfile(entry, io.BytesIO())
    archive.close()
    lines = [
        "FROM busybox",
        "RUN mkdir -p /merged/usr/bin && ln -s usr/bin /merged/bin && ln -s /bin /merged/sbin && mkdir /merged/etc",
        "FROM scratch AS merged",
        "COPY --from=0 /merged /",
        "COPY rootfs /",
        "ADD a.tar /",
        "FROM busybox",
        "COPY --from=merged / /merged",
        "WORKDIR /merged",
        "RUN (readlink bin; cat usr/bin/foo usr/bin/in/g; echo; ls -d usr/bin/tool) > /seen",
    ]
    (folder / "Dockerfile").write_text("\n".join(lines))
    chain = Chain(session, ["host", f"directory(path: {quote(str(folder))})", "dockerBuild", 'file(path: "/seen")'])
    assert chain.get("contents") == "usr/bin\nnewnew\nusr/bin/tool\n"


def test_an_archive_stays_where_it_is_unpacked(session, folder):
    folder.chmod(0o755)
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name, link in [("lnk", "/etc"), ("lnk/x", None), ("up", "../../../.."), ("up/y", None)]:
            entry = tarfile.TarInfo(name)
            if link:
                entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry, io.BytesIO())
        hard = tarfile.TarInfo("hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "lnk/passwd"
    lines = ["FROM busybox", "ADD a.tar /d/e/"]
    (folder / "Dockerfile").write_text("\n".join(lines))
    root = Chain(session, ["host", f"directory(path: {quote(str(folder))})", "dockerBuild", "rootfs"])
    assert set(root.then('directory(path: "/d/e")').get('glob(pattern: "**")')) == {"etc/", "etc/x", "lnk", "up", "y"}
    for outside in ["/etc/x", "/y", "/d/y", "/d/e/../x"]:
        assert root.get(f"exists(path: {quote(outside)})") is False, outside
    # A hard link to a file outside is refused.
    with tarfile.open(folder / "a.tar", "a") as archive:
        archive.addfile(hard)
    assert "hard" in root.session.error(Chain(session, ["host", f"directory(path: {quote(str(folder))}, noCache: true)", "dockerBuild"]).document("sync"))["message"]


def test_hard_links_are_kept_between_host_and_engine(engine, session, folder):
    folder.chmod(0o755)
    source = folder / "src"
    (source / "in/deep").mkdir(parents=True)
    (source / "one").write_text("same")
    os.link(source / "one", source / "in/deep/two")
    os.link(source / "one", source / "three")
    (source / "alone").write_text("same")
    (source / "Dockerfile").write_text("FROM busybox\nCOPY . /copy\nRUN stat -c %i:%h /copy/one /copy/in/deep/two /copy/three > /seen\n")
    host = Chain(session, ["host", f"directory(path: {quote(str(source))})"])
    found = host.then("dockerBuild").then('file(path: "/seen")').get("contents").split()
    assert len(set(found)) == 1 and found[0].endswith(":3"), found

    box = busybox(session)
    look = 'withExec(args: ["sh", "-c", "stat -c %i:%h /mnt/one /mnt/in/deep/two /mnt/three; stat -c %h /mnt/alone"])'
    for way in ["withMountedDirectory", "withDirectory"]:
        seen = box.then(f'{way}(path: "/mnt", source: {host.id()})').then(look).get("stdout").split()
        assert len(set(seen[:3])) == 1 and seen[0].endswith(":3"), (way, seen)

    made = box.then('withExec(args: ["sh", "-c", "mkdir -p /out/a /out/b && echo x > /out/a/f && ln /out/a/f /out/b/g && ln /out/a/f /out/h && echo x > /out/i"])')
    for chain, names_, other in [(host, ["one", "in/deep/two", "three"], "alone"), (made.then('directory(path: "/out")'), ["a/f", "b/g", "h"], "i")]:
        out = folder / f"out-{other}"
        for _ in range(2):
            chain.get(f"export(path: {quote(str(out))})")
            assert {(out / name).stat().st_ino for name in names_} == {(out / names_[0]).stat().st_ino}
            assert (out / names_[0]).stat().st_nlink == 3
            assert (out / other).stat().st_ino != (out / names_[0]).stat().st_ino
    tarball = folder / "image.tar"
    made.get(f"export(path: {quote(str(tarball))})")
    again = Chain(session, ["container", f"import(source: {Chain(session, ['host', f'file(path: {quote(str(tarball))})']).id()})"])
    stat = again.then('withExec(args: ["stat", "-c", "%i:%h", "/out/a/f", "/out/b/g", "/out/h"])').get("stdout").split()
    assert len(set(stat)) == 1 and stat[0].endswith(":3"), stat


def test_a_directory_takes_the_place_of_a_file(session):
    older = directory(session, {"x/old": "old", "keep": "k"})
    file = older.then('withoutDirectory(path: "x")').then('withNewFile(path: "x", contents: "a file")')
    source = directory(session, {"new": "new"}).id()
    replaced = file.then(f'withDirectory(path: "x", source: {source})')
    assert files_of(replaced) == {"keep": "k", "x/new": "new"}
    container = Chain(session, ["container", f"withRootfs(directory: {file.id()})", f'withDirectory(path: "/x", source: {source})'])
    assert files_of(container.then("rootfs")) == {"keep": "k", "x/new": "new"}
    # It is the same when one more layer comes on top, and in a process.
    assert files_of(replaced.then('withNewFile(path: "x/later", contents: "")')) == {"keep": "k", "x/later": "", "x/new": "new"}
    box = Chain(session, ["container", 'from(address: "busybox")', f'withMountedDirectory(path: "/mnt", source: {replaced.id()})'])
    assert box.then('withExec(args: ["ls", "/mnt/x"])').get("stdout") == "new\n"


def test_the_parent_directory_is_inside_the_tree(session):
    chain = directory(session, {"a/b/f": "f", "a/g": "g"})
    below = chain.then('directory(path: "a/b")')
    assert below.then('directory(path: "..")').get("entries") == ["b/", "g"]
    assert below.then('directory(path: "../..")').get("entries") == ["a/"]
    assert below.then('directory(path: "../../../..")').get("entries") == ["a/"], "the root is the end"
    assert below.then('file(path: "../g")').get("contents") == "g"
    assert below.get('entries(path: "..")') == ["b/", "g"]
    # `exists` looks in the directory only.
    assert below.get('exists(path: "../g")') is False and below.get('exists(path: "../f")') is True
    assert below.then('directory(path: "/")').get("entries") == ["f"], "a path that starts with a slash is inside"
    # Only the directory itself is mounted.
    mounted = Chain(session, ["container", f'withMountedDirectory(path: "/mnt", source: {below.id()})', 'directory(path: "/mnt")'])
    assert mounted.get("entries") == ["f"] and mounted.then('directory(path: "..")').get("entries") == ["f"]


def test_an_ignored_directory_of_the_host_is_not_there(session, folder):
    for path in [".git/config", "foo/foo.txt", "bar/bar.txt", "bar/in/f"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("1")
    (folder / ".gitignore").write_text("bar/\n")
    host = lambda path, more=", gitignore: true": Chain(session, ["host", f"directory(path: {quote(str(folder / path))}{more})"])
    assert host("foo").get("entries") == ["foo.txt"]
    assert "bar: no such file or directory" in host("bar").error("entries")
    assert "bar/in: no such file or directory" in host("bar/in").error("entries")
    assert host("bar", "").get("entries") == ["bar.txt", "in/"]


def test_a_module_source_without_a_configuration_has_an_empty_context(session, folder):
    (folder / "some").mkdir()
    (folder / "some/main.py").write_text("")
    source = Chain(session, [f"moduleSource(refString: {quote(str(folder / 'some'))})"])
    assert source.get("configExists") is False
    assert source.then("contextDirectory").get('glob(pattern: "**")') == []
    assert f"no `dagger.json` in {folder}/some" in source.then("asModule").error("name")
    # In a repository, the context holds the folder only.
    (folder / ".git").mkdir()
    again = Chain(session, [f"moduleSource(refString: {quote(str(folder / 'some'))}, disableFindUp: true)"])
    assert again.then("contextDirectory").get('glob(pattern: "**")') == ["some/"]
    # A configured source has its included files.
    configured = again.then('withName(name: "some")').then('withIncludes(patterns: ["main.py"])')
    assert "some/main.py" in configured.then("contextDirectory").get('glob(pattern: "**")')
    missing = Chain(session, [f"moduleSource(refString: {quote(str(folder / 'none'))}, allowNotExists: true)"])
    assert missing.then("contextDirectory").get('glob(pattern: "**")') == ["none/"]
    assert "does not exist" in session.error(f"{{ moduleSource(refString: {quote(str(folder / 'none'))}) {{ configExists }} }}")["message"]
