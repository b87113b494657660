"""Sources of modules: configurations, dependencies, paths and names, and the errors for mistakes.
"""

import json

import pytest

from kit import (
    IMPORTS,
    PROBE,
    REPO,
    UNSEALED,
    eventually,
    id_bytes,
    id_of_bytes,
    module_config,
    processes_with,
    write_module,
)
from kit.failures import report_of

pytestmark = pytest.mark.once

USES = REPO / "tests/modules/uses"


def error_of(done) -> str:
    return report_of(done.err)


@pytest.mark.parametrize(
    "text, words",
    [
        ("{ this is no json", ["cannot read module configuration", "dagger.json", "line 1"]),
        ('{"name": 5}', ["dagger.json", "expected a string"]),
        ('{"name": "probe", "dependencies": {}}', ["dagger.json", "invalid type"]),
        ('{"name": "probe", "sdk": 7}', ["dagger.json"]),
        (module_config(sdk="no-such-sdk"), ['invalid SDK: "no-such-sdk"', "built in: go, python"]),
        (module_config(sdk="python@v1"), ["the python sdk does not currently support selecting a specific version"]),
        (module_config(sdk="php"), ["`php` is not supported yet"]),
        (module_config(sdk="./sdk"), ['invalid SDK: "./sdk"', "neither built in nor a folder"]),
        (module_config(sdk="/sdk"), ["the SDK `/sdk` of module `probe` is absolute"]),
        (module_config(sdk="../../../../../../../../sdk"), ["outside of the module's context directory"]),
        (module_config(sdk="http://127.0.0.1:9/sdk"), ["find the SDK `http://127.0.0.1:9/sdk`", "cannot reach"]),
        (module_config(sdk={"source": "python", "config": {"speed": 1}}), ["unknown sdk config keys found [speed]"]),
        (module_config(engineVersion="v99.1.0"), ["module requires dagger v99.1.0, but you have v0.21.8"]),
        (module_config(engineVersion="v0.9.8"), ["module requires dagger v0.9.8, but support for that version has been removed"]),
        (module_config(engineVersion="v99.1.0", dependencies={"of": "the future"}), ["module requires dagger v99.1.0, but you have v0.21.8"]),
        (module_config(engineVersion="v0.9.8", sdk=7), ["module requires dagger v0.9.8, but support for that version has been removed"]),
        (module_config(engineVersion="v0.21.8", sdk=7), ["cannot read module configuration"]),
        (module_config(name=""), ["`dagger.json` has no `name`"]),
        (module_config(name="12"), ["`12` in `dagger.json` is not a valid name"]),
        (module_config(source=".."), ['source path ".." contains parent directory components']),
        (module_config(source="/etc"), ['source path "/etc" is absolute']),
        (module_config(dependencies=["/etc"]), ['local module dep source path "/etc" is absolute']),
        (module_config(dependencies=["../../../../../etc"]), ["escapes context"]),
        (module_config(dependencies=["."]), ["circular dependency on itself"]),
        (module_config(blueprint={"name": "b", "source": "./b"}), ["`blueprint`", "not supported yet"]),
        (module_config(toolchains=["./t"]), ["`toolchains`", "not supported yet"]),
        (module_config(include=["../../../../../../etc"]), ["etc", "is outside of context directory"]),
    ],
    ids=range(27),
)
def test_eng_005_a_wrong_configuration_is_explained(connected, folder, text, words):
    module = write_module(folder, PROBE, config=text)
    done = connected.run("functions", "-m", module).failed(*words, code=1)
    assert words[0].lower() in error_of(done).lower() or "built in" in words[-1], done.err
    assert connected.data("{ version }")


def test_a_missing_configuration_is_explained(connected, folder):
    connected.run("functions", "-m", folder).failed("no `dagger.json` in", str(folder), code=1)
    (folder / "dagger-module.toml").write_text('name = "demo"\n[entrypoint]\nkind = "dang"\nsource = "."\n')
    connected.run("functions", "-m", folder).failed("`dagger-module.toml`", "not supported yet", code=1)
    connected.run("functions", "-m", folder / "missing").failed("module source", "does not exist", code=1)
    connected.run("functions", "-m", "127.0.0.1:9/x/y").failed("127.0.0.1:9/x/y", "cannot reach", code=1)


def test_a_folder_without_a_configuration_has_no_files(engine, folder):
    """Files of such a folder belong to no module (`TestLoadWhenNoModule`)."""
    (folder / "repo/.git").mkdir(parents=True)
    (folder / "repo/sub").mkdir()
    for place in ("repo/file", "repo/sub/file", "file"):
        (folder / place).write_text("text")
    ask = "configExists sourceRootSubpath contextDirectory { entries } directory(path: \".\") { entries }"

    def source(path, more=""):
        return engine.data(f"{{ moduleSource(refString: {json.dumps(str(path))}{more}) {{ {ask} }} }}")["moduleSource"]

    nothing = {"configExists": False, "directory": {"entries": []}}
    alone, below = {"contextDirectory": {"entries": []}}, {"contextDirectory": {"entries": ["sub/"]}}
    assert source(folder) == {**nothing, **alone, "sourceRootSubpath": "."}
    assert source(folder / "repo/sub") == {**nothing, **below, "sourceRootSubpath": "sub"}
    missing = folder / "repo/sub/new"
    assert source(missing, ", allowNotExists: true")["contextDirectory"] == below["contextDirectory"]
    engine.query(f"{{ moduleSource(refString: {json.dumps(str(missing))}) {{ id }} }}").failed("does not exist")
    engine.query(f"{{ moduleSource(refString: {json.dumps(str(folder))}) {{ asModule {{ id }} }} }}").failed("no `dagger.json` in")


@pytest.mark.parametrize(
    "code, words",
    [
        ("this is no python\n", ["loading module probe failed", "invalid syntax"]),
        ("import no_such_package\n", ["loading module probe failed", "no_such_package"]),
        ("raise RuntimeError('at import')\n", ["loading module probe failed", "at import"]),
        ("x = 1\n", ["probe"]),
        (IMPORTS + "@object_type\nclass Other:\n    @function\n    def go(self) -> str:\n        return ''\n", ["Probe"]),
        ("import os\nos._exit(9)\n", ["loading module probe failed", "exit code: 9"]),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", ["loading module probe failed", "exit code: 137"]),
        ("import os\nos._exit(0)\n", ["module `probe` registered no types"]),
        (PROBE + "\n    @function\n    def id(self) -> str:\n        return ''\n", ['cannot define field with reserved name "id" on object "Probe"']),
        (PROBE + "\n    @function\n    def other(self) -> 'Nope': ...\n\nclass Nope: ...\n", ["Nope"]),
    ],
    ids=["syntax", "import", "raises", "empty", "no-main-object", "exits", "is-killed", "registers-nothing", "reserved-name", "foreign-class"],
)
def test_a_module_that_does_not_load_is_explained(connected, folder, code, words):
    done = connected.run("functions", "-m", write_module(folder, code)).failed(*words)
    assert words[0].lower() in error_of(done).lower(), done.err
    assert connected.data("{ version }")


def test_a_module_that_hangs_while_loading_ends_with_its_client(connected, folder):
    module = write_module(folder, "import subprocess\nsubprocess.run(['sleep', '8640031.5'])\n")
    client = connected.start("functions", "-m", module)
    eventually(lambda: processes_with("8640031.5"), within=60, what="the module to hang")
    client.terminate()
    client.communicate(timeout=20)
    eventually(lambda: not processes_with("8640031.5"), what="the module to end")
    write_module(folder, PROBE)
    assert connected.run("call", "-m", module, "go").ok().out.strip() == "gone"


def test_a_circular_dependency_is_refused(connected, folder):
    for name, other in (("a", "b"), ("b", "a")):
        write_module(folder / name, PROBE, name=name, config=module_config(name=name, dependencies=[f"../{other}"]))
    (folder / ".git").mkdir()
    connected.run("functions", "-m", folder / "a").failed('module "a" has a circular dependency on itself through dependency', code=1)


def test_a_dependency_outside_of_the_context_is_refused(connected, folder):
    write_module(folder / "dep", PROBE, name="dep")
    write_module(folder / "probe", PROBE, config=module_config(dependencies=["../dep"]))
    done = connected.run("functions", "-m", folder / "probe")
    done.failed("../dep", "escapes context", code=1)


def test_two_dependencies_of_one_name_are_refused(connected, folder):
    (folder / ".git").mkdir()
    write_module(folder / "one", PROBE.replace("Probe", "Same"), name="same")
    write_module(folder / "two", PROBE.replace("Probe", "Same").replace("gone", "two"), name="same")
    write_module(folder / "probe", PROBE, config=module_config(dependencies=["../one", "../two"]))
    connected.run("functions", "-m", folder / "probe").failed("same", code=1)


def test_a_module_is_found_above_and_by_the_name_of_a_dependency(connected):
    assert connected.run("call", "hello", cwd=USES / "src").ok().out.strip() == "Good day, you! Good day, you!"
    assert connected.run("call", "-m", "dep", "hello", cwd=USES).ok().out.strip() == "Hello, World!"


def test_dependencies_are_called_by_module_code(connected):
    found = connected.data("{ uses { hello items turned filesOfDep views } }", "-m", USES)["uses"]
    assert found == {
        "hello": "Good day, you! Good day, you!",
        "items": ["a", "b", "a (hidden a)", "b (hidden b)", "hidden c", "c (hidden c)", "c"],
        "turned": ["GONE", "ACTIVE", "DepStatus"],
        "filesOfDep": ["dagger.json", "pyproject.toml", "src/"],
        # MOD-017.
        "views": ["v0.21.8", "v0.18.12"],
    }


def test_errors_secrets_and_directories_cross_two_modules(connected):
    # The process's own exit code comes through both modules.
    connected.run("call", "-m", USES, "breaks").failed('\nprocess "', "exit code: 17", "of the dependency", code=17)
    assert connected.run("call", "-m", USES, "length", "--token=env://T_O_K", env={"T_O_K": "12345"}).ok().out.strip() == "5"
    out = connected.run("call", "-m", USES, "folder", f"--folder={REPO}/tests/modules/raw/src", "entries").ok().out
    assert out.split() == ["one", "sitecustomize.py", "two"]


def test_a_renamed_dependency_keeps_its_own_name_for_itself(connected):
    with connected.session() as session:
        query = f'{{ moduleSource(refString: "{USES}") {{ asModule {{ dependencies {{ name objects {{ name: asObject {{ name }} }} }} }} }} }}'
        found = session.query(query)["moduleSource"]["asModule"]["dependencies"]
        assert [one["name"] for one in found] == ["dep", "twin"]
    names = {entry["name"]["name"] for entry in found[1]["objects"]}
    assert {"Twin", "TwinItem"} <= names and all(name.startswith("Twin") for name in names)


def test_a_module_may_have_a_unicode_path(connected, folder):
    # MOD-013.
    module = write_module(folder / "мир 世界", PROBE)
    assert connected.run("call", "-m", module, "go").ok().out.strip() == "gone"


IGNORED = [
    (["**"], []),
    (["**", "!**"], [".git/", ".gitignore", "backend/", "frontend/", "internal/", "main.go"]),
    (["**", "!**", "*.git*"], ["backend/", "frontend/", "internal/", "main.go"]),
    (["internal"], [".git/", ".gitignore", "backend/", "frontend/", "main.go"]),
    (["**", "!main.go"], ["main.go"]),
    (["**/*.go", "!main.go"], [".git/", ".gitignore", "backend/", "frontend/", "internal/", "main.go"]),
]


def test_ignored_patterns_filter_directories(connected, folder):
    # CTX-007.
    context = folder / "context"
    for path in ("main.go", "backend/a.go", "frontend/b.txt", "internal/foo/bar.go", "internal/foo/baz.go", ".gitignore"):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_text(path)
    (context / ".git").mkdir()
    head = "import dagger\nfrom typing import Annotated\nfrom dagger import DefaultPath, Ignore, function, object_type\n\n@object_type\nclass Probe:\n"
    code = head + "".join(
        f"    @function\n    async def f{number}(self, given: Annotated[dagger.Directory, DefaultPath('/'), Ignore([*{patterns!r}, 'probe'])]) -> list[str]:\n"
        "        return await given.entries()\n\n"
        for number, (patterns, _) in enumerate(IGNORED)
    )
    code += (
        "    @function\n    async def deep(self, given: Annotated[dagger.Directory, DefaultPath('/'), Ignore(['internal/foo', '!internal/foo/bar.go'])]) -> list[str]:\n"
        "        return await given.glob('internal/**')\n"
    )
    module = write_module(context / "probe", code)
    names = " ".join(f"f{number}" for number in range(len(IGNORED)))
    found = connected.data(f"{{ probe {{ {names} deep }} }}", "-m", module)["probe"]
    for number, (patterns, wanted) in enumerate(IGNORED):
        assert found[f"f{number}"] == wanted, patterns
    assert "internal/foo/baz.go" not in found["deep"]
    # Explicitly given folders are filtered the same way.
    given = connected.run("call", "-m", module, "f-4", f"--given={context}").ok().out.split()
    assert given == ["main.go"]


def test_symlinked_modules_and_sources_are_followed(connected, folder):
    (folder / ".git").mkdir()
    write_module(folder / "real", PROBE.replace("Probe", "Real"), name="real")
    (folder / "link").symlink_to("real")
    assert connected.run("call", "-m", folder / "link", "go").ok().out == "gone"

    linked = write_module(folder / "linked", PROBE, config=module_config(source="code", dependencies=["../link"]))
    (folder / "code").mkdir()
    for name in ("src", "pyproject.toml"):
        (linked / name).rename(folder / "code" / name)
    (linked / "code").symlink_to("../code")
    done = connected.run("call", "-m", linked, "go").ok()
    assert done.out == "gone" and "could not be loaded" not in done.err
    (linked / "code").unlink()
    connected.run("call", "-m", linked, "go").failed("the folder `code`, which `source` in `dagger.json` names, is not there")


@pytest.fixture
def pair(folder):
    """A repository with the modules `one` and `two`."""
    (folder / ".git").mkdir()
    for name in ("one", "two"):
        write_module(folder / name, PROBE.replace("Probe", name.title()).replace("gone", name), name=name)
    return folder


def test_the_order_of_dependencies_does_not_change_the_schema(connected, pair):
    texts = set()
    for dependencies in (["../one", "../two"], ["../two", "../one"]):
        write_module(pair / "probe", PROBE, config=module_config(dependencies=dependencies))
        ask = f'{{ moduleSource(refString: "{pair}/probe") {{ introspectionSchemaJSON {{ contents }} asModule {{ introspectionSchemaJSON {{ contents }} }} }} }}'
        found = connected.data(ask)["moduleSource"]
        texts |= {found["introspectionSchemaJSON"]["contents"], found["asModule"]["introspectionSchemaJSON"]["contents"]}
    assert len(texts) == 1 and '"one"' in texts.pop()


def test_mod_008_dev_012_a_module_without_code_serves_its_dependencies(connected, pair):
    both = {"name": "both", "engineVersion": "v0.21.8", "dependencies": ["../one", "../two"]}
    (pair / "both").mkdir()
    (pair / "both/dagger.json").write_text(json.dumps(both))
    assert connected.data("{ one { go } two { go } }", "-m", pair / "both") == {"one": {"go": "one"}, "two": {"go": "two"}}
    # Dependencies of a module with code are not served to clients.
    write_module(pair / "probe", PROBE, config=module_config(dependencies=["../one"]))
    connected.query("{ one { go } }", "-m", pair / "probe").failed("one")


def test_a_changed_id_reads_no_other_directory_of_the_machine(engine, folder):
    """A process in a container can write any ID.

    The engine reads files of the machine for its own alone.
    """
    for name in ("mod-a", "mod-b"):
        (folder / name).mkdir()
        (folder / name / "secret").write_text(f"of {name}")
    (folder / "mod-a/dagger.json").write_text('{"name": "a", "engineVersion": "v0.21.8"}')
    files = 'withIncludes(patterns: ["secret"]) { contextDirectory { file(path: "secret") { contents } } }'
    known = engine.data('{ moduleSource(refString: "%s/mod-a") { id } }' % folder)["moduleSource"]["id"]
    load = lambda id_: '{ loadModuleSourceFromID(id: "%s") { %s } }' % (id_, files)  # noqa: E731
    found = engine.data(load(known))["loadModuleSourceFromID"]["withIncludes"]
    assert found["contextDirectory"]["file"]["contents"] == "of mod-a"
    raw = id_bytes(known)
    changed = raw.replace(b"mod-a", b"mod-b")
    assert changed != raw
    engine.query(load(id_of_bytes(changed))).failed(UNSEALED)


def test_module_code_names_sources_of_its_workspace_only(engine, folder):
    """The module's own context directory and that of the working directory; other files are the user's to pass on."""
    code = IMPORTS + """
@object_type
class Probe:
    @function
    async def files(self, ref: str) -> list[str]:
        return await dag.module_source(ref, allow_not_exists=True).with_includes(["**"]).context_directory().glob("**")

    @function
    async def given(self, source: dagger.ModuleSource) -> list[str]:
        return await source.context_directory().glob("**")
"""
    module = write_module(folder / "module", code)
    for name in ["workspace/inner", "victim", "bare"]:
        (folder / name).mkdir(parents=True)
        (folder / name / "key").write_text("secret")
    for name in ["workspace/inner", "victim"]:
        (folder / name / "dagger.json").write_text(module_config(sdk=None, include=["key"]))
    (folder / "workspace/.git").mkdir()
    (folder / "workspace/link").symlink_to(folder / "victim")
    call = lambda *words: engine.run("call", "-m", str(module), *words, cwd=folder / "workspace")  # noqa: E731
    assert "key" in call("files", "--ref", "inner").ok().out
    assert "pyproject.toml" in call("files", "--ref", str(module)).ok().out
    assert "key" in call("given", "--source", str(folder / "victim")).ok().out
    for outside in [folder / "victim", folder / "bare", folder / "none", folder, "../victim", "link", "inner/../../bare"]:
        refused = call("files", "--ref", str(outside)).failed("in neither its own context directory nor the user's workspace")
        assert "secret" not in refused.out + refused.err
