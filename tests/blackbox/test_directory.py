"""Directories: their entries, changes to them, and searches."""

import json
import os
import re

from kit import Chain, busybox, directory, files_of, let_time_pass, quote

FILES = {"a.txt": "1", "b/b.txt": "2", "b/c.md": "3", "c/a1": "4", "c/a2": "5", "c/deep/x.md/y": "6", "some-dir": None}


def test_dir_001_dir_024_entries_and_names_are_listed(session):
    tree_ = directory(session, FILES)
    assert Chain(session, ["directory"]).get("entries") == []
    assert tree_.get("entries") == ["a.txt", "b/", "c/", "some-dir/"]
    assert tree_.get('entries(path: "c")') == ["a1", "a2", "deep/"]
    assert tree_.get("name") == "/"
    assert tree_.then('directory(path: "c/deep")').get("name") == "deep/"
    assert "c/missing: no such file or directory" in tree_.error('entries(path: "c/missing")')
    assert tree_.then('directory(path: "c")').error('entries(path: "nope")').startswith("nope: no such file or directory")
    assert "c/../missing: no such file or directory" in tree_.then('directory(path: "c/../missing")').error("name")


def test_dir_002_dir_011_a_selected_directory_is_the_root_of_changes(session):
    chain = directory(session, {"x/y/z": "1", "beside": "2"}).then('directory(path: "x")')
    chain = chain.then('withNewFile(path: "n/m", contents: "3")')
    assert files_of(chain) == {"y/z": "1", "n/m": "3"}
    file = directory(session, {"f": "4"}).then('file(path: "f")').id()
    chain = chain.then(f'withFile(path: "sub/", source: {file})')
    assert chain.get("entries") == ["n/", "sub/", "y/"]
    assert chain.get('entries(path: "sub")') == ["f"]
    assert chain.get('exists(path: "../beside")') is False


def test_dir_004_directories_are_merged_into_directories(session):
    source = directory(session, {"a": "new", "s/k.txt": "k", "s/l.md": "l", ".gitignore": "*.md\n"}).id()
    base = directory(session, {"a": "old", "s/other": "o"})

    def copied(path: str, more: str = "") -> dict:
        return files_of(base.then(f"withDirectory(path: {quote(path)}, source: {source}{more})"))

    whole = {"a": "new", "s/k.txt": "k", "s/l.md": "l", "s/other": "o", ".gitignore": "*.md\n"}
    assert copied(".") == copied("/") == copied("") == whole
    assert copied("x/y")["x/y/s/k.txt"] == "k"
    assert copied("/", ', include: ["**/*.txt"]') == {"a": "old", "s/other": "o", "s/k.txt": "k"}
    assert "s/l.md" not in copied("/", ', exclude: ["**/*.md"]')
    assert "s/l.md" not in copied("/", ", gitignore: true")


def test_paths_outside_of_a_directory_are_refused(session):
    made = directory(session, {"b/f": "1"}).then('directory(path: "b")')
    for path in ["../c", "x/../../c"]:
        assert "cannot create directory outside parent" in made.then(f"withNewDirectory(path: {quote(path)})").error("id")
    assert made.then('withNewDirectory(path: "x/../c")').get("entries") == ["c/", "f"]
    assert "no such file or directory" in made.error('stat(path: "") { name }')
    assert made.get('exists(path: "")') is False
    assert made.get('stat(path: ".") { fileType }') == {"fileType": "DIRECTORY"}


def test_thousands_of_patterns_are_matched(session, folder):
    for n in range(2_000):
        (folder / f"f{n}.txt").write_text("")
    (folder / "kept.md").write_text("")
    source = Chain(session, ["host", f"directory(path: {quote(str(folder))})"])
    patterns = [f"f{n}.*" for n in range(2_000)] + [f"**/*.x{n}" for n in range(2_000)] + ["!f7.txt"]
    assert source.then(f"filter(exclude: {json.dumps(patterns)})").get("entries") == ["f7.txt", "kept.md"]
    assert source.then(f"filter(include: {json.dumps(patterns[:20])})").get("entries") == sorted(f"f{n}.txt" for n in range(20))
    ignoring = Chain(session, ["directory", f"withDirectory(path: \"\", source: {source.id()})", f"withNewFile(path: \".gitignore\", contents: {quote(chr(10).join(patterns))})"])
    assert ignoring.then("filter(gitignore: true)").get("entries") == [".gitignore", "f7.txt", "kept.md"]


def test_dangling_symlinks_are_copied(session, folder):
    (folder / "d").mkdir()
    (folder / "d" / "dangling").symlink_to("nowhere")
    (folder / "d" / "out").symlink_to("/etc/nowhere")
    host = Chain(session, ["host", f"directory(path: {quote(str(folder))})"])
    assert host.get('glob(pattern: "d/*")') == ["d/dangling", "d/out"]
    for copy in ["include: [\"d/*\"]", "exclude: [\"x\"]", "gitignore: true"]:
        assert host.then(f"filter({copy})").get('glob(pattern: "d/*")') == ["d/dangling", "d/out"]
        into = Chain(session, ["directory", f"withDirectory(path: \"a\", source: {host.id()}, {copy})"])
        assert into.get('glob(pattern: "a/d/*")') == ["a/d/dangling", "a/d/out"]


def test_dir_006_modes_are_kept_or_set(session):
    source = directory(session, {"ro": ("1", 0o444), "d/run": ("2", 0o755)}).then('withNewDirectory(path: "rod", permissions: 365)')
    kept = busybox(session).then(f'withDirectory(path: "/x", source: {source.id()})')
    assert kept.run("stat -c '%a' /x/ro /x/d/run /x/rod").split() == ["444", "755", "555"]
    inside = Chain(session, ["directory"]).then(f'withDirectory(path: "in", source: {source.id()}, permissions: 448)')
    set_ = busybox(session).then(f'withDirectory(path: "/x", source: {inside.id()})')
    assert set_.run("stat -c '%a' /x/in/ro /x/in/d /x/in/d/run /x/in/rod").split() == ["700"] * 4


def test_dir_012_several_files_are_copied_at_once(session):
    made = directory(session, {"p/one": ("1", 0o600), "p/two": ("2", 0o755)})
    sources = "[" + ", ".join(made.then(f'file(path: "p/{name}")').id() for name in ("one", "two")) + "]"
    for path, at in (("", ""), ("/", ""), ("sub", "sub/"), ("sub/", "sub/")):
        chain = Chain(session, ["directory"]).then(f"withFiles(path: {quote(path)}, sources: {sources})")
        assert files_of(chain) == {f"{at}one": "1", f"{at}two": "2"}
        assert chain.get(f'stat(path: "{at}one") {{ permissions }}')["permissions"] == 0o600


def test_dir_013_timestamps_make_archives_equal(session):
    def archive(order):
        chain = Chain(session, ["directory"])
        for name in order:
            chain = chain.then(f'withNewFile(path: "{name}", contents: "x")')
        mounted = chain.then("withTimestamps(timestamp: 1000000000)").id()
        at = busybox(session).then(f'withMountedDirectory(path: "/d", source: {mounted})')
        return at.run("cd /d; stat -c %Y . a b b/c; find . | sort | tar c -T - --no-recursion 2>/dev/null | sha256sum; tar c a b | sha256sum")

    first = archive(["a", "b/c"])
    # Files made later have another time, in whole seconds.
    let_time_pass(1.1)
    assert archive(["b/c", "a"]) == first
    # Children have the timestamp, too.
    assert first.split()[1:4] == ["1000000000"] * 3


def test_dir_014_files_and_directories_are_removed_by_pattern(session):
    def left(field: str, at: str = "") -> list:
        chain = directory(session, FILES)
        if at:
            chain = chain.then(f'directory(path: "{at}")')
        return sorted(files_of(chain.then(field)))

    everything = sorted(path for path, text in FILES.items() if text is not None)
    assert left('withoutFile(path: "a*")') == everything[1:]
    assert left('withoutFile(path: "b/*.txt")') == [p for p in everything if p != "b/b.txt"]
    assert left('withoutFile(path: "c/*a1*")') == [p for p in everything if p != "c/a1"]
    assert left('withoutFiles(paths: ["a.txt", "none", "b/*"])') == [p for p in everything if p[0] == "c"]
    assert left('withoutFile(path: "missing")') == left('withoutDirectory(path: "missing/too")') == everything
    assert left('withoutDirectory(path: "c")') == everything[:3]
    assert left('withoutFile(path: "a1")', "c") == ["a2", "deep/x.md/y"]
    assert left('withoutDirectory(path: "deep")', "c") == ["a1", "a2"]


def test_dir_015_a_diff_holds_what_is_new_or_changed(session):
    def diff(lower: dict, upper: dict, at: str = "/") -> dict:
        other = directory(session, upper).then(f'directory(path: "{at}")').id()
        return files_of(directory(session, lower).then(f'directory(path: "{at}")').then(f"diff(other: {other})"))

    a, b = {"same": "1", "a": "1", "x/c": "1"}, {"same": "1", "b": "1", "x/c": "2", "x/d": "3"}
    assert diff(a, b) == {"b": "1", "x/c": "2", "x/d": "3"}
    assert diff(b, a) == {"a": "1", "x/c": "1"}
    assert diff(a, b, "x") == {"c": "2", "d": "3"}
    assert diff(a, a) == {} == diff(b, dict(reversed(b.items())))
    assert diff({}, a) == a


def test_dir_017_an_export_merges_or_wipes(engine, folder):
    (folder / "work/out").mkdir(parents=True)
    (folder / "work/out/extra").write_text("mine")
    made = directory(None, {"a": "1", "d/run": ("2", 0o750)})
    with engine.session(cwd=folder / "work") as client:
        document = made.document('export(path: "out")')
        assert str(folder / "work/out") in str(client.query(document))
        assert (folder / "work/out/extra").exists() and (folder / "work/out/a").read_text() == "1"
        assert (folder / "work/out/d/run").stat().st_mode & 0o777 == 0o750
        client.query(made.document('export(path: "out", wipe: true)'))
        assert sorted(os.listdir(folder / "work/out")) == ["a", "d"]
        assert str(folder / "work") in str(client.query(made.document('export(path: ".")')))
        assert (folder / "work/a").exists()
        client.query(made.document('export(path: "../up")'))
        assert (folder / "up/d/run").read_text() == "2"


def test_dir_018_names_of_more_than_255_characters_are_refused(session):
    long = "n" * 256
    words = "File name length exceeds the maximum supported 255 characters"
    for change in (
        f'withNewFile(path: "{long}", contents: "")',
        f'withNewFile(path: "a/{long}/b", contents: "")',
        f'withNewDirectory(path: "{long}")',
        f'withSymlink(target: "x", linkName: "{long}")',
    ):
        assert words in Chain(session, ["directory", change]).error("sync")
    fine = Chain(session, ["directory", f'withNewFile(path: "{long[1:]}", contents: "")'])
    assert fine.get("entries") == [long[1:]]


def test_dir_021_sync_evaluates_and_gives_an_id(session):
    assert "foo: no such file or directory" in Chain(session, ["directory", 'directory(path: "foo")']).error("sync")
    done = Chain(session, ["directory"]).get("sync")
    assert Chain(session, [f"loadDirectoryFromID(id: {quote(done)})"]).get("entries") == []


def test_dir_022_glob_matches_paths(session):
    made = directory(session, FILES)
    assert made.get('glob(pattern: "*.md")') == []
    assert made.get('glob(pattern: "**/*.md")') == ["b/c.md", "c/deep/x.md/"]
    assert made.get('glob(pattern: "**/*")') == [
        "a.txt", "b/", "b/b.txt", "b/c.md", "c/", "c/a1", "c/a2", "c/deep/", "c/deep/x.md/", "c/deep/x.md/y", "some-dir/",
    ]
    assert made.then('directory(path: "c")').get('glob(pattern: "**/*.md")') == ["deep/x.md/"]
    assert made.get('glob(pattern: "c/**/*.md")') == ["c/deep/x.md/"]
    assert made.get('glob(pattern: "[a-b].txt")') == ["a.txt"]
    assert Chain(session, ["directory"]).get('glob(pattern: "**/*")') == []
    assert "no: no such file or directory" in made.then('directory(path: "no")').error('glob(pattern: "*")')


def test_dir_023_a_digest_is_that_of_the_content(session):
    def digest(files: dict, at: str = "/") -> str:
        return directory(session, files).then(f'directory(path: "{at}")').get("digest")

    one = digest({"f": "x"})
    assert re.fullmatch("sha256:[0-9a-f]{64}", one)
    assert one == digest({"deep/er/f": "x"}, "deep/er") == digest({"d/f": "x", "beside": "y"}, "d")
    others = [digest({}), digest({"f": ("x", 0o600)}), digest({"f": "y"}), digest({"g": "x"}), digest({"f": "->x"})]
    assert len({one, *others}) == 6
    assert digest({"f": "x"}) == one


PATCH = """diff --git a/edit b/edit
--- a/edit
+++ b/edit
@@ -1,3 +1,3 @@
 1
-2
+two
 3
diff --git a/gone/x b/gone/x
deleted file mode 100644
--- a/gone/x
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/made/n b/made/n
new file mode 100755
--- /dev/null
+++ b/made/n
@@ -0,0 +1 @@
+n
diff --git a/old b/new name
similarity index 100%
rename from old
rename to new name
diff --git a/run b/run
old mode 100644
new mode 100755
diff --git a/link b/link
new file mode 120000
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+edit
\\ No newline at end of file
"""
PATCHED = {"edit": "1\n2\n3\n", "gone/x": "x\n", "old": "o\n", "run": "r\n"}


def test_dir_025_patches_are_applied(session):
    base = directory(session, PATCHED)
    done = base.then(f"withPatch(patch: {quote(PATCH)})")
    assert files_of(done) == {"edit": "1\ntwo\n3\n", "made/n": "n\n", "new name": "o\n", "run": "r\n", "link": "1\ntwo\n3\n"}
    for path in ("made/n", "run"):
        assert done.get(f'stat(path: "{path}") {{ permissions }}')["permissions"] == 0o755
    assert done.get('exists(path: "link", expectedType: SYMLINK_TYPE)') is True
    # Relative to the selected directory.
    below = directory(session, {"p/edit": "1\n2\n3\n", "edit": "1\n2\n3\n"}).then('directory(path: "p")')
    plain = "--- a/edit\n+++ b/edit\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n"
    assert files_of(below.then(f"withPatch(patch: {quote(plain)})")) == {"edit": "1\ntwo\n3\n"}
    for nothing in ("", "\n\n"):
        assert base.then(f"withPatch(patch: {quote(nothing)})").get("digest") == base.get("digest")
    for patch, words in (
        (plain.replace("-2", "-7"), "`edit`: hunk 1 (`@@ -1,3 +1,3 @@`) does not match"),
        (plain.replace("/edit", "/none"), "`none`: no such file"),
        (PATCH.replace("made/n", "old"), "already exists"),
        (plain.replace("/edit", "/../edit"), "leads out of the directory"),
        ("no patch at all", "cannot read the patch"),
        (plain.replace("@@ -1,3 +1,3 @@", "@@ -x @@"), "cannot read the patch"),
    ):
        assert words in base.then(f"withPatch(patch: {quote(patch)})").error("sync"), patch
    # A patch may be larger than a file that `contents` returns, because it is streamed.
    part = "printf 'diff --git a/f%d b/f%d\\nnew file mode 100644\\n--- /dev/null\\n+++ b/f%d\\n@@ -0,0 +1 @@\\n+' $i $i $i"
    script = f"for i in 1 2 3; do {part}; head -c 45000000 /dev/zero | tr '\\0' x; echo; done > /big"
    big = busybox(session).then(f'withExec(args: ["sh", "-c", {quote(script)}])')
    patch = big.then('file(path: "/big")')
    assert patch.get("size") > 128 << 20
    grown = base.then(f"withPatchFile(patch: {patch.id()})")
    assert grown.get('stat(path: "f3") { size }')["size"] == 45_000_001


SEARCHED = {
    "a.txt": "first line\nneedle here, needle there\nlast\n",
    "sub/b.txt": "a Needle\n-test flag\n",
    "sub/bin": "needle\0needle\n",
    ".hidden": "needle\n",
    "ignored": "needle\n",
    ".gitignore": "ignored\n",
    "multi": "begin\nmiddle\nend\n",
    "special": "a.b\naxb\n",
}
FIELDS = "{ filePath lineNumber absoluteOffset matchedLines submatches { text start end } }"


def test_dir_026_a_search_finds_lines(session):
    made = directory(session, SEARCHED).then('withSymlink(target: "sub", linkName: "dir")').then('withSymlink(target: "/etc", linkName: "out")')

    def found(arguments: str) -> list:
        return [(hit["filePath"], hit["lineNumber"]) for hit in made.get(f"search({arguments}) {FIELDS}")]

    (hit,) = made.get(f'search(pattern: "needle t?here", paths: ["a.txt"]) {FIELDS}')
    assert hit == {
        "filePath": "a.txt",
        "lineNumber": 2,
        "absoluteOffset": 11,
        "matchedLines": "needle here, needle there\n",
        "submatches": [{"text": "needle here", "start": 0, "end": 11}, {"text": "needle there", "start": 13, "end": 25}],
    }
    everywhere = [(".hidden", 1), ("a.txt", 2), ("ignored", 1)]
    assert found('pattern: "needle"') == everywhere
    assert found('pattern: "needle", insensitive: true') == [*everywhere, ("sub/b.txt", 1)]
    assert found('pattern: "-test"') == [("sub/b.txt", 2)]
    assert found('pattern: "a.b"') == [("special", 1), ("special", 2)]
    assert found('pattern: "a.b", literal: true') == [("special", 1)]
    assert found('pattern: "needle", skipHidden: true') == everywhere[1:]
    assert found('pattern: "needle", skipIgnored: true') == everywhere[:2]
    assert found('pattern: "needle", filesOnly: true') == [(path, 0) for path, _ in everywhere]
    assert made.get(f'search(pattern: "needle", filesOnly: true) {FIELDS}')[0]["matchedLines"] == ""
    assert found('pattern: "needle", limit: 2') == everywhere[:2]
    assert found('pattern: "e", limit: 1') == [(".gitignore", 1)]
    assert found('pattern: "begin.middle"') == found('pattern: "begin.middle", multiline: true') == []
    assert found('pattern: "begin.middle", multiline: true, dotall: true') == [("multi", 1)]
    (span,) = made.get(f'search(pattern: "begin\\\\nmid", multiline: true) {FIELDS}')
    assert span["matchedLines"] == "begin\nmiddle\n" and span["submatches"] == [{"text": "begin\nmid", "start": 0, "end": 9}]
    assert found('pattern: "eedle", globs: ["*.txt"]') == [("a.txt", 2), ("sub/b.txt", 1)]
    assert found('pattern: "eedle", globs: ["!*.txt"]') == [(".hidden", 1), ("ignored", 1)]
    assert found('pattern: "eedle", paths: ["/sub"]') == found('pattern: "eedle", paths: ["dir"]') == [("sub/b.txt", 1)]
    assert found('pattern: "none of this"') == []
    for path in ("..", "sub/../..", "../x"):
        assert f"path cannot escape directory: {path}" in made.error(f'search(pattern: "x", paths: ["{path}"]) {{ filePath }}')
    # A symlink to the outside is resolved inside the directory.
    assert "no such file or directory" in made.error('search(pattern: "root", paths: ["out"]) { filePath }')
    assert "cannot search for `(`" in made.error('search(pattern: "(") { filePath }')
    below = made.then('directory(path: "sub")')
    assert [hit["filePath"] for hit in below.get(f'search(pattern: "Needle") {FIELDS}')] == ["b.txt"]


def test_per_003_matches_survive_a_restart(fresh):
    document = '{ directory { withNewFile(path: "a", contents: "1\\n2\\n") { search(pattern: "2") { filePath lineNumber } } } }'
    first = fresh.data(document)
    assert first["directory"]["withNewFile"]["search"] == [{"filePath": "a", "lineNumber": 2}]
    fresh.stop()
    assert fresh.data(document) == first


def test_dir_027_dir_029_symlinks_are_followed_inside_a_directory(session):
    made = directory(session, {"d/f": "1", "d/rel": "->f", "x/y/up": "->../../d/f", "abs": "->/d/f", "ld": "->d", "dangling": "->none"})
    for path in ("d/rel", "x/y/up", "abs", "ld/rel"):
        assert made.then(f'file(path: "{path}")').get("contents") == "1"
    # Symlinks in the parent path of a new symlink are followed, the last component is not.
    through = made.then('withSymlink(target: "f", linkName: "ld/new")')
    assert through.get('entries(path: "d")') == ["f", "new", "rel"]
    for there in ("d/rel", "d/f", "dangling"):
        message = made.then(f'withSymlink(target: "x", linkName: "{there}")').error("sync")
        assert "symlink" in message and "file exists" in message, message

    def exists(path: str, more: str = "") -> bool:
        return made.get(f'exists(path: "{path}"{more})')

    regular, folder, link = (f", expectedType: {kind}_TYPE" for kind in ("REGULAR", "DIRECTORY", "SYMLINK"))
    stay = ", doNotFollowSymlinks: true"
    assert exists("d/rel") and exists("d/rel", regular) and exists("ld", folder) and exists("ld", link)
    assert not exists("d/f", folder) and not exists("d", regular) and not exists("d/f", link)
    assert not exists("dangling") and exists("dangling", stay) and exists("dangling", link)
    assert not exists("d/rel", regular + stay) and not exists("ld", folder + stay) and exists("d/rel", link + stay)
    assert not exists("none") and not exists("d/f/below")
    stat = made.get('stat(path: "d/rel") { name fileType size permissions }')
    assert stat == {"name": "rel", "fileType": "REGULAR", "size": 1, "permissions": 0o644}
    stat = made.get(f'stat(path: "d/rel"{stay}) {{ fileType size }}')
    assert stat == {"fileType": "SYMLINK", "size": 1}
    assert made.get('stat(path: "ld") { fileType }')["fileType"] == "DIRECTORY"
    assert "none: no such file or directory" in made.error('stat(path: "none") { size }')


def test_dir_028_absolute_symlinks_mean_the_root_they_are_mounted_in(session):
    made = directory(session, {"hostname-file": "from the directory", "link": "->/target", "target": "from the directory"}).id()
    at = busybox(session).then('withNewFile(path: "/target", contents: "from the container")')
    assert at.then(f'withMountedDirectory(path: "/mnt", source: {made})').run("cat /mnt/link") == "from the container"
    assert at.then(f'withDirectory(path: "/mnt", source: {made})').run("cat /mnt/link") == "from the container"


def test_dir_031_equal_content_made_by_other_steps_is_a_cache_hit(session):
    at = busybox(session).then('withNewFile(path: "/base", contents: "x")')

    def written(removed: str) -> str:
        chain = at.then(f'withoutFile(path: "{removed}")').then('withNewFile(path: "/foo", contents: "hello")')
        return chain.run("cat /proc/sys/kernel/random/uuid")

    # Removing nothing changes nothing, so the exec ran once.
    assert written("/nothing") == written("/nothing-else")


def test_dir_032_errors_are_returned_and_find_up_goes_to_the_root(session):
    made = directory(session, {"a/b/c": "1", "go.mod": "2", "a/go.mod": "3"})
    assert made.get('findUp(name: "go.mod", start: "a/b")') == "a/go.mod"
    assert made.get('findUp(name: "go.mod", start: ".")') == "go.mod"
    assert made.get('findUp(name: "none", start: "a/b")') is None
    assert "not today" in made.then('withError(err: "not today")').error("entries")
    assert made.then('withError(err: "")').get("entries") == ["a/", "go.mod"]


def test_names_with_a_meaning_elsewhere_are_plain_names(session):
    names = [".wh.x", ".wh..wh..opq", "..a", "a b", "ä", "-rf", "*", "\\\\", "new\nline"]
    made = directory(session, {f"d/{name}": "1" for name in names})
    assert sorted(made.get('entries(path: "d")')) == sorted(names)
    through = busybox(session).then(f'withDirectory(path: "/x", source: {made.id()})')
    assert sorted(through.then("directory(path: \"/x/d\")").get("entries")) == sorted(names)
    for path in ("", ".", "/", ".."):
        assert Chain(session, ["directory", f'withNewFile(path: "{path}", contents: "")']).error("sync")


def test_everything_that_a_file_has_is_copied(session):
    made = busybox(session).then(
        'withExec(args: ["sh", "-c", '
        + quote(
            "mkdir /x && cd /x && echo 1 > a && ln a b && chown 7:8 a && chmod 4755 a && mkfifo p && ln -s a l"
            " && dd if=/dev/zero of=s bs=1 count=1 seek=100M 2>/dev/null && chmod 1777 . && mkdir d && chmod 2755 d"
        )
        + "])"
    )
    copied = Chain(session, ["directory"]).then(f'withDirectory(path: "/", source: {made.then("directory(path: " + quote("/x") + ")").id()})')
    seen = busybox(session).then(f'withMountedDirectory(path: "/y", source: {copied.id()})').run("cd /y; stat -c '%n %a %u:%g %h %F' a b p l d; [ $(stat -c %i a) = $(stat -c %i b) ] && echo one; du -k s | cut -f1; stat -c %s s",
    ).splitlines()
    assert seen[:5] == [
        "a 4755 7:8 2 regular file", "b 4755 7:8 2 regular file", "p 644 0:0 1 fifo", "l 777 0:0 1 symbolic link", "d 2755 0:0 2 directory",
    ]
    assert seen[5] == "one" and int(seen[6]) < 1024 and seen[7] == str(100 * (1 << 20) + 1)
