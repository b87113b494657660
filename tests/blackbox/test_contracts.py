"""Contracts of SDKs, each broken in every way, and the error that the SDK's author gets."""

import json
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from kit import BINARY, EXAMPLES, REPO
from kit.failures import report_of
from kit.sdks import OUTPUT, SHARED, SOURCE, Sdk, types_document, write_config, write_module_with_sdk, write_sdk

pytestmark = pytest.mark.once

REGISTERING = "give(chain(*process('give(probe())'), 'id'))"


NO_MAIN = "module([main_object('Other', [])])"
FOREIGN = "module([main_object('Probe', [function('hello', 'Dep')])])"
SAME_NAME = "probe(main_object('Level', []), enums=[protocol.level()])"
RESERVED = "module([main_object('Probe', [function('id', 'String')])])"
CONSTRUCTOR = "chain('typeDef', 'withObject(name: \"Probe\")', 'withConstructor(function: \"' + function('new', 'String') + '\")', 'id')"
INTERFACE = "chain('typeDef', 'withInterface(name: \"Duck\")', 'withField(name: \"x\", typeDef: \"' + protocol.type_def('String') + '\")', 'id')"
FUNCTIONS_TWICE = "main_object('Probe', [function('aB', 'String'), function('a_b', 'String')])"
FIELD_AND_FUNCTION = "main_object('Probe', [function('a', 'String')], data=[('a', 'String')])"
NO_NAME = "main_object('Probe', [function('hello', 'String'), function('1abc', 'String')])"
NO_ENUM = "main_object('Probe', [function('hello', 'Level')])"
NO_NUMBER = "main_object('Probe', [function('hello', 'String', {'loud': 'x'}, loud='Boolean')])"
NO_MEMBER = "main_object('Probe', [function('hello', 'String', {'level': 'nope'}, level='Level')])"
ENUMS_TWICE = "probe(enums=[protocol.level(), chain('typeDef', 'withEnum(name: \"Level\")', 'withEnumMember(name: \"A\")', 'id')])"

BROKEN = {
    # Contract 1.
    "empty-call/nothing": Sdk.runtime("pass"),
    "empty-call/fails": Sdk.runtime("raise SystemExit('no luck today')", "no luck today"),
    "empty-call/answers-another-call": Sdk.runtime("give({})"),
    "empty-call/number": Sdk.runtime("give(5)", "5"),
    "empty-call/no-id": Sdk.runtime("give('abc')", "abc"),
    "empty-call/other-id": Sdk.runtime("give(chain('directory', 'id'))", "Directory"),
    "empty-call/no-main-object": Sdk.runtime(f"give({NO_MAIN})", "Other"),
    "empty-call/foreign-type": Sdk.runtime(f"give({FOREIGN})", "Dep"),
    "empty-call/same-name": Sdk.runtime(f"give({SAME_NAME})", "Level"),
    "empty-call/reserved-name": Sdk.runtime(f"give({RESERVED})", '"id"'),
    "empty-call/constructor": Sdk.runtime(f"give(module([{CONSTRUCTOR}]))", "constructor", "String"),
    "empty-call/interface": Sdk.runtime(f"give(module([{INTERFACE}]))", "interface"),
    "empty-call/functions-twice": Sdk.runtime(f"give(module([{FUNCTIONS_TWICE}]))", "`aB`", "`a_b`", "Probe"),
    "empty-call/field-and-function": Sdk.runtime(f"give(module([{FIELD_AND_FUNCTION}]))", "field and a function", "`a`"),
    "empty-call/enums-twice": Sdk.runtime(f"give({ENUMS_TWICE})", "two enums", "`Level`"),
    "empty-call/no-name": Sdk.runtime(f"give(module([{NO_NAME}]))", "1abc", "valid name"),
    "empty-call/wrong-default": Sdk.runtime(f"give(module([{NO_NUMBER}]))", "loud", "Boolean"),
    "empty-call/no-member": Sdk.runtime(f"give(module([{NO_MEMBER}], [protocol.level()]))", "nope", "`LOW`"),
    "empty-call/no-command": Sdk({"moduleRuntime": ("Container", SOURCE)}, {"moduleRuntime": "give(chain('container', 'id'))"}, words=["command"]),
    # Contract 2.
    "types-container/no-command": Sdk.types("Container", "give(chain('container', 'id'))", "command", args=OUTPUT),
    "types-container/nothing": Sdk.container("pass", "/module-typedefs.json"),
    "types-container/fails": Sdk.container("raise SystemExit('no luck today')", "no luck today"),
    "types-container/no-json": Sdk.container("open(sys.argv[1], 'w').write('not this')", "JSON", "not this"),
    "types-container/number": Sdk.container("write(5)", "5"),
    "types-container/no-id": Sdk.container("write('abc')", "abc"),
    "types-container/other-id": Sdk.container("write(chain('directory', 'id'))", "Directory"),
    "types-container/no-main-object": Sdk.container(f"write({NO_MAIN})", "Other"),
    "types-container/foreign-type": Sdk.container(f"write({FOREIGN})", "Dep"),
    "types-container/same-name": Sdk.container(f"write({SAME_NAME})", "Level"),
    "types-container/reserved-name": Sdk.container(f"write({RESERVED})", '"id"'),
    "types-container/functions-twice": Sdk.container(f"write(module([{FUNCTIONS_TWICE}]))", "`aB`", "`a_b`", "Probe"),
    "types-container/field-and-function": Sdk.container(f"write(module([{FIELD_AND_FUNCTION}]))", "field and a function", "`a`"),
    "types-container/enums-twice": Sdk.container(f"write({ENUMS_TWICE})", "two enums", "`Level`"),
    "types-container/no-name": Sdk.container(f"write(module([{NO_NAME}]))", "1abc", "valid name"),
    "types-container/wrong-default": Sdk.container(f"write(module([{NO_NUMBER}]))", "loud", "Boolean"),
    "types-container/no-member": Sdk.container(f"write(module([{NO_MEMBER}], [protocol.level()]))", "nope", "`LOW`"),
    "types-container/answers-a-call": Sdk.container("give(probe())"),
    "types-container/folder": Sdk.container("import os; os.mkdir(sys.argv[1])", "/module-typedefs.json"),
    # Contract 3.
    "typed/nothing": Sdk.typed("pass"),
    "typed/fails": Sdk.typed("raise SystemExit('no luck today')", "no luck today"),
    "typed/other-id": Sdk.typed("give(chain('directory', 'id'))", "Directory"),
    "typed/no-main-object": Sdk.typed(f"give({NO_MAIN})", "Other"),
    "typed/foreign-type": Sdk.typed(f"give({FOREIGN})", "Dep"),
    "typed/wrong-kind": Sdk.typed(f"give(module([{NO_ENUM}, main_object('Level', [])]))", "`Level`", "an enum", "an object"),
    "typed/same-name": Sdk.typed(f"give({SAME_NAME})", "Level"),
    "typed/reserved-name": Sdk.typed(f"give({RESERVED})", '"id"'),
    "typed/functions-twice": Sdk.typed(f"give(module([{FUNCTIONS_TWICE}]))", "`aB`", "`a_b`", "Probe"),
    "typed/field-and-function": Sdk.typed(f"give(module([{FIELD_AND_FUNCTION}]))", "field and a function", "`a`"),
    "typed/enums-twice": Sdk.typed(f"give({ENUMS_TWICE})", "two enums", "`Level`"),
    "typed/no-name": Sdk.typed(f"give(module([{NO_NAME}]))", "1abc", "valid name"),
    "typed/wrong-default": Sdk.typed(f"give(module([{NO_NUMBER}]))", "loud", "Boolean"),
    "typed/no-member": Sdk.typed(f"give(module([{NO_MEMBER}], [protocol.level()]))", "nope", "`LOW`"),
    "typed/constructor": Sdk.typed(f"give(module([{CONSTRUCTOR}]))", "constructor", "String"),
    # Contract 4, types by the SDK's library.
    "declared/nothing": Sdk.declared("give([])"),
    "declared/other-id": Sdk.declared("give([chain('directory', 'id')])", "Directory"),
    "declared/no-main-object": Sdk.declared("give([main_object('Other', [])])", "Other"),
    "declared/scalar": Sdk.declared("give([main_object('Probe', []), protocol.type_def('String')])", "String"),
    "declared/foreign-type": Sdk.declared("give([main_object('Probe', [function('hello', 'Dep')])])", "Dep"),
    "declared/twice": Sdk.declared("give([main_object('Probe', [function('hello', 'String')]), protocol.level(), protocol.level()])", "Level"),
    "declared/no-kind": Sdk.declared("give([main_object('Probe', []), chain('typeDef', 'id')])", "a type without a kind"),
    "declared/functions-twice": Sdk.declared(f"give([{FUNCTIONS_TWICE}])", "`aB`", "`a_b`", "Probe"),
    "declared/field-and-function": Sdk.declared(f"give([{FIELD_AND_FUNCTION}])", "field and a function", "`a`"),
    "declared/no-name": Sdk.declared(f"give([{NO_NAME}])", "1abc", "valid name"),
    "declared/no-member": Sdk.declared(f"give([{NO_MEMBER}, protocol.level()])", "nope", "`LOW`"),
    "declared/same-name": Sdk.declared("give([main_object('Probe', []), protocol.level(), main_object('Level', [])])", "Level"),
    "declared/reserved-name": Sdk.declared("give([main_object('Probe', [function('id', 'String')])])", '"id"'),
    # Contract 4, a document.
    "document/no-json": Sdk.document("not this", "JSON"),
    "document/list": Sdk.document([]),
    "document/no-types": Sdk.document({"description": "nothing"}, "types"),
    "document/no-main-object": Sdk.document({"types": [{"kind": "OBJECT", "name": "Other"}]}, "Other"),
    "document/unknown-kind": Sdk.document(types_document({"kind": "UNION", "name": "Both"}), "UNION"),
    "document/no-name": Sdk.document(types_document({"kind": "OBJECT"}), "name"),
    "document/no-function-name": Sdk.document(types_document(functions=[{"returns": "Int!"}]), "name"),
    "document/empty-name": Sdk.document(types_document(functions=[{"name": "", "returns": "Int!"}]), "valid name"),
    "document/bad-name": Sdk.document(types_document(functions=[{"name": "1x", "returns": "Int!"}]), "1x", "valid name"),
    "document/constructor-with-result": Sdk.document(types_document(constructor={"returns": "Int!"}), "returns"),
    "document/constructor-with-name": Sdk.document(types_document(constructor={"name": "x"}), "name"),
    "document/null": Sdk.document(types_document(functions=[{"name": "go", "args": [{"name": "a", "type": "String!", "default": None}]}]), "null", "`String!`"),
    "document/no-member": Sdk.document(types_document(functions=[{"name": "go", "args": [{"name": "a", "type": "NetworkProtocol!", "default": "XXX"}]}]), "XXX", "`TCP`"),
    "document/input": Sdk.document(types_document(functions=[{"name": "go", "args": [{"name": "a", "type": "PortForward!"}]}]), "PortForward", "input"),
    "document/unknown-type": Sdk.document(types_document(functions=[{"name": "go", "returns": "Nowhere!"}]), "Nowhere", "go"),
    "document/no-type": Sdk.document(types_document(functions=[{"name": "go", "returns": "[String"}]), "[String", "go"),
    "document/foreign-type": Sdk.document(types_document(functions=[{"name": "go", "returns": "Dep!"}]), "Dep", "go"),
    "document/twice": Sdk.document(types_document(functions=[{"name": "go", "returns": "Int!"}] * 2), "go"),
    "document/same-name": Sdk.document(types_document({"kind": "ENUM", "name": "Level", "members": [{"name": "A"}]}, {"kind": "OBJECT", "name": "Level"}), "Level"),
    "document/reserved-name": Sdk.document(types_document(functions=[{"name": "id", "returns": "Int!"}]), '"id"'),
    "document/reserved-field": Sdk.document(types_document(fields=[{"name": "id", "type": "Int!"}]), '"id"'),
    "document/members-twice": Sdk.document(types_document({"kind": "ENUM", "name": "Level", "members": [{"name": "A", "value": "a"}] * 2}), "Level", "A"),
    "document/interface-with-fields": Sdk.document(types_document({"kind": "INTERFACE", "name": "Duck", "fields": [{"name": "x", "type": "Int!"}]}), "Duck"),
    "document/policy": Sdk.document(types_document(functions=[{"name": "go", "returns": "Int!", "cache": {"policy": "SOMETIMES"}}]), "SOMETIMES"),
    "document/two-defaults": Sdk.document(types_document(functions=[{"name": "go", "returns": "Int!", "args": [{"name": "a", "type": "Directory!", "default": "x", "defaultPath": "."}]}]), "`a`"),
    "document/unknown-key": Sdk.document(types_document(functions=[{"name": "go", "returns": "Int!", "arguments": []}]), "arguments"),
    # The SDK itself.
    "sdk/types-of-an-unknown-kind": Sdk.types("String", "give('abc')", "moduleTypes", "String"),
    "sdk/types-container-without-a-file": Sdk.types("Container", "give(chain('container', 'id'))", "moduleTypes", "outputFilePath"),
    "sdk/types-with-an-argument-more": Sdk.types("Module", "give(probe())", "moduleTypes", "colour", args={**SOURCE, "colour": "String"}),
    "sdk/types-with-arguments-of-other-types": Sdk.types("Module", "give(probe())", "moduleTypes", "ModuleSource!", args={"modSource": "String", "introspectionJson": "File"}),
    "sdk/runtime-with-arguments-of-other-types": Sdk({"moduleRuntime": ("Container", {"modSource": "Directory"})}, {}, words=["moduleRuntime", "ModuleSource!"]),
    "sdk/runtime-that-cannot-be-made": Sdk(
        {"moduleRuntime": ("Container", SOURCE), "moduleTypes": ("Module", SOURCE)},
        {"moduleRuntime": "give(chain(*process('pass'), 'withExec(args: [\"false\"])', 'id'))", "moduleTypes": "give(probe())"},
        words=["moduleRuntime", "make the runtime"],
    ),
    "sdk/runtime-that-cannot-be-started": Sdk(
        {"moduleRuntime": ("Container", SOURCE), "moduleTypes": ("Module", SOURCE)},
        {"moduleRuntime": "give(chain(*process('pass'), 'withEntrypoint(args: [\"/nope\"])', 'id'))", "moduleTypes": "give(probe())"},
        words=["moduleRuntime", "/nope"],
    ),
    "sdk/runtime-of-an-unknown-kind": Sdk({"moduleRuntime": ("Directory", SOURCE)}, {"moduleRuntime": "give(chain('directory', 'id'))"}, words=["moduleRuntime", "Directory"]),
    "sdk/no-runtime": Sdk({"codegen": ("Directory", SOURCE)}, {}, words=["moduleRuntime"]),
    "sdk/config-for-nobody": Sdk({"moduleRuntime": ("Container", SOURCE)}, {"moduleRuntime": REGISTERING}, {"colour": "red"}, ["withConfig", "sdk.config"]),
    "sdk/unknown-config": Sdk(
        {"moduleRuntime": ("Container", SOURCE), "withConfig": ("BrokenSdk", {"shape": "String"})},
        {"moduleRuntime": REGISTERING, "withConfig": "give({})"},
        {"colour": "red"},
        ["colour", "shape"],
    ),
    "sdk/config-of-another-type": Sdk(
        {"moduleRuntime": ("Container", SOURCE), "withConfig": ("BrokenSdk", {"shape": "String"})},
        {"moduleRuntime": REGISTERING, "withConfig": "give({})"},
        {"shape": 5},
        ["shape"],
    ),
    "sdk/config-fails": Sdk(
        {"moduleRuntime": ("Container", SOURCE), "withConfig": ("BrokenSdk", {"shape": "String"})},
        {"moduleRuntime": REGISTERING, "withConfig": "raise SystemExit('no luck today')"},
        {"shape": "round"},
        ["no luck today"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_named_with_its_sdk(connected, repository, case):
    """The message names the module, the SDK, the contract or the function that broke it, and what
    is wrong.
    """
    sdk = BROKEN[case]
    done = connected.run("call", "-m", write_module_with_sdk(repository, sdk), "hello").failed(*sdk.words)
    message = report_of(done.err)
    contract = {"empty-call": "empty call", "types-container": "types container", "document": "types document"}
    name = contract.get(case.split("/")[0], case.split("/")[0])
    assert "`probe`" in message and "`../sdk`" in message, message
    assert name in message or re.search("`module(Types|Runtime)`", message), message
    assert connected.data("{ version }")


GOOD = {
    "empty-call": Sdk.runtime("give(probe()) if not protocol.asked()['parentName'] else serve_hello()"),
    "types-container": Sdk.container("write(probe())"),
    "typed": Sdk.typed("give(probe())"),
    "declared": Sdk.declared("give([main_object('Probe', [function('hello', 'String')])])"),
    "document": Sdk.document(types_document()),
    "file": Sdk.types("File", f"give(chain('directory', 'withNewFile(path: \"t.json\", contents: ' + protocol.json.dumps({json.dumps(types_document())!r}) + ')', 'file(path: \"t.json\")', 'id'))"),
    "the-same-twice": Sdk.typed("level = protocol.level(); hello = function('hello', 'String'); give(module([main_object('Probe', [hello, hello])] * 2, [level, level]))"),
    "defaults": Sdk.typed("give(module([main_object('Probe', [function('hello', 'String', {'level': 'low', 'loud': 'true'}, level='Level', loud='Boolean')])], [protocol.level()]))"),
    "config": Sdk(
        {"moduleRuntime": ("Container", SOURCE), "withConfig": ("BrokenSdk", {"shape": "String"})},
        {"moduleRuntime": "give(chain(*process(\"give(probe()) if not protocol.asked()['parentName'] else serve_hello()\"), 'id'))", "withConfig": "give({'shape': shape})"},
        {"shape": "round"},
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_kept_contract_works(connected, repository, case):
    """The parts of the broken SDKs work."""
    assert connected.run("call", "-m", write_module_with_sdk(repository, GOOD[case]), "hello").ok().out.strip() == "hello"


@pytest.mark.parametrize(
    "answer, words",
    [("give(5)", ["must give `String!`, and gave a number: 5"]), ("None", ['function "hello" completed without returning a value'])],
    ids=["number", "nothing"],
)
def test_a_wrong_answer_of_a_runtime_is_named(connected, repository, answer, words):
    code = f"give(probe()) if not protocol.asked()['parentName'] else {answer}"
    connected.run("call", "-m", write_module_with_sdk(repository, Sdk.runtime(code)), "hello").failed(*words)


def write_module_with_objects(folder, name, types, **more):
    """A module with the objects of `types`, which maps each to its only function."""
    write_config(folder, name, {"source": "python"}, **more)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "0.1.0"\ndependencies = ["dagger-io"]\n')
    (folder / "src").mkdir()
    for path in SHARED.glob("*.py"):
        shutil.copy(path, folder / "src")
    objects = [f"main_object({known!r}, [function({function!r}, 'String')])" for known, function in types.items()]
    answer = f"give(module([{', '.join(objects)}])) if not asked()['parentName'] else give('x')"
    (folder / "src/program.py").write_text(f"from protocol import *\ndef serve():\n    {answer}\n")
    return folder


CLASHES = {
    "own-type": ({"probe-foo": {"ProbeFoo": "a"}}, ["`ProbeFoo`", "dependency `probe-foo`"]),
    "own-name": ({"probe": {"Probe": "a"}}, ["`Probe`", "dependency `probe`"]),
    "two-types": ({"a": {"A": "a", "B": "b"}, "a-b": {"AB": "a"}}, ["`a`", "`a-b`", "`AB`"]),
    "two-names": ({"my-dep": {"MyDep": "a"}, "my_dep": {"MyDep": "a"}}, ["`my-dep`", "`my_dep`", "`MyDep`"]),
}


@pytest.mark.parametrize("case", CLASHES)
def test_two_things_of_one_name_are_refused(connected, repository, case):
    """Two types or modules of one name in a schema are refused. An alias resolves it."""
    dependencies, words = CLASHES[case]
    for name, types in dependencies.items():
        write_module_with_objects(repository / "deps" / name, name, types)
    used = [f"../deps/{name}" for name in dependencies]
    module = write_module_with_objects(repository / "probe", "probe", {"Probe": "hello", "Foo": "own"}, dependencies=used)
    connected.run("functions", "-m", module).failed("`probe`", *words)
    aliases = [{"name": f"other{at}", "source": source} for at, source in enumerate(used)]
    write_config(module, "probe", {"source": "python"}, dependencies=aliases)
    connected.run("functions", "-m", module).ok()
    write_config(module, "probe", {"source": "python"}, dependencies=[{"name": "1", "source": used[0]}])
    assert "`1` is not a valid name for a module" in connected.run("functions", "-m", module).err


@pytest.mark.parametrize(
    "source, words",
    [
        ("../nowhere", ["../nowhere"]),
        ("../../outside", ["../../outside"]),
        ("/etc", ["/etc"]),
        ("../empty", ["../empty"]),
        ("../none", ["`probe`", "none"]),
        (".", ["probe"]),
        ("../circle", ["circle"]),
        ("../user", ["SDK `../user`", "circular", "probe"]),
        ("../broken", ["dagger.json"]),
        ("nonsense", ['invalid SDK: "nonsense"']),
    ],
    ids=["missing", "outside", "absolute", "no-module", "sdk-without-sdk", "itself", "circle", "uses-its-module", "broken", "no-name"],
)
def test_an_sdk_that_cannot_be_loaded_is_named(connected, folder, source, words):
    repository = folder / "r"
    (repository / ".git").mkdir(parents=True)
    (repository / "empty").mkdir()
    write_sdk(folder / "outside", GOOD["typed"])
    (repository / "none").mkdir()
    (repository / "none/dagger.json").write_text('{"name": "none", "engineVersion": "v0.21.8"}')
    write_config(repository / "circle", "circle", {"source": "../probe"})
    write_config(repository / "user", "user", {"source": "python"}, dependencies=["../probe"])
    (repository / "broken").mkdir()
    (repository / "broken/dagger.json").write_text("{")
    module = write_config(repository / "probe", "probe", {"source": source})
    connected.run("functions", "-m", module).failed(*words)
    assert connected.data("{ version }")


# The examples: the same module, by each of the four SDKs, under an early and the newest version.


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Copies of the examples, where their dependencies are built once."""
    root = tmp_path_factory.mktemp("shell")
    (root / ".git").mkdir()
    for path in (*EXAMPLES.glob("sdk-shell-*"), EXAMPLES / "shell-greeter"):
        shutil.copytree(path, root / path.name)
    return root


def greeter(shell, contract, version):
    module = shell / f"greeter-{contract}-{version}"
    shutil.copytree(EXAMPLES / "shell-greeter", module)
    return write_config(module, "shell-greeter", {"source": f"../sdk-shell-{contract}"}, version)


@pytest.mark.parametrize("contract", ["empty-call", "types-container", "typed", "declared"])
def test_the_shell_sdk_works_by_every_contract(connected, shell, contract):
    module = greeter(shell, contract, "v0.21.8")

    def call(*words):
        return connected.run("call", "-m", module, *words).ok().out.strip()

    functions = connected.run("functions", "-m", module).ok().out
    assert [line.split()[0] for line in functions.splitlines()[1:]] == ["cards", "count", "fail", "hello", "louder", "sum"]
    assert call("hello") == "Hello, World!" and call("hello", "--name=Ada", "--level=HIGH") == "HELLO, ADA!"
    assert call("louder") == "HIGH" and call("sum", "--numbers=40", "--numbers=2") == "42"
    assert call("cards", "--names=Ada", "--names=Bob", "entries").split() == ["Ada.txt", "Bob.txt"]
    assert call("count", "--folder", EXAMPLES / "shell-greeter", "--pattern=*.sh") == "7"
    connected.run("call", "-m", module, "fail").failed("no luck today")
    assert "whisper" not in connected.run("call", "-m", module, "hello", "--help").ok().out


@pytest.mark.parametrize("contract", ["empty-call", "types-container", "typed", "declared"])
def test_the_shell_sdk_works_under_an_early_version(connected, shell, contract):
    module = greeter(shell, contract, "v0.18.10")
    done = connected.run("call", "-m", module, "hello", "--level=high").ok()
    assert done.out.strip() == "HELLO, WORLD!"
    connected.run("call", "-m", module, "hello", "--level=MIDDLE").failed("the values are `low` and `high`")


def test_the_shell_example_works(connected):
    assert connected.run("call", "-m", EXAMPLES / "shell-greeter", "hello", "--name=Ada").ok().out.strip() == "Hello, Ada!"


def test_functions_of_an_sdk_can_be_called(connected, folder):
    """An SDK's functions are functions of a module."""
    (folder / "schema.json").write_text("{}")
    source = ["--mod-source", EXAMPLES / "shell-greeter", "--introspection-json", folder / "schema.json"]
    words = ["call", "-m", EXAMPLES / "sdk-shell-declared", "module-types", *source, "contents"]
    assert connected.run(*words).json()["types"][0]["name"] == "ShellGreeter"


def test_the_shell_sdk_takes_its_setting(connected, shell):
    module = shell / "bash"
    module.mkdir()
    (module / "which.sh").write_text("#: which(): String!\necho ${BASH_VERSION:-none}\n")
    write_config(module, "bash", {"source": "../sdk-shell-typed"})
    assert connected.run("call", "-m", module, "which").ok().out.strip() == "none"
    write_config(module, "bash", {"source": "../sdk-shell-typed", "config": {"shell": "bash"}})
    assert connected.run("call", "-m", module, "which").ok().out.strip() != "none"


def test_a_module_with_self_calls_sees_its_own_types(connected, shell):
    """A module that asks for it sees its own types in what code is generated from."""
    sdk = shutil.copytree(EXAMPLES / "sdk-shell-declared", shell / "sdk-seeing")
    source = sdk / "src/sdk_shell_declared/__init__.py"
    runtime = "return dag.shell_lib().container(mod_source)\n"
    source.write_text(source.read_text().replace(runtime, runtime.rstrip() + '.with_file("/schema.json", introspection_json)\n', 1))
    module = shell / "selfish"
    module.mkdir()
    (module / "own.sh").write_text("#: own(): Boolean!\ngrep -q '\"Selfish\"' /schema.json && echo true || echo false\n")
    seen = []
    for features in ({}, {"experimental": {"SELF_CALLS": True}}):
        write_config(module, "selfish", {"source": "../sdk-seeing", **features})
        seen.append(connected.run("call", "-m", module, "own").ok().out.strip())
    assert seen == ["false", "true"]


SILLY = {
    "#: go(: String!): Int!": "go.sh:1: expected a name, found `:`",
    "#: go(): Nowhere!": "go.sh:1: unknown type `Nowhere`; known are String, Int, Float, Boolean, Void, Directory, File",
    "#: go(level: Level = LOW): String!": "go.sh:1: unknown type `Level`",
    "#: enum Level { A }\n#: go(level: Level = LOW): String!": "go.sh:2: `LOW` is no member of `Level`",
    "#: go(\necho": "go.sh:2: the declaration `go(` has no end",
    "#: go(a: String! = ): Int!": "go.sh:1: expected a value, found `)`",
    "#: go(a: [String!): Int!": "go.sh:1: expected `]`, found `)`",
    "#: go(): String! and more": "go.sh:1: expected the end, found `and`",
    "#: go(): String!\n#: go(): String!": "go.sh:2: `go` is declared twice",
    "#: go(): String!\n#: come(): String!": "go.sh:2: a script is one function",
    "#: go(PATH: String): String!": "go.sh:1: argument `PATH` becomes a variable of the script",
    "#: @nobody text\n#: go(): String!": "go.sh:2: `@nobody` documents nothing in `go`",
}


@pytest.mark.parametrize("text", SILLY)
def test_a_wrong_declaration_is_named_with_its_line(tmp_path, text):
    (tmp_path / "go.sh").write_text(text + "\n")
    program = "import sys, comments\ntry: comments.Module(sys.argv[1], 'm')\nexcept comments.Wrong as error: print(error)"
    words = [sys.executable, "-B", "-c", program, tmp_path]
    done = subprocess.run(words, cwd=EXAMPLES / "sdk-shell-lib/inside", capture_output=True, text=True, check=True)
    assert done.stdout.startswith(SILLY[text]), done.stdout


def test_a_wrong_declaration_stops_the_load(connected, shell):
    module = write_config(shell / "wrong", "wrong", {"source": "../sdk-shell-declared"})
    (module / "go.sh").write_text("#: go(): Nowhere!\n")
    connected.run("functions", "-m", module).failed("`wrong`", "go.sh:1: unknown type `Nowhere`")


GUIDE = REPO / "docs/sdk-authors.md"


def blocks(text):
    """The indented parts of a text."""
    found = re.findall(r"(?:^(?: {4,}.*)?\n)+", text, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in found if block.strip()]


@pytest.mark.skipif(not GUIDE.exists(), reason="a copy of the tests without the documents")
def test_the_guide_makes_a_working_sdk(connected, folder):
    """Follows the guide word by word from an empty folder to a working SDK."""
    section = GUIDE.read_text().split("## An SDK from an empty directory")[1].split("\nThe other contracts differ")[0]
    intro, *steps = re.split(r"^\d\. ", section, flags=re.MULTILINE)
    make, config, code, module, use = [blocks(step) for step in steps]

    (folder / "bin").mkdir()
    (folder / "bin/rondel").symlink_to(BINARY)
    environment = connected.environment(RONDEL=str(REPO))
    environment["PATH"] = f"{folder}/bin:{environment['PATH']}"

    def shell(script, cwd):
        done = subprocess.run(["sh", "-e", "-c", script], cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shell(make[0], folder)
    work = folder / "work"
    files = dict(zip(["my-sdk/dagger.json", "my-sdk/pyproject.toml"], config, strict=True))
    files |= {"my-sdk/src/my_sdk/__init__.py": code[0], "greeter/dagger.json": module[0], "greeter/hello.sh": blocks(intro)[0]}
    for name, text in files.items():
        (work / name).write_text(text)
    assert "module-types" in shell("rondel functions -m my-sdk", work)
    assert shell(use[0], work).splitlines()[-1] == "Hello, Ada!"
