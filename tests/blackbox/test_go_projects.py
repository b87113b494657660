"""What a module in Go may be as a Go project: its `go.mod`, its packages, its files. One module has
most of it, because the first build of each module takes seconds.
"""

import json

import pytest

from kit import ask, serve_module, write_go_module

pytestmark = pytest.mark.once

MAIN = """package main

import (
	_ "embed"

	"example.com/beside"
	"example.com/me/probe/internal/dagger"
	"example.com/me/probe/inner"
)

//go:embed words.txt
var words string

type Probe struct{}

func (p *Probe) Words() string { return words }

func (p *Probe) Beside() string { return beside.Word }

func (p *Probe) Built() string { return built }

func (p *Probe) Inner(source *dagger.Directory) *dagger.Directory { return inner.Stamped(source) }

func (p *Probe) Connected() *dagger.Directory { return inner.Connected() }
"""
INNER = """package inner

import "example.com/me/probe/internal/dagger"

func Stamped(source *dagger.Directory) *dagger.Directory { return source.WithNewFile("stamp", "") }

func Connected() *dagger.Directory { return dagger.Connect().Directory().WithNewFile("connected", "") }
"""
GO_MOD = """module example.com/me/probe // a path of its own

go 1.24.0

toolchain go1.25.3

require example.com/beside v0.0.0

replace example.com/beside => ../beside
"""
PROJECT = {
    "main.go": MAIN,
    "linux.go": "//go:build linux && !windows\n\npackage main\n\nconst built = \"on Linux\"\n",
    "other.go": "//go:build !linux\n\npackage main\n\nconst built = \"elsewhere\"\n",
    "main_test.go": "package main\n\nfunc broken() { undefined() }\n",
    "inner/inner.go": INNER,
    "words.txt": "embedded",
    # What another version of a tool generated.
    "dagger.gen.go": "package main\n\nfunc stale() { undefined() }\n",
    "internal/dagger/dagger.gen.go": "package dagger\n\nfunc stale() { undefined() }\n",
    "go.mod": GO_MOD,
}
SAY = 'package main\n\ntype Probe struct{}\n\nfunc (p *Probe) Say() string { return "said" }\n'


@pytest.fixture(scope="module")
def project(connected, place):
    """A session that serves the module. A module of Go is beside it, in the same repository."""
    (place / "project/.git").mkdir(parents=True)
    beside = place / "project/beside"
    beside.mkdir()
    (beside / "go.mod").write_text("module example.com/beside\n\ngo 1.24\n")
    (beside / "beside.go").write_text('package beside\n\nconst Word = "beside"\n')
    module = write_go_module(place / "project/probe", PROJECT, include=["../beside"])
    with connected.session() as session:
        serve_module(session, module)
        yield session


def test_generated_packages_are_imported_by_the_path_of_go_mod(project):
    """The path is `example.com/me/probe`. A stale generated package is replaced."""
    assert ask(project, "probe", "inner(source: %s)" % json.dumps(ask(project, "directory", "id")), "entries") == ["stamp"]


def test_packages_below_connect_to_the_client_of_the_process(project):
    assert ask(project, "probe", "connected", "entries") == ["connected"]


def test_files_are_embedded(project):
    assert ask(project, "probe", "words") == "embedded"


def test_a_local_replacement_in_the_context_is_used(project):
    assert ask(project, "probe", "beside") == "beside"


def test_build_tags_select_files_and_tests_are_left_out(project):
    assert ask(project, "probe", "built") == "on Linux"


def test_a_toolchain_line_downloads_nothing(project):
    """The module asks for go1.25.3. It is built with the Go of the image."""
    assert ask(project, "probe", "words") == "embedded"


def test_a_missing_go_mod_is_made(connected, folder):
    module = write_go_module(folder / "my-probe", {"main.go": SAY.replace("Probe", "MyProbe")}, name="my-probe")
    (module / "go.mod").unlink()
    assert connected.call(module, "say").ok().out.strip() == "said"
    assert not (module / "go.mod").exists(), "a call writes no file of the tree"
    connected.run("develop", "-m", module).ok()
    assert (module / "go.mod").read_text() == "module dagger/my-probe\n\ngo 1.26\n"


@pytest.mark.parametrize(
    ("go_mod", "text"),
    [
        ("module x\n", "go.mod has no go directive"),
        ("module x\n\ngo 1.99\n", "existing go.mod has unsupported version 1.99 (highest supported version is 1.26.x)"),
    ],
    ids=["no go directive", "a newer Go than the toolchain"],
)
def test_a_go_mod_that_cannot_be_built_is_refused(connected, folder, go_mod, text):
    module = write_go_module(folder, {"main.go": SAY, "go.mod": go_mod})
    connected.call(module, "say").failed(text)


def test_init_refuses_a_go_mod_of_another_module(engine, folder):
    (folder / "go.mod").write_text("module example.com/app\n\ngo 1.24\n")
    refused = engine.run("init", folder, "--sdk=go", "--name=probe", "--source", folder)
    refused.failed('existing go.mod path "example.com/app" does not match the module\'s name "dagger/probe"')
    assert [path.name for path in folder.iterdir()] == ["go.mod"]


def test_a_workspace_of_go_gets_the_module(connected, folder):
    """The workspace above the module does not list it."""
    (folder / ".git").mkdir()
    (folder / "go.work").write_text("go 1.24\n\nuse ./other\n")
    other = folder / "other"
    other.mkdir()
    (other / "go.mod").write_text("module example.com/other\n\ngo 1.24\n")
    (other / "other.go").write_text('package other\n\nconst Word = "of the workspace"\n')
    code = SAY.replace("package main\n", 'package main\n\nimport "example.com/other"\n').replace('"said"', "other.Word")
    module = write_go_module(folder / "probe", {"main.go": code}, include=["../go.work", "../other"])
    assert connected.call(module, "say").ok().out.strip() == "of the workspace"


def test_an_empty_source_folder_is_a_working_module(connected, folder):
    (folder / "dagger.json").write_text(json.dumps({"name": "probe", "sdk": "go", "engineVersion": "v0.21.8"}))
    assert "container-echo" in connected.run("functions", "-m", folder).ok().out
    assert connected.call(folder, "container-echo", "--string-arg=said", "stdout").ok().out.strip() == "said"
