"""`--explain`: how a module was loaded, and which input made it run again. Modules whose
dependencies are broken.
"""

import json

import pytest

from kit import IMAGES, IMPORTS, PROBE, mirror_of, module_config, write_module
from kit.modules import COMPUTED

pytestmark = pytest.mark.once

WITH_DEPENDENCY = PROBE + "\n    @function\n    async def ask(self) -> str:\n        return await dag.other().hello()\n"
OTHER = IMPORTS + "@object_type\nclass Other:\n    @function\n    def hello(self) -> str:\n        return 'hi'\n"


def explained(engine, module, *words) -> dict[str, str]:
    """The rows by label. Rows of one label are joined."""
    done = engine.run("functions", "--explain", "-m", module, *words).ok()
    rows: dict[str, str] = {}
    for line in done.err.splitlines():
        label, _, text = line.partition("  ")
        if label in ("engineVersion", "view", "SDK", "contract", "types", "ran", "cached", "differs", "key", "key of", "broken"):
            rows[label] = f"{rows[label]}; {text.strip()}" if label in rows else text.strip()
    return rows


def test_every_input_that_changes_is_named(connected, folder):
    module = write_module(folder / "probe", PROBE, engine_version="v0.18.10")
    (folder / "unrelated.txt").write_text("1")
    first = explained(connected, module)
    assert first["engineVersion"] == "v0.18.10, read as v0.18.10"
    assert first["contract"] == "empty call" and first["SDK"].startswith("python (built in")
    assert first["types"] == "read from the source now: nothing was run"
    assert first["differs"] == "this module was not loaded here before"

    execs = connected.execs()
    again = explained(connected, module)
    assert again["types"] == "held by the engine: nothing was run"
    (folder / "unrelated.txt").write_text("2")
    assert explained(connected, module)["types"] == "held by the engine: nothing was run"
    assert connected.execs() == execs, "an unchanged module was run"

    config = json.loads((module / "dagger.json").read_text())
    (module / "dagger.json").write_text(json.dumps(config | {"engineVersion": "v0.18.11"}))
    moved = explained(connected, module)
    assert moved["types"].startswith("read from the source") and moved["view"] == "v0.18.11"
    assert "engineVersion: v0.18.10 → v0.18.11" in moved["differs"], moved

    source = module / "src/probe/__init__.py"
    source.write_text(PROBE + "\n# edited\n")
    (module / "src/probe/more.py").write_text("MORE = 1\n")
    edited = explained(connected, module)
    assert edited["types"].startswith("read from the source")
    assert "src/probe/__init__.py" in edited["differs"] and "src/probe/more.py" in edited["differs"], edited
    assert "engineVersion" not in edited["differs"], edited
    (module / "src/probe/more.py").unlink()
    source.write_text(PROBE)
    assert explained(connected, module)["types"] == "held by the engine: nothing was run"


def test_the_process_that_registers_the_types_is_named(connected, folder):
    module = write_module(folder / "probe", COMPUTED, engine_version="v0.18.10")
    first = explained(connected, module)
    assert first["types"].startswith("registered now by the module's code: `src/probe/__init__.py:"), first
    assert "register the types of module probe" in first["ran"]
    _, ran, key = first["key of"].partition("register the types of module probe: ")
    assert ran and "args = " in key and "rootfs = " in key and "API view = v0.18.10" in key, first


def test_changed_files_of_dependencies_are_named(connected, folder):
    (folder / ".git").mkdir()
    module = write_module(folder / "probe", WITH_DEPENDENCY, config=module_config("probe", dependencies=["../other"]))
    write_module(folder / "other", OTHER, name="other", config=module_config("other", dependencies=["../third"]))
    write_module(folder / "third", OTHER.replace("Other", "Third"), name="third")
    explained(connected, module)
    third = folder / "third/src/third/__init__.py"
    third.write_text(third.read_text() + "# edited\n")
    moved = explained(connected, module)
    assert "files of dependency third of dependency other: third/src/third/__init__.py" in moved["differs"], moved


def test_types_survive_a_restart(make_engine, folder):
    engine = make_engine(mirror_of(IMAGES, offline=False))
    module = write_module(folder, PROBE)
    explained(engine, module)
    engine.stop()
    assert explained(engine, module)["types"] == "found in the store: nothing was run"
    assert engine.execs() == 0


def test_a_call_is_explained(connected, folder):
    module = write_module(folder, PROBE)
    done = connected.run("call", "--explain", "-m", module, "go").ok()
    assert done.out == "gone" and "contract" in done.err


@pytest.mark.parametrize("broken", ["configuration", "syntax"])
def test_a_broken_dependency_stops_only_what_needs_it(connected, folder, broken):
    config = {"name": "probe", "sdk": "python", "engineVersion": "v0.21.8", "dependencies": ["./other"]}
    module = write_module(folder, WITH_DEPENDENCY, config=json.dumps(config))
    if broken == "syntax":
        write_module(folder / "other", "this is no python\n", name="other")
    else:
        write_module(folder / "other", OTHER, config=json.dumps({"name": "other", "engineVersion": "v99.0.0"}))
    reason = "invalid syntax" if broken == "syntax" else "module requires dagger v99.0.0"
    listed = connected.run("functions", "-m", module).ok()
    assert "go" in listed.out and "ask" in listed.out
    assert "the dependency `other` could not be loaded" in listed.err and reason in listed.err, listed.err
    assert connected.run("call", "-m", module, "go").ok().out == "gone"
    connected.run("call", "-m", module, "ask").failed("could not be loaded")

    write_module(folder / "other", OTHER, name="other")
    assert connected.run("call", "-m", module, "ask").ok().out == "hi"


@pytest.mark.parametrize(
    "dependency, text, name, words",
    [
        ({"name": "alias", "source": "./other"}, None, "alias", ["there is no folder", "other"]),
        ("./other", None, "./other", ["there is no folder"]),
        ("./other", "", "./other", ["no `dagger.json`"]),
        ("./other", "{", "./other", ["cannot read module configuration", "line 1"]),
        ("./other", module_config("other", source=".."), "./other", ["contains parent directory components"]),
        ("./other", module_config(""), "./other", ["`dagger.json` has no `name`"]),
        ("./other", module_config("other", sdk="../no-sdk"), "./other", ['invalid SDK: "../no-sdk"']),
        ("./other", module_config("other", sdk="foo-bar"), "./other", ['invalid SDK: "foo-bar"']),
        ("./other", module_config("other", dependencies=["/etc"]), "./other", ["is absolute"]),
        ("127.0.0.1:9/x/y", None, "127.0.0.1:9/x/y", ["cannot reach"]),
    ],
    ids=["alias", "folder", "no-configuration", "no-json", "source", "no-name", "no-folder-of-the-sdk", "sdk", "dependency", "server"],
)
def test_a_dependency_that_is_not_found_is_named(connected, folder, dependency, text, name, words):
    (folder / ".git").mkdir()
    module = write_module(folder, PROBE, config=module_config("probe", dependencies=[dependency]))
    if text is not None:
        write_module(folder / "other", OTHER, name="other", config=text)
    if text == "":
        (folder / "other/dagger.json").unlink()
    listed = connected.run("functions", "-m", module).ok()
    reason = next(line for line in listed.err.splitlines() if line.startswith(f"the dependency `{name}` could not be loaded: "))
    assert "go" in listed.out and all(word in reason for word in words), listed.err
    assert connected.run("call", "-m", module, "go").ok().out == "gone"
    size = f'{{ moduleSource(refString: "{module}") {{ introspectionSchemaJSON {{ size }} }} }}'
    assert connected.data(size)["moduleSource"]["introspectionSchemaJSON"]["size"] > 0


def test_a_missing_dependency_does_not_stop_indirect_dependents(connected, folder):
    (folder / ".git").mkdir()
    module = write_module(folder, WITH_DEPENDENCY, config=module_config("probe", dependencies=["./other"]))
    write_module(folder / "other", OTHER, config=module_config("other", dependencies=["../nowhere"]))
    assert connected.run("call", "-m", module, "ask").ok().out == "hi"
    in_directory = f'{{ host {{ directory(path: "{module}") {{ asModule {{ name dependencies {{ name }} }} }} }} }}'
    assert connected.data(in_directory)["host"]["directory"]["asModule"] == {"name": "probe", "dependencies": [{"name": "other"}]}
    (module / "other/dagger.json").write_text("{")
    assert connected.data(in_directory)["host"]["directory"]["asModule"] == {"name": "probe", "dependencies": []}
