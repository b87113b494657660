"""What code of modules in Go writes: the bindings as they work, and a call as its process sees it."""

import json

import pytest

from kit import ask, quote, serve_module, write_go_module

pytestmark = pytest.mark.once

MAIN = """package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"dagger/probe/internal/dagger"
)

type Probe struct {
	// +private
	Made []*dagger.File
	Named string `json:"called"`
	Left  string `json:"-"`
}

func (p *Probe) Initialisms(ctx context.Context) string {
	var _ func(string, ...dagger.HTTPOpts) *dagger.File = dag.HTTP
	var _ = (*dagger.GitRepository).URL
	var _ = (*dagger.Container).AsService
	return fmt.Sprintf("%T %T", dagger.JSON(""), dagger.Platform(""))
}

func (p *Probe) Sync(ctx context.Context) (string, error) {
	made, err := dag.Directory().WithNewFile("a", "").Sync(ctx)
	if err != nil {
		return "", err
	}
	entries, err := made.Entries(ctx)
	return strings.Join(entries, ","), err
}

func (p *Probe) Optional(ctx context.Context) (string, error) {
	file := dag.Directory().WithNewFile("a", "x", dagger.DirectoryWithNewFileOpts{}).File("a")
	out, err := dag.Container().From("busybox").
		WithFile("/a", file, dagger.ContainerWithFileOpts{Permissions: 0600}, dagger.ContainerWithFileOpts{Permissions: 0777}).
		WithExec([]string{"stat", "-c", "%a", "/a"}, dagger.ContainerWithExecOpts{Expect: dagger.ReturnTypeAny}).
		Stdout(ctx)
	return strings.TrimSpace(out), err
}

func (p *Probe) Nothing(ctx context.Context) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	dag.Container().WithDirectory("/", nil)
	return "no panic"
}

func (p *Probe) With() *dagger.Directory {
	return dag.Directory().With(func(d *dagger.Directory) *dagger.Directory { return d.WithNewFile("with", "") })
}

func (p *Probe) Enums() (string, error) {
	mode := dagger.CacheSharingModeLocked
	text, err := json.Marshal(mode)
	return fmt.Sprintf("%s %s %s", mode.Name(), mode.Value(), text), err
}

func (p *Probe) Loads(ctx context.Context) (string, error) {
	id, err := dag.Directory().WithNewFile("a", "").ID(ctx)
	if err != nil {
		return "", err
	}
	loaded, err := dagger.Load[*dagger.Directory](ctx, dag, id)
	if err != nil {
		return "", err
	}
	found := []string{}
	for _, directory := range []*dagger.Directory{loaded, dagger.Ref[*dagger.Directory](dag, id), dag.LoadDirectoryFromID(dagger.DirectoryID(id))} {
		entries, err := directory.Entries(ctx)
		if err != nil {
			return "", err
		}
		found = append(found, entries...)
	}
	return strings.Join(found, ","), nil
}

func (p *Probe) Lists(ctx context.Context) (string, error) {
	variables, err := dag.Container().WithEnvVariable("A", "1").WithEnvVariable("B", "2").EnvVariables(ctx)
	if err != nil {
		return "", err
	}
	values := []string{}
	for _, variable := range variables {
		value, err := variable.Value(ctx)
		if err != nil {
			return "", err
		}
		values = append(values, value)
	}
	return strings.Join(values, ","), nil
}

func (p *Probe) Failure(ctx context.Context) (string, error) {
	_, err := dag.Container().From("busybox").WithExec([]string{"sh", "-c", "echo o''ut; echo err >&2; exit 3"}).Sync(ctx)
	var failure *dagger.ExecError
	if !errors.As(err, &failure) {
		return "", err
	}
	return fmt.Sprintf("%d %s %s %v", failure.ExitCode, failure.Stdout, failure.Stderr, strings.Contains(err.Error(), "out")), nil
}

func (p *Probe) Process() (string, error) {
	place, err := os.Getwd()
	return place + " " + fmt.Sprint(len(os.Args)), err
}

func (p *Probe) Zero(
	// +optional
	text string,
	// +optional
	numbers []int,
	count *int,
	// +optional
	source *dagger.Directory,
) string {
	return fmt.Sprint(text == "", numbers == nil, count == nil, source == nil)
}

func (p *Probe) Keep(named string) *Probe {
	p.Made = append(p.Made, dag.Directory().WithNewFile("kept", named).File("kept"))
	p.Named, p.Left = named, named
	return p
}

func (p *Probe) Kept(ctx context.Context) (string, error) {
	text, err := p.Made[len(p.Made)-1].Contents(ctx)
	return fmt.Sprintf("%s %d %s %q", text, len(p.Made), p.Named, p.Left), err
}

func (p *Probe) Joined(ctx context.Context) error {
	_, err := dag.Container().From("busybox").WithExec([]string{"false"}).Sync(ctx)
	return errors.Join(errors.New("first"), err)
}
"""
OLD = """package main

import (
	"context"
	"fmt"
)

type Probe struct{}

func (p *Probe) Old(ctx context.Context) (string, error) {
	var id DirectoryID
	id, err := dag.Directory().WithNewFile("a", "").ID(ctx)
	if err != nil {
		return "", err
	}
	var directory *Directory = dag.LoadDirectoryFromID(id)
	mode := Shared
	entries, err := directory.Entries(ctx)
	return fmt.Sprint(entries, mode == CacheSharingMode("SHARED"), ContainerWithExecOpts{}.Stdin == ""), err
}

func (p *Probe) Gives() *Container { return dag.Container() }
"""


@pytest.fixture(scope="module")
def probe(connected, place):
    with connected.session() as session:
        serve_module(session, write_go_module(place / "language", {"main.go": MAIN}))
        yield session


# Each function of the module, by the row of the bindings that it shows, and what it gives.
ROWS = {
    "names have the initialisms of Go": ("initialisms", "dagger.JSON dagger.Platform"),
    "a field whose ID means itself gives the object": ("sync", "a"),
    "the first options count, and zero values are not sent": ("optional", "600"),
    "a nil argument of an object type panics": ("nothing", 'unexpected nil pointer for argument "source"'),
    "enums have names, values and JSON": ("enums", 'LOCKED LOCKED "LOCKED"'),
    "objects are loaded by ID": ("loads", "a,a,a"),
    "lists of objects are values": ("lists", "1,2"),
    "a failed process is an ExecError, whose text is without output": ("failure", "3 out err false"),
    "the program starts in its own directory, without arguments": ("process", "/scratch 1"),
    "absent arguments are zero values": ("zero", "true true true true"),
}


@pytest.mark.parametrize("row", ROWS)
def test_bindings(probe, row):
    field, value = ROWS[row]
    assert ask(probe, "probe", field) == value


def test_a_type_that_gives_itself_has_with(probe):
    assert ask(probe, "probe", "with", "entries") == ["with"]


def test_state_keeps_exported_fields_by_their_json_names(probe):
    assert ask(probe, "probe", 'keep(named: "first")', 'keep(named: "again")', "kept") == 'again 2 again ""'
    assert ask(probe, "probe", 'keep(named: "x")', "called") == "x"


def test_joined_errors_keep_the_text(probe):
    message = probe.error("{ probe { joined } }")["message"]
    assert message.startswith("first\n") and "exit code: 1" in message


def test_versions_before_v0_12_have_aliases_in_package_main(connected, folder):
    """Types, options, IDs by type and constants without their type's name."""
    module = write_go_module(folder, {"main.go": OLD}, engine_version="v0.11.9")
    assert connected.call(module, "old").ok().out.strip() == "[a] true true"
    assert json.loads(connected.run("functions", "--json", "-m", module).ok().out)
