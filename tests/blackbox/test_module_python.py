"""The Python SDK: the ways in which a project says what it needs."""

import json

import pytest

from harness import write_module

CODE = (
    "import importlib.metadata, os, sys\nimport dagger\nfrom dagger import dag, function, object_type\n\n@object_type\nclass Probe:\n"
    "    @function\n    def versions(self, names: list[str]) -> list[str]:\n"
    "        return [importlib.metadata.version(name) for name in names]\n\n"
    "    @function\n    def python(self) -> str:\n        return '.'.join(map(str, sys.version_info[:2]))\n\n"
    "    @function\n    def extra(self) -> str:\n        import iniconfig\n        return iniconfig.__name__\n"
)
HEAD = '[project]\nname = "probe"\nversion = "0.1.0"\n'


def project(folder, pyproject, **files):
    module = write_module(folder, CODE)
    (module / "pyproject.toml").write_text(pyproject)
    for name, text in files.items():
        (module / name.replace("__", ".")).write_text(text)
    return module


def versions(connected, module, *names):
    query = f"{{ probe {{ versions(names: {json.dumps(names)}) }} }}"
    return connected.data(query, "-m", module)["probe"]["versions"]


@pytest.mark.parametrize(
    "engine_version, library",
    [("v0.21.8", "0.21.11"), ("v0.19.3", "0.21.11"), ("v0.18.12", "0.18.12"), ("v0.21.0-dev-1", "0.21.11")],
)
def test_the_library_follows_the_view(connected, folder, engine_version, library):
    module = write_module(folder, CODE, engine_version=engine_version)
    assert versions(connected, module, "dagger-io") == [library]


def test_an_extra_dependency(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io", "iniconfig==2.0.0"]\n')
    assert connected.run("call", "-m", module, "extra").ok().out.strip() == "iniconfig"
    assert versions(connected, module, "iniconfig") == ["2.0.0"]


def test_an_unknown_dependency(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io", "iniconfig==99.0.0"]\n')
    connected.run("functions", "-m", module).failed("iniconfig==99.0.0")


def test_exact_versions_of_a_lock_file(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io", "iniconfig"]\n', requirements__lock="iniconfig==2.0.0\n    # via probe\n")
    assert versions(connected, module, "iniconfig") == ["2.0.0"]


@pytest.mark.parametrize("vendored", [True, False])
def test_the_library_that_projects_carry(connected, folder, vendored):
    text = HEAD + 'dependencies = ["dagger-io"]\n[tool.uv.sources]\ndagger-io = { path = "sdk", editable = true }\n'
    module = project(folder, text)
    if vendored:
        (module / "sdk/src/dagger").mkdir(parents=True)
        (module / "sdk/pyproject.toml").write_text('[project]\nname = "dagger-io"\nversion = "0.0.0"\n')
        (module / "sdk/src/dagger/__init__.py").write_text("raise RuntimeError('generated for another engine')\n")
    assert versions(connected, module, "dagger-io") == ["0.21.11"]


def test_uv(connected, folder):
    text = HEAD + 'requires-python = ">=3.10"\ndependencies = ["dagger-io", "iniconfig"]\n[tool.uv]\nconstraint-dependencies = ["iniconfig==2.0.0"]\n'
    module = project(folder, text)
    assert versions(connected, module, "iniconfig", "dagger-io") == ["2.0.0", "0.21.11"]


UV_LOCK = """version = 1
requires-python = ">=3.10"

[[package]]
name = "iniconfig"
version = "2.0.0"
source = { registry = "https://index.example/simple" }
"""


def test_a_lock_file_of_uv(connected, folder):
    text = HEAD + 'requires-python = ">=3.10"\ndependencies = ["dagger-io", "iniconfig"]\n'
    module = project(folder, text, uv__lock=UV_LOCK)
    assert versions(connected, module, "iniconfig", "dagger-io") == ["2.0.0", "0.21.11"]


def test_the_version_of_python(connected, folder):
    module = project(folder, HEAD + 'requires-python = ">=3.10"\ndependencies = ["dagger-io"]\n')
    assert connected.run("call", "-m", module, "python").ok().out.strip() == "3.13"
    (module / ".python-version").write_text("3.8\n")
    connected.run("call", "-m", module, "python").failed("prepare the base image of module `probe`", "python:3.8-slim")


def test_an_image_of_the_projects_own(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io"]\n[tool.dagger]\nbase-image = "python:3.13-slim"\n')
    assert connected.run("call", "-m", module, "python").ok().out.strip() == "3.13"
    (module / "pyproject.toml").write_text(HEAD + '[tool.dagger]\nbase-image = "no such image"\n')
    connected.run("call", "-m", module, "python").failed("prepare the base image of module `probe`", "no such image")


def test_a_broken_project_file(connected, folder):
    connected.run("functions", "-m", project(folder, "[project\n")).failed("cannot read `pyproject.toml` of module `probe`", "line 1")


def test_a_project_without_a_file(connected, folder):
    module = write_module(folder, CODE)
    (module / "pyproject.toml").unlink()
    assert versions(connected, module, "dagger-io") == ["0.21.11"]
