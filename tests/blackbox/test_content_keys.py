"""A part of a tree is keyed by its own content, not by the tree around it."""

import json
import os
import shutil
from pathlib import Path

import pytest

MOUNT = 'withMountedDirectory(path: "/mnt", source: $dir)'
READ_ONLY = 'withMountedDirectory(path: "/mnt", source: $dir, readOnly: true)'
OWNED = 'withMountedDirectory(path: "/mnt", source: $dir, owner: "1000")'
COPY = 'withDirectory(path: "/mnt", source: $dir)'
FILTERED = 'withDirectory(path: "/mnt", source: $dir, exclude: ["nothing"])'
MOUNTED_FILE = 'withMountedFile(path: "/mnt/f", source: $file)'
FILE = 'withFile(path: "/mnt/f", source: $file)'
CACHE = 'withMountedCache(path: "/mnt", cache: $cache, source: $dir)'


def monorepo(folder: Path) -> Path:
    """Two services, and a copy of the first."""
    folder.chmod(0o755)
    for name, content in [("a", "one"), ("b", "two")]:
        (folder / "src" / name / "in").mkdir(parents=True)
        (folder / "src" / name / "f").write_text(content)
        (folder / "src" / name / "in/g").write_text(content)
    shutil.copytree(folder / "src/a", folder / "src/twin")
    return folder / "src"


def ids_of_part(session, source: Path, name: str) -> tuple[str, str]:
    document = '{ host { directory(path: %s) { directory(path: "%s") { id file(path: "f") { id } } } } }'
    found = session.query(document % (json.dumps(str(source)), name))["host"]["directory"]["directory"]
    return found["id"], found["file"]["id"]


def seen(session, source: Path, name: str, change: str) -> str:
    directory, file = ids_of_part(session, source, name)
    change = change.replace("$dir", json.dumps(directory)).replace("$file", json.dumps(file))
    if "$cache" in change:
        cache = session.query('{ cacheVolume(key: "parts") { id } }')["cacheVolume"]["id"]
        change = change.replace("$cache", json.dumps(cache))
    script = "cat /mnt/f; find /mnt -type f | sort"
    document = '{ container { from(address: "busybox") { %s { withExec(args: ["sh", "-c", "%s"]) { stdout } } } } }'
    return session.query(document % (change, script))["container"]["from"][change.split("(")[0]]["withExec"]["stdout"]


@pytest.mark.parametrize("change", [MOUNT, READ_ONLY, OWNED, COPY, FILTERED, MOUNTED_FILE, FILE, CACHE])
def test_a_change_beside_a_directory_runs_nothing(engine, folder, change):
    source = monorepo(folder)
    # Content that no other test has cached.
    for name in ["a", "twin"]:
        (source / name / "f").write_text(f"one of {folder.name}")

    def runs(name: str) -> int:
        """The number of processes that run for a new client."""
        with engine.session() as session:
            before = engine.execs()
            assert "/mnt/f" in seen(session, source, name, change)
            return engine.execs() - before

    assert runs("a") == 1
    (source / "b/f").write_text("changed")
    assert runs("a") == 0
    (source / "b/new").write_text("new")
    shutil.rmtree(source / "b/in")
    assert runs("a") == 0
    assert runs("twin") == 0, "an equal directory is equal"
    # A fresh checkout has other times.
    again = folder / "again"
    shutil.copytree(source, again, copy_function=shutil.copyfile)
    os.utime(again / "a/f", (1, 1))
    (again / "b/f").write_text("changed once more")
    source = again
    assert runs("a") == 0
    (source / "a/f").write_text(f"two of {folder.name}")
    assert runs("a") == 1


def test_processes_on_a_part_of_a_tree_are_keyed_by_that_part(engine, folder):
    source = monorepo(folder)
    (source / "a/f").write_text(folder.name)

    def chain() -> tuple[list[str], int]:
        with engine.session() as session:
            directory, _ = ids_of_part(session, source, "a")
            steps = 'withExec(args: ["sh", "-c", "echo %d >> /mnt/log"])'
            document = (
                '{ container { from(address: "busybox") { withMountedDirectory(path: "/mnt", source: %s) { %s { %s '
                '{ directory(path: "/mnt") { entries file(path: "log") { contents } } } } } } } }'
            ) % (json.dumps(directory), steps % 1, steps % 2)
            before = engine.execs()
            found = session.query(document)["container"]["from"]["withMountedDirectory"]["withExec"]["withExec"]
            found = found["directory"]
            assert found["file"]["contents"] == "1\n2\n"
            return found["entries"], engine.execs() - before

    assert chain() == (["f", "in/", "log"], 2)
    (source / "b/f").write_text("changed")
    assert chain() == (["f", "in/", "log"], 0)


def test_timestamps_that_were_set_are_part_of_a_key(engine):
    made = 'directory { withNewFile(path: "a/f", contents: "x") { withTimestamps(timestamp: %d) { directory(path: "a") { id } } } }'
    look = (
        '{ container { from(address: "busybox") { withMountedDirectory(path: "/mnt", source: %s) '
        '{ withExec(args: ["stat", "-c", "%%Y", "/mnt/f"]) { stdout } } } } }'
    )
    with engine.session() as session:
        for time in [1000, 2000]:
            found = session.query("{" + made % time + "}")["directory"]["withNewFile"]["withTimestamps"]["directory"]["id"]
            seen = session.query(look % json.dumps(found))["container"]["from"]["withMountedDirectory"]["withExec"]["stdout"]
            assert seen == f"{time}\n"


def test_steps_of_a_dockerfile_are_keyed_by_the_files_they_use(engine, folder):
    source = monorepo(folder)
    lines = [
        "FROM busybox",
        f"RUN --mount=type=bind,source=in,target=/in cat /in/g > /{folder.name}",
        "COPY f /f",
        f"RUN cat /f /{folder.name} > /both",
    ]
    for name in ["a", "twin"]:
        (source / name / "Dockerfile").write_text("\n".join(lines))

    def built(root: Path, name: str) -> tuple[str, int]:
        document = (
            '{ host { directory(path: %s) { directory(path: "%s") { dockerBuild { file(path: "/both") { contents } } } } } }'
            % (json.dumps(str(root)), name)
        )
        with engine.session() as session:
            before = engine.execs()
            found = session.query(document)["host"]["directory"]["directory"]["dockerBuild"]["file"]["contents"]
            return found, engine.execs() - before

    assert built(source, "a") == ("oneone", 2)
    (source / "b/f").write_text("changed")
    assert built(source, "a") == ("oneone", 0)
    assert built(source, "twin") == ("oneone", 0)
    # The first hit is by the content of another folder. Then an unrelated file changes there.
    again = folder / "again"
    shutil.copytree(source, again, copy_function=shutil.copyfile)
    for path in again.rglob("*"):
        os.utime(path, (5, 5))
    assert built(again, "a") == ("oneone", 0)
    (again / "b/f").write_text("changed again")
    assert built(again, "a") == ("oneone", 0)
    (again / "a/in/g").write_text("other")
    assert built(again, "a") == ("oneother", 2)


def test_why_names_the_changed_file_of_a_part_of_a_tree(fresh, folder):
    source = monorepo(folder)
    for content in ["first", "second"]:
        (source / "a/f").write_text(content)
        with fresh.session() as session:
            assert seen(session, source, "a", MOUNT).startswith(content)
    told = fresh.run("cache", "why", "cat /mnt/f").ok().out
    assert "mount /mnt" in told and "f" in told.split("mount /mnt", 1)[1], told


def test_a_module_source_is_keyed_by_its_own_files(engine, folder):
    module = folder / "repo/modules/one"
    module.mkdir(parents=True)
    (module / "dagger.json").write_text(json.dumps({"name": "one", "sdk": "python", "engineVersion": "v0.21.8"}))
    (module / "main.py").write_text("")
    (folder / "repo/other").write_text("1")

    def digest(root: Path) -> str:
        document = '{ host { directory(path: %s) { asModuleSource(sourceRootPath: "modules/one") { digest } } } }'
        with engine.session() as session:
            return session.query(document % json.dumps(str(root)))["host"]["directory"]["asModuleSource"]["digest"]

    first = digest(folder / "repo")
    (folder / "repo/other").write_text("2")
    assert digest(folder / "repo") == first
    shutil.copytree(folder / "repo", folder / "checkout", copy_function=shutil.copyfile)
    for path in (folder / "checkout").rglob("*"):
        os.utime(path, (9, 9))
    (folder / "checkout/other").write_text("3")
    assert digest(folder / "checkout") == first
    (folder / "checkout/modules/one/main.py").write_text("# changed")
    assert digest(folder / "checkout") != first
