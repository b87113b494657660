"""Version gates of the core API: the old behaviour before a version, the new one from it on.

The tests share one engine, with one session per version.
"""

import itertools
import json
import shutil

import pytest

from kit import REPO, leaf

pytestmark = pytest.mark.once

MODULES = REPO / "tests/modules"


class Fails:
    """An answer that is an error, and words of its message."""

    def __init__(self, *words):
        self.words = words

    def __repr__(self):
        return f"fails{self.words}"


# Any answer.
ANY = object()
UNKNOWN = Fails("Cannot query field")
UNKNOWN_ARGUMENT = Fails("Unknown argument")


@pytest.fixture(scope="module")
def at(engine):
    """A session that speaks a version."""
    sessions = {}

    def open_session(version):
        if version not in sessions:
            sessions[version] = engine.session("--version", version)
        return sessions[version]

    yield open_session
    for session in sessions.values():
        session.close()


def answer_of(session, document, **ids):
    """The message of the first error, and the data.

    `$NAME` in the document is replaced by an ID.
    """
    for name, value in ids.items():
        document = document.replace(f"${name}", json.dumps(value))
    status, answer = session.post({"query": document})
    if answer.get("errors"):
        return answer["errors"][0]["message"], None
    assert status == 200, answer
    return None, answer["data"]


def check(document, message, data, want):
    if isinstance(want, Fails):
        assert message, f"{document} gave {data}"
        for word in want.words:
            assert word in message, f"`{word}` is not in: {message}"
    else:
        assert message is None, f"{document}: {message}"
        assert want is ANY or leaf(data) == want, document


def expect(session, document, want, **ids):
    check(document, *answer_of(session, document, **ids), want)


FOLDER = 'directory { withNewFile(path: "d/f", contents: "x") { %s } }'
SAYS = 'container { from(address: "busybox") { withEntrypoint(args: ["echo", "entry"]) { %s } } }'
TYPE = 'typeDef { withEnum(name: "E") { withEnumMember(name: "NAME", value: "worth") { asEnum { members { name value } } } } }'

# Name, document, and its result by version: oldest first, each with the last version before the
# next.
ROWS = [
    ("schemaVersion", "{ __schemaVersion }", [("v0.11.9", "v0.11.9"), ("v0.18.10", "v0.18.10"), ("v123.456.789", "v123.456.789")]),
    ("Query.pipeline", '{ pipeline(name: "a", labels: [{name: "x", value: "y"}]) { directory { entries } } }', [("v0.12.7", []), ("v0.13.0", UNKNOWN)]),
    ("Container.pipeline", '{ container { pipeline(name: "a", description: "b") { envVariables { name } } } }', [("v0.12.7", []), ("v0.13.0", UNKNOWN)]),
    ("Directory.pipeline", '{ directory { pipeline(name: "a") { entries } } }', [("v0.12.7", []), ("v0.13.0", UNKNOWN)]),
    ("Container.withFocus", "{ container { withFocus { envVariables { name } } } }", [("v0.13.3", []), ("v0.13.4", UNKNOWN)]),
    ("Container.withoutFocus", "{ container { withoutFocus { envVariables { name } } } }", [("v0.13.3", []), ("v0.13.4", UNKNOWN)]),
    ("Directory.entries", "{ %s }" % (FOLDER % "entries"), [("v0.16.3", ["d"]), ("v0.17.0", ["d/"])]),
    ("Directory.entries of a path", '{ directory { withNewDirectory(path: "a/b") { entries(path: "a") } } }', [("v0.16.3", ["b"]), ("v0.17.0", ["b/"])]),
    ("Directory.glob", "{ %s }" % (FOLDER % 'glob(pattern: "**")'), [("v0.16.3", ["d", "d/f"]), ("v0.17.0", ["d/", "d/f"])]),
    ("Directory.name", "{ %s }" % (FOLDER % 'directory(path: "d") { name }'), [("v0.16.3", "d"), ("v0.17.0", "d/")]),
    ("Container.withNewFile without contents", '{ container { withNewFile(path: "/f") { file(path: "/f") { contents } } } }', [("v0.11.9", ""), ("v0.12.0", Fails("contents"))]),
    ("Container.withNewFile", '{ container { withNewFile(path: "/f", contents: "x") { file(path: "/f") { contents } } } }', [("v0.11.9", "x"), ("v0.12.0", "x")]),
    ("Container.withNewFile expands", '{ container { withEnvVariable(name: "N", value: "n") { withNewFile(path: "/$N", contents: "x", expand: true) { file(path: "/n") { contents } } } } }', [("v0.11.9", UNKNOWN_ARGUMENT), ("v0.12.0", "x")]),
    ("withExec by default", "{ %s }" % (SAYS % 'withExec(args: ["echo", "own"]) { stdout }'), [("v0.11.9", "entry echo own\n"), ("v0.12.7", "entry echo own\n"), ("v0.13.0", "own\n")]),
    ("withExec.skipEntrypoint", "{ %s }" % (SAYS % 'withExec(args: ["echo", "own"], skipEntrypoint: true) { stdout }'), [("v0.11.9", "own\n"), ("v0.12.7", "own\n"), ("v0.13.0", UNKNOWN_ARGUMENT)]),
    ("withExec.skipEntrypoint and useEntrypoint", "{ %s }" % (SAYS % 'withExec(args: ["echo", "own"], skipEntrypoint: true, useEntrypoint: true) { stdout }'), [("v0.11.9", "own\n"), ("v0.13.0", UNKNOWN_ARGUMENT)]),
    ("withExec.useEntrypoint", "{ %s }" % (SAYS % 'withExec(args: ["echo", "own"], useEntrypoint: true) { stdout }'), [("v0.11.9", "entry echo own\n"), ("v0.21.8", "entry echo own\n")]),
    ("stdout of nothing", "{ %s }" % (SAYS % 'withDefaultArgs(args: ["echo", "default"]) { stdout }'), [("v0.11.9", "entry echo default\n"), ("v0.12.0", Fails("no command has been set"))]),
    ("stderr of nothing", '{ container { from(address: "busybox") { withEntrypoint(args: ["sh", "-c", "echo $0 >&2"]) { withDefaultArgs(args: ["true"]) { stderr } } } } }', [("v0.11.9", "true\n"), ("v0.12.0", Fails("no command has been set"))]),
    ("stdout of less than nothing", "{ container { stdout } }", [("v0.11.9", Fails("no command has been set")), ("v0.21.8", Fails("no command has been set"))]),
    ("TypeDef.withEnumMember", "{ %s }" % TYPE, [("v0.18.10", [{"name": "worth", "value": "worth"}]), ("v0.18.11", [{"name": "NAME", "value": "worth"}])]),
    ("an alias of an enum is taken", "{ typeDef { withKind(kind: STRING) { kind } } }", [("v0.18.10", "STRING_KIND"), ("v0.21.8", "STRING_KIND")]),
    ("a member of an enum may be a string", '{ typeDef { withKind(kind: "STRING") { kind } } }', [("v0.18.10", "STRING_KIND"), ("v0.21.8", "STRING_KIND")]),
    ("FileType", "{ %s }" % (FOLDER % 'stat(path: "d/f") { fileType }'), [("v0.18.10", "REGULAR"), ("v0.18.11", "REGULAR")]),
    ("ImageMediaTypes", "{ container { asTarball(mediaTypes: OCI, forcedCompression: GZIP) { sync } } }", [("v0.18.10", ANY), ("v0.21.8", ANY)]),
    ("sourceMap of nowhere", '{ typeDef { withObject(name: "O") { asObject { sourceMap { filename } } } } }', [("v0.18.19", ""), ("v0.19.0", None)]),
    ("Container.build", '{ container { build(context: $folder) { id } } }', [("v0.18.19", Fails("failed to read dockerfile")), ("v0.19.0", UNKNOWN)]),
    ("cacheVolume(namespace:)", '{ cacheVolume(key: "k", namespace: "n") { __typename } }', [("v0.18.10", "CacheVolume"), ("v0.18.11", UNKNOWN_ARGUMENT)]),
    ("Host.setSecretFile", '{ host { setSecretFile(name: "n", path: "secret.txt") { plaintext } } }', [("v0.18.19", "from a file"), ("v0.19.0", UNKNOWN)]),
    ("Directory.withDirectory(directory:)", '{ directory { withDirectory(path: "a", directory: $folder) { file(path: "a/d/f") { contents } } } }', [("v0.18.19", "x"), ("v0.19.0", UNKNOWN_ARGUMENT)]),
    ("Directory.withDirectory(source:)", '{ directory { withDirectory(path: "a", source: $folder) { file(path: "a/d/f") { contents } } } }', [("v0.18.19", UNKNOWN_ARGUMENT), ("v0.19.0", "x")]),
    ("Container.withDirectory(directory:)", '{ container { withDirectory(path: "a", directory: $folder) { file(path: "a/d/f") { contents } } } }', [("v0.18.19", "x"), ("v0.19.0", UNKNOWN_ARGUMENT)]),
    ("Container.withDirectory(source:)", '{ container { withDirectory(path: "a", source: $folder) { file(path: "a/d/f") { contents } } } }', [("v0.18.19", UNKNOWN_ARGUMENT), ("v0.19.0", "x")]),
    ("loadDirectoryFromID", "{ loadDirectoryFromID(id: $folder) { __typename } }", [("v0.9.9", "Directory"), ("v0.21.8", "Directory"), ("v0.22.0", UNKNOWN)]),
    ("node(id:)", "{ node(id: $folder) { __typename } }", [("v0.9.9", "Directory"), ("v0.18.10", "Directory"), ("v0.21.8", "Directory")]),
    ("ModuleSource.cloneURL", '{ directory { withNewFile(path: "dagger.json", contents: "{\\"name\\": \\"x\\"}") { asModuleSource { cloneURL } } } }', [("v0.12.7", ""), ("v0.13.0", UNKNOWN)]),
    ("a variable of a legacy type", "query($id: DirectoryID!) { loadDirectoryFromID(id: $id) { file(path: \"d/f\") { contents } } }", [("v0.18.10", "x"), ("v0.21.8", "x")]),
]


def cases():
    for name, document, steps in ROWS:
        for version, want in steps:
            yield pytest.param(document, version, want, id=f"{name} at {version}")


@pytest.mark.parametrize("document, version, want", cases())
def test_a_gate_has_both_sides(engine, at, document, version, want):
    (engine.folder / "secret.txt").write_text("from a file")
    session = at(version)
    folder = at("v0.21.8").query("{ %s }" % (FOLDER % "id"))["directory"]["withNewFile"]["id"]
    if document.startswith("query("):
        status, answer = session.post({"query": document, "variables": {"id": folder}})
        assert leaf(answer.get("data")) == want, answer
    else:
        expect(session, document, want, folder=folder)


EXPORTS = [
    ("Directory", FOLDER % 'export(path: "%s")'),
    ("File", FOLDER % 'file(path: "d/f") { export(path: "%s") }'),
    ("Container", 'container { export(path: "%s") }'),
]


@pytest.mark.parametrize("name, document", EXPORTS)
def test_export_returns_the_path_since_its_gate(engine, at, name, document):
    for version, path in [("v0.11.9", f"old-{name}"), ("v0.12.0", f"new-{name}")]:
        want = True if version == "v0.11.9" else str(engine.folder / path)
        expect(at(version), "{ %s }" % (document % path), want)
        assert (engine.folder / path).exists()


INTROSPECTION = """{ __type(name: %s) { enumValues(includeDeprecated: true) { name }
  fields(includeDeprecated: true) { name type { ...T } args { name defaultValue type { ...T } } } } }
fragment T on __Type { name kind ofType { name kind ofType { name kind ofType { name kind } } } }"""


def written(ty):
    if ty["kind"] == "NON_NULL":
        return written(ty["ofType"]) + "!"
    return f"[{written(ty['ofType'])}]" if ty["kind"] == "LIST" else ty["name"]


def shape(session, type_name, field):
    """A field as it is written in a schema. `None` if the view has no such field or type."""
    ty = session.query(INTROSPECTION % json.dumps(type_name))["__type"]
    found = [f for f in (ty or {}).get("fields") or [] if f["name"] == field]
    if not found:
        return None
    default = lambda arg: "" if arg["defaultValue"] is None else f" = {arg['defaultValue']}"
    args = [f"{arg['name']}: {written(arg['type'])}{default(arg)}" for arg in found[0]["args"]]
    return f"({', '.join(args)}): {written(found[0]['type'])}" if args else written(found[0]["type"])


START = "useEntrypoint: Boolean = false, experimentalPrivilegedNesting: Boolean = false, insecureRootCapabilities: Boolean = false, expand: Boolean = false, noInit: Boolean = false"
PORTS = "random: Boolean = false, ports: [PortForward!] = []"
SHAPES = [
    ("Container", "terminal", [("v0.11.9", "Terminal!"), ("v0.12.0", "(cmd: [String!] = [], experimentalPrivilegedNesting: Boolean = false, insecureRootCapabilities: Boolean = false): Container!")]),
    ("Terminal", "websocketEndpoint", [("v0.11.9", "String!"), ("v0.12.0", None)]),
    ("Directory", "terminal", [("v0.11.9", None), ("v0.12.0", "(container: ID, cmd: [String!] = [], experimentalPrivilegedNesting: Boolean = false, insecureRootCapabilities: Boolean = false): Directory!")]),
    ("Changeset", "withChangesets", [("v0.14.0", None), ("v0.15.0", "(changes: [ID!]!, onConflict: ChangesetsMergeConflict = FAIL): Changeset!")]),
    ("Container", "asService", [("v0.14.0", "Service!"), ("v0.15.0", f"(args: [String!] = [], {START}): Service!")]),
    ("Container", "up", [("v0.15.1", f"({PORTS}): Void"), ("v0.15.2", f"({PORTS}, args: [String!] = [], {START}): Void")]),
    ("ModuleSource", "cloneURL", [("v0.12.7", "String!"), ("v0.13.0", None)]),
    ("LLM", "historyJSON", [("v0.18.3", "String!"), ("v0.18.4", "JSON!")]),
    ("GitRepository", "withAuthToken", [("v0.18.19", "(token: ID!): GitRepository!"), ("v0.19.0", None)]),
    ("GitRepository", "withAuthHeader", [("v0.18.19", "(header: ID!): GitRepository!"), ("v0.19.0", None)]),
    ("GitRef", "tree", [("v0.11.9", "(discardGitDir: Boolean = false, depth: Int = 1, includeTags: Boolean = false, sshKnownHosts: String, sshAuthSocket: ID): Directory!"), ("v0.12.0", "(discardGitDir: Boolean = false, depth: Int = 1, includeTags: Boolean = false): Directory!")]),
    ("Function", "sourceMap", [("v0.18.19", "SourceMap!"), ("v0.19.0", "SourceMap")]),
    ("Module", "runtime", [("v0.19.11", "Container!"), ("v0.20.0", "Container")]),
    ("Query", "loadFileFromID", [("v0.9.9", "(id: FileID!): File!"), ("v0.21.8", "(id: FileID!): File!"), ("v0.22.0", None)]),
    ("Query", "loadTerminalFromID", [("v0.18.10", "(id: TerminalID!): Terminal!"), ("v0.21.8", "(id: TerminalID!): Terminal!"), ("v0.22.0", None)]),
    ("File", "id", [("v0.9.9", "ID!"), ("v0.22.0", "ID!")]),
]


@pytest.mark.parametrize("type_name, field, steps", SHAPES, ids=[f"{t}.{f}" for t, f, _ in SHAPES])
def test_a_field_has_the_shape_of_its_view(at, type_name, field, steps):
    for version, want in steps:
        assert shape(at(version), type_name, field) == want, version


KINDS = "STRING INTEGER FLOAT BOOLEAN SCALAR LIST OBJECT INTERFACE INPUT VOID ENUM".split()
ENUM_GATES = [
    ("TypeDefKind", [f"{kind}_KIND" for kind in KINDS], KINDS, "v0.18.10", "v0.18.11"),
    ("ImageLayerCompression", ["Gzip", "Zstd", "EStarGZ", "Uncompressed"], ["GZIP", "ZSTD", "ESTARGZ", "UNCOMPRESSED"], "v0.18.10", "v0.18.11"),
    ("ImageMediaTypes", ["OCIMediaTypes", "DockerMediaTypes"], ["OCI", "DOCKER"], "v0.18.10", "v0.18.11"),
    ("ModuleSourceKind", ["LOCAL_SOURCE", "GIT_SOURCE", "DIR_SOURCE"], ["LOCAL", "GIT", "DIR"], "v0.18.10", "v0.18.11"),
    ("FileType", ["UNKNOWN"], ["REGULAR", "DIRECTORY", "SYMLINK", "REGULAR_TYPE", "DIRECTORY_TYPE", "SYMLINK_TYPE"], "v0.18.10", "v0.18.11"),
    ("ChangesetMergeConflict", ["LEAVE_CONFLICT_MARKERS", "PREFER_OURS", "PREFER_THEIRS"], ["FAIL_EARLY", "FAIL"], "v0.14.0", "v0.15.0"),
]


@pytest.mark.parametrize("name, always, later, before, since", ENUM_GATES, ids=[row[0] for row in ENUM_GATES])
def test_an_enum_has_the_members_of_its_view(at, name, always, later, before, since):
    members = lambda version: {v["name"] for v in at(version).query(INTROSPECTION % json.dumps(name))["__type"]["enumValues"]}
    assert members(before) == set(always)
    assert members(since) == set(always) | set(later)


def test_an_id_keeps_the_meaning_of_its_view(at):
    """An ID made under one view loads under every other, with the same meaning."""
    made = {
        "entry echo own\n": ("v0.11.9", SAYS % 'withExec(args: ["echo", "own"]) { id }'),
        "own\n": ("v0.21.8", SAYS % 'withExec(args: ["echo", "own"]) { id }'),
        "entry echo default\n": ("v0.9.9", SAYS % 'withDefaultArgs(args: ["echo", "default"]) { pipeline(name: "p") { id } }'),
    }
    ids = {text: leaf(at(version).query("{ %s }" % document)) for text, (version, document) in made.items()}
    for (text, made_id), version in itertools.product(ids.items(), ["v0.9.9", "v0.13.0", "v0.18.11", "v0.21.8"]):
        want = Fails("no command has been set") if "default" in text and version != "v0.9.9" else text
        expect(at(version), "{ loadContainerFromID(id: $made) { stdout } }", want, made=made_id)


def test_ids_through_removed_fields_can_be_loaded(at):
    """A chain through fields and arguments that later views do not have."""
    old = at("v0.11.9")
    folder = leaf(old.query("{ %s }" % (FOLDER % "id")))
    _, data = answer_of(
        old,
        '{ container { withFocus { pipeline(name: "a") { withNewFile(path: "/e") { withDirectory(path: "/a", directory: $folder) { id } } } } } }',
        folder=folder,
    )
    for version in ["v0.11.9", "v0.21.8", "v0.22.0"]:
        found = '{ node(id: $it) { ... on Container { file(path: "/a/d/f") { contents } } } }'
        expect(at(version), found, "x", it=leaf(data))
        expect(at(version), '{ node(id: $it) { ... on Container { file(path: "/e") { contents } } } }', "", it=leaf(data))


def test_namespaces_of_cache_volumes_are_kept_apart(at):
    def use(version, volume, command):
        volume = leaf(at(version).query("{ %s { id } }" % volume))
        document = '{ container { from(address: "busybox") { withMountedCache(path: "/c", cache: $volume) { withExec(args: ["sh", "-c", %s]) { stdout } } } } }'
        message, data = answer_of(at(version), document % json.dumps(command), volume=volume)
        assert message is None, message
        return leaf(data)

    volume = 'cacheVolume(key: "gates"%s)'
    use("v0.18.10", volume % ', namespace: "one"', "echo one > /c/f")
    assert use("v0.18.10", volume % ', namespace: "two"', "cat /c/f || echo none") == "none\n"
    assert use("v0.18.10", volume % "", "cat /c/f || echo none") == "none\n"
    assert use("v0.18.10", volume % ', namespace: "one"', "cat /c/f") == "one\n"
    use("v0.18.10", volume % "", "echo shared > /c/f")
    assert use("v0.21.8", volume % "", "cat /c/f") == "shared\n"


# `--api-version` is not guessed.
@pytest.mark.parametrize("version", ["v99", "v0.9.8", "v0.22.0", "soon", "", "v0.18.10.1", "v0.18.x", "latest"])
@pytest.mark.parametrize("command", ["query", "run"])
def test_a_version_that_is_not_served_is_refused(engine, command, version):
    words = [command, "--api-version", version] + (["true"] if command == "run" else [])
    engine.run(*words, stdin="{ version }").failed("version", version.strip() or "``")


@pytest.mark.parametrize("version, view", [("0.18.10", "v0.18.10"), ("v0.18.11-dev-abc", "v0.18.11"), ("v0.21.8+build", "v0.21.8"), ("v0.18", "v0.18.0")])
def test_a_version_is_read_as_its_view(engine, version, view):
    assert engine.data("{ __schemaVersion }", "--api-version", version) == {"__schemaVersion": view}


# The version that a library names is trusted.
@pytest.mark.parametrize(
    "version, view",
    [("", "v0.21.8"), ("0.18.10", "v0.18.10"), ("v0.20.6-241210-dev-abc", "v0.20.6"), ("main", "v0.11.9"), ("v0.18.1.2", "v0.11.9"), ("v99", "v99.0.0")],
)
def test_the_version_of_a_library_chooses_the_view(engine, version, view):
    with engine.session("--version", version) as session:
        assert session.query("{ __schemaVersion }") == {"__schemaVersion": view}


@pytest.mark.parametrize("version", ["v0.9.8", "0.3.0-old", "v0.9.9-rc.1"])
def test_a_library_that_is_too_old_is_refused(engine, version):
    wanted = version if version.startswith("v") else f"v{version}"
    engine.run("session", "--version", version).failed(f"incompatible client version {wanted}")
    engine.run("session", env={"_EXPERIMENTAL_DAGGER_VERSION": version}).failed(f"incompatible client version {wanted}")


def test_the_environment_may_name_the_version(engine):
    env = {"_EXPERIMENTAL_DAGGER_VERSION": "v0.18.10"}
    assert engine.data("{ __schemaVersion }", env=env) == {"__schemaVersion": "v0.18.10"}
    assert engine.data("{ __schemaVersion }", "--api-version", "v0.19.0", env=env) == {"__schemaVersion": "v0.19.0"}
    with engine.session(env=env) as session:
        assert session.query("{ __schemaVersion }") == {"__schemaVersion": "v0.18.10"}


# The version in a module's configuration, and its view.
MODULES_OF_VERSIONS = [
    (None, "v0.9.9"),
    ("soon", "v0.11.9"),
    ("v0.12.7", "v0.12.7"),
    ("0.16.3", "v0.16.3"),
    ("v0.18.10", "v0.18.10"),
    ("v0.18.11-rc.1", "v0.18.11"),
    ("latest", "v0.21.8"),
]


def order(version):
    return [int(part) for part in version.removeprefix("v").split(".")]


@pytest.mark.parametrize("said, view", MODULES_OF_VERSIONS)
def test_a_module_sees_the_gates_of_its_version(connected, tmp_path, said, view):
    """Every row again, asked by a module that was written for a version."""
    module = tmp_path / "probe"
    shutil.copytree(MODULES / "gates-probe", module)
    config = json.loads((module / "dagger.json").read_text())
    config.update(engineVersion=said) if said else config.pop("engineVersion")
    (module / "dagger.json").write_text(json.dumps(config))
    documents = [(document, steps) for name, document, steps in ROWS if name != "schemaVersion"]
    asked = ["{ __schemaVersion }", *[document for document, _ in documents]]
    data = connected.data("query($them: String!) { probe { ask(documents: $them) } }", "-m", module, "--var", f"them={json.dumps(asked)}")
    answers = json.loads(data["probe"]["ask"])
    assert answers[0]["data"] == {"__schemaVersion": view}
    for (document, steps), answer in zip(documents, answers[1:], strict=True):
        wants = [want for version, want in steps if order(version) <= order(view)]
        message = answer["errors"][0]["message"] if answer.get("errors") else None
        check(f"{view}: {document}", message, answer.get("data"), wants[-1] if wants else steps[0][1])


@pytest.mark.parametrize(
    "version, message",
    [
        ("v99", "module requires dagger v99, but you have v0.21.8"),
        ("v0.21.9", "module requires dagger v0.21.9, but you have v0.21.8"),
        ("0.9.8", "module requires dagger v0.9.8, but support for that version has been removed"),
        ("v0.9.9-rc.1", "module requires dagger v0.9.9-rc.1, but support for that version has been removed"),
    ],
)
def test_a_module_of_a_version_that_is_not_served_is_refused(engine, tmp_path, version, message):
    module = tmp_path / "probe"
    shutil.copytree(MODULES / "gates-probe", module)
    (module / "dagger.json").write_text(json.dumps({"name": "probe", "engineVersion": version, "sdk": "python"}))
    engine.run("functions", "-m", module).failed(message)


# Modules with the library of their time: results that they rely on, and members of their enum.
WRITTEN = {
    "v0.11.9": ({"stdout": "entry echo default\n", "withExec": "entry echo own\n", "entries": ["d"], "loaded": "x"}, None),
    "v0.12.7": ({"stdout": "no command has been set", "withExec": "entry echo own\n", "export": "/scratch/out", "loaded": "x"}, None),
    "v0.16.3": ({"withExec": "own\n", "entries": ["d"], "glob": ["d"], "loaded": "x"}, None),
    "v0.18.10": ({"entries": ["d/"], "withDirectory": ["f"], "loaded": "x"}, ["little", "much"]),
    "v0.18.11": ({"entries": ["d/"], "withDirectory": ["f"], "loaded": "x"}, ["LOW", "HIGH"]),
    "v0.21.8": ({"withExec": "own\n", "stdout": "no command has been set", "entries": ["d/"], "withDirectory": ["f"], "loaded": "x"}, ["LOW", "HIGH"]),
}


@pytest.mark.parametrize("version", WRITTEN)
def test_modules_with_the_library_of_their_time_work(connected, version):
    observed, members = WRITTEN[version]
    module = MODULES / f"gates-{version}"
    document = "{ gates { observed %s } }" % (f"echo(level: {members[1]}) byDefault: echo" if members else "")
    data = connected.data(document, "-m", module)["gates"]
    assert json.loads(data["observed"]) == observed
    if members:
        assert [data["byDefault"], data["echo"]] == members


@pytest.mark.parametrize("version", ["v0.18.10", "v0.21.8", "v0.22.0"])
def test_types_of_modules_have_legacy_ids(connected, version):
    """Objects and interfaces, from a library of any version."""
    with connected.session("--version", version) as session:
        session.query(f'{{ moduleSource(refString: "{MODULES / "kinds"}") {{ asModule {{ serve }} }} }}')
        made = session.query("{ kinds { id } }")["kinds"]["id"]
        gone = UNKNOWN if version == "v0.22.0" else None
        expect(session, "{ loadKindsFromID(id: $made) { __typename } }", gone or "Kinds", made=made)
        assert shape(session, "Query", "loadKindsQuackerFromID") == (None if gone else "(id: KindsQuackerID!): KindsQuacker!")
        expect(session, "{ node(id: $made) { __typename } }", "Kinds", made=made)
