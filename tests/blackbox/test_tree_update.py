"""How commands write a user's tree: all or nothing, shown file by file, and nothing outside of it."""

import json
import shutil
import subprocess

import pytest

from kit import BINARY, PROBE, eventually, write_module
from kit.module_commands import config, files, listed, make, plain, write_keys

pytestmark = pytest.mark.once

STAGE = ".rondel-update"


# what is shown


def test_every_file_is_shown_with_what_became_of_it(engine, folder):
    module = plain(folder / "m", sdk="python")
    (module / ".gitignore").write_text("/.venv\n")
    said = listed(engine.run("develop", "-m", "m", cwd=folder))
    assert said == {
        "m/.gitattributes": "created",
        "m/.gitignore": "changed",
        "m/dagger.json": "unchanged",
        "m/pyproject.toml": "created",
        "m/src/m/__init__.py": "created",
        "m/src/m/main.py": "created",
    }


def test_a_file_outside_of_the_working_directory_is_shown_by_its_absolute_path(engine, two, place):
    said = listed(engine.run("install", "-m", two / "app", two / "lib/dep", cwd=place))
    assert said == {f"{two.resolve()}/app/dagger.json": "changed"}


def test_a_command_that_fails_shows_no_file(engine, two):
    assert engine.run("install", "../nowhere", cwd=two / "app").failed("nowhere").out == ""


# a tree that cannot be written


def read_only(engine, folder, *commands):
    """Runs commands in a read-only view of a folder. Each is a line of a shell script."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1/app" && ' + "\n".join(commands)
    engine.run("engine", "status").ok()
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(folder), str(BINARY)]
    done = subprocess.run(words, text=True, capture_output=True, env=engine.environment(), timeout=60)
    if "unshare:" in done.stderr:
        pytest.fail(f"no mount namespace here: {done.stderr}")
    return done


def test_a_tree_that_cannot_be_written_stays(engine, two):
    before = files(two)
    done = read_only(engine, two, 'exec "$2" install ../lib/dep')
    assert done.returncode != 0 and "cannot write" in done.stderr and "Read-only file system" in done.stderr, done.stderr
    assert files(two) == before


@pytest.mark.parametrize("words", ["init new", "update", "develop --sdk go", "uninstall dep"])
def test_every_command_names_the_place_that_cannot_be_written(engine, two, words):
    write_keys(two / "app", name="app", engineVersion="v0.18.0", dependencies=[{"name": "dep", "source": "../lib/dep"}])
    before = files(two)
    done = read_only(engine, two, f'exec "$2" {words}')
    assert done.returncode != 0 and f"cannot write `{two.resolve()}/app" in done.stderr and "Read-only" in done.stderr, done.stderr
    assert files(two) == before


def test_reading_commands_work_on_a_tree_that_cannot_be_written(engine, two):
    write_module(two / "app", PROBE)
    done = read_only(engine, two, '"$2" config', '"$2" functions', '"$2" call --help')
    assert done.returncode == 0 and done.stdout.count("go ") >= 2 and "probe" in done.stdout, done.stderr


# commands at once


def test_commands_at_once_lose_no_change(engine, repository):
    app = make(engine, repository / "app")
    names = [make(engine, repository / f"lib{number}").name for number in range(4)]
    running = [engine.start("install", f"../{name}", cwd=app) for name in names]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert [entry["name"] for entry in config(app)["dependencies"]] == names


# a tree that someone else made


def test_a_tree_cannot_bring_a_change_of_its_own(engine, repository):
    app, library, victim = make(engine, repository / "app"), make(engine, repository / "lib"), repository / "victim"
    victim.write_text("mine")
    stage = app / STAGE
    (stage / "new").mkdir(parents=True)
    (stage / "new/victim").write_text("theirs")
    (stage / "plan.json").write_text(json.dumps({"token": "", "root": str(repository), "moved": ["victim"], "removed": []}))
    (stage / "decided").write_text("")
    engine.run("install", library, cwd=app).failed("interrupted change of a module")
    (stage / "decided").unlink()
    engine.run("install", library, cwd=app).ok()
    assert victim.read_text() == "mine" and not stage.exists()


# a command that is killed


def killed(process) -> None:
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def check_reading_commands(engine, module, whole) -> None:
    """They work on a module that is complete. Else they say that there is none, and what makes one."""
    is_complete = (module / "dagger.json").exists()
    assert not is_complete or files(module).keys() >= whole.keys()
    for words in (["config"], ["functions"], ["call", "--help"]):
        done = engine.run(words[0], "-m", module, *words[1:])
        if is_complete:
            assert ("Name:" if words == ["config"] else "hello") in done.ok().out
        else:
            done.failed("rondel init")


def test_a_killed_command_leaves_the_old_tree_or_the_new_one(engine, repository):
    whole = files(make(engine, repository / "m", "--sdk", "python"))
    seen = set()
    for delay in range(0, 24):
        module = repository / f"k{delay}" / "m"
        module.parent.mkdir()
        process = engine.start("init", module, "--sdk", "python")
        try:
            process.wait(timeout=delay * 0.02)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
        left = files(module) if module.exists() else {}
        assert left in ({}, whole), sorted(left)
        seen.add(bool(left))
        engine.run("init", module, *([] if left else ["--sdk", "python"])).ok()
        assert files(module) == whole
        assert not list(module.parent.glob(STAGE)), "what was prepared is left"
    assert False in seen


@pytest.mark.parametrize("moment", ["prepared", "new", "decided", "moved"])
def test_reading_commands_work_on_what_a_killed_init_leaves(engine, repository, moment):
    """`init` in a folder with files renames each of its own. The kill comes when a file is there."""
    module = repository / "m"
    (module / "code").mkdir(parents=True)
    (module / "code/kept").touch()
    whole = files(make(engine, shutil.copytree(module, repository / "other/m"), "--sdk", "python"))
    place = module / {"prepared": STAGE, "new": f"{STAGE}/new/dagger.json", "decided": f"{STAGE}/decided", "moved": ".dagger"}[moment]
    process = engine.start("init", module, "--sdk", "python")
    eventually(lambda: place.exists() or process.poll() is not None, what=f"`{place}`", every=0)
    killed(process)
    check_reading_commands(engine, module, whole)
    engine.run("init", module, *([] if (module / "dagger.json").exists() else ["--sdk", "python"])).ok()
    assert files(module) == whole


# a command that is interrupted between two files


def interrupted(engine, module, busy: str, *words) -> str:
    """Runs a command that stops at the file `busy`, which cannot be replaced: a file system is mounted there."""
    script = 'mount --bind "$1" "$1" && shift && exec "$@"'
    engine.run("engine", "status").ok()
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(module / busy), str(BINARY), *words]
    done = subprocess.run(command, text=True, capture_output=True, env=engine.environment(), cwd=module, timeout=60)
    if "unshare:" in done.stderr:
        pytest.fail(f"no mount namespace here: {done.stderr}")
    assert done.returncode != 0 and f"cannot write `{module.resolve()}/{busy}`" in done.stderr, done.stderr
    return done.stderr


def test_reading_commands_work_on_what_an_interrupted_init_leaves(engine, repository):
    module = repository / "m"
    module.mkdir()
    (module / "LICENSE").write_text("old")
    told = interrupted(engine, module, "LICENSE", "init", "--sdk", "python", "--license", "MIT")
    assert "run the command again" in told and (module / ".dagger").exists() and not (module / "dagger.json").exists()
    check_reading_commands(engine, module, {})
    engine.run("init", "--sdk", "python", "--license", "MIT", cwd=module).ok()
    assert config(module)["source"] == ".dagger" and "MIT License" in (module / "LICENSE").read_text()
    assert not (module / STAGE).exists()


def test_an_interrupted_command_is_completed_before_the_module_is_read(engine, repository):
    """The folder of the code would be another one because of the files that are there already."""
    whole = plain(repository / "other/m")
    engine.run("develop", "--sdk", "python", cwd=whole).ok()
    module = plain(repository / "m")
    interrupted(engine, module, "dagger.json", "develop", "--sdk", "python")
    assert (module / "src").exists() and "sdk" not in config(module)
    assert "m" in engine.run("config", cwd=module).ok().out
    assert set(listed(engine.run("develop", "--sdk", "python", cwd=module)).values()) == {"unchanged"}
    assert files(module) == files(whole)
