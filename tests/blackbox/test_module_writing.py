"""Module sources with a changed configuration or generated code, as tools use them to write
`dagger.json`.
"""

import json

import pytest

from kit import document, leaf, quote
from kit.sdks import RUNTIME, SOURCE, Sdk, types_document, write_config, write_sdk

pytestmark = pytest.mark.once

CODEGEN = """
code = chain('directory', 'withNewFile(path: "probe/gen/code.txt", contents: "generated")', 'id')
give(chain(f'generatedCode(code: "{code}")', 'withVCSGeneratedPaths(paths: ["gen/**"])', 'withVCSIgnoredPaths(paths: ["gen"])', 'id'))
"""
GENERATE_CLIENT = """
schema = chain(f'loadFileFromID(id: "{introspectionJson}")', 'contents')
names = [known['name'] for known in protocol.json.loads(schema)['__schema']['types']]
seen = chain(f'loadModuleSourceFromID(id: "{modSource}")', 'contextDirectory', 'glob(pattern: "**/*.txt")')
said = protocol.json.dumps({'probe': 'Probe' in names, 'host': 'Host' in names, 'dep': 'Dep' in names, 'seen': seen})
path = protocol.json.dumps('probe/' + outputDir + '/client.json')
give(chain('directory', f'withNewFile(path: {path}, contents: {protocol.json.dumps(said)})', 'id'))
"""
GENERATOR = Sdk(
    {
        "moduleRuntime": ("Container", SOURCE),
        "moduleTypes": ("JSON", SOURCE),
        "codegen": ("GeneratedCode", SOURCE),
        "requiredClientGenerationFiles": ("[String]", {}),
        "generateClient": ("Directory", {**SOURCE, "outputDir": "String"}),
    },
    {
        "moduleRuntime": RUNTIME,
        "moduleTypes": f"give({json.dumps(types_document())!r})",
        "codegen": CODEGEN,
        "requiredClientGenerationFiles": "give(['notes.txt'])",
        "generateClient": GENERATE_CLIENT,
    },
)


@pytest.fixture
def workshop(folder):
    """A repository with a generator and two plain modules."""
    (folder / ".git").mkdir()
    write_config(folder / "dep", "dep", None)
    write_config(folder / "other", "other", None)
    return folder


def source_document(path, *steps, ask):
    """The document that selects `ask` of the changed source."""
    return document(f"moduleSource(refString: {quote(path)}, allowNotExists: true)", *steps, ask)


def config_of(engine, path, *steps):
    """The `dagger.json` of the changed source."""
    below = f"{path.name}/dagger.json" if path.name else "dagger.json"
    return json.loads(leaf(engine.data(source_document(path, *steps, "generatedContextDirectory", f'file(path: "{below}")', ask="contents"))))


def id_of(engine, path, *steps):
    return leaf(engine.data(source_document(path, *steps, ask="id")))


def test_a_module_is_made_from_an_empty_folder(engine, workshop):
    new = workshop / "new"
    new.mkdir()
    steps = ['withName(name: "new")', 'withSDK(source: "python")', 'withSourceSubpath(path: "code")', 'withEngineVersion(version: "latest")', 'withIncludes(patterns: ["../notes.txt"])']
    made = config_of(engine, new, *steps)
    assert made == {"name": "new", "sdk": {"source": "python"}, "source": "code", "engineVersion": "v0.21.8", "include": ["../notes.txt"]}
    said = leaf(engine.data(source_document(new, *steps, ask="moduleName configExists sourceSubpath engineVersion sdk { source }")))
    assert said == {"moduleName": "new", "configExists": True, "sourceSubpath": "new/code", "engineVersion": "v0.21.8", "sdk": {"source": "python"}}
    assert not (new / "dagger.json").exists()


def test_dependencies_are_added_and_removed(engine, workshop):
    main = write_config(workshop / "main", "main", None, include=["x"])
    dep, other = (f'withDependencies(dependencies: ["{id_of(engine, workshop / name)}"])' for name in ("dep", "other"))
    made = config_of(engine, main, other, dep)
    assert made["dependencies"] == [{"name": "dep", "source": "../dep"}, {"name": "other", "source": "../other"}]
    assert made["include"] == ["x"]
    assert leaf(engine.data(source_document(main, other, dep, ask="dependencies { moduleName }"))) == [{"moduleName": "dep"}, {"moduleName": "other"}]
    assert "dependencies" not in config_of(engine, main, dep, 'withoutDependencies(dependencies: ["../dep"])')
    renamed = id_of(engine, workshop / "other", 'withName(name: "dep")')
    named = f'withDependencies(dependencies: ["{renamed}"])'
    engine.query(source_document(main, dep, named, ask="id")).failed('duplicate dependency name "dep"', "withName")
    engine.query(source_document(main, 'withoutDependencies(dependencies: ["nobody"])', ask="id")).failed("nobody", "not found in the dependencies list")
    engine.query(source_document(main, dep, 'withUpdateDependencies(dependencies: ["dep"])', ask="id")).failed("updating local dependencies is not supported")
    engine.query(source_document(main, 'withUpdateDependencies(dependencies: ["nobody"])', ask="id")).failed(
        'dependency "nobody" was requested to be updated, but it is not found in the dependencies list'
    )
    assert config_of(engine, main, dep, "withUpdateDependencies(dependencies: [])")["dependencies"] == [{"name": "dep", "source": "../dep"}]


def test_a_change_that_is_not_possible_is_explained(engine, workshop):
    main = write_config(workshop / "main", "main", "python")
    engine.query(source_document(main, 'withSourceSubpath(path: "../..")', ask="id")).failed('source subpath "../.." escapes source root')
    engine.query(source_document(main, 'withName(name: "---")', ask="id")).failed("not a valid name")
    engine.query(source_document(main, 'withSDK(source: "../nothing")', ask="id")).failed('invalid SDK: "../nothing"')
    engine.query(source_document(main, 'withEngineVersion(version: "v99.0.0")', ask="id")).failed("v99.0.0")
    engine.query(source_document(main, 'withoutClient(path: "x")', ask="id")).failed("no generated client in `x`")
    builtin = source_document(main, 'withClient(generator: "python", outputDir: "x")', "generatedContextDirectory", ask="entries")
    engine.query(builtin).failed("the built-in SDK `python` generates no clients")
    assert config_of(engine, main, "withExperimentalFeatures(features: [SELF_CALLS])")["sdk"] == {"source": "python", "experimental": {"SELF_CALLS": True}}


def test_an_sdk_generates_code_and_clients(connected, workshop):
    write_sdk(workshop / "sdk", GENERATOR, "broken-sdk")
    probe = write_config(workshop / "probe", "probe", {"source": "../sdk"}, source="src", dependencies=["../dep"])
    (probe / "src").mkdir()
    (probe / "src" / "main.txt").write_text("code")
    (probe / "notes.txt").write_text("notes")
    (probe / "other.txt").write_text("other")
    client = 'withClient(generator: "../sdk", outputDir: "client")'
    generated = source_document(probe, client, "generatedContextDirectory", ask='c: file(path: "probe/client/client.json") { contents } g: file(path: "probe/gen/code.txt") { contents } a: file(path: "probe/src/.gitattributes") { contents } i: file(path: "probe/src/.gitignore") { contents }')
    found = leaf(connected.data(generated))
    said = json.loads(found["c"]["contents"])
    assert said == {"probe": True, "host": True, "dep": True, "seen": ["probe/notes.txt", "probe/src/main.txt"]}, said
    assert found["g"]["contents"] == "generated"
    assert found["a"]["contents"] == "/gen/** linguist-generated\n" and found["i"]["contents"] == "/gen\n/.env\n"
    assert config_of(connected, probe, client)["clients"] == [{"generator": "../sdk", "directory": "client"}]
    none = Sdk({"moduleRuntime": ("Container", SOURCE)}, {"moduleRuntime": RUNTIME})
    write_sdk(workshop / "none", none, "broken-sdk")
    plain = source_document(probe, 'withClient(generator: "../none", outputDir: "client")', "generatedContextDirectory", ask="entries")
    connected.query(plain).failed("the SDK `../none` generates no clients", "generateClient")


def test_commands_generate_clients(connected, workshop):
    write_sdk(workshop / "sdk", GENERATOR, "broken-sdk")
    probe = write_config(workshop / "probe", "probe", {"source": "../sdk"}, source="src", dependencies=["../dep"])
    (probe / "src").mkdir()
    (probe / "src/main.txt").write_text("code")
    assert connected.run("client", "list", cwd=probe).ok().out == ""
    said = connected.run("client", "install", "../../sdk", "../gen", cwd=probe / "src").ok()
    assert said.out.endswith("Generated client at ../gen\n") and f"created    {probe.resolve()}/gen/client.json\n" in said.out
    assert json.loads((probe / "dagger.json").read_text())["clients"] == [{"generator": "../sdk", "directory": "gen"}]
    assert json.loads((probe / "gen/client.json").read_text())["dep"] is True
    assert connected.run("client", "list", cwd=probe).ok().out == "gen  ../sdk\n"
    assert connected.run("client", "list", "--json", cwd=probe).json() == [{"directory": "gen", "generator": "../sdk"}]
    # Both commands generate what is missing.
    for command in (["client", "update"], ["develop"]):
        (probe / "gen/client.json").unlink()
        connected.run(*command, cwd=probe).ok()
        assert (probe / "gen/client.json").exists()
    connected.run("client", "install", "../other", "gen", cwd=probe).failed("there is a client in `gen` already")
    connected.run("client", "install", "python", "x", cwd=probe).failed("the built-in SDK `python` generates no clients")
    connected.run("client", "uninstall", "x", cwd=probe).failed("there is no generated client in `x`")
    said = connected.run("client", "uninstall", "gen", cwd=probe).ok()
    assert "its files stay" in said.out and (probe / "gen/client.json").exists()
    assert "clients" not in json.loads((probe / "dagger.json").read_text())
