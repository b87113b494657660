"""Types of Python modules from their source are those that their code registers."""

import json
import shutil
from pathlib import Path

import pytest

from kit import IMAGES, REPO, Rondel, mirror_of, short_folder
from kit.definitions import RUNNING, definitions, in_version, origin
from kit.modules import COMPUTED, PROBE, write_module

# The others are compared by `scripts/types-from-source`.
SAMPLE = ["v0.9.9", "v0.18.10", "v0.21.8"]


@pytest.fixture(scope="module")
def running():
    """An engine that runs the code of modules to find their types."""
    rondel = Rondel(short_folder(), RUNNING + mirror_of(IMAGES, offline=False))
    yield rondel
    rondel.remove()


@pytest.mark.parametrize("version", SAMPLE)
def test_types_of_every_form_are_those_that_the_code_registers(connected, running, folder, version):
    shutil.copytree(REPO / "tests/modules/typed-python", folder / "repo/typed-python")
    module = in_version(folder / "repo/typed-python", folder, version)
    assert origin(explained(connected, module)) == "read from the source now: nothing was run"
    assert definitions(connected, module) == definitions(running, module)
    assert "types-from-source = false" in origin(explained(running, with_more_files(module)))


def explained(engine, module):
    return engine.run("functions", "-m", module, "--explain").ok()


def with_more_files(module: Path) -> Path:
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
    assert origin(explained(connected, module)) == why
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
