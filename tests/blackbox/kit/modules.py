"""Modules written by tests, and modules that a session serves."""

import json
from pathlib import Path

# What the code of most modules starts with.
IMPORTS = "import dagger\nfrom dagger import dag, function, object_type\n\n"
# The code of a module with one function.
PROBE = IMPORTS + "@object_type\nclass Probe:\n    @function\n    def go(self) -> str:\n        return 'gone'\n"
# The same, with a default that only running the code tells.
COMPUTED = IMPORTS + """import os

@object_type
class Probe:
    @function
    def go(self, x: str = os.environ['PATH']) -> str:
        return x
"""


def write_module(
    folder: Path,
    code: str,
    name: str = "probe",
    engine_version: str | None = "v0.21.8",
    config: str | None = None,
) -> Path:
    """A Python module with `code` as its only source file."""
    source = folder / "src" / name
    source.mkdir(parents=True, exist_ok=True)
    (source / "__init__.py").write_text(code)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "0.1.0"\nrequires-python = ">=3.13"\ndependencies = ["dagger-io"]\n\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        f'[tool.hatch.build.targets.wheel]\npackages = ["src/{name}"]\n'
    )
    if config is None:
        document = {"name": name, "sdk": {"source": "python"}}
        if engine_version is not None:
            document["engineVersion"] = engine_version
        config = json.dumps(document)
    (folder / "dagger.json").write_text(config)
    return folder


def module_config(name: str = "probe", **more) -> str:
    """A `dagger.json` of a Python module of the newest version."""
    return json.dumps({"name": name, "sdk": "python", "engineVersion": "v0.21.8", **more})


def serve_module(session, module) -> None:
    """Adds a module to the schema of a session."""
    session.query(f'{{ moduleSource(refString: "{module}") {{ asModule {{ serve }} }} }}')


def write_go_module(folder: Path, files: dict[str, str], name: str = "probe", engine_version: str = "v0.21.8", **more) -> Path:
    """A Go module with these files."""
    for path, text in {"go.mod": f"module dagger/{name}\n\ngo 1.24\n", **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "dagger.json").write_text(json.dumps({"name": name, "sdk": "go", "engineVersion": engine_version, **more}))
    return folder
