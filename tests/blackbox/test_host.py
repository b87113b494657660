"""Directories and files of the client's machine, as sessions see them."""

import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit import leaf, quote


def host_directory(path, ask, **more) -> str:
    arguments = "".join(f", {name}: {json.dumps(given)}" for name, given in more.items())
    return f"{{ host {{ directory(path: {quote(path)}{arguments}) {{ {ask} }} }} }}"


def host_file(path, ask, **more) -> str:
    return host_directory(path, ask, **more).replace("directory(", "file(", 1)


def fill(folder, **files):
    for name, contents in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents)
    return folder


ALL = 'glob(pattern: "**/*")'


@pytest.fixture
def tree(folder):
    return fill(folder / "tree", a="1", sub__b="2", sub__deep__c="3")


def test_hst_001_paths_are_those_of_the_client(engine, tree):
    work = tree / "sub"
    entries = {".": ["b", "deep/"], "..": ["a", "sub/"], "deep": ["c"], "./deep/../deep/": ["c"], str(tree): ["a", "sub/"], "../../tree": ["a", "sub/"]}
    for path, wanted in entries.items():
        assert leaf(engine.data(host_directory(path, "entries"), cwd=work)) == wanted, path
    home = fill(engine.home / "in-home", x="home")
    assert leaf(engine.data(host_directory("~/in-home", "entries"))) == ["x"]
    assert leaf(engine.data(host_file("~/in-home/x", "contents"))) == "home"
    home.joinpath("x").unlink()
    engine.query(host_directory("nowhere", "entries"), cwd=work).failed("nowhere", "no such file or directory")
    engine.query(host_directory("b", "entries"), cwd=work).failed("b", "not a directory")


def test_hst_002_patterns_include_and_exclude(engine, folder):
    fill(folder, a__txt="", b__md="", sub__a__txt="", sub__skip__x="")
    (folder / "x.txt").write_text("")
    names = lambda **more: leaf(engine.data(host_directory(folder, ALL, **more)))
    assert names(include=["*.txt"]) == ["x.txt"]
    assert names(exclude=["sub", "a"]) == ["b/", "b/md", "x.txt"]
    assert names(include=["sub"], exclude=["sub/skip"]) == ["sub/", "sub/a/", "sub/a/txt"]
    assert names(include=["**/txt"], exclude=["a"]) == ["sub/", "sub/a/", "sub/a/txt"]


def test_hst_002_gitignore_files_are_honoured(engine, folder):
    fill(folder, keep="", log="", sub__log="", sub__other="", sub__own="", sub__deep__own="")
    (folder / ".gitignore").write_text("log\n")
    (folder / "sub/.gitignore").write_text("own\n!log\n")
    ask = lambda path, **more: leaf(engine.data(host_directory(path, 'glob(pattern: "**/*")', **more)))
    everything = [".gitignore", "keep", "log", "sub/", "sub/.gitignore", "sub/deep/", "sub/deep/own", "sub/log", "sub/other", "sub/own"]
    assert ask(folder) == everything
    assert ask(folder, gitignore=True) == everything, "outside of a repository nothing is ignored"
    (folder / ".git").mkdir()
    wanted = [".git/", ".gitignore", "keep", "sub/", "sub/.gitignore", "sub/deep/", "sub/log", "sub/other"]
    assert [name for name in ask(folder, gitignore=True) if name != "sub/deep/"] == [name for name in wanted if name != "sub/deep/"]
    # `.gitignore` files above a folder apply, too, also when they are excluded.
    assert [name for name in ask(folder / "sub", gitignore=True, exclude=[".gitignore"]) if name != "deep/"] == ["log", "other"]
    with engine.session(cwd=folder) as session:
        both = [leaf(session.query(host_directory(folder, ALL, gitignore=on))) for on in (True, False, True)]
        assert both[0] == both[2] and "log" in both[1] and "log" not in both[0]


def test_hst_003_a_session_reads_a_directory_once(engine, tree):
    ask = 'file(path: "a") { contents }'
    with engine.session() as session:
        read = lambda **more: leaf(session.query(host_directory(tree, ask, **more)))
        assert read() == "1"
        kept = leaf(session.query(host_directory(tree, "sync")))
        (tree / "a").write_text("changed")
        assert read() == "1"
        assert read(noCache=True) == "changed"
        load = f'{{ loadDirectoryFromID(id: "{kept}") {{ {ask} }} }}'
        assert leaf(session.query(load)) == "1"
    assert leaf(engine.data(host_directory(tree, ask))) == "changed"
    assert leaf(engine.data(load)) == "1"


def test_hst_003_a_session_reads_a_file_once(engine, tree):
    with engine.session() as session:
        read = lambda **more: leaf(session.query(host_file(tree / "a", "contents", **more)))
        assert read() == "1"
        kept = leaf(session.query(host_file(tree / "a", "sync")))
        (tree / "a").write_text("changed")
        assert (read(), read(noCache=True)) == ("1", "changed")
        assert leaf(session.query(f'{{ loadFileFromID(id: "{kept}") {{ contents }} }}')) == "1"


def test_hst_005_files_are_read_by_path(engine, tree):
    assert leaf(engine.data(host_file("a", "contents"), cwd=tree)) == "1"
    assert leaf(engine.data(host_file("sub/deep/c", "contents"), cwd=tree)) == "3"
    assert leaf(engine.data(host_file("../a", "name"), cwd=tree / "sub")) == "a"
    engine.query(host_file("sub", "contents"), cwd=tree).failed("sub", "not a regular file")
    engine.query(host_file("none", "contents"), cwd=tree).failed("none", "no such file or directory")


def test_hst_006_a_new_session_sees_what_changed(engine, tree):
    digests = lambda: [leaf(engine.data(host_directory(tree, ask))) for ask in ("digest", 'directory(path: "sub") { digest }')]
    first = digests()
    assert digests() == first
    (tree / "a").write_text("changed")
    changed = digests()
    assert changed[0] != first[0] and changed[1] == first[1]
    (tree / "a").write_text("1")
    assert digests() == first


def test_hst_006_equal_trees_are_equal_after_any_changes(fresh, tree, folder):
    """Small changes are stored as changes. An equal tree elsewhere still has the same digest."""
    build = lambda path: leaf(fresh.data(host_directory(path, "digest")))
    assert build(tree)
    (tree / "sub/b").write_text("later")
    (tree / "a").unlink()
    copy = fill(folder / "copy", sub__b="later", sub__deep__c="3")
    assert build(tree) == build(copy)
    entries = lambda path: leaf(fresh.data(host_directory(path, ALL)))
    assert entries(tree) == entries(copy) == ["sub/", "sub/b", "sub/deep/", "sub/deep/c"]
    fresh.verify()


def test_hst_007_subsets_are_read_in_parallel(engine, folder):
    for number in range(8):
        fill(folder, **{f"part{number}__x": f"{number}", f"part{number}__noise__y": ""})
    parts = [{"include": [f"part{number}"], "exclude": ["**/noise"]} for number in range(8)] + [{"exclude": ["**/noise"]}] * 4
    noise, stop = folder / "part0/noise/y", threading.Event()

    def disturb():
        while not stop.wait(0.001):
            noise.write_text(str(os.urandom(4)))
            noise.rename(noise.with_name("z"))
            noise.with_name("z").unlink()

    def digests():
        with engine.session() as session, ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda part: leaf(session.query(host_directory(folder, "digest", **part))), parts))

    disturber = threading.Thread(target=disturb, daemon=True)
    disturber.start()
    try:
        first, again = digests(), digests()
        (folder / "part3/x").write_text("other")
        changed = digests()
    finally:
        stop.set()
        disturber.join()
    assert first == again and len(set(first)) == 9
    differing = [number for number, (old, new) in enumerate(zip(first, changed)) if old != new]
    assert differing == [3, 8, 9, 10, 11]


def test_hst_008_hard_links_are_read(engine, tree):
    os.link(tree / "a", tree / "sub/a2")
    read = lambda: [leaf(engine.data(host_directory(tree, f'file(path: "{path}") {{ contents }}'))) for path in ("a", "sub/a2")]
    assert read() == ["1", "1"]
    assert leaf(engine.data(host_directory(tree / "sub", 'file(path: "a2") { contents }'))) == "1"
    (tree / "a").write_text("both")
    assert read() == ["both", "both"]
    (tree / "sub/a2").unlink()
    (tree / "sub/a2").write_text("own")
    assert read() == ["both", "own"]


def test_hst_009_symlinks_in_a_path_are_followed(engine, tree, folder):
    (folder / "link").symlink_to("tree")
    (tree / "inner").symlink_to("sub/deep")
    assert leaf(engine.data(host_directory(folder / "link", "entries"))) == ["a", "inner", "sub/"]
    assert leaf(engine.data(host_directory(folder / "link/inner", "entries"))) == ["c"]
    assert leaf(engine.data(host_file(folder / "link/inner/c", "contents"))) == "3"
    (folder / "gone").symlink_to("nowhere")
    engine.query(host_directory(folder / "gone", "entries")).failed("gone", "no such file or directory")


def test_odd_names_are_kept_and_special_files_left_out(engine, folder):
    names = [" blank ", "new\nline", "-dash", "*star*", "ünï", "q\"uote", "back\\slash", "#hash", "x" * 255]
    for name in names:
        (folder / name).write_text(name)
    os.mkfifo(folder / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(folder)
    listener.bind("socket")
    try:
        found = leaf(engine.data(host_directory(folder, "entries")))
    finally:
        listener.close()
        os.chdir("/")
    assert sorted(found) == sorted(names)
    assert leaf(engine.data(host_directory(folder, f"file(path: {json.dumps(names[1])}) {{ contents }}"))) == "new\nline"


def test_a_file_is_read_while_it_is_written(engine, folder):
    fill(folder, **{f"stable{number}": "x" * 4000 for number in range(50)})
    stop = threading.Event()

    def append():
        with (folder / "log").open("a") as log:
            while not stop.wait(0.0005):
                log.write("a line\n")
                log.flush()

    writer = threading.Thread(target=append, daemon=True)
    writer.start()
    try:
        for _ in range(10):
            selection = 'entries file(path: "log") { contents }'
            found = engine.data(host_directory(folder, selection, noCache=True))["host"]["directory"]
            assert len(found["entries"]) == 51 and set(found["file"]["contents"][:-7].split("\n")) <= {"a line", ""}
    finally:
        stop.set()
        writer.join()


def test_files_may_come_and_go_while_a_directory_is_read(engine, folder):
    fill(folder, **{f"stable{number}": "x" for number in range(200)})
    stop = threading.Event()

    def churn():
        while not stop.wait(0.0005):
            path = folder / f"fleeting{os.getpid() % 7}"
            path.write_text("here")
            path.unlink()

    churner = threading.Thread(target=churn, daemon=True)
    churner.start()
    try:
        for _ in range(10):
            found = leaf(engine.data(host_directory(folder, "entries", noCache=True)))
            assert len([name for name in found if name.startswith("stable")]) == 200
    finally:
        stop.set()
        churner.join()
