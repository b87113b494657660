"""`rondel develop`: an SDK for a module, generated files, and the step to this version of the API."""

import json

import pytest

from kit import write_go_module, write_module
from kit.module_commands import config, files, listed, make, plain, write_keys

pytestmark = pytest.mark.once

GO_CODE = "package main\n\ntype Probe struct{}\n\nfunc (m *Probe) Hello() string { return \"hello\" }\n"


# the SDK and the folder of the code


def test_develop_sets_an_sdk_once(engine, folder):
    make(engine, folder, "--name", "later")
    nothing = "dagger develop on a module without an SDK or clients requires either --sdk or --source"
    engine.run("develop", cwd=folder).failed(nothing)
    engine.run("develop", "--sdk", "python", cwd=folder).ok()
    once = files(folder)
    assert "src/later/main.py" in once and "LICENSE" in once
    said = engine.run("develop", cwd=folder).ok()
    assert files(folder) == once
    assert said.out == "unchanged  .gitattributes\nunchanged  .gitignore\nunchanged  dagger.json\n"
    engine.run("develop", "--sdk", "python", cwd=folder).ok()
    engine.run("develop", "--sdk", "go", cwd=folder).failed('cannot update module SDK that has already been set to "python"')
    engine.run("develop", "--source", "elsewhere", cwd=folder).failed('cannot update module source path that has already been set to "."')
    both = engine.run("develop", "--with-self-calls", "--without-self-calls", cwd=folder)
    both.failed("cannot use --with-self-calls and --without-self-calls at the same time")
    engine.run("develop", "--with-self-calls", cwd=folder).ok()
    assert config(folder)["sdk"]["experimental"] == {"SELF_CALLS": True}
    engine.run("develop", "--without-self-calls", cwd=folder).ok()
    assert files(folder) == once


def test_develop_puts_the_code_of_a_new_sdk_where_init_puts_it(engine, folder):
    engine.run("develop", "--sdk", "python", cwd=plain(folder / "alone")).ok()
    assert "source" not in config(folder / "alone")
    app = plain(folder / "app")
    (app / "index.html").touch()
    engine.run("develop", "--sdk", "python", cwd=app).ok()
    assert config(app)["source"] == ".dagger" and (app / ".dagger/src/app/main.py").exists()


def test_develop_sets_the_folder_of_the_code_with_the_sdk(engine, folder):
    app = plain(folder / "app")
    engine.run("develop", "-m", "app", "--sdk", "python", "--source", "app/code", cwd=folder).ok()
    assert config(app)["source"] == "code" and (app / "code/src/app/main.py").exists()
    once = files(app)
    engine.run("develop", "-m", "app", "--source", "app/code", cwd=folder).ok()
    assert files(app) == once
    engine.run("develop", "--source", ".", cwd=app).failed('cannot update module source path that has already been set to "code"')


def test_develop_with_a_folder_and_no_sdk_is_an_error(engine, folder):
    before = files(plain(folder / "app"))
    engine.run("develop", "--source", "code", cwd=folder / "app").failed('source path "code" specified without sdk')
    assert files(folder / "app") == before


def test_develop_needs_a_module(engine, folder):
    engine.run("develop", cwd=folder).failed("module must be fully initialized", "rondel init")


# the version


@pytest.mark.parametrize(
    ("flags", "version"),
    [
        ([], "v0.21.8"),
        (["--compat=latest"], "v0.21.8"),
        (["--compat=v0.19.11"], "v0.19.11"),
        (["--compat=0.19.11"], "v0.19.11"),
        (["--compat=skip"], "v0.18.0"),
        (["--compat"], "v0.18.0"),
    ],
)
def test_develop_moves_the_module_to_the_version(engine, folder, flags, version):
    module = write_module(folder, "", name="old", engine_version="v0.18.0")
    engine.run("develop", *flags, cwd=module).ok()
    assert config(module)["engineVersion"] == version


def test_develop_moves_an_older_module(engine, folder):
    make(engine, folder, "--name", "old", "--sdk", "python")
    text = '{"name": "old", "engineVersion": "v0.18.0", "sdk": "python"}'

    def moved(*flags):
        (folder / "dagger.json").write_text(text)
        engine.run("develop", *flags, cwd=folder).ok()
        return config(folder)

    assert moved()["engineVersion"] == "v0.21.8" and moved()["disableDefaultFunctionCaching"] is True
    assert moved("--compat=v0.9.9")["engineVersion"] == "v0.9.9"
    assert moved("--compat")["engineVersion"] == "v0.18.0"
    engine.run("develop", "--compat=v99.0.0", cwd=folder).failed("module requires dagger v99.0.0, but you have v0.21.8")


def test_develop_generates_the_code_of_the_new_version(engine, folder):
    """Types of the API have aliases in the main package before v0.12.0, and none after it."""
    module = write_go_module(folder, {"main.go": GO_CODE}, engine_version="v0.11.9")
    engine.run("develop", "--compat=skip", cwd=module).ok()
    assert "Container = dagger.Container" in (module / "dagger.gen.go").read_text().replace("  ", " ")
    assert listed(engine.run("develop", cwd=module))["dagger.gen.go"] == "changed"
    assert "= dagger.Container" not in (module / "dagger.gen.go").read_text()


# the files


@pytest.mark.parametrize("sdk", ["go", "python"])
def test_develop_a_second_time_changes_nothing(engine, folder, sdk):
    module = plain(folder / "m")
    first = listed(engine.run("develop", "--sdk", sdk, cwd=module))
    once = files(module)
    times = {path: (module / path).stat().st_mtime_ns for path in once}
    second = listed(engine.run("develop", cwd=module))
    assert files(module) == once and {path: (module / path).stat().st_mtime_ns for path in once} == times
    assert first["dagger.json"] == "changed" and set(second.values()) == {"unchanged"}


def test_develop_writes_again_what_was_changed_or_removed(engine, folder):
    module = write_go_module(folder, {"main.go": GO_CODE})
    engine.run("develop", cwd=module).ok()
    once = files(module)
    (module / "dagger.gen.go").write_text("package main\n")
    removed = min((module / "internal/dagger").iterdir())
    removed.unlink()
    said = listed(engine.run("develop", cwd=module))
    assert files(module) == once
    assert (said["dagger.gen.go"], said[str(removed.relative_to(module))]) == ("changed", "created")


def test_develop_reads_no_generated_file_that_git_ignores(engine, repository):
    """A stale one is neither an error nor read: it is replaced."""
    module = write_go_module(repository, {"main.go": GO_CODE})
    engine.run("develop", cwd=module).ok()
    once = files(module)
    (module / "internal/dagger/stale.go").write_text("this is no Go")
    (module / "dagger.gen.go").write_text("nor this")
    engine.run("develop", cwd=module).ok()
    assert (module / "dagger.gen.go").read_text() == once["dagger.gen.go"]


def test_develop_writes_a_licence_only_with_an_sdk(engine, folder):
    module = write_module(folder / "m", "", name="m")
    engine.run("develop", cwd=module).ok()
    engine.run("develop", "--license", "MIT", cwd=module).ok()
    assert not (module / "LICENSE").exists()
    engine.run("develop", "--sdk", "python", "--license", "MIT", cwd=module).ok()
    assert "MIT License" in (module / "LICENSE").read_text()
    engine.run("develop", "--sdk", "python", cwd=plain(folder / "n")).ok()
    assert "Apache License" in (folder / "n/LICENSE").read_text()


# dependencies


def test_develop_recursively_and_without_gitignore(engine, two):
    for name in ("app", "lib/dep"):
        written = {"name": name[-3:], "engineVersion": "v0.18.0", "sdk": {"source": "python"}, "codegen": {"automaticGitignore": False}}
        (two / name / "dagger.json").write_text(json.dumps(written))
    engine.run("install", "--compat=skip", "../lib/dep", cwd=two / "app").ok()
    engine.run("develop", "-r", "-m", two / "app").ok()
    assert [config(two / name)["engineVersion"] for name in ("app", "lib/dep")] == ["v0.21.8"] * 2
    assert (two / "lib/dep/src/dep/main.py").exists() and (two / "lib/dep/.gitattributes").exists()
    assert not (two / "lib/dep/.gitignore").exists()


def test_develop_recursively_reaches_the_dependencies_of_dependencies_once(engine, two):
    """`base` is a dependency of both others, and `dep` has no code."""
    write_module(two / "base", "", name="base", engine_version="v0.18.0")
    write_keys(two / "lib/dep", name="dep", engineVersion="v0.18.0", dependencies=["../../base"])
    write_keys(two / "app", name="app", engineVersion="v0.18.0", sdk="python", dependencies=["../lib/dep", "../base"])
    said = engine.run("develop", "--recursive", "-m", "app", cwd=two).ok().out.splitlines()
    assert [config(two / name)["engineVersion"] for name in ("app", "lib/dep", "base")] == ["v0.21.8"] * 3
    assert (two / "base/.gitattributes").exists() and said.count("changed    base/dagger.json") == 1


def test_develop_without_the_flag_leaves_dependencies(engine, two):
    write_keys(two / "app", name="app", engineVersion="v0.18.0", sdk="python", dependencies=["../lib/dep"])
    before = files(two / "lib")
    engine.run("develop", cwd=two / "app").ok()
    assert files(two / "lib") == before


# self calls


def test_develop_with_both_flags_for_self_calls_is_an_error(engine, folder):
    module = plain(folder, "m", sdk="python")
    before = files(module)
    engine.run("develop", "--with-self-calls", "--without-self-calls", cwd=module).failed("cannot use --with-self-calls and --without-self-calls at the same time")
    assert files(module) == before


def test_develop_with_self_calls_changes_the_sdk_in_the_configuration(engine, folder):
    module = plain(folder, "m", sdk={"source": "python"})
    engine.run("develop", "--with-self-calls", cwd=module).ok()
    assert config(module)["sdk"] == {"source": "python", "experimental": {"SELF_CALLS": True}}
    engine.run("develop", "--without-self-calls", cwd=module).ok()
    assert config(module)["sdk"] == {"source": "python"}


def test_develop_with_self_calls_and_no_sdk_is_an_error(engine, folder):
    module = plain(folder, "m", clients=[{"generator": "./g", "directory": "c"}])
    engine.run("develop", "--with-self-calls", cwd=module).failed("has no SDK")
