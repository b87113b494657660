"""Modules in Go whose packages come from private repositories, by the settings of the client's git."""

import json
import subprocess

import pytest

from kit import write_go_module

pytestmark = pytest.mark.once

LIBRARY = {"go.mod": "module private.test/lib.git\n\ngo 1.24\n", "lib.go": 'package lib\n\nconst Word = "private"\n'}
MAIN = """package main

import lib "private.test/lib.git"

type Probe struct{}

func (p *Probe) Word() string { return lib.Word }
"""
TOKEN = "a-token-of-a-user"


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *author, *words], check=True, capture_output=True)


@pytest.fixture
def module(folder):
    """A module in a repository that also has the library, as a bare repository."""
    for path, text in LIBRARY.items():
        (folder / "lib").mkdir(exist_ok=True)
        (folder / "lib" / path).write_text(text)
    git(folder / "lib", "init", "--quiet", "--initial-branch=main")
    git(folder / "lib", "add", ".")
    git(folder / "lib", "commit", "--quiet", "--message=first")
    git(folder / "lib", "tag", "v1.0.0")
    files = {"main.go": MAIN, "go.mod": "module dagger/probe\n\ngo 1.24\n\nrequire private.test/lib.git v1.0.0\n"}
    sdk = {"source": "go", "config": {"goprivate": "private.test/*"}}
    module = write_go_module(folder / "probe", files, sdk=sdk)
    git(folder, "clone", "--quiet", "--bare", str(folder / "lib"), str(module / "lib.repository"))
    return module


def rewriting(engine, place: str, name: str = "lib") -> None:
    """The client's git reads a private repository from another place."""
    (engine.home / ".gitconfig").write_text(f'[url "{place}"]\n\tinsteadOf = https://private.test/{name}\n')


def test_private_packages_are_fetched_where_the_clients_git_says(connected, module):
    rewriting(connected, "file:///src/lib.repository")
    assert connected.call(module, "word").ok().out.strip() == "private"


def test_a_token_in_a_rewritten_address_is_not_shown(connected, module):
    # Another package, which no earlier build has fetched.
    for name in ("main.go", "go.mod"):
        (module / name).write_text((module / name).read_text().replace("lib.git", "other.git"))
    rewriting(connected, f"https://user:{TOKEN}@127.0.0.1:1/lib", "other")
    failed = connected.call(module, "word").failed("private.test/other.git")
    assert TOKEN not in failed.err and TOKEN not in connected.log()


def test_without_goprivate_the_settings_stay_with_the_client(connected, module):
    rewriting(connected, "file:///src/lib.repository")
    config = json.loads((module / "dagger.json").read_text())
    (module / "dagger.json").write_text(json.dumps(config | {"sdk": "go"}))
    connected.call(module, "word").failed("private.test/lib.git")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"private": "x", "other": 1}, "unknown sdk config keys found [private other]"),
        ({"goprivate": ["x"]}, "`sdk.config.goprivate` of module `probe` is no string"),
    ],
)
def test_a_wrong_configuration_is_refused(connected, module, config, text):
    document = json.loads((module / "dagger.json").read_text())
    (module / "dagger.json").write_text(json.dumps(document | {"sdk": {"source": "go", "config": config}}))
    connected.call(module, "word").failed(text)
