"""`rondel install` and `uninstall`: dependencies of a module on disk. `test_update.py` has those in git."""

import shutil

import pytest

from kit import PROBE, write_go_module, write_module
from kit.module_commands import config, files, listed, make, plain, write_keys

pytestmark = pytest.mark.once

GO_APP = "package main\n\ntype App struct{}\n\nfunc (m *App) Hello() string { return \"hello\" }\n"
GO_DEP = "package main\n\ntype Dep struct{}\n\nfunc (m *Dep) OnlyHere() string { return \"dep\" }\n"


def dependencies(folder):
    return config(folder).get("dependencies", [])


# install


def test_install_adds_a_local_dependency(engine, two):
    said = engine.run("install", "-m", "app", "lib/dep", cwd=two).ok()
    assert said.out == 'changed    app/dagger.json\nInstalled module dependency "dep"\n'
    assert config(two / "app")["dependencies"] == [{"name": "dep", "source": "../lib/dep"}]
    once = files(two)
    assert engine.run("install", "../lib/dep", cwd=two / "app").ok().out.startswith("unchanged  dagger.json\n")
    engine.run("install", "-m", two / "app", two / "lib/dep").ok()
    assert files(two) == once
    make(engine, two / "app/a")
    engine.run("install", "-n", "zed", "a", cwd=two / "app").ok()
    assert [it["name"] for it in config(two / "app")["dependencies"]] == ["dep", "zed"]
    assert config(two / "app")["dependencies"][1]["source"] == "a"


def test_install_needs_a_module(engine, two):
    engine.run("install", "dep", cwd=two / "lib").failed("module must be fully initialized", "rondel init")
    engine.run("install", "-m", "lib", "lib/dep", cwd=two).failed("module must be fully initialized")


def test_install_is_also_called_use(engine, two):
    engine.run("use", "../lib/dep", cwd=two / "app").ok()
    assert dependencies(two / "app") == [{"name": "dep", "source": "../lib/dep"}]


def test_install_finds_the_module_above_the_working_directory(engine, two):
    (two / "app/src").mkdir()
    engine.run("install", "../../lib/dep", cwd=two / "app/src").ok()
    assert dependencies(two / "app") == [{"name": "dep", "source": "../lib/dep"}]


def test_install_takes_a_path_relative_to_the_working_directory(engine, two):
    plain(two / "app/lib/dep", "other")
    engine.run("install", "-m", "app", "lib/dep", cwd=two).ok()
    assert dependencies(two / "app") == [{"name": "dep", "source": "../lib/dep"}]


def test_install_looks_for_no_module_above_the_path(engine, two):
    (two / "lib/dep/src").mkdir()
    engine.run("install", "-m", "app", "lib/dep/src", cwd=two).failed("is not a module")
    assert dependencies(two / "app") == []


def test_install_calls_the_dependency_by_the_given_name(engine, two):
    said = engine.run("install", "-m", "app", "--name", "other", "lib/dep", cwd=two).ok()
    assert said.out.endswith('Installed module dependency "other"\n')
    assert dependencies(two / "app") == [{"name": "other", "source": "../lib/dep"}]
    assert config(two / "lib/dep")["name"] == "dep"


def test_install_sorts_dependencies_by_name(engine, two):
    for name in ("zeta", "alpha", "mid"):
        plain(two / "lib" / name)
        engine.run("install", f"../lib/{name}", cwd=two / "app").ok()
    assert [entry["name"] for entry in dependencies(two / "app")] == ["alpha", "mid", "zeta"]


@pytest.mark.parametrize("path", ["../lib/dep", "../lib/../lib/./dep/", "../link"])
def test_install_of_the_same_place_again_replaces_it(engine, two, path):
    (two / "link").symlink_to("lib/dep")
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    engine.run("install", "--name", "again", path, cwd=two / "app").ok()
    assert dependencies(two / "app") == [{"name": "again", "source": "../lib/dep"}]


def test_install_refuses_two_modules_of_one_name(engine, two):
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    plain(two / "other", "dep")
    engine.run("install", "../other", cwd=two / "app").failed('duplicate dependency name "dep"', "../lib/dep", "../other", "--name")
    assert dependencies(two / "app") == [{"name": "dep", "source": "../lib/dep"}]


@pytest.mark.parametrize(("module", "given", "written"), [("app", "./lib/dep", "../lib/dep"), ("app", "app/in", "in"), (".", "./lib/dep", "lib/dep"), ("lib/dep", ".", "../..")])
def test_install_writes_a_path_relative_to_the_configuration(engine, two, module, given, written):
    plain(two, "root")
    plain(two / "app/in")
    engine.run("install", "-m", two / module, given, cwd=two).ok()
    assert [entry["source"] for entry in dependencies(two / module)] == [written]


def test_install_refuses_a_module_of_another_context_directory(engine, two, place):
    outside = plain(place / "elsewhere")
    message = f'local module dependency context directory "{outside.resolve()}" is not in parent context directory "{two.resolve()}"'
    engine.run("install", outside, cwd=two / "app").failed(message)
    assert dependencies(two / "app") == []


def test_install_refuses(engine, two, place):
    before = files(two)
    engine.run("install", "-m", "app", "lib", cwd=two).failed("is not a module")
    engine.run("install", "-m", "app", "nothing", cwd=two).failed('module source "nothing" does not exist')
    outside = make(engine, place / "outside")
    engine.run("install", "-m", "app", outside, cwd=two).failed("local module dependency context directory", "is not in parent context directory")
    engine.run("install", "-m", "app", "app", cwd=two).failed('module "app" has a circular dependency on itself')
    engine.run("install", "dep", cwd=two / "lib").failed("module must be fully initialized")
    assert files(two) == before
    engine.run("install", "-m", "app", "lib/dep", cwd=two).ok()
    engine.run("install", "-m", "lib/dep", "app", cwd=two).failed('module "dep" has a circular dependency on itself through dependency "app"')
    make(engine, two / "other", "--name", "dep")
    engine.run("install", "-m", "app", "other", cwd=two).failed('duplicate dependency name "dep"', "--name")
    engine.run("install", "../x", cwd=two).failed("module must be fully initialized")


# generated code


@pytest.fixture
def go_app(engine, repository):
    """A Go module with generated files, and another one beside it."""
    write_go_module(repository / "app", {"main.go": GO_APP}, name="app")
    write_go_module(repository / "dep", {"main.go": GO_DEP}, name="dep")
    engine.run("develop", cwd=repository / "app").ok()
    return repository / "app"


def bindings(module):
    return "".join(text for path, text in files(module).items() if path.startswith("internal/dagger/"))


def test_install_generates_bindings_of_the_dependency(engine, go_app):
    before = bindings(go_app)
    said = listed(engine.run("install", "../dep", cwd=go_app))
    assert "OnlyHere(" not in before and "OnlyHere(" in bindings(go_app)
    assert (said["dagger.json"], said["internal/dagger/dep.gen.go"]) == ("changed", "created")


def test_uninstall_generates_the_code_again(engine, go_app):
    engine.run("install", "../dep", cwd=go_app).ok()
    (go_app / "dagger.gen.go").unlink()
    said = listed(engine.run("uninstall", "dep", cwd=go_app))
    assert (said["dagger.json"], said["dagger.gen.go"]) == ("changed", "created") and dependencies(go_app) == []


def test_bindings_of_what_is_not_installed_any_more_are_removed(engine, go_app):
    """Go compiles all files of a directory. Those of the user stay."""
    before = bindings(go_app)
    engine.run("install", "../dep", cwd=go_app).ok()
    (go_app / "internal/dagger/mine.gen.go").write_text("package dagger\n")
    said = listed(engine.run("install", "../dep", "--name", "other", cwd=go_app))
    assert (said["internal/dagger/dep.gen.go"], said["internal/dagger/other.gen.go"]) == ("removed", "created")
    said = listed(engine.run("uninstall", "other", cwd=go_app))
    assert said["internal/dagger/other.gen.go"] == "removed"
    (go_app / "internal/dagger/mine.gen.go").unlink()
    assert bindings(go_app) == before


def test_install_of_code_that_does_not_compile_changes_nothing(engine, go_app):
    before = files(go_app)
    write_go_module(go_app.parent / "broken", {"main.go": "package main\n\nfunc {\n"}, name="broken")
    engine.run("install", "../broken", cwd=go_app).failed("generate code for the dependency `broken`", "syntax error near `func {`")
    assert files(go_app) == before


def test_no_command_runs_the_code_of_a_module(engine, repository):
    """The code of neither module could run: there is no image for it."""
    before = engine.execs()
    write_module(repository / "app", "raise RuntimeError('it ran')\n", name="app")
    write_module(repository / "dep", "raise RuntimeError('it ran')\n", name="dep")
    for words in (["install", "../dep"], ["update"], ["develop"], ["config"], ["uninstall", "dep"]):
        engine.run(*words, cwd=repository / "app").ok()
    assert engine.execs() == before


# uninstall


def test_uninstall_by_name_path_and_not_at_all(engine, two):
    plain_files = files(two)
    for named in ("dep", "../lib/dep"):
        engine.run("install", "../lib/dep", cwd=two / "app").ok()
        engine.run("uninstall", named, cwd=two / "app").ok()
        assert files(two) == plain_files
    engine.run("uninstall", "dep", cwd=two / "app").failed('dependency "dep" was requested to be uninstalled')


def test_uninstall_takes_a_path_relative_to_the_configuration(engine, two):
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    engine.run("uninstall", "-m", "app", "../lib/dep", cwd=two).ok()
    assert "dependencies" not in config(two / "app")


def test_uninstall_takes_the_name_that_the_module_gives(engine, two):
    engine.run("install", "-n", "other", "../lib/dep", cwd=two / "app").ok()
    engine.run("uninstall", "dep", cwd=two / "app").failed('dependency "dep" was requested to be uninstalled', "there are `other`")
    said = engine.run("uninstall", "other", cwd=two / "app").ok()
    assert said.out == 'changed    dagger.json\nUninstalled module dependency "other"\n'


def test_uninstall_of_what_is_not_installed_names_what_is(engine, two):
    engine.run("uninstall", "x", cwd=two / "app").failed('dependency "x" was requested to be uninstalled', "has no dependencies")
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    before = files(two)
    engine.run("uninstall", "x", cwd=two / "app").failed("not found in the dependencies list", "there are `dep`")
    assert files(two) == before


# dependencies that are not as they were


@pytest.fixture
def moved(engine, two):
    """A module whose dependency has moved."""
    write_module(two / "app", PROBE.replace("Probe", "App"), name="app")
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    shutil.move(two / "lib", two / "moved")
    return two / "app"


def test_commands_work_on_a_module_whose_dependency_has_moved(engine, moved):
    assert engine.run("config", "--json", cwd=moved).json()["dependencies"] == "dep (../lib/dep, not found)"
    for words in ("update", "develop"):
        assert "rondel uninstall dep" in engine.run(words, cwd=moved).ok().err
    assert "go" in engine.run("functions", cwd=moved).ok().out


def test_a_dependency_that_has_moved_is_installed_from_its_new_place(engine, moved):
    engine.run("uninstall", "dep", cwd=moved).ok()
    engine.run("install", "../moved/dep", cwd=moved).ok()
    assert dependencies(moved) == [{"name": "dep", "source": "../moved/dep"}]


def test_a_dependency_that_has_moved_may_be_installed_again_at_once(engine, moved):
    engine.run("install", "../moved/dep", cwd=moved).ok()
    assert dependencies(moved) == [{"name": "dep", "source": "../moved/dep"}]


def test_a_dependency_that_does_not_exist_any_more_can_be_uninstalled(engine, moved):
    shutil.rmtree(moved.parent / "moved")
    engine.run("uninstall", "../lib/dep", cwd=moved).ok()
    assert dependencies(moved) == []


def test_code_is_not_generated_for_a_dependency_that_is_missing(engine, go_app):
    engine.run("install", "../dep", cwd=go_app).ok()
    shutil.rmtree(go_app.parent / "dep")
    (go_app / "internal/dagger/dep.gen.go").unlink()
    told = engine.run("develop", cwd=go_app).ok().err
    assert "the dependency `dep` is not a module that can be read: `../dep`" in told and "rondel uninstall dep" in told
    assert "OnlyHere(" not in bindings(go_app)
    assert engine.run("uninstall", "dep", cwd=go_app).ok().err == ""


def test_two_entries_of_one_name_are_named_and_can_be_removed(engine, two):
    plain(two / "other", "dep")
    entries = [{"name": "dep", "source": "../lib/dep"}, {"name": "dep", "source": "../other"}]
    app = write_keys(two / "app", name="app", engineVersion="v0.21.8", dependencies=entries)
    engine.run("functions", cwd=app).failed("dep")
    assert "dep (" in engine.run("config", cwd=app).ok().out
    engine.run("uninstall", "../other", cwd=app).ok()
    assert dependencies(app) == entries[:1]
