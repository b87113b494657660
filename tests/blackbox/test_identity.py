"""The module that a lazy process acts as, wherever its value goes, and who cannot choose it."""

import json

import pytest

from kit import UNSEALED, id_bytes, id_of_bytes, write_module
from kit.nested import NESTED_CLIENT, nested_exec
from kit.sdks import RUNTIME, SOURCE, Sdk, entrypoint, write_manifest, write_module_with_entrypoint, write_sdk
from kit.terminal import Terminal, document_file

pytestmark = pytest.mark.once

OLD, NEWEST = "v0.19.11", "v0.21.8"
EXEC = "withExec(args: [], useEntrypoint: true, experimentalPrivilegedNesting: true)"
VIEW = "print(protocol.view(), end='')"
# The ID of a container whose process has not started. It prints the schema version that it sees.
LAZY = f"chain(*process({VIEW!r}), {EXEC!r}, 'id')"
TYPES = "give([main_object('Probe', [function('container', 'Container'), function('told', 'String', given='Container'), function('same', 'Container', given='Container')])])"
CALL = f"""
given = json.loads(fnArgs).get('given')
if fnName == 'told': give(json.dumps(chain('loadContainerFromID(id: "' + given + '")', 'stdout')))
elif fnName == 'same': give(json.dumps(given))
else: give(json.dumps({LAZY}))
"""


def write_probe(repository, version=OLD, call=CALL, types=TYPES):
    return write_module_with_entrypoint(repository, entrypoint(types, call), version=version)


def lazy_id(rondel, module) -> str:
    return rondel.data("{ probe { container { id } } }", "-m", module)["probe"]["container"]["id"]


def loaded(id_: str, selection="stdout") -> str:
    return '{ loadContainerFromID(id: "%s") { %s } }' % (id_, selection)


def stdout(rondel, id_: str) -> str:
    return rondel.data(loaded(id_))["loadContainerFromID"]["stdout"]


# Where the value goes.


def test_an_id_acts_as_its_module_after_a_restart(connected, repository):
    """Cached results and IDs of a client act as the module, whether it is loaded or not."""
    module = write_probe(repository)
    known = lazy_id(connected, module)
    connected.stop()
    # Nothing is loaded: the ID brings what is needed.
    assert stdout(connected, known) == OLD
    assert connected.execs() == 1
    connected.stop()
    kept = connected.data("{ probe { container { id stdout } } }", "-m", module)["probe"]["container"]
    assert kept == {"id": known, "stdout": OLD}
    assert connected.execs() == 0


def test_a_process_acts_as_its_module_in_other_modules(connected, repository):
    """In an ordinary module and in one with an entrypoint, the process acts as the module that made
    it.
    """
    module = write_probe(repository)
    code = (
        "import dagger\nfrom dagger import function, object_type\n\n@object_type\nclass Uses:\n"
        "    @function\n    async def told(self, given: dagger.Container) -> str:\n        return await given.stdout()\n\n"
        "    @function\n    def same(self, given: dagger.Container) -> list[dagger.Container]:\n        return [given]\n"
    )
    uses = write_module(repository / "uses", code, name="uses", engine_version="v0.18.10")
    known = lazy_id(connected, module)
    # The entrypoint is written for `Probe`, so the other module has the same name.
    other = write_manifest(repository / "other", name="probe", version="v0.18.10")
    for loaded_before in (uses, other):
        connected.run("functions", "-m", loaded_before).ok()
    before = connected.execs()
    told = connected.data('{ uses { told(given: "%s") same(given: "%s") { stdout } } }' % (known, known), "-m", uses)
    assert told == {"uses": {"told": OLD, "same": [{"stdout": OLD}]}}
    told = connected.data('{ probe { told(given: "%s") same(given: "%s") { stdout } container { stdout } } }' % (known, known), "-m", other)
    assert told["probe"] == {"told": OLD, "same": {"stdout": OLD}, "container": {"stdout": "v0.18.10"}}
    assert stdout(connected, known) == OLD
    # Five function calls, the lazy process once, and that of the other module.
    assert connected.execs() - before == 5 + 1 + 1


def test_a_process_of_a_client_does_not_act_as_a_module(connected, repository):
    """A value given to a module with an entrypoint does not act as that module."""
    module = write_probe(repository, version="v0.18.10")
    code = "print(ask('{__schemaVersion}')['data']['__schemaVersion'], 'errors' in ask('{currentModule{name}}'), end='')"
    exec_ = nested_exec(code)
    made = connected.data('{ container { from(address: "python:3.13-slim") { %s { id } } } }' % exec_)
    known = made["container"]["from"]["withExec"]["id"]
    connected.run("functions", "-m", module).ok()
    before = connected.execs()
    told = connected.data('{ probe { told(given: "%s") same(given: "%s") { stdout } } }' % (known, known), "-m", module)
    assert told["probe"] == {"told": f"{NEWEST} True", "same": {"stdout": f"{NEWEST} True"}}
    assert stdout(connected, known) == f"{NEWEST} True"
    assert connected.execs() - before == 3


def test_a_process_that_module_code_starts_is_a_client_of_its_own(connected, repository):
    """A process that module code starts is a client of its own, eager or lazy."""
    code = (
        "import dagger\nfrom dagger import dag, function, object_type\n\n@object_type\nclass Probe:\n    @function\n"
        "    def lazy(self, code: str) -> dagger.Container:\n"
        "        return dag.container().from_('python:3.13-slim').with_exec(['python3', '-c', code], experimental_privileged_nesting=True)\n\n"
        "    @function\n    async def eager(self, code: str) -> str:\n        return await self.lazy(code).stdout()\n"
    )
    module = write_module(repository / "probe", code, engine_version="v0.18.10")
    code = json.dumps(NESTED_CLIENT + "print(ask('{__schemaVersion}')['data']['__schemaVersion'], end='')")
    told = connected.data("{ probe { lazy(code: %s) { stdout } eager(code: %s) } }" % (code, code), "-m", module)["probe"]
    assert told == {"lazy": {"stdout": NEWEST}, "eager": NEWEST}


def test_an_id_kept_by_an_sdk_acts_as_the_module_it_works_for(connected, repository):
    """An SDK keeps an ID from one module and evaluates it for another.

    The process acts as the other.
    """
    volume = "chain('container', f'from(address: \"{protocol.IMAGE}\")', 'withMountedCache(path: \"/kept\", cache: \"' + chain('cacheVolume(key: \"ids\")', 'id') + '\")'"
    keep = f"{volume}, 'withExec(args: ' + json.dumps(['sh', '-c', 'test -e /kept/id || echo \"$0\" >/kept/id; cat /kept/id; : ' + modSource[-30:], {LAZY}]) + ')', 'stdout')"
    document = {"kind": "OBJECT", "name": "Probe", "functions": [{"name": "hello", "returns": "String!"}]}
    program = f"kept = {keep}.strip()\nseen = chain('loadContainerFromID(id: \"' + kept + '\")', 'stdout')\ngive(json.dumps({{'types': [{{**{document!r}, 'description': seen}}]}}))"
    write_sdk(repository / "sdk", Sdk.types("JSON", program))
    for version in ("v0.18.10", OLD):
        user = repository / version
        user.mkdir()
        (user / "dagger.json").write_text(json.dumps({"name": "probe", "engineVersion": version, "sdk": "../sdk"}))
        found = connected.data('{ __type(name: "Probe") { description } }', "-m", user)
        assert found["__type"]["description"] == version


def test_generated_code_is_not_generated_again_for_its_reader(connected, repository):
    """An SDK that reads generated code of another module does not run the generator again."""
    run = "'withExec(args: [], useEntrypoint: true, experimentalPrivilegedNesting: true)', 'directory(path: \"/generated\")', 'id'"
    code = "import os\nos.mkdir('/generated')\nopen('/generated/seen', 'w').write(protocol.view())"
    codegen = f"give(chain('generatedCode(code: \"' + chain(*process({code!r}), {run}) + '\")', 'id'))"
    types = (
        "source = f'loadModuleSourceFromID(id: \"{modSource}\")'\n"
        "used = protocol.ask('{ ' + source + ' { dependencies { generatedContextDirectory { id } } } }')['loadModuleSourceFromID']['dependencies']\n"
        "seen = [chain('loadDirectoryFromID(id: \"' + it['generatedContextDirectory']['id'] + '\")', 'file(path: \"seen\")', 'contents') for it in used]\n"
        "hello = {'name': 'hello', 'returns': 'String!'}\n"
        "name = chain(source, 'moduleName').title()\n"
        "give(json.dumps({'types': [{'kind': 'OBJECT', 'name': name, 'functions': [hello], 'description': ' '.join(seen)}]}))"
    )
    functions = {"moduleRuntime": ("Container", SOURCE), "moduleTypes": ("JSON", SOURCE), "codegen": ("GeneratedCode", SOURCE)}
    write_sdk(repository / "sdk", Sdk(functions, {"moduleRuntime": RUNTIME, "moduleTypes": types, "codegen": codegen}))
    for name, version, needs in (("dep", "v0.18.10", []), ("probe", OLD, ["../dep"])):
        (repository / name).mkdir()
        config = {"name": name, "engineVersion": version, "sdk": {"source": "../sdk"}, "dependencies": needs}
        (repository / name / "dagger.json").write_text(json.dumps(config))
    query = '{ moduleSource(refString: "%s") { generatedContextDirectory { file(path: "seen") { contents } } } }'
    made = connected.data(query % (repository / "dep"))["moduleSource"]["generatedContextDirectory"]
    assert made["file"]["contents"] == "v0.18.10"
    before = connected.execs()
    found = connected.data('{ __type(name: "Probe") { description } }', "-m", repository / "probe")
    assert found["__type"]["description"] == "v0.18.10"
    assert connected.execs() - before == 2, "the types of two modules, and nothing that was generated"


def test_a_terminal_acts_as_the_module_that_set_its_command(connected, repository):
    """A terminal acts as the module that set its command, not as the client that opens it."""
    program = "import sys; sys.path.insert(0, '/programs'); import protocol; print('view is ' + protocol.view())"
    default = f"'withDefaultTerminalCmd(args: ' + json.dumps(['python3', '-B', '-c', {program!r}]) + ', experimentalPrivilegedNesting: true)'"
    module = write_probe(repository, call=f"give(json.dumps(chain(*process('pass'), {default}, 'id')))")
    known = lazy_id(connected, module)
    terminal = Terminal(connected, "query", "--doc", document_file(repository, loaded(known, "terminal { id }")))
    terminal.until(f"view is {OLD}\r\n")
    assert terminal.end() == 0


# Attempts to choose the identity.


SEALED, HEAD = 2, 33


def test_an_id_that_acts_as_a_module_cannot_be_written(connected, engine, repository):
    """Not by a change, by parts of other IDs, by another engine, or without the seal."""
    module = write_probe(repository)
    known = lazy_id(connected, module)
    raw = id_bytes(known)
    assert raw[0] == SEALED and b"protocol.view" in raw, "the test knows what it changes"
    other = id_bytes(connected.data(loaded(known, 'withEnvVariable(name: "A", value: "b") { id }'))["loadContainerFromID"]["withEnvVariable"]["id"])
    forged = {
        "another command": raw.replace(b"protocol.view()", b"protocol.asked()"),
        "the seal of another recipe": other[:HEAD] + raw[HEAD:],
        "no seal": bytes([SEALED]) + bytes(HEAD - 1) + raw[HEAD:],
        "another view": raw.replace(OLD.encode(), b"v0.18.10"[: len(OLD)].ljust(len(OLD), b"0")),
    }
    for what, changed in forged.items():
        assert changed != raw, what
        for fields in ("stdout", "id"):
            connected.query(loaded(id_of_bytes(changed), fields)).failed(UNSEALED, "cannot load an object", "ask for the object again")
        connected.query('{ container { withMountedFile(path: "/f", source: "%s") { id } } }' % id_of_bytes(changed)).failed(UNSEALED)
    connected.query(loaded(id_of_bytes(bytes([1]) + raw[HEAD:]))).failed(UNSEALED)
    # Another engine has another key.
    engine.query(loaded(known)).failed(UNSEALED)
    assert stdout(connected, known) == OLD


def test_a_process_in_a_container_cannot_write_such_an_id(connected, repository):
    """A process can only evaluate the recipe of a sealed ID, and continue from its result."""
    module = write_probe(repository)
    known = lazy_id(connected, module)
    code = (
        "known, forged = sys.argv[1:]\n"
        "def load(id, then): return ask('{ loadContainerFromID(id: \"' + id + '\") { ' + then + ' } }')\n"
        "print(load(known, 'stdout')['data']['loadContainerFromID']['stdout'])\n"
        "print(load(forged, 'stdout')['errors'][0]['message'])\n"
        "run = 'withExec(args: [\"python3\", \"-c\", \"import sys; sys.path.insert(0, chr(47) + chr(112) + \\'rograms\\'); from program import *; print(protocol.view())\"], experimentalPrivilegedNesting: true)'\n"
        "print(load(known, run + ' { stdout }')['data']['loadContainerFromID']['withExec']['stdout'])\n"
    )
    exec_ = nested_exec(code, known, id_of_bytes(id_bytes(known).replace(b"protocol.view()", b"protocol.asked()")))
    told = connected.data('{ container { from(address: "python:3.13-slim") { %s { stdout } } } }' % exec_)
    lines = told["container"]["from"]["withExec"]["stdout"].split("\n")
    assert lines[0] == OLD and UNSEALED in lines[1]
    assert lines[2] == NEWEST, "what a client adds is its own"
