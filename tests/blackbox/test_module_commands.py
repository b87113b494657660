"""What all commands that change modules have in common, `rondel config`, and the commands that are not there.

Each command has a file of its own: `test_init.py`, `test_install.py`, `test_update.py`, `test_develop.py`.
"""

import re
import subprocess

import pytest

from kit import IMAGES, REPO, Rondel, mirror_of, short_folder
from kit.module_commands import config, files, plain, write_keys

pytestmark = pytest.mark.once

CHANGES = [["install", "../lib/dep"], ["uninstall", "other"], ["update"], ["develop", "--sdk", "python"]]


@pytest.fixture
def old(two):
    """A module of an older version with a dependency."""
    plain(two / "other")
    return write_keys(two / "app", name="app", engineVersion="v0.18.0", dependencies=[{"name": "other", "source": "../other"}])


def by_command(words):
    return words[0]


# the module


@pytest.mark.parametrize("words", CHANGES, ids=by_command)
@pytest.mark.parametrize("where", ["the module", "below it"])
def test_the_module_is_that_of_the_working_directory_or_above(engine, old, words, where):
    (old / "src/deep").mkdir(parents=True)
    cwd = old if where == "the module" else old / "src/deep"
    words = [str(old.parent / "lib/dep") if word == "../lib/dep" else word for word in words]
    engine.run(*words, cwd=cwd).ok()
    assert config(old)["engineVersion"] == "v0.21.8"


@pytest.mark.parametrize("flag", ["-m", "--mod"])
def test_the_module_is_named_by_a_flag_or_a_variable(engine, old, place, flag):
    engine.run("develop", flag, old, "--sdk", "python", cwd=place).ok()
    assert config(old)["engineVersion"] == "v0.21.8"
    write_keys(old, name="app", engineVersion="v0.18.0")
    engine.run("update", cwd=place, env={"RONDEL_MODULE": str(old)}).ok()
    assert config(old)["engineVersion"] == "v0.21.8"
    # The original's variable is a name in containers of Python modules.
    engine.run("update", cwd=place, env={"DAGGER_MODULE": str(old)}).failed("module must be fully initialized")


def test_the_module_is_looked_for_up_to_the_root_of_the_repository(engine, folder):
    plain(folder / "outer")
    (folder / "outer/inner/.git").mkdir(parents=True)
    before = files(folder)
    engine.run("update", cwd=folder / "outer/inner").failed("module must be fully initialized")
    assert files(folder) == before


# the version


@pytest.mark.parametrize("words", CHANGES, ids=by_command)
@pytest.mark.parametrize(
    ("flags", "version"),
    [([], "v0.21.8"), (["--compat=latest"], "v0.21.8"), (["--compat=v0.18.5"], "v0.18.5"), (["--compat=skip"], "v0.18.0")],
    ids=["default", "latest", "a version", "skip"],
)
def test_every_change_sets_the_version(engine, old, words, flags, version):
    engine.run(*words, *flags, cwd=old).ok()
    assert config(old)["engineVersion"] == version


@pytest.mark.parametrize("words", CHANGES, ids=by_command)
def test_a_version_that_cannot_be_served_changes_nothing(engine, old, words):
    before = files(old.parent)
    engine.run(*words, "--compat=v1.0.0", cwd=old).failed("module requires dagger v1.0.0, but you have v0.21.8")
    engine.run(*words, "--compat=v0.9.8", cwd=old).failed("module requires dagger v0.9.8, but support for that version has been removed")
    assert files(old.parent) == before


def test_every_change_moves_the_module_to_this_version(engine, two):
    def moved(*words):
        (two / "app/dagger.json").write_text('{"name": "app", "engineVersion": "v0.18.0"}')
        engine.run(*words, cwd=two / "app").ok()
        return config(two / "app")

    assert moved("install", "../lib/dep")["engineVersion"] == "v0.21.8"
    assert moved("install", "--compat=v0.18.5", "../lib/dep")["engineVersion"] == "v0.18.5"
    assert moved("install", "--compat=skip", "../lib/dep")["engineVersion"] == "v0.18.0"
    assert moved("update")["disableDefaultFunctionCaching"] is True


# config


def test_config_shows_a_module(engine, two):
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    said = engine.run("config", cwd=two / "app").ok().out
    shown = dict(re.split(r":\s+", line, maxsplit=1) for line in said.splitlines())
    assert (shown["Name"], shown["Context Directory"], shown["Source Root Directory"]) == ("app", str(two.resolve()), "app")
    assert engine.run("config", "--json", cwd=two / "app").json()["engineVersion"] == "v0.21.8"


def test_config_without_a_module_says_how_to_make_one(engine, folder):
    engine.run("config", cwd=folder).failed("module must be fully initialized", "rondel init")


# what is not supported


@pytest.mark.parametrize(
    "words",
    [["toolchain", "install", "x"], ["toolchain", "update"], ["toolchain", "uninstall", "x"], ["toolchain", "list"], ["publish"]],
    ids=" ".join,
)
def test_toolchain_and_publish_are_no_commands(engine, two, words):
    before = files(two)
    engine.run(*words, cwd=two / "app").failed(words[0], code=2)
    assert files(two) == before


# the guide


def test_getting_started_works_as_written():
    """Runs every command of the document, and compares what it says with the output."""
    text = (REPO / "docs/getting-started.md").read_text()
    folder = short_folder()
    rondel = Rondel(folder / "engine", mirror_of(IMAGES, offline=False))
    try:
        work = folder / "work"
        work.mkdir()
        for kind, name, block in re.findall(r"```(\w+)(?: (\S+))?\n(.*?)```", text, re.DOTALL):
            if name:
                (work / name).write_text(block)
            if kind != "console":
                continue
            for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                done = subprocess.run(["sh", "-c", command], cwd=work, text=True, capture_output=True, env=rondel.environment(), timeout=240)
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                if moved := re.fullmatch(r"cd (\S+)", command):
                    work = work / moved[1]
                for line in output.splitlines():
                    if line != "…":
                        assert line.replace("$PWD", str(work.resolve())) in done.stdout, f"{command}\n{done.stdout}"
    finally:
        rondel.remove()
        subprocess.run(["rm", "-rf", str(folder)], check=False)
