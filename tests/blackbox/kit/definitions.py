"""The types of a module, and where they come from."""

import json
import shutil
from pathlib import Path

# A configuration of an engine that runs the code of modules in Python to find their types.
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


def question(module) -> str:
    """The query for all types of a module."""
    return f"{{ moduleSource(refString: {json.dumps(str(module))}) {{ asModule {{ {DEFINITIONS} }} }} }}"


def definitions(engine, module) -> dict:
    """All types of a module."""
    return engine.query(question(module)).json()["moduleSource"]["asModule"]


def origin(listed) -> str:
    """Where the types come from, as a run of `functions --explain` says it."""
    row = next(line for line in listed.err.splitlines() if line.split()[:1] == ["types"])
    return row.split(maxsplit=1)[1]


def in_version(module: Path, folder: Path, version: str) -> Path:
    """A copy of the repository folder of a module, with the module in another version."""
    return copied(module.parent, folder / version, Path(module.name), engineVersion=version)


def copied(repository: Path, copy: Path, module: Path, **changes) -> Path:
    """The module `module` in a copy of its repository, with changes of its `dagger.json`."""
    shutil.copytree(repository, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    (copy / ".git").mkdir()
    configure(copy / module, **changes)
    return copy / module


def configure(module: Path, **changes) -> None:
    """Changes the `dagger.json` of a module."""
    path = module / "dagger.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
