"""The commands that change modules: `init`, `install`, `uninstall`, `update`, `develop`, `config`."""

import json
import re
import subprocess

import pytest

from kit import BINARY, IMAGES, REPO, Rondel, mirror_of, short_folder
from kit.git_server import Web, commit, git

pytestmark = pytest.mark.once

STARTER = ["LICENSE", "dagger.json", "pyproject.toml", ".gitattributes", ".gitignore", "src/greet/__init__.py", "src/greet/main.py"]


def files(folder):
    """The files of a tree with their contents."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def config(folder):
    return json.loads((folder / "dagger.json").read_text())


def make(engine, folder, *flags):
    engine.run("init", folder, *flags).ok()
    return folder


# init


def test_init_without_sdk_writes_only_the_configuration(engine, repository):
    said = engine.run("init", "sub/My Module", cwd=repository).ok()
    path = repository / "sub/My Module"
    assert said.out == f"created    sub/My Module/dagger.json\nInitialized module My Module in {path.resolve()}\n"
    assert files(repository) == {"sub/My Module/dagger.json": '{\n  "name": "My Module",\n  "engineVersion": "v0.21.8"\n}\n'}
    assert (path / "dagger.json").stat().st_mode & 0o777 == 0o644


def test_init_with_sdk_writes_a_starter(engine, folder):
    module = make(engine, folder / "greet", "--sdk", "python")
    assert sorted(files(module)) == sorted(STARTER)
    assert (module / "dagger.json").read_text() == '{\n  "name": "greet",\n  "engineVersion": "v0.21.8",\n  "sdk": {\n    "source": "python"\n  }\n}\n'
    assert (module / ".gitignore").read_text() == "/.venv\n/**/__pycache__\n/sdk\n/.env\n"
    assert (module / ".gitattributes").read_text() == "/sdk/** linguist-generated\n"
    assert "Apache License" in (module / "LICENSE").read_text()
    # Only the module is left: nothing of how it was written.
    assert [path.name for path in folder.iterdir()] == ["greet"]


def test_init_where_a_module_is(engine, folder):
    make(engine, folder)
    before = files(folder)
    engine.run("init", folder).ok()
    for flags in (["--sdk", "python"], ["--name", "x"], ["--source", "."], ["--license", "MIT"], ["--include", "x"]):
        engine.run("init", folder, *flags).failed("module already exists")
    assert files(folder) == before
    # There is no search upwards: a module inside of another is possible.
    make(engine, folder / "inner")


def test_init_chooses_the_folder_of_the_code(engine, repository):
    (repository / "hidden").mkdir()
    (repository / "hidden/.envrc").touch()
    assert "source" not in config(make(engine, repository / "hidden", "--sdk", "python"))
    (repository / "app").mkdir()
    (repository / "app/index.html").touch()
    app = make(engine, repository / "app", "--sdk", "python")
    assert config(app)["source"] == ".dagger" and (app / ".dagger/src/app/main.py").exists() and (app / ".dagger/.gitignore").exists()
    # Relative to the working directory, not to the module.
    engine.run("init", "said", "--sdk", "python", "--source", "said/code", cwd=repository).ok()
    assert config(repository / "said")["source"] == "code"
    engine.run("init", "out", "--sdk", "python", "--source", ".", cwd=repository).failed('source subpath ".." escapes source root')
    assert not (repository / "out").exists()


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


def test_init_writes_a_licence(engine, repository):
    assert "MIT License" in (make(engine, repository / "mit", "--license", "MIT") / "LICENSE").read_text()
    assert not (make(engine, repository / "none", "--sdk", "python", "--license", "") / "LICENSE").exists()
    (repository / "COPYING.md").touch()
    assert not (make(engine, repository / "found", "--sdk", "python") / "LICENSE").exists()
    engine.run("init", repository / "bad", "--license", "mine").failed("the text of the licence `mine` is not known", "Apache-2.0")
    assert not (repository / "bad").exists()


def test_init_with_an_sdk_that_does_not_exist(engine, folder):
    engine.run("init", folder, "--sdk", "pyton").failed('invalid SDK: "pyton"', "did you mean `python`?")
    engine.run("init", folder, "--sdk", "php").failed("the SDK `php` is not supported yet", "available: go, python")
    engine.run("init", folder, "--sdk", "python@v1").failed("the python sdk does not currently support selecting a specific version")
    engine.run("init", folder, "--name=---").failed("not a valid name")
    assert files(folder) == {}


def test_a_configuration_that_does_not_parse_stays(engine, folder):
    (folder / "dagger.json").write_text('{\n  "name": "x",\n}\n')
    before = files(folder)
    for words in (["init", folder], ["develop", "-m", folder], ["install", "-m", folder, "./x"], ["update", "-m", folder], ["config", "-m", folder]):
        engine.run(*words).failed(f"{folder.resolve()}/dagger.json", "at line 3 column 1")
    engine.run("init", folder).failed("failed to check if module exists")
    assert files(folder) == before


# install, uninstall


@pytest.fixture
def two(engine, repository):
    """A repository with a module and another one."""
    make(engine, repository / "app")
    make(engine, repository / "lib/dep")
    return repository


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


def test_uninstall_by_name_path_and_not_at_all(engine, two):
    plain = files(two)
    for named in ("dep", "../lib/dep"):
        engine.run("install", "../lib/dep", cwd=two / "app").ok()
        engine.run("uninstall", named, cwd=two / "app").ok()
        assert files(two) == plain
    engine.run("uninstall", "dep", cwd=two / "app").failed('dependency "dep" was requested to be uninstalled')


def test_unknown_keys_order_and_indentation_stay(engine, two):
    text = '{\n\t"author": "me",\n\t"name": "app",\n\t"include": ["x", "y"],\n\t"engineVersion": "v0.21.8"\n}'
    (two / "app/dagger.json").write_text(text)
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    added = '\t"dependencies": [\n\t\t{\n\t\t\t"name": "dep",\n\t\t\t"source": "../lib/dep"\n\t\t}\n\t]\n}'
    assert (two / "app/dagger.json").read_text() == text[:-2] + ",\n" + added
    engine.run("uninstall", "dep", cwd=two / "app").ok()
    assert (two / "app/dagger.json").read_text() == text


def test_a_dagger_module_toml_is_changed_too(engine, two):
    (two / "toml").mkdir()
    path = two / "toml/dagger-module.toml"
    path.write_text('# ours\nname = "toml"   # kept\nengineVersion = "v0.21.8"\nextra = 1\n')
    engine.run("install", "-m", "toml", "lib/dep", cwd=two).ok()
    assert path.read_text() == '# ours\nname = "toml"   # kept\nengineVersion = "v0.21.8"\nextra = 1\n\n[[dependencies]]\nname = "dep"\nsource = "../lib/dep"\n'
    engine.run("uninstall", "-m", "toml", "dep", cwd=two).ok()
    assert "dependencies" not in path.read_text() and "# kept" in path.read_text()
    assert not (two / "toml/dagger.json").exists()


def test_every_change_moves_the_module_to_this_version(engine, two):
    def moved(*words):
        (two / "app/dagger.json").write_text('{"name": "app", "engineVersion": "v0.18.0"}')
        engine.run(*words, cwd=two / "app").ok()
        return config(two / "app")

    assert moved("install", "../lib/dep")["engineVersion"] == "v0.21.8"
    assert moved("install", "--compat=v0.18.5", "../lib/dep")["engineVersion"] == "v0.18.5"
    assert moved("install", "--compat=skip", "../lib/dep")["engineVersion"] == "v0.18.0"
    assert moved("update")["disableDefaultFunctionCaching"] is True


# git


@pytest.fixture(scope="module")
def remote(place):
    """A bare repository with a module in three versions, and its work tree."""
    work = place / "work"
    work.mkdir()
    git(work, "init", "-q")
    commits = []
    for day, version in enumerate(("v1.0.0", "v1.1.0", "v2.0.0"), 1):
        commits.append(commit(work, {"m/dagger.json": '{"name": "remote", "engineVersion": "v0.21.8"}', "m/x": version}, day))
        git(work, "tag", version)
    git(place, "clone", "-q", "--bare", str(work), str(place / "r.git"))
    return work, commits


def test_git_dependencies(connected, two, remote, place):
    app = two / "app"

    def entry():
        return config(app)["dependencies"][0]

    with Web(place) as web:
        base = f"{web.open('r.git')}/m"
        connected.run("install", base, cwd=app).ok()
        assert entry() == {"name": "remote", "source": f"{base}@main", "pin": remote[1][2]}
        # Another version replaces it.
        connected.run("install", f"{base}@v1.0.0", cwd=app).ok()
        assert config(app)["dependencies"] == [{"name": "remote", "source": f"{base}@v1.0.0", "pin": remote[1][0]}]
        once = files(two)
        connected.run("update", cwd=app).ok()
        assert files(two) == once
        connected.run("update", "remote@v1.1.0", cwd=app).ok()
        assert entry() == {"name": "remote", "source": f"{base}@v1.1.0", "pin": remote[1][1]}
        connected.run("update", f"{base}@v2.0.0", cwd=app).ok()
        assert entry()["pin"] == remote[1][2]
        connected.run("uninstall", "remote@v1", cwd=app).failed(
            'version "v1" was requested to be uninstalled but the dependency "remote" was installed with "v2.0.0". Try re-running without specifying the version number'
        )
        connected.run("install", f"{base}@main", cwd=app).ok()
        # A branch moves.
        moved = commit(remote[0], {"m/x": "new"}, 9)
        git(remote[0], "push", "-q", str(place / "r.git"), "HEAD:main")
        connected.run("update", "remote", cwd=app).ok()
        assert entry() == {"name": "remote", "source": f"{base}@main", "pin": moved}
        connected.run("install", "../lib/dep", cwd=app).ok()
        connected.run("update", "dep", cwd=app).failed("updating local dependencies is not supported")
        connected.run("update", "nobody", cwd=app).failed('dependency "nobody" was requested to be updated, but it is not found in the dependencies list')
        connected.run("update", "-m", f"{base}@main").failed("must be of kind LOCAL_SOURCE", "if you intended local, pass `--mod .`")
        assert "Version" in connected.run("config", "-m", f"{base}@v1.0.0").ok().out
    before = files(two)
    connected.run("update", cwd=app).failed("update the dependency `remote`")
    assert files(two) == before


# develop


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


def test_develop_recursively_and_without_gitignore(engine, two):
    for name in ("app", "lib/dep"):
        written = {"name": name[-3:], "engineVersion": "v0.18.0", "sdk": {"source": "python"}, "codegen": {"automaticGitignore": False}}
        (two / name / "dagger.json").write_text(json.dumps(written))
    engine.run("install", "--compat=skip", "../lib/dep", cwd=two / "app").ok()
    engine.run("develop", "-r", "-m", two / "app").ok()
    assert [config(two / name)["engineVersion"] for name in ("app", "lib/dep")] == ["v0.21.8"] * 2
    assert (two / "lib/dep/src/dep/main.py").exists() and (two / "lib/dep/.gitattributes").exists()
    assert not (two / "lib/dep/.gitignore").exists()


def test_config_shows_a_module(engine, two):
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    said = engine.run("config", cwd=two / "app").ok().out
    shown = dict(re.split(r":\s+", line, maxsplit=1) for line in said.splitlines())
    assert (shown["Name"], shown["Context Directory"], shown["Source Root Directory"]) == ("app", str(two.resolve()), "app")
    assert engine.run("config", "--json", cwd=two / "app").json()["engineVersion"] == "v0.21.8"


# the tree


def test_a_tree_that_cannot_be_written_stays(engine, two):
    before = files(two)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1/app" && exec "$2" install ../lib/dep'
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(two)]
    engine.run("engine", "status").ok()
    done = subprocess.run([*words, str(BINARY)], text=True, capture_output=True, env=engine.environment(), timeout=60)
    if "unshare:" in done.stderr:
        pytest.fail(f"no mount namespace here: {done.stderr}")
    assert done.returncode != 0 and "cannot write" in done.stderr and "Read-only file system" in done.stderr, done.stderr
    assert files(two) == before


def test_commands_at_once_lose_no_change(engine, repository):
    app = make(engine, repository / "app")
    names = [make(engine, repository / f"lib{number}").name for number in range(4)]
    running = [engine.start("install", f"../{name}", cwd=app) for name in names]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert [entry["name"] for entry in config(app)["dependencies"]] == names


def test_a_tree_cannot_bring_a_change_of_its_own(engine, repository):
    app, library, victim = make(engine, repository / "app"), make(engine, repository / "lib"), repository / "victim"
    victim.write_text("mine")
    stage = app / ".rondel-update"
    (stage / "new").mkdir(parents=True)
    (stage / "new/victim").write_text("theirs")
    (stage / "plan.json").write_text(json.dumps({"token": "", "root": str(repository), "moved": ["victim"], "removed": []}))
    (stage / "decided").write_text("")
    engine.run("install", library, cwd=app).failed("interrupted change of a module")
    (stage / "decided").unlink()
    engine.run("install", library, cwd=app).ok()
    assert victim.read_text() == "mine" and not stage.exists()


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
        assert not list(module.parent.glob(".rondel-update")), "what was prepared is left"
    assert False in seen


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
