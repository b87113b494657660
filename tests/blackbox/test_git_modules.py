"""Modules in git repositories: references, dependencies, and files of their repository."""

import json
import shutil

import pytest

from kit import EXAMPLES, quote, write_module
from kit.git_server import Web, certificate, commit, credential_helper, git

pytestmark = pytest.mark.once

HEAD = """
from typing import Annotated

import dagger
from dagger import DefaultPath, dag, function, object_type

"""
PROBE = HEAD + '''
async def told(ref: dagger.GitRef) -> str:
    return f"{await ref.ref()}@{await ref.commit()}"


@object_type
class Probe:
    @function
    async def told(
        self,
        src: Annotated[dagger.Directory, DefaultPath("/data")],
        near: Annotated[dagger.File, DefaultPath("near.txt")],
        repo: Annotated[dagger.GitRepository, DefaultPath("./.git")],
        ref: Annotated[dagger.GitRef, DefaultPath("/")],
    ) -> str:
        dirty = not await repo.uncommitted().is_empty()
        words = [await src.file("x").contents(), await near.contents(), await told(repo.head()), await told(ref), str(dirty)]
        return " ".join(word.strip() for word in words)
'''
USES = HEAD + "@object_type\nclass Uses:\n    @function\n    async def go(self) -> str:\n        return await dag.probe().told()\n"


class Modules:
    def __init__(self, folder):
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        git(self.work, "init", "-q")
        write_module(self.work / "sub", PROBE)
        (self.work / "sub/near.txt").write_text("near\n")
        self.first = commit(self.work, {"data/x": "one\n"}, 1)
        git(self.work, "tag", "sub/v1.2.3")
        self.second = commit(self.work, {"data/x": "two\n"}, 2)
        git(self.work, "tag", "v1.2.3")
        self.bare = folder / "mods.git"
        git(folder, "clone", "-q", "--bare", str(self.work), str(self.bare))


@pytest.fixture(scope="module")
def module_repository(place):
    return Modules(place / "repos")


@pytest.fixture(scope="module")
def module_server(module_repository):
    with Web(module_repository.bare.parent) as server:
        server.accept("me", "helper")
        yield server


FIELDS = "kind asString pin commit version cloneRef htmlRepoURL htmlURL repoRootPath sourceRootSubpath moduleName"


def module_source(engine, reference: str, pin: str = "", **more) -> dict:
    query = "{ moduleSource(refString: " + quote(reference) + ", refPin: " + quote(pin) + ") { " + FIELDS + " } }"
    return engine.data(query, **more)["moduleSource"]


def test_cfg_007_a_reference_names_repository_path_and_version(connected, module_server, module_repository):
    base = module_server.open("mods.git")
    found = module_source(connected, f"{base}/sub@v1.2.3")
    assert found == {
        "kind": "GIT_SOURCE",
        "asString": f"{base}/sub@v1.2.3",
        "pin": module_repository.first,
        "commit": module_repository.first,
        "version": "v1.2.3",
        "cloneRef": base,
        "htmlRepoURL": f"https://{module_server.host}/open/mods",
        "htmlURL": f"https://{module_server.host}/open/mods/src/{module_repository.first}/sub",
        "repoRootPath": f"{module_server.host}/open/mods",
        "sourceRootSubpath": "sub",
        "moduleName": "probe",
    }
    check = lambda reference, want, pin="": module_source(connected, reference, pin)["commit"] == want or pytest.fail(reference)
    check(f"{base}/sub@main", module_repository.second)
    check(f"{base}/sub", module_repository.second)
    check(f"{base}/sub@{module_repository.first}", module_repository.first)
    check(f"{base}/sub@sub/v1.2.3", module_repository.first)
    check(f"{base}/sub@v1.2.3", module_repository.second, module_repository.second)
    # A path below the module's folder, and a repository without `.git` in its address.
    check(f"{base}/sub/src@v1.2.3", module_repository.second)
    check(f"{module_server.open('mods')[:-4]}mods.git/sub@main", module_repository.second)
    error = lambda reference: connected.query("{ moduleSource(refString: " + quote(reference) + ") { commit } }")
    error(f"{base}/sub@v9.9.9").failed("has no version `v9.9.9`")
    error(f"{base}/nowhere").failed("has no folder `nowhere`")
    error(f"{base}/data").failed("no `dagger.json` in `data`")
    error(module_server.open("none.git")).failed("there is no git repository")


def test_cfg_007_call_018_vanity_import_paths_are_resolved(make_engine, module_repository, place):
    trusted, both = certificate(place)
    engine, trust = make_engine(), {"SSL_CERT_FILE": str(trusted)}
    with Web(module_repository.bare.parent, both) as server:
        page = '<html><head><meta charset="utf-8"><meta name="go-import" content="%s git %s"></head><body>x</body></html>'
        vanity, real = f"{server.host}/team/mod", server.open("mods.git")
        server.pages |= {f"/team/mod{rest}?go-get=1": page % (vanity, real) for rest in ("", "/sub")}
        server.pages["/team/plain?go-get=1"] = page % (f"{server.host}/team/plain", real.replace("https", "http"))
        server.pages["/team/other?go-get=1"] = page % (f"{server.host}/else", real)
        with engine.session(env=trust) as session:
            asked = lambda reference: "moduleSource(refString: " + quote(reference) + ") { " + FIELDS + " }"
            references = [f"https://{vanity}/sub@v1.2.3", f"{vanity}/sub@v1.2.3"]
            answer = session.query("{ a: " + asked(references[0]) + " b: " + asked(references[1]) + " }")
            for reference, found in zip(references, [answer["a"], answer["b"]]):
                assert found["asString"] == reference and found["cloneRef"] == real and found["commit"] == module_repository.first
                assert found["sourceRootSubpath"] == "sub" and found["htmlRepoURL"] == f"https://{server.host}/open/mods"
            for refused in ("plain", "other", "none"):
                error = session.error("{ " + asked(f"https://{server.host}/team/{refused}/sub@main") + " }")
                assert "there is no git repository" in error["message"], error
            error = session.error("{ " + asked(f"https://{vanity}/sub@v9.9.9") + " }")
            assert "has no version `v9.9.9`" in error["message"], error


def test_call_018_ctx_004_ctx_005_call_004_call_005_a_module_in_a_repository_gets_its_own_files(connected, module_server, module_repository):
    base = module_server.open("mods.git")
    call = lambda *words: connected.run("call", "-m", f"{base}/sub@v1.2.3", "told", *words).ok().out.split()
    head = f"refs/tags/sub/v1.2.3@{module_repository.first}"
    assert call() == ["one", "near", head, head, "False"]
    # Explicit arguments win: addresses of repositories and paths of this machine.
    work, main = module_repository.work, f"refs/heads/main@{module_repository.second}"
    given = ["--src", f"{base}#main:data", "--near", f"{base}#main:data/x", "--repo", base, "--ref", f"{base}#main"]
    assert call(*given) == ["two", "two", main, main, "False"]
    given = ["--src", f"file://{work}/data", "--near", work / "data/x", "--repo", work / ".git", "--ref", f"{work}/.git#v1.2.3"]
    assert call(*given) == ["two", "two", main, f"refs/tags/v1.2.3@{module_repository.second}", "False"]


def test_xs_004_a_private_module_needs_credentials(connected, module_server, place):
    reference = f"{module_server.private('mods.git')}/sub"
    config = place / "gitconfig"
    config.write_text(credential_helper("helper"))
    mine, other = {"GIT_CONFIG_GLOBAL": str(config)}, {"GIT_CONFIG_GLOBAL": "/dev/null"}
    connected.run("functions", "-m", reference, env=other).failed("Authentication failed")
    assert "told" in connected.run("functions", "-m", reference, env=mine).ok().out
    connected.run("functions", "-m", reference, env=other).failed("Authentication failed")


def test_a_dependency_may_be_in_a_repository(connected, module_server, module_repository, folder):
    base = module_server.open("mods.git")
    document = {"name": "uses", "sdk": {"source": "python"}, "engineVersion": "v0.21.8"}
    pinned = [{"name": "probe", "source": f"{base}/sub@main", "pin": module_repository.first}]
    write_module(folder, USES, name="uses", config=json.dumps({**document, "dependencies": pinned}))
    assert connected.run("call", "-m", folder, "go").ok().out.startswith("one near")
    missing = [{"name": "probe", "source": f"{base}/gone@main"}]
    (folder / "dagger.json").write_text(json.dumps({**document, "dependencies": missing}))
    listed = connected.run("functions", "-m", folder).ok()
    assert "the dependency `probe` could not be loaded: find the module" in listed.err and "has no folder `gone`" in listed.err


def test_ctx_005_ctx_006_a_local_module_gets_its_repository(connected, module_repository):
    call = lambda: connected.run("call", "-m", module_repository.work / "sub", "told").ok().out.split()
    head = f"refs/heads/main@{module_repository.second}"
    assert call() == ["two", "near", head, head, "False"]
    (module_repository.work / "data/y").write_text("new")
    try:
        assert call() == ["two", "near", head, head, "True"]
    finally:
        (module_repository.work / "data/y").unlink()


def test_mod_014_an_sdk_may_be_in_a_repository(connected, place, folder):
    root = place / "sdk"
    root.mkdir()
    git(root, "init", "-q", "work")
    for name in ("sdk-shell-typed", "sdk-shell-lib"):
        shutil.copytree(EXAMPLES / name, root / "work" / name)
    commit(root / "work", {"README": "an SDK\n"})
    git(root / "work", "tag", "v1.0.0")
    git(root, "clone", "-q", "--bare", "work", "sdk.git")
    shutil.copytree(EXAMPLES / "shell-greeter", folder / "greeter")
    config = json.loads((folder / "greeter/dagger.json").read_text())
    with Web(root) as server:
        server.accept("me", "helper")
        config["sdk"] = {"source": f"{server.open('sdk.git')}/sdk-shell-typed@v1.0.0"}
        (folder / "greeter/dagger.json").write_text(json.dumps(config))
        said = connected.run("call", "-m", folder / "greeter", "hello", "--name=Ada").ok().out.strip()
        assert said == "Hello, Ada!"
