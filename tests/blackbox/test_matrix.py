"""The schema that modules and SDKs see: every version of a module, of its SDK, and every contract.

In each cell the members of the enum, the schema version of the user's code and the view of a caller
are those of the module's version. The SDK sees its own version. In the lazy cells an SDK or an
entrypoint returns a value that is not made yet. The process that makes it for a caller sees the
module's version as well, and runs once. Run as a program (`scripts/matrix`) it prints the cells as
a table.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit import IMAGES, REPO, ROOT, Rondel, mirror_of

TEMPLATES = REPO / "tests/modules/matrix"
OLD, NEW = [("low", "low"), ("high", "high")], [("LOW", "low"), ("HIGH", "high")]
# Members as the code gets them: by name. Callers of old versions see them by value.
TOLD = ["LOW", "HIGH"]
# By the version in `dagger.json`: the members of the enum, and the view that the code sees.
MODULES = {
    "v0.9.9": (OLD, "v0.9.9"),
    "v0.18.10": (OLD, "v0.18.10"),
    "v0.18.11": (NEW, "v0.18.11"),
    "v0.19.11": (NEW, "v0.19.11"),
    "v0.21.8": (NEW, "v0.21.8"),
    "absent": (OLD, "v0.9.9"),
    "latest": (NEW, "v0.21.8"),
}
CONTRACTS = ["empty-call", "types-container", "typed", "declared", "document"]
# These run no code of the module to learn its types.
SILENT = ["declared", "document", "builtin-go"]
BUILTIN = {"builtin": "python", "builtin-go": "go"}
PARALLEL = 3


@dataclass(frozen=True)
class Cell:
    """A module's version, that of its SDK, and how the types are registered."""

    module: str
    sdk: str
    contract: str
    route: str = "plain"

    def __str__(self):
        route = "" if self.route == "plain" else f"-{self.route}"
        return f"{self.module}-sdk-{self.sdk}-{self.contract}{route}"

    def is_lost_without_scope(self):
        """Whether the cell fails in an engine that was built with `without_scope.patch`."""
        if self.contract == "declared":
            return MODULES[self.sdk][0] is not MODULES[self.module][0]
        return self.contract in ("types-container", "typed") and MODULES[self.sdk][1] != MODULES[self.module][1]

    def expected(self):
        members, view = MODULES[self.module]
        description = "declared" if self.contract in SILENT else f"registered under {view}"
        sdk = "-" if self.sdk == "-" else MODULES[self.sdk][1]
        told = TOLD
        if self.contract == "builtin-go":
            # Go lists what a package declares by name.
            members, told = sorted(members), sorted(TOLD)
        return Found(members, description, f"{told[-1]} {view} {sdk}")


@dataclass(frozen=True)
class Found:
    """A module as its caller sees it."""

    members: list
    description: str
    told: str
    """The argument of a function, its schema version, and the schema version of its SDK."""


@dataclass(frozen=True)
class LazyCell(Cell):
    """A module's version, that of its SDK or entrypoint, the kind of lazy result, and the route."""

    def is_lost_without_scope(self):
        return MODULES[self.sdk][1] != MODULES[self.module][1]

    def expected(self):
        view = MODULES[self.module][1]
        # Before v0.19.4 another client's call of a function is another process.
        calls_again = self.contract == "runtime" and view in ("v0.9.9", "v0.18.10")
        return Lazy([view], self.processes(), int(calls_again))

    def processes(self):
        """Processes of functions, of the lazy results, and of the service and its caller."""
        functions = {"client": 2, "runtime": 3, "entrypoint": 1 + len(LAZY_RESULTS)}.get(self.contract, 1)
        services = 2 if self.contract == "entrypoint" else 0
        return functions + services + {"plain": 1, "deep": 3, "chain": 2, "dependency": 2}[self.route]


@dataclass(frozen=True)
class Lazy:
    """The evaluation of a lazy result."""

    views: list
    """The schema versions that its processes saw."""
    processes: int
    """How many processes ran until it was seen."""
    again: int
    """How many more ran when it was seen again, by its ID and by another client."""


# The results of the entrypoint, each with the selection that reads it.
READ = 'file(path: "seen") { contents }'
LAZY_RESULTS = {
    "container": ("Container", 'file(path: "/out/seen") { contents }'),
    "directory": ("Directory", READ),
    "file": ("File", "contents"),
    "list": ("Directory", READ),
    "box": ("MatrixBox", "held { %s }" % READ),
    "changes": ("Changeset", "after { %s }" % READ),
    "service": ("Service", ""),
}


def sdk_versions(module: str) -> list:
    """Versions of SDKs: an older one, the module's own, and a newer one, as far as they exist."""
    older = {"v0.9.9": [], "absent": [], "v0.18.10": ["v0.9.9"]}.get(module, ["v0.18.10"])
    newer = {"v0.21.8": [], "latest": []}.get(module, ["v0.21.8"])
    return [*older, module, *newer]


def other(module: str) -> str:
    """A version on the other side of the gate."""
    return "v0.21.8" if MODULES[module][0] is OLD else "v0.18.10"


def all_cells() -> list:
    plain = [Cell(module, sdk, contract) for module in MODULES for sdk in sdk_versions(module) for contract in CONTRACTS]
    return plain + [Cell(module, "-", contract) for contract in BUILTIN for module in MODULES]


def hidden_cells() -> list:
    """The process that registers the types two levels deeper, earlier in a chain, or behind a
    dependency of the SDK.
    """
    contracts, modules = ["types-container", "typed"], ["v0.9.9", "v0.18.10", "v0.18.11", "v0.21.8"]
    return [Cell(m, other(m), contract, route) for route in ("deep", "chain", "dependency") for contract in contracts for m in modules]


def lazy_cells() -> list:
    """Every lazy result of an SDK or an entrypoint, and the routes to the process that makes it."""
    all_versions = ("v0.9.9", "v0.18.10", "v0.21.8")
    contracts = {"codegen": all_versions, "codegen-sync": all_versions[:2], "entrypoint": all_versions}
    contracts |= dict.fromkeys(["client", "runtime", "types-file"], all_versions[1:])
    plain = [LazyCell(m, other(m), contract) for contract, versions in contracts.items() for m in versions]
    routes = [(contract, route) for contract in ("codegen", "entrypoint") for route in ("deep", "chain", "dependency")]
    return plain + [LazyCell(m, other(m), *cell) for cell in routes for m in ("v0.18.10",)]


def reduced(cells: list) -> list:
    """A part of the cells, for machines and users with less time."""
    if ROOT and not os.environ.get("RONDEL_MATRIX_SMALL"):
        return cells
    return [cell for cell in cells if cell.module in ("v0.18.10", "v0.21.8") and cell.sdk in ("-", other(cell.module))]


class Matrix:
    """Makes modules and SDKs in one repository, and looks at them through one engine."""

    def __init__(self, rondel: Rondel):
        self.rondel = rondel
        self.folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/var/tmp"))
        (self.folder / ".git").mkdir()
        self.lock = threading.Lock()
        self.pool = ThreadPoolExecutor(PARALLEL)
        self.running = {}
        rondel.data("{ version }")

    def submit(self, cell: Cell):
        if cell not in self.running:
            self.running[cell] = self.pool.submit(self.look, cell)
        return self.running[cell]

    def close(self):
        self.pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def look(self, cell: Cell) -> Found:
        return self.seen(self.module(cell))

    def seen(self, module: Path) -> Found:
        """The module as callers see it by introspection, by type definitions and by a call."""
        data = self.rondel.data(QUESTIONS, "-m", module)
        (known,) = [e["asEnum"] for e in data["currentTypeDefs"] if e["asEnum"] and e["asEnum"]["name"] == "MatrixLevel"]
        members = [(member["name"], member["value"]) for member in known["members"]]
        assert [name for name, _ in members] == [value["name"] for value in data["level"]["enumValues"]]
        told = self.rondel.run("call", "-m", module, "told", "--level", members[-1][0]).ok().out.strip()
        default = self.rondel.run("call", "-m", module, "told").ok().out.split()[0]
        assert default == TOLD[0]
        return Found(members, data["main"]["description"], told)

    def look_lazily(self, cell: LazyCell) -> Lazy:
        """Evaluates a lazy result twice, alone, so that processes can be counted."""
        for running in self.running.values():
            running.exception()
        module = self.module(cell)
        self.rondel.run("functions", "-m", self.sdk(cell)).ok()
        before = self.rondel.execs()
        seen, read_again = getattr(self, f"seen_of_{cell.contract.split('-')[0]}")(module)
        processes = self.rondel.execs() - before
        seen += read_again()
        return Lazy(sorted(set(seen)), processes, self.rondel.execs() - before - processes)

    def seen_of_codegen(self, module: Path) -> tuple:
        """The view in the generated code, and a function that reads it again by its ID."""
        read = f"id {READ}"
        made = self.rondel.data('{ moduleSource(refString: "%s") { generatedContextDirectory { %s } } }' % (module, read))
        made = made["moduleSource"]["generatedContextDirectory"]
        again = '{ loadDirectoryFromID(id: "%s") { %s } }' % (made["id"], read)
        return [made["file"]["contents"]], lambda: [self.rondel.data(again)["loadDirectoryFromID"]["file"]["contents"]]

    seen_of_client = seen_of_codegen

    def seen_of_runtime(self, module: Path) -> tuple:
        """The view of a process that made a part of the runtime, as a function reports it."""

        def told():
            return [self.rondel.run("call", "-m", module, "told").ok().out.split()[3]]

        return told(), told

    def seen_of_types(self, module: Path) -> tuple:
        def description():
            found = self.rondel.data('{ __type(name: "Matrix") { description } }', "-m", module)
            return [found["__type"]["description"].removeprefix("registered under ")]

        return description(), description

    def seen_of_entrypoint(self, module: Path) -> tuple:
        """The view in each result, and a function that reads them again by ID as another client."""
        fields = [f"{name} {{ id {read} }}" for name, (_, read) in LAZY_RESULTS.items()]
        made = self.rondel.data("{ matrix { %s } }" % " ".join(fields), "-m", module)["matrix"]
        service = made.pop("service")["id"]
        words = json.dumps(["python3", "-c", "import urllib.request as r; print(r.urlopen('http://told:8080').read().decode(), end='')"])
        asked = 'withServiceBinding(alias: "told", service: "%s") { withExec(args: %s) { stdout } }' % (service, words)
        told = self.rondel.data('{ container { from(address: "python:3.13-slim") { %s } } }' % asked)
        seen = [*contents(made), told["container"]["from"]["withServiceBinding"]["withExec"]["stdout"]]
        assert len(seen) == len(LAZY_RESULTS), (made, told)
        known = {name: (value[0] if isinstance(value, list) else value)["id"] for name, value in made.items()}

        def again():
            of = {name: "node" if "Box" in LAZY_RESULTS[name][0] else f"load{LAZY_RESULTS[name][0]}FromID" for name in known}
            read = {n: LAZY_RESULTS[n][1] if "load" in of[n] else "... on MatrixBox { %s }" % LAZY_RESULTS[n][1] for n in known}
            return contents(self.rondel.data("{ %s }" % " ".join(f'{n}: {of[n]}(id: "{known[n]}") {{ {read[n]} }}' for n in known), "-m", module))

        return seen, again

    def module(self, cell: Cell, name: str = "", remark: str = "") -> Path:
        """The folder of the cell's module. A remark makes the module differ from all others."""
        folder = self.folder / "modules" / (name or str(cell))
        builtin = BUILTIN.get(cell.contract)
        if cell.contract == "entrypoint":
            folder.mkdir(parents=True)
            version = "" if cell.module == "absent" else f'engineVersion = "{cell.module}"\n'
            source = f'[entrypoint]\nkind = "module"\nsource = "{os.path.relpath(self.sdk(cell), folder)}"\n'
            (folder / "dagger-module.toml").write_text(f'name = "matrix"\n{version}{source}')
            return folder
        self.write(folder, "matrix", cell.module, builtin or os.path.relpath(self.sdk(cell), folder))
        if cell.contract == "client":
            config = json.loads((folder / "dagger.json").read_text())
            config["clients"] = [{"generator": config["sdk"]["source"], "directory": "gen"}]
            (folder / "dagger.json").write_text(json.dumps(config))
        if builtin == "go":
            (folder / "go.mod").write_text("module dagger/matrix\n\ngo 1.24\n")
            (folder / "main.go").write_text((TEMPLATES / "builtin-go/main.go").read_text())
            return folder
        code = folder / "src/matrix" if builtin else folder
        code.mkdir(parents=True, exist_ok=True)
        source = TEMPLATES / ("builtin" if builtin else "user") / "code.py"
        (code / ("__init__.py" if builtin else "code.py")).write_text(source.read_text() + remark)
        shutil.copy(TEMPLATES / "shared/protocol.py", code)
        return folder

    def sdk(self, cell: Cell) -> Path:
        """The folder of an SDK, which all cells of its version, contract and route share."""
        with self.lock:
            route = "" if cell.route == "plain" else f"-{cell.route}"
            folder = self.folder / "sdks" / f"{cell.contract}-{cell.sdk}{route}"
            if not folder.exists():
                needs = {"matrix-helper": self.helper(other(cell.module))} if cell.route == "dependency" else {}
                if cell.contract == "entrypoint":
                    self.program(folder, "matrix-entrypoint", cell.sdk, "entrypoint", needs)
                    shutil.copy(TEMPLATES / "user/code.py", folder / "src")
                else:
                    self.program(folder, "matrix-sdk", cell.sdk, "sdk", needs)
                settings = {"contract": cell.contract, "route": cell.route}
                (folder / "src/settings.json").write_text(json.dumps(settings))
            return folder

    def helper(self, version: str) -> Path:
        folder = self.folder / "helpers" / version
        if not folder.exists():
            self.program(folder, "matrix-helper", version, "helper", {})
        return folder

    def program(self, folder: Path, name: str, version: str, template: str, needs: dict):
        self.write(folder, name, version, "python", needs)
        (folder / "src").mkdir()
        for source in (TEMPLATES / template / "program.py", *sorted((TEMPLATES / "shared").glob("*.py"))):
            shutil.copy(source, folder / "src")

    def write(self, folder: Path, name: str, version: str, sdk: str, needs: dict | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        config = {"name": name, "engineVersion": version, "sdk": {"source": sdk}}
        if version == "absent":
            del config["engineVersion"]
        config["dependencies"] = [{"name": n, "source": os.path.relpath(path, folder)} for n, path in (needs or {}).items()]
        (folder / "dagger.json").write_text(json.dumps(config))
        if sdk == "python":
            (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "0.1.0"\ndependencies = ["dagger-io"]\n')


def contents(data) -> list:
    """The contents of every file in an answer."""
    if not isinstance(data, (dict, list)):
        return []
    own = [data["contents"]] if isinstance(data, dict) and "contents" in data else []
    return own + [found for value in (data.values() if isinstance(data, dict) else data) for found in contents(value)]


QUESTIONS = """{
    level: __type(name: "MatrixLevel") { enumValues(includeDeprecated: true) { name } }
    main: __type(name: "Matrix") { description }
    currentTypeDefs { asEnum { name members { name value } } }
}"""


@pytest.fixture(scope="module")
def matrix(connected, request):
    made = Matrix(connected)
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = [spec.params["cell"] for spec in specs if spec and "cell" in spec.params]
    for cell in wanted:
        made.submit(cell)
    yield made
    made.close()


@pytest.mark.parametrize("cell", reduced(all_cells()), ids=str)
def test_a_module_sees_its_version_under_every_sdk(matrix, cell):
    assert matrix.submit(cell).result() == cell.expected()


@pytest.mark.parametrize("cell", reduced(hidden_cells()), ids=str)
def test_a_hidden_registration_sees_the_modules_version(matrix, cell):
    assert matrix.submit(cell).result() == cell.expected()


@pytest.mark.parametrize("contract", ["types-container", "typed"])
def test_an_earlier_call_of_the_helper_changes_nothing(matrix, contract):
    """The helper registers types for itself first. Its cached result is not used for the module."""
    cell = Cell("v0.18.10", "v0.21.8", contract, "dependency")
    module = matrix.module(cell, f"earlier-{contract}", "# earlier\n")
    helper = matrix.helper("v0.21.8")
    files = [f"--{name}={module / name}.py" for name in ("code", "protocol")]
    first = matrix.rondel.run("call", "-m", helper, "types", *files).ok().out.strip()
    known = matrix.rondel.data('{ loadModuleFromID(id: "%s") { objects { asObject { description } } } }' % first)
    assert known["loadModuleFromID"]["objects"][0]["asObject"]["description"] == "registered under v0.21.8"
    assert matrix.seen(module) == cell.expected()
    # The cached load of the module is not used for the helper's own call.
    again = matrix.rondel.run("call", "-m", helper, "types", *files).ok().out.strip()
    assert again == first


@pytest.mark.parametrize("contract", CONTRACTS)
def test_two_modules_of_equal_bytes_are_kept_apart(matrix, contract):
    """Two modules of the same bytes and of different versions, loaded at the same moment by the
    same SDK.
    """
    cells = [Cell(version, "v0.19.11", contract) for version in ("v0.18.10", "v0.21.8")]
    modules = [matrix.module(cell, f"at-once-{cell}", f"# at once: {contract}\n") for cell in cells]
    start = threading.Barrier(len(cells))

    def look(module):
        start.wait()
        return matrix.seen(module)

    with ThreadPoolExecutor(len(cells)) as pool:
        assert list(pool.map(look, modules)) == [cell.expected() for cell in cells]


@pytest.mark.parametrize("lazy", reduced(lazy_cells()), ids=str)
def test_a_lazy_result_sees_the_modules_version_and_runs_once(matrix, lazy):
    assert matrix.look_lazily(lazy) == lazy.expected()


def main(words: list) -> int:
    """Prints the table of the cells whose names contain all words.

    With `--without-scope` the engine was built with `without_scope.patch`. Then exactly the cells
    have to be wrong that need the exec scope.
    """
    without_scope = "--without-scope" in words
    words = [word for word in words if word != "--without-scope"]
    folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/var/tmp"))
    rondel = Rondel(folder, mirror_of(IMAGES, offline=False))
    began = time.monotonic()
    matrix = Matrix(rondel)
    wrong = 0
    try:
        cells = [cell for cell in reduced(all_cells()) + reduced(hidden_cells()) if all(word in str(cell) for word in words)]
        print(f"{'module':9} {'SDK':9} {'contract':16} {'route':11} {'enum':20} {'registered under':17} {'called with, under':19} {'SDK under':9}")
        for cell in cells:
            matrix.submit(cell)
        for cell in cells:
            try:
                found, problem = matrix.submit(cell).result(), None
            except AssertionError as error:
                found, problem = None, str(error)
            wrong += (found != cell.expected()) != (without_scope and cell.is_lost_without_scope())
            print(row(cell, found), flush=True)
            if problem:
                print("    " + "\n    ".join(problem.splitlines()[-6:]), file=sys.stderr)
        lazy = [cell for cell in reduced(lazy_cells()) if all(word in f"{cell}-lazy" for word in words)]
        print(f"\n{'module':9} {'SDK':9} {'returned unmade':16} {'route':11} {'processes saw':13} {'processes':9} {'again':5}")
        for cell in lazy:
            try:
                found, problem = matrix.look_lazily(cell), None
            except AssertionError as error:
                found, problem = None, str(error)
            lost = without_scope and cell.is_lost_without_scope()
            right = (found and found.views == cell.expected().views) if without_scope else found == cell.expected()
            wrong += bool(right) == lost
            print(lazy_row(cell, found), flush=True)
            if problem:
                print("    " + "\n    ".join(problem.splitlines()[-6:]), file=sys.stderr)
        cells += lazy
    finally:
        matrix.close()
        rondel.remove()
    lost = sum(without_scope and cell.is_lost_without_scope() for cell in cells)
    expected = f"{lost} of them lost for want of a scope, as expected, " if without_scope else ""
    print(f"{len(cells) - wrong} of {len(cells)} cells are as they must be, {expected}in {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def lazy_row(cell: LazyCell, found: Lazy | None) -> str:
    head = f"{cell.module:9} {cell.sdk:9} {cell.contract:16} {cell.route:11} "
    if found is None:
        return head + "FAILED"
    verdict = "" if found == cell.expected() else f" WRONG, expected {cell.expected()}"
    return f"{head}{' '.join(found.views):13} {found.processes:9} {found.again:5}{verdict}"


def row(cell: Cell, found: Found | None) -> str:
    head = f"{cell.module:9} {cell.sdk:9} {cell.contract:16} {cell.route:11} "
    if found is None:
        return head + "FAILED"
    members = " ".join(f"{name}={value}" for name, value in found.members)
    saw = found.description.removeprefix("registered under ")
    verdict = "" if found == cell.expected() else f" WRONG, expected {cell.expected()}"
    told, sdk = found.told.rsplit(" ", 1)
    return f"{head}{members:20} {saw:17} {told:19} {sdk:9}{verdict}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
