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


# the changes one by one


def test_with_name_sets_the_name_to_call_it_by(engine, workshop):
    """The original name is set only if there is none yet."""
    named = leaf(engine.data(source_document(workshop / "dep", 'withName(name: "other")', ask="moduleName moduleOriginalName")))
    assert named == {"moduleName": "other", "moduleOriginalName": "dep"}
    assert config_of(engine, workshop / "dep", 'withName(name: "other")')["name"] == "dep"
    new = leaf(engine.data(source_document(workshop / "new", 'withName(name: "other")', ask="moduleName moduleOriginalName")))
    assert new == {"moduleName": "other", "moduleOriginalName": "other"}


def test_with_sdk_sets_the_sdk_and_the_folder_of_the_code(engine, workshop):
    ask = "sourceSubpath sdk { source }"
    assert leaf(engine.data(source_document(workshop / "dep", 'withSDK(source: "python")', ask=ask))) == {"sourceSubpath": "dep", "sdk": {"source": "python"}}


def test_with_an_empty_sdk_removes_the_sdk(engine, workshop):
    main = write_config(workshop / "main", "main", "python", source="code")
    assert config_of(engine, main, 'withSDK(source: "")') == {"name": "main", "engineVersion": "v0.21.8"}
    removed = source_document(main, 'withSDK(source: "")', ask="configExists sourceSubpath sdk { source }")
    assert leaf(engine.data(removed)) == {"configExists": True, "sourceSubpath": "", "sdk": None}


def test_with_source_subpath_is_relative_to_the_module(engine, workshop):
    main = write_config(workshop / "main", "main", "python")
    assert leaf(engine.data(source_document(main, 'withSourceSubpath(path: "./a/../code/")', ask="sourceSubpath"))) == "main/code"
    for path in ("..", "/code", "a/../../x"):
        engine.query(source_document(main, f'withSourceSubpath(path: "{path}")', ask="id")).failed(f'source subpath "{path}" escapes source root')


def test_with_source_subpath_needs_an_sdk_only_when_the_configuration_is_written(engine, workshop):
    steps = ['withName(name: "new")', 'withSourceSubpath(path: "code")']
    assert config_of(engine, workshop / "new", *steps, 'withSDK(source: "python")')["source"] == "code"
    engine.query(source_document(workshop / "new", *steps, "generatedContextDirectory", ask="entries")).failed('source path "code" specified without sdk')


def test_with_includes_appends_patterns_and_loads_their_files(engine, workshop):
    main = write_config(workshop / "main", "main", None, include=["../a.txt"])
    for name in ("a.txt", "b.txt", "c.txt"):
        (workshop / name).touch()
    more = 'withIncludes(patterns: ["../b.txt"])'
    assert config_of(engine, main, more)["include"] == ["../a.txt", "../b.txt"]
    found = leaf(engine.data(source_document(main, more, "contextDirectory", ask='glob(pattern: "*.txt")')))
    assert found == ["a.txt", "b.txt"]


@pytest.mark.parametrize(("given", "written"), [("", "v0.9.9"), ("latest", "v0.21.8"), ("0.18.10", "v0.18.10"), ("v0.18", "v0.18.0")])
def test_with_engine_version_writes_a_whole_version(engine, workshop, given, written):
    assert config_of(engine, workshop / "dep", f'withEngineVersion(version: "{given}")')["engineVersion"] == written


def test_with_experimental_features_changes_the_sdk(engine, workshop):
    main = write_config(workshop / "main", "main", {"source": "python", "debug": True})
    on, off = (f"{word}ExperimentalFeatures(features: [SELF_CALLS])" for word in ("with", "without"))
    assert config_of(engine, main, on)["sdk"] == {"source": "python", "debug": True, "experimental": {"SELF_CALLS": True}}
    assert config_of(engine, main, on, off)["sdk"] == {"source": "python", "debug": True}
    engine.query(source_document(workshop / "dep", on, ask="id")).failed("has no SDK")


def test_with_and_without_client_change_the_clients(engine, workshop):
    """Nothing is generated before `generatedContextDirectory`."""
    ask = "configClients { generator directory }"
    client = 'withClient(generator: "../gen", outputDir: "./client/")'
    assert leaf(engine.data(source_document(workshop / "dep", client, ask=ask))) == [{"generator": "../gen", "directory": "client"}]
    assert leaf(engine.data(source_document(workshop / "dep", client, 'withoutClient(path: "client")', ask=ask))) == []


@pytest.mark.parametrize("change", ["withToolchains(toolchains: [])", "withUpdateToolchains(toolchains: [])", "withoutToolchains(toolchains: [])", "withUpdateBlueprint", "withoutBlueprint", "withUpdatedClients(clients: [])"])
def test_changes_of_toolchains_and_blueprints_are_not_supported(engine, workshop, change):
    engine.query(source_document(workshop / "dep", change, ask="id")).failed(f"ModuleSource.{change.split('(')[0]}", "not supported by this engine yet")


def test_the_generated_context_directory_has_all_files_and_the_changeset_what_differs(engine, workshop):
    main = write_config(workshop / "main", "main", None)
    (main / "kept.txt").touch()
    step = 'withIncludes(patterns: ["x"])'
    whole = leaf(engine.data(source_document(main, step, "generatedContextDirectory", ask='glob(pattern: "**/*")')))
    assert sorted(whole) == ["main/", "main/dagger.json", "main/kept.txt"]
    changes = leaf(engine.data(source_document(main, step, "generatedContextChangeset", ask="addedPaths modifiedPaths removedPaths")))
    assert changes == {"addedPaths": [], "modifiedPaths": ["main/dagger.json"], "removedPaths": []}
    same = leaf(engine.data(source_document(main, "generatedContextChangeset", ask="isEmpty")))
    assert same is True


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
    # An SDK without code generation is skipped.
    quiet = write_config(workshop / "quiet", "quiet", {"source": "../none"})
    assert leaf(connected.data(source_document(quiet, "generatedContextChangeset", ask="isEmpty"))) is True


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
    # A module without an SDK may have clients. This generator writes them all below `probe`.
    connected.run("client", "install", "../sdk", "gen", cwd=workshop / "dep").ok()
    (probe / "gen/client.json").unlink()
    connected.run("develop", cwd=workshop / "dep").ok()
    assert (probe / "gen/client.json").exists()
