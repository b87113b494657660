"""`rondel init`: a new module, with and without code."""

import pytest

from kit import PROBE, write_module
from kit.module_commands import config, files, listed, make, plain

pytestmark = pytest.mark.once

STARTER = ["LICENSE", "dagger.json", "pyproject.toml", ".gitattributes", ".gitignore", "src/greet/__init__.py", "src/greet/main.py"]
GO_STARTER = ["LICENSE", "dagger.json", "go.mod", "main.go", "dagger.gen.go", ".gitattributes", ".gitignore"]
GO_CODE = "package main\n\ntype Mine struct{}\n\n// Hello greets.\nfunc (m *Mine) Hello() string { return \"hello\" }\n"


# the path, and a module that is there


def test_init_without_a_path_uses_the_working_directory(engine, folder):
    work = folder / "here"
    work.mkdir()
    assert engine.run("init", cwd=work).ok().out == f"created    dagger.json\nInitialized module here in {work.resolve()}\n"
    assert config(work)["name"] == "here"


def test_init_makes_the_folder_and_those_above_it(engine, folder):
    make(engine, folder / "a/b/c")
    assert files(folder).keys() == {"a/b/c/dagger.json"}


def test_init_looks_for_no_module_above(engine, repository):
    before = files(plain(repository / "outer"))
    make(engine, repository / "outer/inner")
    assert files(repository / "outer") == {**before, "inner/dagger.json": files(repository / "outer/inner")["dagger.json"]}


def test_init_where_a_module_is(engine, folder):
    make(engine, folder)
    before = files(folder)
    engine.run("init", folder).ok()
    for flags in (["--sdk", "python"], ["--name", "x"], ["--source", "."], ["--license", "MIT"], ["--include", "x"]):
        engine.run("init", folder, *flags).failed("module already exists")
    engine.run("init", folder, "--sdk", "python", "--with-self-calls").failed("module already exists")
    assert files(folder) == before
    # There is no search upwards: a module inside of another is possible.
    make(engine, folder / "inner")


def test_init_where_a_file_is(engine, folder):
    (folder / "file").write_text("mine")
    engine.run("init", folder / "file").failed("cannot write", "something else is there")
    engine.run("init", folder / "file/below").failed("cannot write")
    assert files(folder) == {"file": "mine"}


# the name


def test_init_takes_the_name_of_the_folder(engine, folder):
    assert config(make(engine, folder / "a/My Module"))["name"] == "My Module"


def test_init_takes_the_given_name_as_it_is(engine, folder):
    made = engine.run("init", folder / "a", "--name", "Some Name-2").ok()
    assert config(folder / "a")["name"] == "Some Name-2" and "Initialized module Some Name-2 in" in made.out


def test_init_names_the_code_after_the_module(engine, folder):
    module = make(engine, folder / "a", "--sdk", "python", "--name", "My Name")
    assert "class MyName" in (module / "src/my_name/main.py").read_text()


# the folder of the code


def test_init_without_sdk_writes_only_the_configuration(engine, repository):
    said = engine.run("init", "sub/My Module", cwd=repository).ok()
    path = repository / "sub/My Module"
    assert said.out == f"created    sub/My Module/dagger.json\nInitialized module My Module in {path.resolve()}\n"
    assert files(repository) == {"sub/My Module/dagger.json": '{\n  "name": "My Module",\n  "engineVersion": "v0.21.8"\n}\n'}
    assert (path / "dagger.json").stat().st_mode & 0o777 == 0o644


def test_a_module_without_code_can_have_dependencies(engine, repository):
    write_module(repository / "dep", PROBE)
    module = make(engine, repository / "m")
    engine.run("install", "../dep", cwd=module).ok()
    assert config(module)["dependencies"] == [{"name": "probe", "source": "../dep"}]


def test_init_puts_the_code_beside_the_configuration_in_an_empty_folder(engine, folder):
    assert "source" not in config(make(engine, folder / "new", "--sdk", "python"))
    assert (folder / "new/src/new/main.py").exists()


def test_init_puts_the_code_beside_the_configuration_among_hidden_files(engine, folder):
    (folder / "m").mkdir()
    (folder / "m/.envrc").touch()
    assert "source" not in config(make(engine, folder / "m", "--sdk", "python"))


@pytest.mark.parametrize("there", ["index.html", "src", ".dagger"])
def test_init_puts_the_code_into_a_folder_of_its_own_beside_anything_else(engine, folder, there):
    (folder / "m" / there).mkdir(parents=True)
    module = make(engine, folder / "m", "--sdk", "python")
    assert config(module)["source"] == ".dagger" and (module / ".dagger/src/m/main.py").exists()
    assert (module / ".dagger/.gitignore").exists() and not (module / ".gitignore").exists()


def test_init_takes_the_folder_of_the_code_relative_to_the_working_directory(engine, repository):
    engine.run("init", "m", "--sdk", "python", "--source", "m/code", cwd=repository).ok()
    assert config(repository / "m")["source"] == "code" and (repository / "m/code/pyproject.toml").exists()


def test_init_refuses_a_folder_of_the_code_outside_of_the_module(engine, repository):
    engine.run("init", "m", "--sdk", "python", "--source", "other", cwd=repository).failed('source subpath "../other" escapes source root')
    engine.run("init", "m", "--sdk", "python", "--source", ".", cwd=repository).failed('source subpath ".." escapes source root')
    assert not (repository / "m").exists()


# the files


def test_init_with_sdk_writes_a_starter(engine, folder):
    module = make(engine, folder / "greet", "--sdk", "python")
    assert sorted(files(module)) == sorted(STARTER)
    assert (module / "dagger.json").read_text() == '{\n  "name": "greet",\n  "engineVersion": "v0.21.8",\n  "sdk": {\n    "source": "python"\n  }\n}\n'
    assert (module / ".gitignore").read_text() == "/.venv\n/**/__pycache__\n/sdk\n/.env\n"
    assert (module / ".gitattributes").read_text() == "/sdk/** linguist-generated\n"
    assert "Apache License" in (module / "LICENSE").read_text()
    # Only the module is left: nothing of how it was written.
    assert [path.name for path in folder.iterdir()] == ["greet"]


def test_init_with_go_writes_a_starter_and_the_generated_files(engine, folder):
    said = listed(engine.run("init", "greet", "--sdk", "go", cwd=folder))
    module = folder / "greet"
    assert sorted(path for path in files(module) if "/" not in path) == sorted(GO_STARTER)
    assert any(path.startswith("internal/dagger/") for path in files(module))
    assert said == {f"greet/{path}": "created" for path in files(module)}
    assert "type Greet struct" in (module / "main.go").read_text()


@pytest.mark.parametrize(("sdk", "path", "code"), [("go", "mine.go", GO_CODE), ("python", "src/m/__init__.py", PROBE.replace("Probe", "M"))])
def test_init_writes_no_starter_where_there_is_code(engine, folder, sdk, path, code):
    place = folder / "m" / path
    place.parent.mkdir(parents=True)
    place.write_text(code)
    module = make(engine, folder / "m", "--sdk", sdk, "--source", folder / "m", "--name", "mine" if sdk == "go" else "m")
    assert place.read_text() == code and not {"main.go", "src/m/main.py"} & files(module).keys()


@pytest.mark.parametrize(("sdk", "path"), [("go", "main.go"), ("go", "go.mod"), ("python", "src/m/main.py"), ("python", "pyproject.toml"), ("python", ".gitattributes")])
def test_a_starter_replaces_no_file_that_git_ignores(engine, repository, sdk, path):
    """Ignored files belong to no module, so that the module seems to have no code."""
    module = plain(repository / "m")
    (module / path).parent.mkdir(parents=True, exist_ok=True)
    (module / path).write_text("mine")
    (repository / ".gitignore").write_text(f"/m/{path}\n")
    before = files(repository)
    engine.run("develop", "--sdk", sdk, "--source", module, cwd=module).failed(f"`{path}`", "git ignores it")
    assert files(repository) == before


def test_a_starter_replaces_no_file_that_is_left_out_of_the_build(engine, folder):
    module = plain(folder / "m")
    (module / "main.go").write_text("//go:build ignore\n\npackage main\n")
    before = files(module)
    engine.run("develop", "--sdk", "go", "--source", module, cwd=module).failed("cannot write `main.go`: the file is there")
    assert files(module) == before


def test_init_keeps_what_is_there(engine, repository):
    folder = repository / "m"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "other-name"\n')
    (folder / ".gitignore").write_text("/.venv")
    module = make(engine, folder, "--sdk", "python", "--name", "m", "--source", folder, "--include", "../x", "--with-self-calls")
    assert (module / "pyproject.toml").read_text() == '[project]\nname = "other-name"\n'
    assert (module / "src/other_name/main.py").exists()
    assert (module / ".gitignore").read_text() == "/.venv\n/**/__pycache__\n/sdk\n/.env\n"
    assert config(module)["include"] == ["../x"] and config(module)["sdk"]["experimental"] == {"SELF_CALLS": True}
    engine.run("init", folder / "none", "--with-self-calls").failed("cannot enable self-calls feature without specifying --sdk")


def test_init_with_an_sdk_that_does_not_exist(engine, folder):
    engine.run("init", folder, "--sdk", "pyton").failed('invalid SDK: "pyton"', "did you mean `python`?")
    engine.run("init", folder, "--sdk", "php").failed("the SDK `php` is not supported yet", "available: go, python")
    engine.run("init", folder, "--sdk", "python@v1").failed("the python sdk does not currently support selecting a specific version")
    engine.run("init", folder, "--name=---").failed("not a valid name")
    assert files(folder) == {}


def test_init_writes_the_version_of_the_engine(engine, folder):
    assert config(make(engine, folder / "m"))["engineVersion"] == "v0.21.8"


def test_init_writes_the_patterns_of_further_files(engine, repository):
    module = make(engine, repository / "m", "--include", "../x", "--include", "!y")
    assert config(module)["include"] == ["../x", "!y"]


def test_init_with_self_calls_needs_an_sdk(engine, folder):
    engine.run("init", folder / "m", "--with-self-calls").failed("cannot enable self-calls feature without specifying --sdk")
    assert config(make(engine, folder / "n", "--sdk", "python", "--with-self-calls"))["sdk"]["experimental"] == {"SELF_CALLS": True}
    assert files(folder).keys() == {f"n/{path}" for path in files(folder / "n")}


def test_init_with_a_blueprint_is_not_supported(engine, folder):
    engine.run("init", folder, "--blueprint", "./b").failed("--blueprint", code=2)
    engine.run("init", folder, "--sdk", "go", "--blueprint", "./b").failed("--blueprint", code=2)
    assert files(folder) == {}


# the licence


def test_init_writes_a_licence(engine, repository):
    assert "MIT License" in (make(engine, repository / "mit", "--license", "MIT") / "LICENSE").read_text()
    assert not (make(engine, repository / "none", "--sdk", "python", "--license", "") / "LICENSE").exists()
    (repository / "COPYING.md").touch()
    assert not (make(engine, repository / "found", "--sdk", "python") / "LICENSE").exists()
    engine.run("init", repository / "bad", "--license", "mine").failed("the text of the licence `mine` is not known", "Apache-2.0")
    assert not (repository / "bad").exists()


@pytest.mark.parametrize("name", ["COPYING", "LICENCE.txt", "LICENSE.md", "UNLICENSE", "MIT-LICENSE.rst", "license.markdown"])
def test_init_writes_no_licence_where_there_is_one(engine, folder, name):
    (folder / "m").mkdir()
    (folder / "m" / name).touch()
    assert "LICENSE" not in files(make(engine, folder / "m", "--sdk", "python"))


def test_init_looks_for_a_licence_up_to_the_root_of_the_repository(engine, folder):
    (folder / "LICENSE").write_text("not of this repository")
    (folder / "r/.git").mkdir(parents=True)
    assert (make(engine, folder / "r/a/m", "--sdk", "python") / "LICENSE").exists()
    (folder / "r/LICENCE").touch()
    assert not (make(engine, folder / "r/b/m", "--sdk", "python") / "LICENSE").exists()


def test_init_always_writes_the_licence_that_is_named(engine, repository):
    (repository / "LICENSE").write_text("of the repository")
    assert "ISC License" in (make(engine, repository / "m", "--license", "ISC") / "LICENSE").read_text()
    (repository / "n").mkdir()
    (repository / "n/LICENSE").write_text("mine")
    said = listed(engine.run("init", "n", "--license", "MIT", cwd=repository))
    assert said["n/LICENSE"] == "changed" and "MIT License" in (repository / "n/LICENSE").read_text()


def test_init_writes_no_licence_without_sdk(engine, folder):
    assert files(make(engine, folder / "m")).keys() == {"dagger.json"}
