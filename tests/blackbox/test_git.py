"""Git repositories on servers and in directories."""

import json
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit import ROOT, eventually, processes_with, quote, set_secret
from kit.git_server import Ssh, Web, certificate, commit, credential_helper, daemon, git, git_document


@pytest.fixture(scope="module")
def sample_address(git_address):
    """The address of the sample."""
    return f"{git_address}/r.git"


def test_git_001_git_003_heads_branches_tags_and_commits_are_found(engine, sample_address, web, sample):
    selection = f"""
        head {{ commit ref }}
        branch(name: "dev") {{ commit ref }}
        tag(name: "v0.10.0") {{ commit ref }}
        light: tag(name: "v0.9.5") {{ commit ref }}
        commit(id: "{sample.first}") {{ commit ref tree {{ file(path: "README") {{ contents }} }} }}
        short: ref(name: "dev") {{ commit ref }}
        full: ref(name: "refs/tags/v0.9.5") {{ commit ref }}
        sha: ref(name: "{sample.dev}") {{ commit ref }}
        object: commit(id: "{sample.annotated}") {{ commit ref tree {{ file(path: "README") {{ contents }} }} }}
        tags
        branches
    """
    for url in (sample_address, web.open()):
        found = engine.data(git_document(url, selection))["git"]
        assert found["head"] == {"commit": sample.second, "ref": "refs/heads/main"}
        assert found["branch"] == {"commit": sample.dev, "ref": "refs/heads/dev"} == found["short"]
        assert found["tag"] == {"commit": sample.second, "ref": "refs/tags/v0.10.0"}
        assert found["light"] == {"commit": sample.first, "ref": "refs/tags/v0.9.5"} == found["full"]
        assert found["commit"]["ref"] == sample.first and found["sha"]["ref"] == sample.dev
        assert found["commit"]["tree"]["file"]["contents"] == "one\n"
        file = {"file": {"contents": "two\n"}}
        assert found["object"] == {"commit": sample.second, "ref": sample.second, "tree": file}
        assert found["tags"] == ["sdk/go/v0.1.0", "v0.10.0", "v0.2.0", "v0.9.5"]
        assert found["branches"] == ["dev", "main"]


def test_git_002_git_008_git_009_checkouts_are_clean(engine, sample_address, sample, place):
    trees = {"branch": 'branch(name: "refs/heads/main")', "tag": 'tag(name: "v0.10.0")', "head": "head"}
    selection = " ".join(
        f'{name}: {ref} {{ tree {{ export(path: {quote(str(place / name))}) entries '
        'bare: directory(path: "/") { stat(path: "README") { permissions } } } } '
        for name, ref in trees.items()
    )
    selection += 'gone: head { tree(discardGitDir: true) { entries } }'
    found = engine.data(git_document(sample_address, selection))["git"]
    assert found["gone"]["tree"]["entries"] == ["README", "dir/", "run.sh"]
    assert found["head"]["tree"]["entries"] == [".git/", "README", "dir/", "run.sh"]
    for name, head in {"branch": "ref: refs/heads/main", "head": "ref: refs/heads/main", "tag": sample.second}.items():
        folder = place / name
        assert git(folder, "status", "--porcelain") == ""
        assert (folder / ".git/HEAD").read_text().strip() == head
        assert git(folder, "rev-list", "--count", "HEAD") == "1"
        assert (folder / "run.sh").stat().st_mode & 0o777 == 0o755
        assert git(folder, "config", "remote.origin.url") == sample_address
    # A container sees the modification times.
    id_of = engine.data(git_document(sample_address, "head { tree { id } }"))["git"]["head"]["tree"]["id"]
    seen = engine.data(
        '{ container { from(address: "busybox") { withMountedDirectory(path: "/r", source: '
        + quote(id_of)
        + ') { withExec(args: ["stat", "-c", "%Y", "/r/README", "/r/dir/file"]) { stdout } } } } }'
    )
    assert seen["container"]["from"]["withMountedDirectory"]["withExec"]["stdout"] == "1\n1\n"
    kept = git_document(sample_address, "head { tree { entries } }", ", keepGitDir: false")
    assert engine.data(kept)["git"]["head"]["tree"]["entries"] == ["README", "dir/", "run.sh"]


def test_a_checkout_has_the_depth_and_tags_asked_for(engine, sample_address, sample, place):
    selection = " ".join(
        f'{name}: head {{ tree({args}) {{ export(path: {quote(str(place / name))}) }} }}'
        for name, args in {"all": "depth: 0", "two": "depth: 2", "tagged": "includeTags: true", "one": "depth: 1"}.items()
    )
    engine.data(git_document(sample_address, selection))
    count = lambda name: git(place / name, "rev-list", "--count", "HEAD")
    assert [count("all"), count("two"), count("one")] == ["2", "2", "1"]
    tags = lambda name: git(place / name, "tag").split()
    # Tags of the only commit in the checkout.
    assert tags("tagged") == ["v0.10.0"] and tags("one") == []


@pytest.mark.once
@pytest.mark.parametrize("before", ["head", 'branch(name: "dev")', "head { tree(includeTags: true) }", ""])
@pytest.mark.parametrize("depth", [-1, 0])
def test_a_checkout_has_the_tags_that_its_ref_reaches(engine, sample, folder, before, depth):
    """After any shallow use of the repository (`TestGitCheckedTags`)."""
    root, into = folder / "served", folder / "into"
    root.mkdir()
    git(root, "clone", "-q", "--bare", str(sample.bare), "r.git")
    with daemon(root) as base:
        url = f"{base}/r.git"
        if before:
            inner = before if "tree" in before else before + " { tree }"
            engine.data(git_document(url, inner.removesuffix(" }") + " { entries } }"))
        refs = {"main": "head", "dev": 'branch(name: "dev")', "tag": 'tag(name: "v0.9.5")', "sha": f'commit(id: "{sample.first}")'}
        selection = " ".join(
            f"{key}: {ref} {{ tree(depth: {depth}, includeTags: true) {{ export(path: {quote(str(into / key))}) }} }}" for key, ref in refs.items()
        )
        engine.data(git_document(url, selection))
    of = lambda key, *words: git(into / key, *words).split()
    first = ["sdk/go/v0.1.0", "v0.9.5"]
    assert of("main", "tag") == ["sdk/go/v0.1.0", "v0.10.0", "v0.9.5"]
    assert of("dev", "tag") == ["sdk/go/v0.1.0", "v0.2.0", "v0.9.5"]
    assert of("tag", "tag") == first == of("sha", "tag")
    assert of("main", "rev-parse", "v0.10.0") == [sample.annotated] and of("main", "rev-list", "--count", "HEAD") == ["2"]
    for key in refs:
        assert "rondel" not in git(into / key, "for-each-ref"), "no name of ours is left"
        assert not (into / key / ".git/refs/rondel").exists()


def test_deleted_tags_are_not_in_a_later_checkout(engine, sample, place):
    query = "{ host { directory(path: " + quote(str(sample.work)) + ') { asGit { branch(name: "main") { tree(depth: -1, includeTags: true) { export(path: %s) } } } } } }'
    engine.data(query % quote(str(place / "local-tags")))
    tags = lambda name: git(place / name, "tag").split()
    assert tags("local-tags") == ["sdk/go/v0.1.0", "v0.10.0", "v0.9.5"]
    root = place / "gone"
    root.mkdir()
    git(root, "clone", "-q", "--bare", str(sample.bare), "g.git")
    with daemon(root) as base:
        take = lambda name, depth: engine.data(
            git_document(f"{base}/g.git", f"head {{ tree(depth: {depth}, includeTags: true) {{ export(path: {quote(str(place / name))}) }} }}")
        )
        take("before", 0)
        git(root / "g.git", "tag", "-d", "v0.9.5")
        git(root / "g.git", "tag", "-f", "sdk/go/v0.1.0", "main")
        take("after", 9)
    assert tags("before") == ["sdk/go/v0.1.0", "v0.10.0", "v0.9.5"] and tags("after") == ["sdk/go/v0.1.0", "v0.10.0"]
    assert git(place / "after", "rev-parse", "sdk/go/v0.1.0") == sample.second


def test_git_004_names_are_strict_except_in_old_views(engine, sample_address, sample):
    error = lambda selection: engine.query(git_document(sample_address, selection))
    error('commit(id: "main") { commit }').failed("invalid commit SHA")
    error('tag(name: "main") { commit }').failed("repository does not contain", "refs/tags/main")
    error('branch(name: "v0.9.5") { commit }').failed("repository does not contain", "refs/heads/v0.9.5")
    error('ref(name: "nope") { commit }').failed("repository does not contain", "nope")
    error(f'commit(id: "{"0" * 40}") {{ tree {{ entries }} }}').failed("has no commit")
    selection = 'commit(id: "main") { commit } tag(name: "main") { commit } branch(name: "v0.9.5") { commit }'
    old = engine.data(git_document(sample_address, selection), "--api-version", "v0.18.10")["git"]
    assert [old[name]["commit"] for name in ("commit", "tag", "branch")] == [sample.second, sample.second, sample.first]


def test_git_006_git_007_a_directory_can_be_a_repository(engine, sample, place):
    (place / "empty").mkdir(exist_ok=True)
    selection = "asGit { url head { commit ref tree { file(path: \"README\") { contents } } } branches tags }"
    for path in (sample.work, sample.work / ".git", sample.bare):
        found = engine.data("{ host { directory(path: " + quote(str(path)) + ") { " + selection + " } } }")
        found = found["host"]["directory"]["asGit"]
        assert found["url"] == ""
        assert found["head"] == {
            "commit": sample.second,
            "ref": "refs/heads/main",
            "tree": {"file": {"contents": "two\n"}},
        }
        assert found["branches"] == ["dev", "main"] and "v0.10.0" in found["tags"]
    empty = "{ host { directory(path: " + quote(str(place / "empty")) + ") { asGit { head { commit } } } } }"
    engine.query(empty).failed("not a git repository")


def test_a_repository_cannot_make_the_engine_run_anything(engine, sample, place):
    evil = place / "evil"
    git(place, "clone", "-q", str(sample.work), str(evil))
    mark = place / "ran"
    for key in ("core.fsmonitor", "core.sshCommand", "uploadpack.packObjectsHook", "core.pager", "filter.x.smudge"):
        git(evil, "config", key, f"touch {mark}; false")
    (evil / ".git/hooks/post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (evil / ".git/hooks/post-checkout").chmod(0o755)
    (evil / ".git/objects/info").mkdir(exist_ok=True)
    (evil / ".git/objects/info/alternates").write_text("/etc\n")
    commit(evil, {".gitattributes": "* filter=x\n"}, 5)
    mark.unlink(missing_ok=True)
    found = engine.data("{ host { directory(path: " + quote(str(evil)) + ") { asGit { head { tree { entries } } } } } }")
    assert "README" in found["host"]["directory"]["asGit"]["head"]["tree"]["entries"]
    assert not mark.exists()


def test_a_nested_repository_cannot_make_the_engine_run_anything(engine, sample, place):
    folder, mark = place / "outer", place / "ran-nested"
    git(place, "clone", "-q", str(sample.work), str(folder))
    for name, tracked in (("sub", True), ("untracked", False)):
        nested = folder / name
        nested.mkdir()
        git(nested, "init", "-q")
        commit(nested, {"a": "a\n", ".gitattributes": "* filter=x\n"}, 4)
        if tracked:
            git(folder, "add", "sub")
            git(folder, "commit", "-q", "-m", "sub")
        git(nested, "config", "filter.x.clean", f"touch {mark}; cat")
        git(nested, "config", "core.fsmonitor", f"touch {mark}; false")
        (nested / "a").write_text("b\n")
    (folder / "README").write_text("changed\n")
    selection = "asGit { uncommitted { addedPaths modifiedPaths removedPaths } }"
    found = engine.data("{ host { directory(path: " + quote(str(folder)) + ") { " + selection + " } } }")
    found = found["host"]["directory"]["asGit"]["uncommitted"]
    assert found == {"addedPaths": [], "modifiedPaths": ["README"], "removedPaths": []}
    assert not mark.exists()


def test_a_repository_with_symlinks_reaches_no_other_files(engine, sample, place):
    canary = place / "canary"
    for name, target in {
        ".git/config": canary,
        ".git/packed-refs": canary,
        ".git/HEAD": canary,
        ".git/objects": sample.work / ".git/objects",
        ".git/refs": sample.work / ".git/refs",
    }.items():
        canary.write_text("CANARY\n")
        folder = place / "linked"
        git(place, "clone", "-q", str(sample.work), str(folder))
        subprocess.run(["rm", "-rf", folder / name], check=True)
        (folder / name).symlink_to(target)
        asked = "{ host { directory(path: " + quote(str(folder)) + ", noCache: true) { asGit { branches } } } }"
        said = engine.query(asked).failed()
        assert "CANARY" not in said.err and canary.read_text() == "CANARY\n", name
        subprocess.run(["rm", "-rf", folder], check=True)


def test_git_007_git_024_the_protocol_of_an_address_is_found(make_engine, sample, place):
    trusted, both = certificate(place)
    engine = make_engine()
    trust = {"SSL_CERT_FILE": str(trusted)}
    with Web(sample.bare.parent, both) as server:
        found = engine.data(git_document(f"{server.host}/open/r.git", "url head { commit }"), env=trust)["git"]
        assert found == {"url": server.open(), "head": {"commit": sample.second}}
        error = engine.query(git_document(f"{server.host}/private/r.git", "url"), env=trust)
        error.failed("failed to determine Git URL protocol")


def test_an_unsafe_git_address_is_refused(engine):
    for url in ("--upload-pack=x", "ext::sh -c id", "file:///etc", "../x", "ssh://-oProxyCommand=x/y", "https://h/r#main"):
        engine.query(git_document(url, "head { commit }")).failed("cannot use the git address")


@pytest.mark.once
def test_git_013_tags_and_branches_are_filtered_by_pattern(engine, sample_address):
    selection = """
        any: tags(patterns: ["v*"])
        anchored: tags(patterns: ["refs/tags/v*"])
        below: tags(patterns: ["sdk/go/v*"])
        several: tags(patterns: ["v0.9.5", "v0.2.0"])
        none: tags(patterns: ["x*"])
        branches(patterns: ["d*"])
    """
    found = engine.data(git_document(sample_address, selection))["git"]
    assert found["any"] == ["sdk/go/v0.1.0", "v0.10.0", "v0.2.0", "v0.9.5"]
    assert found["anchored"] == ["v0.10.0", "v0.2.0", "v0.9.5"]
    assert found["below"] == ["sdk/go/v0.1.0"] and found["none"] == []
    assert found["several"] == ["v0.2.0", "v0.9.5"] and found["branches"] == ["dev"]


@pytest.mark.once
def test_git_014_the_latest_version_is_the_highest_tag(engine, sample_address, place):
    assert engine.data(git_document(sample_address, "latestVersion { ref }"))["git"]["latestVersion"]["ref"] == "refs/tags/v0.10.0"
    bare = place / "none"
    bare.mkdir()
    git(bare, "init", "-q")
    commit(bare, {"a": "a"})
    git(bare, "tag", "release-1")
    local = "{ host { directory(path: " + quote(str(bare)) + ") { asGit { latestVersion { ref } } } } }"
    engine.query(local).failed("no valid semver tags")
    git(bare, "tag", "v1.0.0-rc.2")
    git(bare, "tag", "v1.0.0-rc.10")
    read = lambda: engine.data(local)["host"]["directory"]["asGit"]["latestVersion"]["ref"]
    assert read() == "refs/tags/v1.0.0-rc.10"
    git(bare, "tag", "v1.0.0")
    assert read() == "refs/tags/v1.0.0"


def test_git_016_uncommitted_changes_are_listed(engine, sample_address, sample, place):
    folder = place / "dirty"
    git(place, "clone", "-q", str(sample.work), str(folder))
    commit(folder, {".gitignore": "*.log\n", "kept.log": "x"}, 6)
    git(folder, "add", "-f", "kept.log")
    git(folder, "commit", "-q", "-m", "x")
    selection = "asGit { uncommitted { isEmpty addedPaths modifiedPaths removedPaths } }"
    read = lambda path: engine.data("{ host { directory(path: " + quote(str(path)) + ", noCache: true) { " + selection + " } } }")[
        "host"
    ]["directory"]["asGit"]["uncommitted"]
    clean = {"isEmpty": True, "addedPaths": [], "modifiedPaths": [], "removedPaths": []}
    assert read(folder) == clean
    (folder / "README").write_text("changed\n")
    (folder / "new").write_text("new\n")
    (folder / "staged").write_text("staged\n")
    (folder / "ignored.log").write_text("x")
    (folder / "kept.log").write_text("changed")
    git(folder, "add", "staged")
    git(folder, "rm", "-q", "run.sh")
    (folder / "dir/file").unlink()
    found = read(folder)
    assert sorted(found["addedPaths"]) == ["new", "staged"] and not found["isEmpty"]
    assert sorted(found["modifiedPaths"]) == ["README", "kept.log"]
    assert any("run.sh" in path for path in found["removedPaths"]) and any("dir" in path for path in found["removedPaths"])
    assert read(folder / ".git") == clean
    remote = engine.data(git_document(sample_address, "uncommitted { isEmpty addedPaths modifiedPaths removedPaths }"))
    assert remote["git"]["uncommitted"] == clean


def test_a_common_ancestor_is_found_across_repositories(engine, sample_address, sample):
    with engine.session() as session:
        dev = session.query(git_document(sample_address, 'branch(name: "dev") { id }'))["git"]["branch"]["id"]
        found = session.query(git_document(sample_address, f"head {{ commonAncestor(other: {quote(dev)}) {{ commit ref }} }}"))
        assert found["git"]["head"]["commonAncestor"] == {"commit": sample.first, "ref": sample.first}
        local = session.query(
            "{ host { directory(path: " + quote(str(sample.work)) + f") {{ asGit {{ head {{ commonAncestor(other: {quote(dev)}) {{ commit }} }} }} }} }} }}"
        )
        assert local["host"]["directory"]["asGit"]["head"]["commonAncestor"]["commit"] == sample.first


def test_git_019_xs_004_a_private_repository_needs_credentials(engine, web, sample, place):
    selection = "head { commit tree { file(path: \"README\") { contents } } }"
    plain = git_document(web.private(), selection)
    with engine.session() as session:
        token = quote(set_secret(session, "right"))
        found = session.query(git_document(web.private(), selection, f", httpAuthToken: {token}"))["git"]["head"]
        assert found["tree"]["file"]["contents"] == "two\n"
        header = quote(set_secret(session, "Bearer header"))
        assert session.query(git_document(web.private(), selection, f", httpAuthHeader: {header}"))["git"]["head"] == found
        named = quote(set_secret(session, "helper"))
        more = f', httpAuthUsername: "me", httpAuthToken: {named}'
        assert session.query(git_document(web.private(), selection, more))["git"]["head"] == found
        wrong = quote(set_secret(session, "wrong"))
        for more in (f", httpAuthToken: {wrong}", f", httpAuthHeader: {wrong}"):
            error = session.error(git_document(web.private(), selection, more))
            assert error["message"].startswith("git error: authentication failed: Authentication failed"), error
        # Without credentials, cached content is not returned, even by its commit.
        assert "Authentication failed" in session.error(plain)["message"]
        known = git_document(web.private(), f'commit(id: "{sample.second}") {{ tree {{ entries }} }}')
        assert "Authentication failed" in session.error(known)["message"]
        again = session.query(git_document(web.private(), selection, f", httpAuthToken: {token}"))["git"]["head"]
        assert again == found
    engine.query(plain).failed("Authentication failed")


def test_git_019_the_clients_credential_helper_is_asked(engine, web, place):
    plain = git_document(web.private(), "head { tree { entries } }")
    config = place / "gitconfig"
    config.write_text(credential_helper("helper"))
    found = engine.data(plain, env={"GIT_CONFIG_GLOBAL": str(config)})
    assert "README" in found["git"]["head"]["tree"]["entries"]
    config.write_text(credential_helper("other"))
    engine.query(plain, env={"GIT_CONFIG_GLOBAL": str(config)}).failed("Authentication failed")
    engine.query(plain, env={"GIT_CONFIG_GLOBAL": "/dev/null"}).failed("Authentication failed")


NETRC = [
    ("machine {host} login me password helper", True),
    ("machine {name}\n  login me\n  password helper\n", True),
    ('machine other login a password b\ndefault login "me" password "hel\\\\per"', False),
    ('machine other login a password b\ndefault login "me" password "helper"', True),
    ("macdef init\nmachine {host} login me password wrong\n\nmachine {host} login me password helper", True),
    ("machine {host} login me password wrong\nmachine {host} login me password helper", False),
    ("machine other login me password helper", False),
]


@pytest.mark.parametrize("content, good", NETRC)
def test_the_clients_netrc_is_read(engine, web, folder, content, good):
    (folder / ".netrc").write_text(content.format(host=web.host, name=web.host.split(":")[0]))
    env = {"HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = engine.query(git_document(web.private(), "head { tree { entries } }"), env=env)
    if good:
        assert "README" in done.json()["git"]["head"]["tree"]["entries"]
    else:
        done.failed("Authentication failed")


def test_a_credential_helper_goes_before_the_netrc(engine, web, folder):
    (folder / ".netrc").write_text("default login me password wrong")
    config = folder / "config"
    config.write_text(credential_helper("helper"))
    env = {"HOME": str(folder), "GIT_CONFIG_GLOBAL": str(config)}
    query = git_document(web.private(), "head { tree { entries } }")
    assert "README" in engine.data(query, env=env)["git"]["head"]["tree"]["entries"]
    (folder / ".netrc").write_text("default login me password helper")
    config.write_text(credential_helper("wrong"))
    engine.query(query, env=env).failed("Authentication failed")


@pytest.fixture(scope="module")
def packed(sample, place):
    """A repository for dumb servers, with packs and loose objects."""
    root = place / "packed"
    root.mkdir()
    git(root, "clone", "-q", "--bare", str(sample.bare), "r.git")
    git(root / "r.git", "repack", "-q", "-a", "-d")
    git(root / "r.git", "tag", "-a", "-m", "loose", "v0.11.0", "main")
    git(root / "r.git", "update-server-info")
    with Web(root) as server:
        server.accept("x-access-token", "right")
        server.accept("me", "helper")
        server.accepted.add("Bearer header")
        yield server


def test_a_dumb_server_serves_a_repository(make_engine, packed, sample, folder):
    engine = make_engine()
    content = lambda name: 'tree { file(path: "' + name + '") { contents } }'
    selection = f"""
        head {{ commit {content("README")} }}
        branch(name: "dev") {{ commit {content("dev")} }}
        tag(name: "v0.10.0") {{ commit {content("README")} }}
        commit(id: "{sample.first}") {{ {content("README")} }}
        deep: branch(name: "main") {{ tree(depth: 0, includeTags: true) {{ export(path: {quote(str(folder / "deep"))}) }} }}
        two: branch(name: "main") {{ tree(depth: 1) {{ export(path: {quote(str(folder / "one"))}) }} }}
        tags branches
    """
    found = engine.data(git_document(packed.dumb(), selection))["git"]
    file = lambda what: {"file": {"contents": what}}
    assert found["head"] == {"commit": sample.second, "tree": file("two\n")} == found["tag"]
    assert found["branch"] == {"commit": sample.dev, "tree": file("dev\n")}
    assert found["commit"]["tree"] == file("one\n")
    assert found["tags"] == ["sdk/go/v0.1.0", "v0.10.0", "v0.11.0", "v0.2.0", "v0.9.5"] and found["branches"] == ["dev", "main"]
    of = lambda name, *words: git(folder / name, *words).split()
    assert of("deep", "rev-list", "--count", "HEAD") == ["2"] and of("one", "rev-list", "--count", "HEAD") == ["1"]
    assert of("deep", "tag") == ["sdk/go/v0.1.0", "v0.10.0", "v0.11.0", "v0.9.5"]
    missing = git_document(packed.dumb(), f'commit(id: "{"0" * 39}1") {{ tree {{ entries }} }}')
    engine.query(missing).failed("has no commit")


def test_a_dumb_server_gets_credentials(make_engine, packed, folder):
    url, selection = packed.dumb(place="dumb-private"), "head { tree { entries } }"
    nothing = {"GIT_CONFIG_GLOBAL": "/dev/null"}
    ways = {"httpAuthToken: %s": "right", 'httpAuthUsername: "me", httpAuthToken: %s': "helper", "httpAuthHeader: %s": "Bearer header"}
    for way, plaintext in ways.items():
        # Each engine fetches for itself, so no cache of another one helps.
        with make_engine().session(env=nothing) as session:
            more = ", " + way % quote(set_secret(session, plaintext))
            assert "README" in session.query(git_document(url, selection, more))["git"]["head"]["tree"]["entries"], way
            assert "Authentication failed" in session.error(git_document(url, selection))["message"]
            more = ", " + way % quote(set_secret(session, "wrong"))
            assert "Authentication failed" in session.error(git_document(url, selection, more))["message"]
    config = folder / "config"
    config.write_text(credential_helper("helper"))
    (folder / ".netrc").write_text(f"machine {packed.host} login me password helper")
    for env in ({"GIT_CONFIG_GLOBAL": str(config)}, {**nothing, "HOME": str(folder)}):
        assert "README" in make_engine().data(git_document(url, selection), env=env)["git"]["head"]["tree"]["entries"]


def test_old_views_add_credentials_to_a_repository(engine, web):
    document = """
        query Q($with: SecretID!) { git(url: %s) { withAuthToken(token: $with) { head { tree { entries } } } } }
    """ % quote(web.private())
    with engine.session("--version", "v0.18.10") as session:
        token = set_secret(session, "right")
        status, answer = session.post({"query": document, "variables": {"with": token}})
        assert status == 200 and "README" in answer["data"]["git"]["withAuthToken"]["head"]["tree"]["entries"], answer
    with engine.session() as session:
        status, answer = session.post({"query": document, "variables": {"with": token}})
        assert "errors" in answer, answer


def test_git_017_a_repository_is_fetched_over_ssh(engine, sample, place):
    with Ssh(place / "ssh", sample.bare.parent) as server:
        query = git_document(server.url(), "url head { commit tree { entries } }")
        engine.query(query, env={"SSH_AUTH_SOCK": ""}).failed("SSH URLs are not supported without an SSH socket")
        agent = {"SSH_AUTH_SOCK": server.agent_socket}
        known = f", sshKnownHosts: {quote(server.known_hosts())}"
        found = engine.data(git_document(server.url(), "url head { commit tree { entries } }", known), env=agent)["git"]
        assert found["url"] == server.url() and found["head"]["commit"] == sample.second
        assert "README" in found["head"]["tree"]["entries"] and set(server.users) == {"git"}
        with engine.session(env={"SSH_AUTH_SOCK": ""}) as session:
            socket = session.query("{ host { unixSocket(path: " + quote(server.agent_socket) + ") { id } } }")
            socket = quote(socket["host"]["unixSocket"]["id"])
            found = session.query(git_document(server.url(), 'branch(name: "dev") { tree { entries } }', f", sshAuthSocket: {socket}"))
            assert "dev" in found["git"]["branch"]["tree"]["entries"]
            assert "without an SSH socket" in session.error(query)["message"]
        import asyncssh

        other = server.known_hosts(asyncssh.generate_private_key("ssh-ed25519"))
        refused = engine.query(git_document(server.url(), "head { commit }", f", sshKnownHosts: {quote(other)}"), env=agent)
        refused.failed("is not the one that is known")
        # A client without the agent does not get content that was fetched with it.
        engine.query(query, env={"SSH_AUTH_SOCK": ""}).failed("SSH URLs are not supported without an SSH socket")
        empty = place / "nobody"
        nobody = subprocess.Popen(["ssh-agent", "-D", "-a", str(empty)], stdout=subprocess.DEVNULL)
        try:
            eventually(empty.exists, what="the agent")
            engine.query(query, env={"SSH_AUTH_SOCK": str(empty)}).failed("Authentication failed")
        finally:
            nobody.terminate()
            nobody.wait()


def test_trees_are_the_same_in_every_session(engine, sample_address):
    query = git_document(sample_address, "head { tree { id } }")
    assert engine.data(query) == engine.data(query)


def test_git_023_the_name_of_a_service_follows_from_the_content_of_trees(engine, sample_address):
    run = """{ container { from(address: "busybox") { withMountedDirectory(path: "/srv", source: "%s") {
        asService(args: ["httpd", "-f"]) { hostname } } } } }"""

    def name(branch: str) -> str:
        with engine.session() as session:
            tree = session.query(git_document(sample_address, f'branch(name: "{branch}") {{ tree {{ id }} }}'))["git"]["branch"]["tree"]["id"]
            return session.query(run % tree)["container"]["from"]["withMountedDirectory"]["asService"]["hostname"]

    assert name("main") == name("main") != name("dev")


def test_git_025_references_are_the_same_in_a_session(engine, sample, place):
    folder = place / "moving"
    git(place, "clone", "-q", "--bare", str(sample.bare), str(folder / "m.git"))
    with Web(folder) as server, engine.session() as session:
        query = git_document(server.open("m.git"), "head { commit }")
        read = lambda: session.query(query)["git"]["head"]["commit"]
        assert read() == sample.second
        git(folder / "m.git", "update-ref", "refs/heads/main", sample.dev)
        more = git_document(server.open("m.git"), 'branch(name: "main") { commit } tags')
        assert read() == sample.second == session.query(more)["git"]["branch"]["commit"]
        lists = [path for path in server.requests if "info/refs" in path]
        assert len(lists) == 1, server.requests
        assert engine.data(query)["git"]["head"]["commit"] == sample.dev


def test_one_commit_is_fetched_once(make_engine, sample, web):
    engine = make_engine()
    query = git_document(web.open(), "head { tree { entries } }")
    before = len(web.requests)
    with ThreadPoolExecutor(4) as pool:
        answers = {json.dumps(answer) for answer in pool.map(lambda _: engine.data(query), range(4))}
    assert len(answers) == 1
    packs = [path for path in web.requests[before:] if path.endswith("git-upload-pack")]
    # Each session lists the refs. The commit is fetched once.
    stores = list((engine.state / "git/remotes").glob("*.git")) + [p for p in (engine.state / "git/remotes").iterdir() if p.is_dir()]
    assert len(stores) == 1
    refs = subprocess.run(["git", "--git-dir", str(stores[0]), "for-each-ref", "--format=%(refname)"], text=True, capture_output=True)
    if ROOT:
        assert refs.stdout.split() == [f"refs/rondel/{sample.second}"], refs
    count = len(packs)
    engine.stop()
    before = len(web.requests)
    engine.data(query)
    assert not any("fetch" in path for path in web.requests[before:]) and count >= 1


def test_submodules_are_fetched_and_git_lfs_is_refused(engine, sample, place):
    root = place / "super"
    root.mkdir()
    git(root, "init", "-q", "inner")
    commit(root / "inner", {"inside": "in\n"})
    git(root, "init", "-q", "outer")
    git(root, "clone", "-q", "--bare", "inner", "inner.git")
    with Web(root) as server:
        git(root / "outer", "submodule", "--quiet", "add", str(root / "inner.git"), "lib")
        modules = (root / "outer/.gitmodules").read_text().replace(str(root / "inner.git"), "../inner.git")
        commit(root / "outer", {".gitmodules": modules, "a": "a"})
        git(root, "clone", "-q", "--bare", "outer", "outer.git")
        query = git_document(server.open("outer.git"), 'head { tree { file(path: "lib/inside") { contents } } }')
        assert engine.data(query)["git"]["head"]["tree"]["file"]["contents"] == "in\n"
        gone = git_document(server.open("outer.git"), 'head { tree(discardGitDir: true) { glob(pattern: "**") } }')
        assert engine.data(gone)["git"]["head"]["tree"]["glob"] == [".gitmodules", "a", "lib/", "lib/inside"]
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
        commit(root / "inner", {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "x.bin": pointer})
        git(root, "clone", "-q", "--bare", "inner", "large.git")
        engine.query(git_document(server.open("large.git"), "head { tree { entries } }")).failed("git LFS", "x.bin")


def test_an_error_of_a_server_is_named(engine, web, sample_address):
    engine.query(git_document(web.open("nope.git"), "head { commit }")).failed("git error", "there is no git repository")
    engine.query(git_document(sample_address.replace("r.git", "nope"), "head { commit }")).failed("there is no git repository")
    engine.query(git_document("https://does-not-exist.invalid/r", "head { commit }")).failed("cannot find the host")
    engine.query(git_document("http://127.0.0.1:9/r", "head { commit }")).failed("cannot reach")


def test_a_killed_engine_leaves_a_store_that_works(make_engine, web, sample):
    engine = make_engine()
    engine.data(git_document(web.open(), "head { tree { entries } }"))
    store = next(p for p in (engine.state / "git/remotes").iterdir() if p.is_dir())
    engine.kill()
    if ROOT:
        (store / "shallow.lock").write_text("")
        (store / "objects/pack/tmp_pack_x").write_text("half")
        found = engine.data(git_document(web.open(), 'tag(name: "v0.9.5") { tree(depth: 0) { file(path: "README") { contents } } }'))
        assert found["git"]["tag"]["tree"]["file"]["contents"] == "one\n"
        assert not (store / "objects/pack/tmp_pack_x").exists()
        # Even without its objects.
        engine.stop()
        for pack in (store / "objects/pack").glob("*.pack"):
            pack.unlink()
    found = engine.data(git_document(web.open(), 'branch(name: "dev") { tree { file(path: "dev") { contents } } }'))
    assert found["git"]["branch"]["tree"]["file"]["contents"] == "dev\n"


def test_a_killed_client_ends_its_git_process(make_engine, sample):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = make_engine()
        port = silent.getsockname()[1]
        client = engine.start_query(git_document(f"git://127.0.0.1:{port}/r", "head { commit }"))
        ours = lambda: processes_with(f"git://127.0.0.1:{port}/r")
        eventually(lambda: ours(), what="git to ask")
        client.send_signal(signal.SIGKILL)
        client.wait()
        eventually(lambda: not ours(), what="git to end")


def test_adr_001_an_address_may_be_a_repository_or_a_part_of_it(engine, sample_address, sample):
    selection = f"""{{
        repository: address(value: {quote(sample_address)}) {{ gitRepository {{ url head {{ commit }} }} }}
        head: address(value: {quote(sample_address)}) {{ gitRef {{ commit }} }}
        branch: address(value: {quote(sample_address + "#dev")}) {{ gitRef {{ ref }} }}
        tag: address(value: {quote(sample_address + "#v0.10.0")}) {{ gitRef {{ ref commit }} }}
        sha: address(value: {quote(sample_address + "#" + sample.first)}) {{ gitRef {{ ref }} }}
        tree: address(value: {quote(sample_address + "#main")}) {{ directory(exclude: [".git"]) {{ entries }} }}
        sub: address(value: {quote(sample_address + "#main:dir")}) {{ directory {{ entries }} }}
        file: address(value: {quote(sample_address + "#dev:dir/file")}) {{ file {{ contents }} }}
        local: address(value: {quote(str(sample.work))}) {{ gitRepository {{ url head {{ commit }} }} }}
        dev: address(value: {quote(str(sample.work / ".git") + "#dev")}) {{ gitRef {{ commit }} }}
    }}"""
    found = engine.data(selection)
    assert found["repository"]["gitRepository"] == {"url": sample_address, "head": {"commit": sample.second}}
    assert found["head"]["gitRef"]["commit"] == sample.second
    assert found["branch"]["gitRef"]["ref"] == "refs/heads/dev"
    assert found["tag"]["gitRef"] == {"ref": "refs/tags/v0.10.0", "commit": sample.second}
    assert found["sha"]["gitRef"]["ref"] == sample.first
    assert found["tree"]["directory"]["entries"] == ["README", "dir/", "run.sh"]
    assert found["sub"]["directory"]["entries"] == ["file"]
    assert found["file"]["file"]["contents"] == "deep\n"
    assert found["local"]["gitRepository"] == {"url": "", "head": {"commit": sample.second}}
    assert found["dev"]["gitRef"]["commit"] == sample.dev
    engine.query(f"{{ address(value: {quote(sample_address)}) {{ file {{ contents }} }} }}").failed("no file path specified within git repository")
    engine.query(f"{{ address(value: {quote(sample_address + '#main')}) {{ gitRepository {{ url }} }} }}").failed("names more than a repository")
