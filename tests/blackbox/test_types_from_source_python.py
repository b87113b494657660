"""Types of Python modules from their source are those that their code registers.

Run as a program (`scripts/types-from-source FOLDER…`) it compares all Python modules below folders,
in every version.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from kit import IMAGES, REPO, Rondel, mirror_of, short_folder
from kit.modules import COMPUTED, PROBE, write_module

VERSIONS = ["v0.9.9", "v0.11.9", "v0.12.7", "v0.15.4", "v0.18.10", "v0.18.11", "v0.19.11", "v0.21.8"]
# The others are compared by `scripts/types-from-source`.
SAMPLE = ["v0.9.9", "v0.18.10", "v0.21.8"]
RUNNING = "types-from-source = false\n"
LEAF = "kind optional asObject { name } asInterface { name } asEnum { name } asScalar { name }"
TYPE = f"{LEAF} asList {{ elementTypeDef {{ {LEAF} asList {{ elementTypeDef {{ {LEAF} }} }} }} }}"
PLACE = "sourceMap { filename line column }"
ARGS = f"args {{ name description defaultValue defaultPath defaultAddress ignore deprecated {PLACE} typeDef {{ {TYPE} }} }}"
FUNCTION = f"name description deprecated {PLACE} {ARGS} returnType {{ {TYPE} }}"
DEFINITIONS = f"""description
objects {{ asObject {{ name description deprecated {PLACE} constructor {{ {FUNCTION} }} functions {{ {FUNCTION} }}
    fields {{ name description deprecated {PLACE} typeDef {{ {TYPE} }} }} }} }}
interfaces {{ asInterface {{ name description {PLACE} functions {{ {FUNCTION} }} }} }}
enums {{ asEnum {{ name description {PLACE} members {{ name value description deprecated {PLACE} }} }} }}"""


@pytest.fixture(scope="module")
def running():
    """An engine that runs the code of modules to find their types."""
    rondel = Rondel(short_folder(), RUNNING + mirror_of(IMAGES, offline=False))
    yield rondel
    rondel.remove()


def definitions(engine, module) -> dict:
    """All types of a module."""
    found = engine.query(f"{{ moduleSource(refString: {json.dumps(str(module))}) {{ asModule {{ {DEFINITIONS} }} }} }}")
    return found.json()["moduleSource"]["asModule"]


def origin(engine, module) -> str:
    """Where the types come from, as `--explain` says it."""
    done = engine.run("functions", "-m", module, "--explain").ok()
    row = next(line for line in done.err.splitlines() if line.split()[:1] == ["types"])
    return row.split(maxsplit=1)[1]


def in_version(module: Path, folder: Path, version: str) -> Path:
    """A copy of the repository folder of a module, with the module in another version."""
    copy = folder / version
    shutil.copytree(module.parent, copy, symlinks=True)
    (copy / ".git").mkdir(exist_ok=True)
    path = copy / module.name / "dagger.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"engineVersion": version}))
    return path.parent


@pytest.mark.parametrize("version", SAMPLE)
def test_types_of_every_form_are_those_that_the_code_registers(connected, running, folder, version):
    shutil.copytree(REPO / "tests/modules/typed-python", folder / "repo/typed-python")
    module = in_version(folder / "repo/typed-python", folder, version)
    assert origin(connected, module) == "read from the source now: nothing was run"
    assert definitions(connected, module) == definitions(running, module)
    assert "types-from-source = false" in origin(running, copied(module))


def copied(module: Path) -> Path:
    """The module with a change that its types do not depend on."""
    (module / "src/typed_python/unused.py").write_text("UNUSED = 1\n")
    return module


@pytest.mark.parametrize("path", ["tests/modules/kinds", "examples/greeter", "examples/ci", "examples/enums-v0.18.10", "tests/modules/gates-v0.12.7"])
def test_types_of_existing_modules_are_those_that_the_code_registers(connected, running, path):
    assert definitions(connected, REPO / path) == definitions(running, REPO / path)


def test_nothing_runs_and_nothing_is_needed(make_engine, folder):
    """No image is present, and the network is off."""
    engine = make_engine("offline = true\n")
    listed = engine.run("functions", "-m", write_module(folder, PROBE)).ok()
    assert "go" in listed.out and engine.execs() == 0
    engine.run("functions", "-m", write_module(folder / "b", COMPUTED)).failed("python")


def test_what_the_source_does_not_decide_is_registered_by_the_code(connected, folder):
    module = write_module(folder, COMPUTED)
    why = "registered now by the module's code: `src/probe/__init__.py:9`: the default of `x` is computed"
    assert origin(connected, module) == why
    args = definitions(connected, module)["objects"][0]["asObject"]["functions"][0]["args"]
    assert json.loads(args[0]["defaultValue"]).startswith("/opt/venv/bin:")


def test_a_module_that_cannot_be_imported_fails_when_it_is_called(connected, folder):
    """The source decides its types, so that it can be listed."""
    module = write_module(folder, "from dataclasses import dataclas\n" + PROBE)
    assert "go" in connected.run("functions", "-m", module).ok().out
    connected.call(module, "go").failed("cannot import name 'dataclas'", "src/probe/__init__.py:1", "did you mean `dataclass`?")


def test_an_edit_that_keeps_the_types_runs_nothing(connected, folder):
    module = write_module(folder, PROBE)
    connected.run("functions", "-m", module).ok()
    before = connected.execs()
    write_module(folder, PROBE.replace("gone", "went"))
    connected.run("functions", "-m", module).ok()
    assert connected.execs() == before


def main(folders: list[str]) -> int:
    """Compares all Python modules below `folders`, in every version."""
    engines = [Rondel(short_folder(), text + mirror_of(IMAGES, offline=False)) for text in ("", RUNNING)]
    wrong = 0
    try:
        for path in sorted(path for folder in folders for path in Path(folder).rglob("dagger.json")):
            sdk = json.loads(path.read_text()).get("sdk")
            if (sdk.get("source") if isinstance(sdk, dict) else sdk) == "python":
                wrong += sum(compare(engines, path.parent, version) for version in VERSIONS)
    finally:
        for engine in engines:
            engine.remove()
    return 1 if wrong else 0


def compare(engines, module: Path, version: str) -> bool:
    """Prints a row for a module in a version. Whether the two ways differ."""
    with tempfile.TemporaryDirectory() as folder:
        copy = in_version(module.resolve(), Path(folder), version)
        began = time.monotonic()
        query = f"{{ moduleSource(refString: {json.dumps(str(copy))}) {{ asModule {{ {DEFINITIONS} }} }} }}"
        read, ran = (engine.query(query) for engine in engines)
        took = time.monotonic() - began
        same = read.out == ran.out and (read.code == 0) == (ran.code == 0)
        way = origin(engines[0], copy) if read.code == 0 else "fails"
        print(f"{'same' if same else 'DIFFERENT':10} {version:9} {took:5.1f} s  {module}  {way}", flush=True)
        return not same


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
