"""Changesets: differences between directories as paths, counts and patches; merging and applying
them.
"""

import os
import shutil

import pytest

from kit import EXAMPLES, Chain, directory, files_of, quote
from kit.git_server import git


def changes(session, before: dict, after: dict) -> Chain:
    return directory(session, after).then(f"changes(from: {directory(session, before).id()})")


BEFORE = {"same": "1\n", "edit": "1\n2\n3\n", "gone": "x\n", "old/a": "a\n", "old/sub/b": "b\n", "empty": None, "run": "#!\n"}
AFTER = {"same": "1\n", "edit": "1\ntwo\n3\n4\n", "new": "n\n", "made/c": "c\n", "made/sub": None, "run": ("#!\n", 0o755)}


def test_chg_001_changed_paths_are_listed_by_kind(session):
    both = changes(session, BEFORE, AFTER)
    assert both.get("addedPaths modifiedPaths removedPaths isEmpty") == {
        "addedPaths": ["made/", "made/c", "made/sub/", "new"],
        "modifiedPaths": ["edit", "run"],
        "removedPaths": ["empty/", "gone", "old/"],
        "isEmpty": False,
    }
    same = changes(session, AFTER, AFTER)
    assert same.get("addedPaths modifiedPaths removedPaths isEmpty") == {
        "addedPaths": [], "modifiedPaths": [], "removedPaths": [], "isEmpty": True,
    }
    # A path that changes between file and directory is removed and added.
    kinds = changes(session, {"x": "1", "y/z": "1", "l": "1"}, {"x/z": "1", "y": "1", "l": "->x"})
    assert kinds.get("addedPaths modifiedPaths removedPaths") == {
        "addedPaths": ["x/", "x/z", "y"], "modifiedPaths": ["l"], "removedPaths": ["x", "y/"],
    }
    # In a selected directory, paths are relative to it.
    inner = directory(session, {"p/a": "1", "q": "1"}).then('directory(path: "p")').then(
        "changes(from: " + directory(session, {"p/b": "1"}).then('directory(path: "p")').id() + ")"
    )
    assert inner.get("addedPaths removedPaths") == {"addedPaths": ["a"], "removedPaths": ["b"]}
    assert changes(session, BEFORE, AFTER).then("layer").get('glob(pattern: "**")') == [
        "edit", "made/", "made/c", "made/sub/", "new", "run",
    ]
    assert Chain(session, ["changeset"]).get("isEmpty") is True


STATS = "diffStats { path oldPath kind addedLines removedLines }"


def test_chg_002_changed_lines_are_counted(session):
    text = "".join(f"line {n}\n" for n in range(40))
    before = {**BEFORE, "move": text, "binary": "a\0b\n"}
    after = {**AFTER, "made/moved": text.replace("line 7\n", "other\nother\n"), "binary": "a\0c\n"}
    rows = changes(session, before, after).get(STATS)
    assert [(r["path"], r["kind"], r["oldPath"], r["addedLines"], r["removedLines"]) for r in rows] == [
        ("binary", "MODIFIED", None, 0, 0),
        ("edit", "MODIFIED", None, 2, 1),
        ("empty/", "REMOVED", None, 0, 0),
        ("gone", "REMOVED", None, 0, 1),
        ("made/", "ADDED", None, 0, 0),
        ("made/c", "ADDED", None, 1, 0),
        ("made/moved", "RENAMED", "move", 2, 1),
        ("made/sub/", "ADDED", None, 0, 0),
        ("new", "ADDED", None, 1, 0),
        ("old/", "REMOVED", None, 0, 0),
        ("old/a", "REMOVED", None, 0, 1),
        ("old/sub/", "REMOVED", None, 0, 0),
        ("old/sub/b", "REMOVED", None, 0, 1),
        ("run", "MODIFIED", None, 0, 0),
    ]


def test_lists_of_plain_data_need_no_selection(session):
    """The official suite selects `diffStats` without fields."""
    both = changes(session, {"edit": "1\n"}, {"edit": "2\n", "new": "n\n"})
    row = {"oldPath": None, "removedLines": 0, "addedLines": 1}
    assert both.get("diffStats") == [
        {**row, "path": "edit", "kind": "MODIFIED", "removedLines": 1},
        {**row, "path": "new", "kind": "ADDED"},
    ]
    named = Chain(session, ["container", 'withLabel(name: "a", value: "b")'])
    assert named.get("labels") == [{"name": "a", "value": "b"}]
    # A type with functions is not selected whole, because the functions have effects.
    listed = Chain(session, ["directory", "asModuleSource"]).document("dependencies")
    status, answer = session.post({"query": listed})
    assert status == 200 and answer["data"]["directory"]["asModuleSource"]["dependencies"] == []


def test_per_003_counts_survive_a_restart(fresh):
    document = '{ directory { withNewFile(path: "a", contents: "1\\n2\\n") { changes(from: %s) { ' + STATS + " } } } }"
    before = quote(fresh.data("{ directory { id } }")["directory"]["id"])
    first = fresh.data(document % before)
    assert first["directory"]["withNewFile"]["changes"]["diffStats"][0]["addedLines"] == 2
    fresh.stop()
    assert fresh.data(document % before) == first


def test_chg_007_both_sides_are_directories_and_ids_load(session):
    both = changes(session, BEFORE, AFTER)
    assert files_of(both.then("before")) == {"same": "1\n", "edit": "1\n2\n3\n", "gone": "x\n", "old/a": "a\n", "old/sub/b": "b\n", "run": "#!\n"}
    assert files_of(both.then("after"))["edit"] == "1\ntwo\n3\n4\n"
    loaded = Chain(session, [f"loadChangesetFromID(id: {quote(both.get('sync'))})"])
    assert loaded.get("modifiedPaths") == ["edit", "run"]
    broken = directory(session, {"a": "1"}).then('withError(err: "not today")').then(
        f"changes(from: {directory(session, {}).id()})"
    )
    for leaf in ("sync", "isEmpty", "addedPaths"):
        assert "not today" in broken.error(leaf)


def test_changes_can_be_applied_to_another_directory(session):
    other = {**BEFORE, "mine": "m\n", "old/mine": "m\n", "edit": "other\n"}
    done = directory(session, other).then(f"withChanges(changes: {changes(session, BEFORE, AFTER).id()})")
    assert files_of(done) == {
        "same": "1\n", "edit": "1\ntwo\n3\n4\n", "new": "n\n", "made/c": "c\n", "run": "#!\n", "mine": "m\n", "old/mine": "m\n",
    }
    assert done.get('stat(path: "run") { permissions }')["permissions"] == 0o755
    assert done.get('exists(path: "made/sub")') is True
    assert done.get('exists(path: "empty")') is False
    # Changes to a selected directory leave its siblings alone.
    below = directory(session, {"p/old": "1", "q": "1"}).then('directory(path: "p")')
    below = below.then(f"withChanges(changes: {changes(session, {'old': '1'}, {'new': '1'}).id()})")
    assert below.get("entries") == ["new"]


def test_a_patch_is_applied_by_git_and_by_the_engine(session, engine, folder):
    before = {**BEFORE, "b b": "sp\n", "bin": "a\0b", "ä": "ä", 'q"q': "1\n", "end": "1\n2", "link": "->gone", "kind": "x\n"}
    after = {**AFTER, "b b": "sp2\n", "bin": "a\0c" * 99, "ä": "ö", 'q"q': "2\n", "end": "1\n2\n3", "link": "->new", "kind": "->x", "none": ""}
    made = changes(session, before, after)
    patch = made.then("asPatch")
    assert patch.get("name") == "diff.patch"
    text = patch.get("contents")
    assert "--- a/edit\n+++ b/edit\n@@ -1,3 +1,4 @@\n 1\n-2\n+two\n 3\n+4\n" in text
    assert "old mode 100644\nnew mode 100755\n" in text
    assert changes(session, AFTER, AFTER).then("asPatch").get("contents") == ""
    patched = directory(session, before).then(f"withPatchFile(patch: {patch.id()})")
    assert patched.then("changes(from: " + directory(session, after).id() + ")").get("diffStats { path kind }") == [
        # Directories are no part of a patch: `after` has one less, and one more.
        {"path": "empty/", "kind": "ADDED"},
        {"path": "made/sub/", "kind": "REMOVED"},
    ]
    if not shutil.which("git"):
        return
    target = folder / "tree"
    directory(session, before).get(f"export(path: {quote(str(target))})")
    (folder / "p").write_text(text)
    git(target, "apply", "--whitespace=nowarn", str(folder / "p"))
    assert (target / "edit").read_text() == "1\ntwo\n3\n4\n"
    assert (target / "bin").read_text() == "a\0c" * 99
    assert (target / 'q"q').read_text() == "2\n"
    assert os.readlink(target / "kind") == "x"
    assert os.access(target / "run", os.X_OK)
    assert not (target / "old").exists()


# Two changes of `BASE`: ours, theirs, the conflict, and the file by each strategy.
BASE = {"f": "1\n2\n3\n", "keep": "k\n"}
MODIFIED, ADDED, REMOVED = (
    "path modified in both changesets",
    "path added in both changesets",
    "path modified in one changeset and removed in the other",
)
MARKED = "1\n<<<<<<< ours\nours\n=======\ntheirs\n>>>>>>> theirs\n3\n"
CONFLICTS = {
    "content": ({"f": "1\nours\n3\n"}, {"f": "1\ntheirs\n3\n"}, MODIFIED, MARKED, "1\nours\n3\n", "1\ntheirs\n3\n"),
    "modified, removed": ({"f": "1\nours\n3\n"}, {"f": ""}, REMOVED, "1\nours\n3\n", "1\nours\n3\n", None),
    "removed, modified": ({"f": ""}, {"f": "theirs\n"}, REMOVED, "theirs\n", None, "theirs\n"),
    "added": ({"n": "ours\n"}, {"n": "theirs\n"}, ADDED, "<<<<<<< ours\nours\n=======\ntheirs\n>>>>>>> theirs\n", "ours\n", "theirs\n"),
    "binary": ({"f": "a\0ours"}, {"f": "a\0theirs"}, MODIFIED, ..., "a\0ours", "a\0theirs"),
    "link": ({"f": "->ours"}, {"f": "->keep"}, MODIFIED, ..., "->ours", "->keep"),
    "kinds": ({"n": "file"}, {"n/inner": "x"}, "a directory in the other", ..., "file", None),
}


def changed(session, change: dict) -> Chain:
    after = {**BASE, **change}
    return changes(session, BASE, {path: contents for path, contents in after.items() if contents != ""})


@pytest.mark.parametrize("case", CONFLICTS)
def test_chg_008_conflicts_are_resolved_by_the_strategy(session, case):
    ours, theirs, words, *wanted = CONFLICTS[case]
    (path,) = ours
    mine, other = changed(session, {**ours, "a": "a"}), changed(session, {**theirs, "b": "b"})

    def merged(strategy: str) -> Chain:
        return mine.then(f"withChangeset(changes: {other.id()}, onConflict: {strategy})")

    for strategy in ("FAIL", "FAIL_EARLY"):
        message = merged(strategy).error("sync")
        assert f'conflict between changesets at path "' in message and words in message, message
    for strategy, content in zip(("LEAVE_CONFLICT_MARKERS", "PREFER_OURS", "PREFER_THEIRS"), wanted):
        after = merged(strategy).then("after")
        if content is ...:
            assert words in after.error("sync")
            continue
        assert after.get('exists(path: "a")') and after.get('exists(path: "b")')
        if content is None:
            assert after.get(f'exists(path: "{path}", expectedType: REGULAR_TYPE)') is False
        elif content.startswith("->"):
            assert after.get(f'exists(path: "{path}", expectedType: SYMLINK_TYPE)') is True
        else:
            assert after.then(f'file(path: "{path}")').get("contents") == content


def test_chg_008_changes_without_conflict_are_merged(session):
    mine = changed(session, {"f": "one\n2\n3\n", "x/a": "a\n", "keep": ("k\n", 0o755)})
    other = changed(session, {"f": "1\n2\nthree\n", "x/b": "b\n", "keep": "k\nk\n"})
    merged = mine.then(f"withChangeset(changes: {other.id()})")
    assert files_of(merged.then("after")) == {"f": "one\n2\nthree\n", "keep": "k\nk\n", "x/a": "a\n", "x/b": "b\n"}
    assert merged.then("after").get('stat(path: "keep") { permissions }')["permissions"] == 0o755
    assert merged.get("addedPaths modifiedPaths") == {"addedPaths": ["x/", "x/a", "x/b"], "modifiedPaths": ["f", "keep"]}
    early = mine.then(f"withChangeset(changes: {other.id()}, onConflict: FAIL_EARLY)").error("sync")
    assert '"f": path modified' in early and '"keep": path modified' in early, early
    # Equal changes, removals and further sets of changes.
    third = changed(session, {"f": "", "c": "c\n"})
    fourth = changed(session, {"f": "", "c": "c\n", "d": "d\n"})
    several = third.then(f"withChangesets(changes: [{fourth.id()}, {changed(session, {'e': 'e', 'f': ''}).id()}], onConflict: FAIL_EARLY)")
    assert files_of(several.then("after")) == {"keep": "k\n", "c": "c\n", "d": "d\n", "e": "e"}
    assert several.then(f"withChangeset(changes: {changed(session, {'keep': 'x'}).id()})").get("removedPaths") == ["f"]
    # Changes of different directories.
    elsewhere = changes(session, {"z": "1\n"}, {"z": "2\n"})
    assert files_of(mine.then(f"withChangeset(changes: {elsewhere.id()})").then("after"))["z"] == "2\n"
    # A directory that one side empties and the other removes.
    left = changes(session, {"d/a": "1", "d/b": "1"}, {"d/b": "1"})
    right = changes(session, {"d/a": "1", "d/b": "1"}, {})
    assert left.then(f"withChangeset(changes: {right.id()})").then("after").get("entries") == []


def test_chg_006_an_export_applies_changes_to_the_host(session, folder):
    target = folder / "out"
    (target / "old/sub").mkdir(parents=True)
    for name in ("same", "edit", "gone", "old/a", "old/sub/b", "mine", "old/mine"):
        (target / name).write_text("here\n")
    (target / "made").symlink_to("/nowhere")
    (target / "made").unlink()
    both = changes(session, BEFORE, AFTER)
    assert both.get(f"export(path: {quote(str(target))})") == str(target)
    left = {str(path.relative_to(target)): path.read_text() for path in sorted(target.rglob("*")) if path.is_file()}
    assert left == {
        "same": "here\n", "edit": "1\ntwo\n3\n4\n", "new": "n\n", "made/c": "c\n", "run": "#!\n", "mine": "here\n", "old/mine": "here\n",
    }
    assert (target / "made/sub").is_dir() and not (target / "old/sub").exists()
    # A removal does not follow symlinks.
    precious = folder / "precious"
    precious.mkdir()
    (precious / "a").write_text("keep")
    shutil.rmtree(target)
    target.mkdir()
    (target / "old").symlink_to(precious)
    both.get(f"export(path: {quote(str(target))})")
    assert (precious / "a").read_text() == "keep"


@pytest.mark.once
def test_call_017_chg_006_call_shows_or_applies_a_changeset(connected, folder):
    for name in ("before", "other"):
        (folder / name).mkdir()
        (folder / name / "gone").write_text("x\n")
        (folder / name / "kept").write_text("k\n")
    before = folder / "before"
    start = ["call", "-m", EXAMPLES / "greeter", "container", "with-directory", "--path=/w", f"--source={before}", "directory", "--path=/w"]
    words = [*start, "with-new-file", "--path=new", "--contents=n", "without-file", "--path=gone", "changes", f"--from={before}"]
    shown = connected.run(*words).ok()
    assert shown.out == "D gone  -1\nA new  +1\n2 files changed, +1 -1 lines\n"
    assert "not applied" in shown.err and (before / "gone").exists()
    assert [stat["kind"] for stat in connected.run(*words, "--json").json()] == ["REMOVED", "ADDED"]
    applied = connected.run(*words, "-o", folder / "other").ok()
    assert applied.out == "" and f'Applied to "{folder / "other"}".' in applied.err
    assert sorted(os.listdir(folder / "other")) == ["kept", "new"]
    exported = connected.run(*words, "export", f"--path={folder / 'third'}").ok()
    assert exported.out == str(folder / "third") and os.listdir(folder / "third") == ["new"]
    connected.run(*words, "-y", cwd=before).ok()
    assert sorted(os.listdir(before)) == ["kept", "new"]
    nothing = connected.run(*start, "changes", f"--from={before}", "-o", folder / "fourth").ok()
    assert "no changes to apply" in nothing.err and nothing.out == "" and not (folder / "fourth").exists()
