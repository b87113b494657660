"""The bindings that the Go SDK generates, compared with the official library for Go."""

import json
import re
import subprocess

import pytest

from kit import CLIENTS, ask, container, quote, sh

pytestmark = pytest.mark.once

# Generated code differs at these versions.
VIEWS = ["v0.9.9", "v0.11.9", "v0.12.7", "v0.15.4", "v0.18.10", "v0.18.11", "v0.19.11", "v0.21.8"]

# What the library has and the bindings of a module do not, with the reason.
MISSING = {
    r"(Query\.)?(Load)?(Host|Engine)\w*(\..*)?": "belongs to the machine of a client; modules do not see it",
    r"\w+\.WithGraphQLQuery|\w+\.QueryBuilder": "has a type of the package `querybuilder` in its signature",
    r"Query\.(Do|GraphQLClient)|Request(\..*)?|Response(\..*)?": "has types of the package `genqlient`",
    r"DaggerObject\.querybuilder\.GraphQLMarshaller": "the methods of that interface are declared in place",
    r"Tracer": "is in the main package of a module that uses it",
    r"ClientOpt|With(Conn|EnvironmentVariable|LoadWorkspaceModules|LogOutput|RunnerHost)": "an option of `Connect`, which takes none",
    r"With(SkipWorkspaceModules|Verbosity|VersionOverride|Workdir|Workspace)": "an option of `Connect`, which takes none",
    r"EngineConn|GoDagGen|GoMod|GoSDK|GoSum": "the library's own files, for its code generator",
    r"Client\.\*Query|Query\.(AsNode|MarshalJSON|WithGraphQLQuery|XXX_\w+)": "the root is one type, and is not loaded by an ID",
    r"Loadable\.(Node|WithGraphQLQuery)": "the constraint has other methods; the same types satisfy it",
}
# What only the bindings of a module have.
ADDED = {
    r"XXX_\w+|DaggerObject\.XXX_\w+": "for the generated program",
    r"\w+\.UnmarshalJSON": "an object is read from its ID",
    r"GraphQLError(\..*)?": "stands for the type of the package `gqlerror`",
    r"Loadable\.DaggerObject": "the constraint has other methods; the same types satisfy it",
}
# What both have in different forms.
DIFFERENT = {
    r"\w+ID": ("type = ID", "type string"),
    r"Query": ("type = Client", "type struct"),
    r"Connect": ("func() (*Client)", "func(context.Context, ...ClientOpt) (*Client, error)"),
    # A zero is left out. The port of the back end is used then.
    r"PortForward\.Frontend": ('int `json:"frontend,omitempty"`', 'int `json:"frontend"`'),
}


def apis(*folders) -> list[dict[str, str]]:
    """The exported API of Go packages: the declarations by name. They are formatted as gofmt formats."""
    done = subprocess.run([str(CLIENTS / "go-api"), *map(str, folders)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def generated(engine, folder, version: str):
    """A module of that version with the files that are generated for it."""
    folder.mkdir(parents=True)
    (folder / "dagger.json").write_text(json.dumps({"name": "probe", "engineVersion": version, "sdk": "go"}))
    engine.run("develop", "--compat=skip", "-m", folder).ok()
    return folder


@pytest.fixture(scope="module")
def modules(engine, place):
    """Modules of all versions, by version."""
    (place / "views/.git").mkdir(parents=True)
    return {version: generated(engine, place / "views" / version, version) for version in VIEWS}


def resolved(api: dict[str, str]) -> dict[str, str]:
    """The API with the values of constants in place of other constants."""
    value = {name: text.partition(" = ")[2] for name, text in api.items() if text.startswith("const")}
    shown = dict(api)
    for name, is_value in value.items():
        if is_value in value:
            shown[name] = f"{api[name].partition(' = ')[0]} = {value[is_value]}"
    # The library's client embeds the root.
    return {re.sub(r"^Client\.(?!\*)", "Query.", name): text for name, text in shown.items()}


def unexplained(names, reasons) -> list[str]:
    return sorted(name for name in names if not any(re.fullmatch(pattern, name) for pattern in reasons))


def test_bindings_are_those_of_the_official_library(modules):
    ours, theirs = map(resolved, apis(modules["v0.21.8"] / "internal/dagger", CLIENTS / "go-library"))
    assert len(theirs) > 1900, "the library has been read"
    assert unexplained(theirs.keys() - ours.keys(), MISSING) == []
    assert unexplained(ours.keys() - theirs.keys(), ADDED) == []
    different = {name: (ours[name], theirs[name]) for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    known = {name for name, forms in different.items() for pattern in DIFFERENT if re.fullmatch(pattern, name) and DIFFERENT[pattern] == forms}
    assert {name: forms for name, forms in different.items() if name not in known} == {}


def test_every_explained_difference_exists(modules):
    ours, theirs = map(resolved, apis(modules["v0.21.8"] / "internal/dagger", CLIENTS / "go-library"))
    for reasons, names in [(MISSING, theirs.keys() - ours.keys()), (ADDED, ours.keys() - theirs.keys()), (DIFFERENT, ours.keys() & theirs.keys())]:
        assert [pattern for pattern in reasons if not any(re.fullmatch(pattern, name) for name in names)] == []


def test_generated_code_is_formatted(modules):
    for module in modules.values():
        program, bindings = apis(module, module / "internal/dagger")
        assert "Probe.ContainerEcho" in program and "Container.WithExec" in bindings


def test_old_versions_have_their_names(modules):
    """The names that code of old modules uses."""
    found = {version: apis(module, module / "internal/dagger") for version, module in modules.items()}
    # Before v0.12.0, package main has all types.
    assert [version for version in VIEWS if "ContainerWithExecOpts" in found[version][0]] == VIEWS[:2]
    # Before v0.15.0, constants exist without the name of their type.
    assert [version for version in VIEWS if "Shared" in found[version][1]] == VIEWS[:3]
    assert found["v0.12.7"][1]["Dockermediatypes"] == "const = ImageMediaTypesDockerMediaTypes"
    # Before v0.21.0, every type has its own ID.
    assert [version for version in VIEWS if "Loadable" in found[version][1]] == VIEWS[-1:]


@pytest.mark.once
def test_generated_code_of_every_version_compiles(session, place, modules):
    """`go vet` takes as long as the compiler, so it looks at the oldest and the newest."""
    source = ask(session, "host", f"directory(path: {quote(place / 'views')})", "id")
    vet = f"(cd {VIEWS[0]} && go vet ./...) && (cd {VIEWS[-1]} && go vet ./...) || exit 1"
    build = "for version in v*; do (cd $version && go build -buildvcs=false ./... && echo $version) || exit 1; done"
    mounted = f'withMountedDirectory(path: "/m", source: {quote(source)})'
    image = container("golang:1.26-bookworm")
    built = ask(session, *image, mounted, 'withWorkdir(path: "/m")', sh(f"{vet}; {build}"), "stdout")
    assert sorted(built.split()) == sorted(VIEWS)
