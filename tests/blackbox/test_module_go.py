"""The Go SDK: what functions of a module in Go take, give and report.

One module has most functions, because the first build of each module takes seconds.
"""

import json

import pytest

from kit import EXAMPLES, IMPORTS, ask, quote, serve_module, set_secret, write_go_module, write_module

pytestmark = pytest.mark.once

MAIN = """package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"dagger/probe/internal/dagger"
	"dagger/probe/shapes"
)

// How loud a text is
type Level string

const (
	// Not very
	LevelLow Level = "low"
	LevelHigh Level = "high"
)

// Probe has a function for everything.
type Probe struct {
	Prefix string
	// +private
	Count int
	// +private
	Files *dagger.Directory
	forgotten int
}

func New(
	// +default="> "
	prefix string,
	// +defaultPath="data"
	// +ignore=["*.log"]
	files *dagger.Directory,
) *Probe {
	return &Probe{Prefix: prefix, Files: files, forgotten: 7}
}

// Say repeats a text.
func (p *Probe) Say(
	text string,
	// +default=2
	times int,
	// +optional
	mark string,
	suffix *string,
) string {
	end := "none"
	if suffix != nil {
		end = *suffix
	}
	return p.Prefix + strings.Repeat(text, times) + mark + end
}

func (p *Probe) Louder(
	// +default="low"
	level Level,
) (Level, error) {
	if level == LevelLow {
		return LevelHigh, nil
	}
	return "", fmt.Errorf("nothing is louder than %q", string(level))
}

func (p *Probe) Levels() []Level { return []Level{LevelLow, LevelHigh} }

func (p *Probe) Sum(numbers []int, factors ...float64) float64 {
	total := 0.0
	for _, number := range numbers {
		total += float64(number)
	}
	for _, factor := range factors {
		total *= factor
	}
	return total
}

func (p *Probe) Add(by int) *Probe {
	p.Count += by
	p.forgotten += by
	return p
}

func (p *Probe) Counts() []int { return []int{p.Count, p.forgotten} }

func (p *Probe) Entries(ctx context.Context) ([]string, error) { return p.Files.Entries(ctx) }

func (p *Probe) Area() int { return shapes.Square{Side: 3}.Area() }

func (p *Probe) Fails() error { return fmt.Errorf("cannot open %q: %w", "door", errors.New("no key")) }

func (p *Probe) FailsTwice() error { return errors.Join(errors.New("first"), errors.New("second")) }

func (p *Probe) Panics(names []string) string {
	return pick(names, len(names))
}

func pick(names []string, index int) string {
	return names[index] // the line of the panic
}

func run(script string) *dagger.Container {
	return dag.Container().From("busybox").WithExec([]string{"sh", "-c", script})
}

func (p *Probe) Exits(ctx context.Context) (string, error) {
	return run("echo out; echo err >&2; exit 7").Stdout(ctx)
}

func (p *Probe) ExitCode(ctx context.Context) (string, error) {
	_, err := p.Exits(ctx)
	var failure *dagger.ExecError
	if !errors.As(fmt.Errorf("wrapped: %w", err), &failure) {
		return "", errors.New("no ExecError")
	}
	return fmt.Sprintf("%d %s %s %s", failure.ExitCode, failure.Stdout, failure.Stderr, failure.Cmd[0]), nil
}

func (p *Probe) Length(ctx context.Context, secret *dagger.Secret) (int, error) {
	text, err := secret.Plaintext(ctx)
	return len(text), err
}

func (p *Probe) Password() *dagger.Secret { return dag.SetSecret("password", "from the module") }

func (p *Probe) Stamp(source *dagger.Directory) *dagger.Directory { return source.WithNewFile("stamp", "here") }

func (p *Probe) Server() *dagger.Service {
	return dag.Container().From("busybox").
		WithNewFile("/www/index.html", "served").
		WithExposedPort(8080).
		AsService(dagger.ContainerAsServiceOpts{Args: []string{"httpd", "-f", "-p", "8080", "-h", "/www"}})
}

func (p *Probe) Fetch(ctx context.Context, server *dagger.Service) (string, error) {
	return dag.Container().From("busybox").
		WithServiceBinding("server", server).
		WithExec([]string{"wget", "-qO-", "http://server:8080/"}).
		Stdout(ctx)
}
"""
ITEMS = """package main

import "strings"

type Base struct {
	Kind string
}

func (b Base) Describe() string { return "a " + b.Kind }

// Item has what Base has.
type Item struct {
	Base
	Name string
	// +private
	Secret string
}

func (i *Item) Upper() string { return strings.ToUpper(i.Name) + i.Secret }

func (p *Probe) Items(names []string) []*Item {
	var items []*Item
	for _, name := range names {
		items = append(items, &Item{Base: Base{Kind: "thing"}, Name: name, Secret: "!"})
	}
	return items
}

func (p *Probe) Names(items []*Item) string {
	names := []string{}
	for _, item := range items {
		names = append(names, item.Name+item.Secret)
	}
	return strings.Join(names, ",")
}
"""
SHAPES = "package shapes\n\ntype Square struct{ Side int }\n\nfunc (s Square) Area() int { return s.Side * s.Side }\n"
PROBE = {
    "main.go": MAIN,
    "items.go": ITEMS,
    "items_test.go": "package main\n\nfunc broken() { undefined() }\n",
    "shapes/shapes.go": SHAPES,
    "data/kept.txt": "1",
    "data/left-out.log": "2",
}


@pytest.fixture(scope="module")
def module(place):
    """The module with most functions, in a repository."""
    (place / "repo/.git").mkdir(parents=True)
    return write_go_module(place / "repo/probe", PROBE)


@pytest.fixture(scope="module")
def probe(connected, module):
    """A session that serves the module."""
    with connected.session() as session:
        serve_module(session, module)
        yield session


def call(session, *fields: str):
    return ask(session, "probe", *fields)


def error(session, field: str) -> dict:
    return session.error("{ probe { %s } }" % field)


def test_arguments_have_defaults_or_are_optional(probe):
    assert call(probe, 'say(text: "ab")') == "> ababnone"
    assert call(probe, 'say(text: "a", times: 1, mark: "!", suffix: "")') == "> a!"
    assert ask(probe, 'probe(prefix: "- ")', 'say(text: "a", times: 0)') == "- none"
    assert "text" in error(probe, "say")["message"]


def test_enums_are_members_by_name(probe):
    assert call(probe, "levels") == ["LOW", "HIGH"]
    assert call(probe, "louder") == "HIGH"
    assert error(probe, "louder(level: HIGH)")["message"] == 'nothing is louder than "high"'


def test_lists_and_numbers(probe):
    assert call(probe, "sum(numbers: [1, 2], factors: [0.5, 3])") == 4.5
    assert call(probe, "sum(numbers: [], factors: [])") == 0


def test_objects_chain_and_keep_exported_fields(probe):
    assert call(probe, "add(by: 2)", "add(by: 3)", "counts") == [5, 0], "an unexported field is lost between calls"
    assert call(probe, "add(by: 1)", "prefix") == "> "


def test_lists_of_own_objects(probe):
    items = call(probe, 'items(names: ["a", "b"]) { name base { kind } upper describe id }')
    assert [{**item, "id": None} for item in items] == [
        {"name": name, "base": {"kind": "thing"}, "upper": name.upper() + "!", "describe": "a thing", "id": None} for name in "ab"
    ]
    assert call(probe, "names(items: %s)" % json.dumps([item["id"] for item in items])) == "a!,b!"


def test_the_contextual_directory_leaves_out_what_is_ignored(probe):
    assert call(probe, "entries") == ["kept.txt"]
    given = ask(probe, "directory", 'withNewFile(path: "given.txt", contents: "")', "id")
    assert ask(probe, f"probe(files: {quote(given)})", "entries") == ["given.txt"]


def test_packages_below_are_compiled(probe):
    assert call(probe, "area") == 9


def test_errors_have_the_text_of_the_error(probe):
    assert error(probe, "fails")["message"] == 'cannot open "door": no key'
    assert error(probe, "failsTwice")["message"] == "first\nsecond"


def test_a_panic_names_the_users_line(connected, module):
    line = MAIN[: MAIN.index("// the line of the panic")].count("\n") + 1
    failed = connected.run("call", "-m", module, "panics", "--names=a,b")
    failed.failed("index out of range [2] with length 2", f"main.go:{line}")
    assert "dagger.gen.go" not in failed.err


def test_a_failed_process_keeps_its_details(probe, connected, module):
    extensions = error(probe, "exits")["extensions"]
    assert (extensions["exitCode"], extensions["stdout"], extensions["stderr"]) == (7, "out", "err")
    assert extensions["_type"] == "EXEC_ERROR"
    assert call(probe, "exitCode") == "7 out err sh"
    connected.run("call", "-m", module, "exits").failed("exit code: 7", "err")


def test_secrets_directories_and_services_go_in_and_out(probe):
    assert call(probe, "length(secret: %s)" % quote(set_secret(probe, "four"))) == 4
    assert call(probe, "password", "plaintext") == "from the module"
    given = ask(probe, "directory", 'withNewFile(path: "a", contents: "")', "id")
    assert call(probe, f"stamp(source: {quote(given)})", "entries") == ["a", "stamp"]
    server = call(probe, "server", "id")
    assert call(probe, f"fetch(server: {quote(server)})") == "served"


HELPER = """package main

type Helper struct{}

type Tool struct {
	Name string
}

func (h *Helper) Tool(name string) *Tool { return &Tool{Name: name} }

func (t *Tool) Use(
	// +default=1
	times int,
) string {
	if times > 1 {
		return t.Name + " is used often"
	}
	return t.Name + " is used"
}
"""
USER = """package main

import (
	"context"

	"dagger/user/internal/dagger"
)

type User struct{}

func (u *User) Go(ctx context.Context) (string, error) {
	return use(ctx, dag.Helper().Tool("hammer"))
}

func use(ctx context.Context, tool *dagger.HelperTool) (string, error) {
	return tool.Use(ctx, dagger.HelperToolUseOpts{Times: 2})
}

func (u *User) Python(ctx context.Context) (string, error) {
	return dag.Snake().Hiss(ctx, "go")
}
"""
SNAKE = IMPORTS + (
    "@object_type\nclass Snake:\n    @function\n    def hiss(self, at: str) -> str:\n        return 'hiss, ' + at\n\n"
    "    @function\n    async def tool(self) -> str:\n        return await dag.helper().tool('saw').use()\n"
)


def test_modules_depend_on_modules_in_other_languages(connected, module):
    root = module.parent
    write_go_module(root / "helper", {"main.go": HELPER}, "helper")
    snake = {"name": "snake", "sdk": "python", "engineVersion": "v0.21.8", "dependencies": [{"name": "helper", "source": "../helper"}]}
    write_module(root / "snake", SNAKE, "snake", config=json.dumps(snake))
    dependencies = [{"name": name, "source": f"../{name}"} for name in ["helper", "snake"]]
    user = write_go_module(root / "user", {"main.go": USER}, "user", dependencies=dependencies)
    assert connected.run("call", "-m", user, "go").ok().out == "hammer is used often"
    assert connected.run("call", "-m", user, "python").ok().out == "hiss, go"
    assert connected.run("call", "-m", root / "snake", "tool").ok().out == "saw is used"


BROKEN = "package main\n\ntype Broken struct{}\n\nfunc (b *Broken) Go() string {\n\treturn undefined\n}\n"


def test_compile_errors_have_the_users_paths(connected, folder):
    (folder / ".git").mkdir()
    broken = write_go_module(folder, {"ci/main.go": BROKEN, "ci/go.mod": "module dagger/broken\n\ngo 1.24\n"}, "broken", source="ci")
    assert connected.run("functions", "-m", broken).ok().out.split("\n")[1].split() == ["go", "-"], "types need no compiler"
    failed = connected.run("call", "-m", broken, "go").failed("ci/main.go:6:9: undefined: undefined")
    assert "/src/" not in failed.err


def test_syntax_errors_show_the_line(connected, folder):
    broken = write_go_module(folder, {"main.go": BROKEN.replace("() string {", "( string {")}, "broken")
    failed = connected.run("functions", "-m", broken).failed("main.go:5")
    lines = failed.err.split("\n")
    (shown,) = [number for number, line in enumerate(lines) if "func (b *Broken) Go( string {" in line]
    assert lines[shown + 1].strip(" |│") == "^", failed.err


def test_an_example_greets(connected):
    greet = ["call", "-m", EXAMPLES / "go-greeter"]
    assert connected.run(*greet, "--salutation=Hi", "hello", "--name=Ada", "--tone=FORMAL").ok().out == "Hi, Ada."
    greetings = connected.run(*greet, "meet", "--name=Ada", "meet", "--name=Bob", "greetings", "shout").ok().out
    assert greetings.split("\n")[:2] == ["HELLO, ADA!", "HELLO, BOB!"]
    assert connected.run(*greet, "from-container").ok().out == "Hello, World, from a container\n"


def test_an_example_builds_and_tests_the_project_beside_it(connected):
    project = ["call", "-m", EXAMPLES / "go-project"]
    assert "ok  \texample.com/words/words" in connected.run(*project, "test").ok().out
    connected.run(*project, "check").ok()
    assert connected.run(*project, "image", "with-exec", "--use-entrypoint", "--args=one,two", "stdout").ok().out == "2\n"
