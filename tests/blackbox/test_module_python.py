"""The Python SDK: settings of a project."""

import json
import re
import subprocess

import pytest

from kit import CLIENTS, EXAMPLES, write_module

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


@pytest.mark.once
@pytest.mark.parametrize("engine_version", ["v0.21.8", "v0.18.12", "v0.11.4", "v0.21.0-dev-1"])
def test_every_view_gets_one_library(connected, folder, engine_version):
    module = write_module(folder, CODE, engine_version=engine_version)
    assert versions(connected, module, "dagger-io") == ["0.21.11"]


@pytest.mark.once
def test_a_version_of_the_library_in_the_project_is_ignored(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io==0.18.12"]\n')
    assert versions(connected, module, "dagger-io") == ["0.21.11"]


VIEWED = """
import typing
import dagger
from dagger import dag, function, object_type

@object_type
class Probe:
    @function
    async def entry(self) -> str:
        container = dag.container().from_("busybox").with_entrypoint(["sh", "-c"])
        return await container.with_exec(["echo $HOME"], skip_entrypoint=False).stdout()

    @function
    async def typed_id(self) -> str:
        id_ = await dag.container().from_("busybox").id()
        return await dag.load_container_from_id(dagger.ContainerID(id_)).with_exec(["echo", type(id_).__name__]).stdout()

    @function
    async def same_types(self) -> bool:
        from dagger.client import gen
        return gen.Container is dagger.Container and gen.dag is dag

    @function
    async def host(self) -> bool:
        return hasattr(dag, "host")

    @function
    async def wrong(self) -> str:
        return await dag.container().with_new_file("a", contents=1).file("a").contents()
"""


@pytest.mark.once
@pytest.mark.parametrize(
    "engine_version, entry, typed_id",
    [
        ("v0.12.6", "/root", "ContainerID"),
        ("v0.20.6", "unexpected keyword argument 'skip_entrypoint'", "ContainerID"),
        ("v0.21.8", "unexpected keyword argument 'skip_entrypoint'", "str"),
    ],
)
def test_bindings_are_those_of_the_view(connected, folder, engine_version, entry, typed_id):
    """The first two are `TestSkipEntrypoint…` and `TestLegacyPythonSDKLoadFromIDCompat` of the
    original's suite.
    """
    module = write_module(folder, VIEWED, engine_version=engine_version)
    found = connected.run("call", "-m", module, "entry")
    assert entry in (found.ok().out if entry == "/root" else found.failed().err)
    assert connected.run("call", "-m", module, "typed-id").ok().out.strip() == typed_id
    assert connected.run("call", "-m", module, "same-types").ok().out.strip() == "true"
    assert connected.run("call", "-m", module, "host").ok().out.strip() == "false"
    connected.run("call", "-m", module, "wrong").failed("contents")


COMPARE = """
import enum, inspect, json, re, sys
import dagger_core_gen as ours
import dagger.client.gen as theirs

def shown(value):
    text = re.sub(r"<forwardref (\\w+)\\(.*?\\)>", r"\\1", str(value))
    text = re.sub(r"ForwardRef\\('(.*?)'.*?\\)", r"\\1", text)
    text = re.sub(r"<class '?([\\w.]+)'?>", r"\\1", text)
    return re.sub(r"\\b(?:[a-z_]+\\.)+(?=[A-Z])|'|_(?=Self)", "", text)

def signature(function):
    found = inspect.signature(inspect.unwrap(function))
    parameters = [(p.name, p.kind.name, shown(p.annotation), repr(p.default)) for p in found.parameters.values()]
    return parameters, shown(found.return_annotation), inspect.iscoroutinefunction(inspect.unwrap(function))

def members(cls):
    if issubclass(cls, enum.Enum):
        return {name: member.value for name, member in cls.__members__.items()}
    public = {name: getattr(cls, name) for name in vars(cls) if not name.startswith("_") or name == "__await__"}
    return {name: signature(value) for name, value in public.items() if callable(value)}

wrong, compared = [], 0
for name in ours.__all__:
    one, other = getattr(ours, name), getattr(theirs, name, None)
    if isinstance(one, type) and other is None:
        wrong.append(f"{name} is ours alone")
    elif isinstance(one, type):
        mine, wanted = members(one), members(other)
        for member, what in mine.items():
            compared += 1
            if wanted.get(member) != what:
                wrong.append(f"{name}.{member}: {what}, not {wanted.get(member)}")
missing = [name for name in theirs.__all__ if not hasattr(ours, name)]
lost = [f"{n}.{m}" for n in ours.__all__ if isinstance(getattr(ours, n), type) and hasattr(theirs, n)
        for m in members(getattr(theirs, n)) if m not in members(getattr(ours, n))]
print(json.dumps({"wrong": wrong, "compared": compared, "missing": missing, "lost": lost}))
"""
# The library's API is that of v0.21.11. What belongs to the machine of a client is not for the
# code of modules.
NEWER = {"Address.volume", "Binding.as_volume", "Container.with_mounted_volume", "Env.with_volume_input", "Env.with_volume_output"}
NEWER |= {"Query.load_volume_from_id", "Query.sshfs_volume"}


@pytest.mark.once
def test_bindings_are_what_the_librarys_generator_makes(connected, folder):
    code = "from dagger import function, object_type\n\n@object_type\nclass Probe:\n    @function\n"
    code += "    def bindings(self) -> str:\n        import dagger_core_gen\n        return open(dagger_core_gen.__file__).read()\n"
    text = connected.run("call", "-m", write_module(folder / "m", code), "bindings").ok().out
    (folder / "dagger_core_gen.py").write_text(text)
    python = CLIENTS / "python-0.21.11/bin/python"
    ran = subprocess.run([python, "-c", COMPARE], cwd=folder, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["wrong"] == [] and found["compared"] > 700, found
    of_clients = re.compile(r"(Query\.)?(load_)?(host|engine)", re.IGNORECASE)
    assert {name for name in found["missing"] if not of_clients.match(name)} == {"Volume", "VolumeID"}
    assert {name for name in found["lost"] if not of_clients.match(name)} == NEWER


DEP = """
import typing
import dagger
from dagger import function, object_type

@dagger.enum_type
class Mode(dagger.Enum):
    FAST = "fast", "Quick."

@object_type
class Dep:
    @function(name="str")
    def text(self) -> str:
        return "text"

    @function(name="import")
    def bring(self, from_: typing.Annotated[str, dagger.Name("from")], type_: typing.Annotated[str, dagger.Name("type")] = "t") -> str:
        return f"{from_} {type_}"

    @function(name="list")
    def all(self) -> list[str]:
        return ["a", "b"]

    @function
    def getURL(self, mode: Mode = Mode.FAST) -> str:
        return mode.value
"""
USER = """
from dagger import dag, function, object_type

@object_type
class User:
    @function
    async def all(self) -> list[str]:
        dep = dag.dep()
        return [await dep.str_(), await dep.import_("x", type_="y"), await dep.import_("x"), *await dep.list_(), await dep.get_url()]
"""


@pytest.mark.once
@pytest.mark.parametrize("engine_version", ["v0.21.8", "v0.12.6"])
def test_members_named_like_python_keywords_can_be_called(connected, folder, engine_version):
    write_module(folder / "dep", DEP, "dep")
    config = {"name": "user", "sdk": {"source": "python"}, "engineVersion": engine_version, "dependencies": [{"name": "dep", "source": "dep"}]}
    (folder / ".git").mkdir()
    module = write_module(folder, USER, "user", config=json.dumps(config))
    found = connected.run("call", "-m", module, "all", "--json").ok().out
    assert json.loads(found) == ["text", "x y", "x t", "a", "b", "fast"]


def test_an_extra_dependency_is_installed(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io", "iniconfig==2.0.0"]\n')
    assert connected.run("call", "-m", module, "extra").ok().out.strip() == "iniconfig"
    assert versions(connected, module, "iniconfig") == ["2.0.0"]


@pytest.mark.once
def test_an_unknown_dependency_is_named(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io", "iniconfig==99.0.0"]\n')
    connected.call(module, "extra").failed("iniconfig==99.0.0")


@pytest.mark.once
def test_a_lock_file_pins_versions(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io", "iniconfig"]\n', requirements__lock="iniconfig==2.0.0\n    # via probe\n")
    assert versions(connected, module, "iniconfig") == ["2.0.0"]
    (module / "pyproject.toml").write_text(HEAD + 'dependencies = ["iniconfig"]\n[tool.dagger]\nuse-uv = false\n')
    assert versions(connected, module, "iniconfig") != ["2.0.0"], "pip reads no lock file"


PINNING = """
import dagger
from dagger import dag, function, object_type

@object_type
class Probe:
    @function
    def folder(self) -> dagger.Directory:
        return dag.directory().with_new_file("a", "b")

    @function
    def names(self) -> list[str]:
        import importlib.metadata
        return [f"{name} {importlib.metadata.version(name)}" for name in ("typing_extensions", "beartype", "iniconfig")]
"""
OLD_UV_LOCK = """version = 1
requires-python = ">=3.10"

[[package]]
name = "beartype"
version = "0.18.5"
source = { registry = "https://index.example/simple" }

[[package]]
name = "iniconfig"
version = "2.0.0"
source = { registry = "https://index.example/simple" }
"""


@pytest.mark.once
@pytest.mark.parametrize(
    "engine_version, name, lock",
    [
        ("v0.11.4", "requirements__lock", "typing-extensions==4.11.0\niniconfig==2.0.0\n"),
        ("v0.11.4", "requirements__lock", "beartype==0.18.5\niniconfig==2.0.0\n"),
        ("v0.21.8", "requirements__lock", "-e ./sdk\ntyping-extensions==4.11.0 \\\n    --hash=sha256:00\niniconfig==2.0.0\n"),
        ("v0.13.0", "uv__lock", OLD_UV_LOCK),
    ],
)
def test_a_lock_file_pins_nothing_that_the_library_needs(connected, folder, engine_version, name, lock):
    module = project(folder, HEAD + 'dependencies = ["dagger-io", "iniconfig"]\n', **{name: lock})
    (module / "dagger.json").write_text(json.dumps({"name": "probe", "sdk": "python", "engineVersion": engine_version}))
    (module / "src/probe/__init__.py").write_text(PINNING)
    found = connected.data("{ probe { names folder { entries } } }", "-m", module)["probe"]
    assert found["folder"] == {"entries": ["a"]}
    names = dict(line.split() for line in found["names"])
    assert names["iniconfig"] == "2.0.0"
    assert tuple(map(int, names["typing_extensions"].split(".")[:2])) >= (4, 13)
    assert tuple(map(int, names["beartype"].split(".")[:2])) >= (0, 22)


def test_packages_of_the_same_repository_are_installed(connected, folder):
    """By a path in `[tool.uv.sources]`, also of an indirect dependency."""
    (folder / ".git").mkdir()
    for name, needs in (("base", "[]"), ("lib", '["base-package"]')):
        package = folder / f"{name} package"
        (package / f"src/{name}_package").mkdir(parents=True)
        text = f'[project]\nname = "{name}-package"\nversion = "1.2.3"\ndependencies = {needs}\n'
        text += '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        text += '[tool.uv.sources]\nbase-package = { path = "../base package" }\n' if name == "lib" else ""
        (package / "pyproject.toml").write_text(text)
        (package / f"src/{name}_package/__init__.py").write_text(f"NAME = {name!r}\n")
    code = "from dagger import function, object_type\n\n@object_type\nclass Probe:\n    @function\n    def names(self) -> list[str]:\n"
    code += "        import base_package, lib_package\n        return [base_package.NAME, lib_package.NAME]\n"
    config = {"name": "probe", "sdk": "python", "engineVersion": "v0.21.8", "include": ["../base package", "../lib package"]}
    module = write_module(folder / "mod", code, config=json.dumps(config))
    head = HEAD + 'requires-python = ">=3.13"\ndependencies = ["dagger-io", "lib-package"]\n[tool.uv.sources]\n'
    (module / "pyproject.toml").write_text(head + 'lib-package = { path = "../lib package", editable = true }\n')
    assert connected.data("{ probe { names } }", "-m", module) == {"probe": {"names": ["base", "lib"]}}


@pytest.mark.once
@pytest.mark.parametrize("vendored", [True, False])
def test_a_vendored_library_is_replaced(connected, folder, vendored):
    text = HEAD + 'dependencies = ["dagger-io"]\n[tool.uv.sources]\ndagger-io = { path = "sdk", editable = true }\n'
    module = project(folder, text)
    if vendored:
        (module / "sdk/src/dagger").mkdir(parents=True)
        (module / "sdk/pyproject.toml").write_text('[project]\nname = "dagger-io"\nversion = "0.0.0"\n')
        (module / "sdk/src/dagger/__init__.py").write_text("raise RuntimeError('generated for another engine')\n")
    assert versions(connected, module, "dagger-io") == ["0.21.11"]


@pytest.mark.once
def test_settings_of_uv_are_used(connected, folder):
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


@pytest.mark.once
def test_a_lock_file_of_uv_pins_versions(connected, folder):
    text = HEAD + 'requires-python = ">=3.10"\ndependencies = ["dagger-io", "iniconfig"]\n'
    module = project(folder, text, uv__lock=UV_LOCK)
    assert versions(connected, module, "iniconfig", "dagger-io") == ["2.0.0", "0.21.11"]


@pytest.mark.once
@pytest.mark.parametrize(
    "wanted, version",
    [(">=3.11", "3.11"), (">=3.10", "3.11"), (">=3.12", "3.13"), (">=3.11,!=3.11.*", "3.13"), ("<3.13", "3.11"), (">=3.13", "3.13")],
)
def test_the_lowest_available_python_is_used(connected, folder, wanted, version):
    """The base images are 3.11 and 3.13."""
    module = project(folder, HEAD + f'requires-python = "{wanted}"\ndependencies = ["dagger-io"]\n')
    assert connected.run("call", "-m", module, "python").ok().out.strip() == version


@pytest.mark.once
def test_an_unavailable_python_is_named(connected, folder):
    module = project(folder, HEAD + 'requires-python = "==3.12.*"\ndependencies = ["dagger-io"]\n')
    connected.run("call", "-m", module, "python").failed("prepare the base image of module `probe`", "python:3.12-slim")
    (module / ".python-version").write_text("3.8\n")
    connected.run("call", "-m", module, "python").failed("prepare the base image of module `probe`", "python:3.8-slim")


@pytest.mark.once
def test_a_project_may_name_its_base_image(connected, folder):
    module = project(folder, HEAD + 'dependencies = ["dagger-io"]\n[tool.dagger]\nbase-image = "python:3.13-slim"\n')
    assert connected.run("call", "-m", module, "python").ok().out.strip() == "3.13"
    (module / "pyproject.toml").write_text(HEAD + '[tool.dagger]\nbase-image = "no such image"\n')
    connected.run("call", "-m", module, "python").failed("prepare the base image of module `probe`", "no such image")


@pytest.mark.once
def test_a_broken_project_file_is_named(connected, folder):
    connected.run("functions", "-m", project(folder, "[project\n")).failed("cannot read `pyproject.toml` of module `probe`", "line 1")


def test_a_project_needs_no_file(connected, folder):
    module = write_module(folder, CODE)
    (module / "pyproject.toml").unlink()
    assert versions(connected, module, "dagger-io") == ["0.21.11"]


def test_an_example_runs_tests_in_containers(connected):
    """The picture in README.md shows this module."""
    done = connected.run("call", "-m", EXAMPLES / "ci", "test").ok()
    assert [line.rpartition(" in ")[0] for line in done.out.splitlines()] == ["Python 3.11: 4 passed", "Python 3.13: 4 passed"]
