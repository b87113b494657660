"""`rondel update`, and dependencies in git: installed, updated, uninstalled."""

import json

import pytest

from kit import leaf, quote
from kit.git_server import Web, commit, git
from kit.module_commands import config, files, listed, write_keys

pytestmark = pytest.mark.once


class Remote:
    """A repository with modules in three versions, its commits, and a server for it."""

    def __init__(self, place):
        self.work, self.bare, self.commits = place / "work", place / "r.git", []
        self.work.mkdir()
        git(self.work, "init", "-q")
        texts = {f"{name}/dagger.json": json.dumps({"name": name, "engineVersion": "v0.21.8"}) for name in ("remote", "second")}
        for day, version in enumerate(("v1.0.0", "v1.1.0", "v2.0.0"), 1):
            self.commits.append(commit(self.work, {**texts, "remote/x": version}, day))
            git(self.work, "tag", version)
        git(self.work, "tag", "v1", "v1.0.0")
        git(place, "clone", "-q", "--bare", str(self.work), str(self.bare))

    def move_on(self, text: str) -> str:
        """Adds a commit to the branch `main`, and gives it the tag `v1`."""
        moved = commit(self.work, {"remote/x": text}, 9)
        git(self.work, "tag", "-f", "v1")
        git(self.work, "push", "-q", "-f", str(self.bare), "HEAD:main", "v1")
        return moved


@pytest.fixture(scope="module")
def remote(place):
    remote = Remote(place)
    with Web(place) as web:
        remote.address = web.open("r.git")
        remote.base = f"{remote.address}/remote"
        yield remote


@pytest.fixture
def app(two):
    return two / "app"


def entries(app):
    return config(app).get("dependencies", [])


def write_entry(app, source, pin, name="remote"):
    write_keys(app, name="app", engineVersion="v0.21.8", dependencies=[{"name": name, "source": source, "pin": pin}])


# install


def test_install_from_git_writes_the_reference_as_given_and_the_commit(connected, app, remote):
    said = connected.run("install", f"{remote.base}@v1.0.0", cwd=app).ok()
    assert said.out == 'changed    dagger.json\nInstalled module dependency "remote"\n'
    assert entries(app) == [{"name": "remote", "source": f"{remote.base}@v1.0.0", "pin": remote.commits[0]}]


def test_install_from_git_without_a_version_adds_the_default_branch(connected, app, remote):
    connected.run("install", remote.base, cwd=app).ok()
    (entry,) = entries(app)
    assert entry["source"] == f"{remote.base}@main" and entry["pin"] == git(remote.bare, "rev-parse", "main")


def test_install_from_git_in_another_version_replaces_the_dependency(connected, app, remote):
    connected.run("install", f"{remote.base}@v1.0.0", cwd=app).ok()
    connected.run("install", f"{remote.base}@v2.0.0", "-n", "other", cwd=app).ok()
    assert entries(app) == [{"name": "other", "source": f"{remote.base}@v2.0.0", "pin": remote.commits[2]}]


def test_install_of_another_folder_of_the_repository_is_another_dependency(connected, app, remote):
    connected.run("install", f"{remote.address}/second@v1.0.0", cwd=app).ok()
    connected.run("install", f"{remote.base}@v1.0.0", cwd=app).ok()
    assert [entry["name"] for entry in entries(app)] == ["remote", "second"]
    connected.run("install", f"{remote.address}/second@v2.0.0", "-n", "remote", cwd=app).failed('duplicate dependency name "remote"')


def test_install_of_a_version_that_is_not_there_changes_nothing(connected, app, remote):
    before = files(app)
    connected.run("install", f"{remote.base}@v9", cwd=app).failed("v9")
    connected.run("install", f"{remote.address}/nowhere", cwd=app).failed("nowhere")
    assert files(app) == before


# update


def test_git_dependencies(connected, two, remote):
    app = two / "app"

    def entry():
        return config(app)["dependencies"][0]

    base = remote.base
    connected.run("install", base, cwd=app).ok()
    assert entry()["source"] == f"{base}@main"
    # Another version replaces it.
    connected.run("install", f"{base}@v1.0.0", cwd=app).ok()
    assert config(app)["dependencies"] == [{"name": "remote", "source": f"{base}@v1.0.0", "pin": remote.commits[0]}]
    once = files(two)
    connected.run("update", cwd=app).ok()
    assert files(two) == once
    connected.run("update", "remote@v1.1.0", cwd=app).ok()
    assert entry() == {"name": "remote", "source": f"{base}@v1.1.0", "pin": remote.commits[1]}
    connected.run("update", f"{base}@v2.0.0", cwd=app).ok()
    assert entry()["pin"] == remote.commits[2]
    connected.run("uninstall", "remote@v1", cwd=app).failed(
        'version "v1" was requested to be uninstalled but the dependency "remote" was installed with "v2.0.0". Try re-running without specifying the version number'
    )
    connected.run("install", f"{base}@main", cwd=app).ok()
    # A branch moves.
    moved = remote.move_on("new")
    connected.run("update", "remote", cwd=app).ok()
    assert entry() == {"name": "remote", "source": f"{base}@main", "pin": moved}
    connected.run("install", "../lib/dep", cwd=app).ok()
    connected.run("update", "dep", cwd=app).failed("updating local dependencies is not supported")
    connected.run("update", "nobody", cwd=app).failed('dependency "nobody" was requested to be updated, but it is not found in the dependencies list')
    connected.run("update", "-m", f"{base}@main").failed("must be of kind LOCAL_SOURCE", "if you intended local, pass `--mod .`")
    assert "Version" in connected.run("config", "-m", f"{base}@v1.0.0").ok().out


def test_update_of_a_repository_that_is_gone_changes_nothing(connected, app, remote):
    write_entry(app, f"{remote.address.replace('r.git', 'gone.git')}/remote@main", remote.commits[0])
    before = files(app)
    connected.run("update", cwd=app).failed("update the dependency `remote`")
    assert files(app) == before


def test_update_of_all_moves_branches_and_tags_like_v1(connected, app, remote):
    names = {"remote": f"{remote.base}@main", "second": f"{remote.address}/second@v1"}
    pins = [{"name": name, "source": source, "pin": remote.commits[0]} for name, source in names.items()]
    write_keys(app, name="app", engineVersion="v0.21.8", dependencies=[*pins, {"name": "zed", "source": "../lib/dep"}])
    moved = remote.move_on("all")
    assert listed(connected.run("update", cwd=app)) == {"dagger.json": "changed"}
    updated = [{"name": name, "source": source, "pin": moved} for name, source in names.items()]
    assert entries(app) == [*updated, {"name": "zed", "source": "../lib/dep"}]


def test_update_leaves_exact_tags_and_local_dependencies(connected, app, remote):
    connected.run("install", f"{remote.base}@v1.0.0", cwd=app).ok()
    connected.run("install", "../lib/dep", cwd=app).ok()
    before = files(app)
    assert listed(connected.run("update", cwd=app)) == {"dagger.json": "unchanged"}
    assert files(app) == before


@pytest.mark.parametrize("named", ["name", "reference", "reference with its version"])
def test_update_of_a_named_dependency_keeps_the_version_and_renews_the_pin(connected, app, remote, named):
    write_entry(app, f"{remote.base}@v1.1.0", remote.commits[0])
    word = {"name": "remote", "reference": remote.base, "reference with its version": f"{remote.base}@v1.1.0"}[named]
    connected.run("update", word, cwd=app).ok()
    assert entries(app) == [{"name": "remote", "source": f"{remote.base}@v1.1.0", "pin": remote.commits[1]}]


@pytest.mark.parametrize("named", ["name", "reference"])
def test_update_with_a_version_changes_the_version(connected, app, remote, named):
    write_entry(app, f"{remote.base}@v1.0.0", remote.commits[0])
    connected.run("update", f"{'remote' if named == 'name' else remote.base}@v2.0.0", cwd=app).ok()
    assert entries(app) == [{"name": "remote", "source": f"{remote.base}@v2.0.0", "pin": remote.commits[2]}]


def test_update_leaves_what_is_not_named(connected, app, remote):
    pins = [{"name": name, "source": f"{remote.address}/{name}@v2.0.0", "pin": remote.commits[0]} for name in ("remote", "second")]
    write_keys(app, name="app", engineVersion="v0.21.8", dependencies=pins)
    connected.run("update", "second", cwd=app).ok()
    assert entries(app) == [pins[0], {**pins[1], "pin": remote.commits[2]}]


def test_update_keeps_the_name_that_the_module_gives(connected, app, remote):
    write_entry(app, f"{remote.base}@v1.0.0", remote.commits[0], name="mine")
    connected.run("update", "mine@v1.1.0", cwd=app).ok()
    assert entries(app) == [{"name": "mine", "source": f"{remote.base}@v1.1.0", "pin": remote.commits[1]}]


def test_update_of_a_local_or_unknown_dependency_is_an_error(engine, app):
    engine.run("install", "../lib/dep", cwd=app).ok()
    before = files(app)
    for named in ("dep", "../lib/dep"):
        engine.run("update", named, cwd=app).failed("updating local dependencies is not supported")
    engine.run("update", "x", cwd=app).failed('dependency "x" was requested to be updated, but it is not found in the dependencies list', "there are `dep`")
    assert files(app) == before


# uninstall


@pytest.mark.parametrize("installed", ["v1.0.0", "main"])
def test_uninstall_by_a_git_reference_without_a_version(connected, app, remote, installed):
    connected.run("install", f"{remote.base}@{installed}", cwd=app).ok()
    connected.run("uninstall", remote.base, cwd=app).ok()
    assert entries(app) == []


@pytest.mark.parametrize("named", ["name", "reference"])
@pytest.mark.parametrize("version", ["v1.0.0", "v1", "v1.0"])
def test_uninstall_with_the_version_that_is_installed(connected, app, remote, named, version):
    write_entry(app, f"{remote.base}@v1.0.0", remote.commits[0])
    connected.run("uninstall", f"{'remote' if named == 'name' else remote.base}@{version}", cwd=app).ok()
    assert entries(app) == []


def test_uninstall_with_another_version_is_an_error(connected, app, remote):
    write_entry(app, f"{remote.base}@v1.0.0", remote.commits[0])
    before = files(app)
    message = 'version "v2" was requested to be uninstalled but the dependency "%s" was installed with "v1.0.0". Try re-running without specifying the version number'
    connected.run("uninstall", "remote@v2", cwd=app).failed(message % "remote")
    connected.run("uninstall", f"{remote.base}@v2", cwd=app).failed(message % "remote")
    assert files(app) == before


def test_uninstall_with_a_version_of_what_was_installed_without_one_is_an_error(connected, app, remote):
    write_entry(app, remote.base, remote.commits[0])
    connected.run("uninstall", "remote@v2", cwd=app).failed("was installed without a specific version. Try re-running without specifying the version number")
    connected.run("uninstall", "remote", cwd=app).ok()
    assert entries(app) == []


def test_a_dependency_in_a_repository_that_is_gone_can_be_uninstalled(connected, app, remote):
    gone = f"{remote.address.replace('r.git', 'gone.git')}/remote"
    write_entry(app, f"{gone}@main", remote.commits[0])
    assert connected.run("config", "--json", cwd=app).json()["dependencies"] == f"remote ({gone}@main, not found)"
    assert "rondel uninstall remote" in connected.run("install", "../lib/dep", cwd=app).ok().err
    connected.run("uninstall", gone, cwd=app).ok()
    assert [entry["name"] for entry in entries(app)] == ["dep"]


# modules in git


@pytest.mark.parametrize("words", [["install", "./lib/dep"], ["uninstall", "dep"], ["update"], ["develop"]])
def test_a_module_in_git_is_not_changed(connected, two, remote, words):
    connected.run(*words, "-m", f"{remote.base}@main", cwd=two).failed("must be of kind LOCAL_SOURCE", f'hint: module source came from --mod="{remote.base}@main"; if you intended local, pass `--mod .`')
    env = {"RONDEL_MODULE": f"{remote.base}@main"}
    connected.run(*words, cwd=two, env=env).failed("if you intended local, pass `--mod .`")


def test_a_dependency_in_the_same_repository_and_commit_is_a_relative_path(connected, remote):
    source = lambda name, version: f'moduleSource(refString: {quote(f"{remote.address}/{name}@{version}")})'

    def written(version):
        id_ = leaf(connected.data("{ " + source("second", version) + " { id } }"))
        added = f'withDependencies(dependencies: ["{id_}"]) {{ generatedContextDirectory {{ file(path: "remote/dagger.json") {{ contents }} }} }}'
        return json.loads(leaf(connected.data("{ " + source("remote", "v2.0.0") + " { " + added + " } }")))["dependencies"]

    assert written("v2.0.0") == [{"name": "second", "source": "../second"}]
    assert written("v1.0.0") == [{"name": "second", "source": f"{remote.address}/second@v1.0.0", "pin": remote.commits[0]}]


def test_config_shows_a_module_in_git(connected, remote):
    shown = connected.run("config", "--json", "-m", f"{remote.base}@v1.0.0").json()
    assert (shown["name"], shown["version"], shown["commit"]) == ("remote", "v1.0.0", remote.commits[0])
    assert shown["url"].endswith("/remote") and "contextDirectory" not in shown
