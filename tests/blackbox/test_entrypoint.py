"""Modules with an entrypoint: `dagger-module.toml`, types and calls by another module, and the
workspace that it reads.
"""

import json
import re
import shutil

import pytest

from kit import EXAMPLES, REPO, serve_module, write_module
from kit.failures import report_of
from kit.git_server import Web, commit, git
from kit.sdks import (
    ENTRYPOINT,
    ENTRYPOINT_CALL,
    ENTRYPOINT_TYPES,
    entrypoint,
    write_manifest,
    write_module_with_entrypoint,
    write_sdk,
)

pytestmark = pytest.mark.once

# Code that starts a process, which prints the schema version that it sees.
NESTED = "chain(*process({code!r}), 'withExec(args: [], useEntrypoint: true, experimentalPrivilegedNesting: true)', 'stdout')"


# The example.


def test_the_example_works(connected):
    module = EXAMPLES / "entrypoint-greeter"

    def call(*words):
        return connected.run("call", "-m", module, *words).ok().out.strip()

    functions = connected.run("functions", "-m", module).ok().out
    assert [line.split()[0] for line in functions.splitlines()[1:]] == ["cards", "count", "fail", "hello", "louder"]
    assert call("hello") == "Hello, World!" and call("hello", "--name=Ada", "--level=HIGH") == "HELLO, ADA!"
    assert call("louder") == "HIGH" and call("count", "--folder", module, "--pattern=*.sh") == "6"
    assert call("cards", "--names=Ada", "--names=Bob", "entries").split() == ["Ada.txt", "Bob.txt"]
    connected.run("call", "-m", module, "fail").failed("no luck today")
    explained = connected.run("functions", "--explain", "-m", module).ok().err
    assert re.search(r"contract +entrypoint", explained) and re.search(r"entrypoint = entrypoint-shell", explained), explained


# The schema that processes see.

LEVELS = "give([main_object('Probe', [function('told', 'String', {'level': 'low'}, level='Level')], %s), level()])"
SEEN = NESTED.format(code="print(protocol.view(), end='')")


@pytest.mark.parametrize(
    "version, members, view",
    [("v0.18.10", ["low", "high"], "v0.18.10"), ("v0.18.11", ["LOW", "HIGH"], "v0.18.11"), ("v0.21.8", ["LOW", "HIGH"], "v0.21.8")],
)
def test_a_module_sees_the_schema_of_its_own_version(connected, repository, version, members, view):
    """Types and processes have the module's version. The entrypoint has its own."""
    called = "give(json.dumps(' '.join([json.loads(fnArgs)['level'], " + SEEN + ", protocol.view()])))"
    sdk = entrypoint(LEVELS.replace("level()", "protocol.level()") % SEEN, called)
    module = write_module_with_entrypoint(repository, sdk, version=version)
    listed = connected.run("call", "-m", module, "told", "--help").ok().out
    assert ", ".join(members) in listed, listed
    query = '{ probe { told(level: %s) } __type(name: "Probe") { description } }' % members[1]
    found = connected.data(query, "-m", module)
    # The code gets the member by its own name, in every view of the caller.
    assert found["probe"]["told"] == f"HIGH {view} v0.21.8"
    assert found["__type"]["description"] == view


def test_nested_processes_act_as_the_module(connected, repository):
    deeper = NESTED.format(code="print(" + SEEN + ", end='')")
    module = write_module_with_entrypoint(repository, entrypoint(call=f"give(json.dumps({deeper}))"), version="v0.18.10")
    assert connected.run("call", "-m", module, "hello").ok().out.strip() == "v0.18.10"


def test_processes_of_an_entrypoint_see_dependencies_of_the_module(connected, repository):
    shutil.copytree(REPO / "tests/modules/dep", repository / "dep")
    code = "print('dep' in [it['name'] for it in protocol.ask('{ __schema { queryType { fields { name } } } }')['__schema']['queryType']['fields']], protocol.chain('currentModule', 'name'), end='')"
    module = write_module_with_entrypoint(
        repository, entrypoint(call=f"give(json.dumps({NESTED.format(code=code)}))"), more='dependencies = ["../dep"]\n'
    )
    assert connected.run("call", "-m", module, "hello").ok().out.strip() == "True probe"


# Arguments of `call`.


def test_an_entrypoint_gets_objects_constructors_and_arguments(connected, repository):
    made = "chain('typeDef', 'withObject(name: \"Probe\")', f'withField(name: \"saved\", typeDef: \"{protocol.type_def(\"String\")}\")'"
    made += ", 'withConstructor(function: \"' + function('', 'Probe', {'saved': 'nothing'}, saved='String') + '\")'"
    made += ", *(f'withFunction(function: \"{it}\")' for it in [function('told', 'String', files='[String]', more='String?'), function('child', 'Child'), function('quiet', 'Void?')]), 'id')"
    child = "chain('typeDef', 'withObject(name: \"Child\")', 'withFunction(function: \"' + function('told', 'String') + '\")', 'id')"
    call = (
        "args = json.loads(fnArgs)\n"
        "if not fnName: give(json.dumps({'saved': args['saved'], 'hidden': receiverValue}))\n"
        "elif fnName == 'child': give(json.dumps({'of': json.loads(receiverValue)}))\n"
        "elif fnName == 'quiet': give('null')\n"
        "else: give(json.dumps(' '.join([receiverType, json.dumps(json.loads(receiverValue), sort_keys=True), json.dumps(args, sort_keys=True)])))\n"
    )
    module = write_module_with_entrypoint(repository, entrypoint(f"give([{made}, {child}])", call))
    told = connected.run("call", "-m", module, "--saved=x", "told", "--files=a,b").ok().out.strip()
    assert told == 'Probe {"hidden": null, "saved": "x"} {"files": ["a", "b"]}'
    told = connected.run("call", "-m", module, "child", "told").ok().out.strip()
    assert told == 'Child {"of": {"hidden": null, "saved": "nothing"}} {}'
    connected.run("call", "-m", module, "quiet").ok()
    assert connected.run("call", "-m", module, "saved").ok().out.strip() == "nothing"


def test_an_error_of_an_entrypoint_is_that_of_the_function(connected, repository):
    failing = "made = chain('error(message: \"no luck\")', 'withValue(name: \"reason\", value: \"5\")', 'id')\nchain('currentFunctionCall', f'returnError(error: \"{made}\")')"
    module = write_module_with_entrypoint(repository, entrypoint(call=failing))
    session = connected.session()
    try:
        serve_module(session, module)
        error = session.error("{ probe { hello } }")
    finally:
        session.close()
    assert error["message"] == "no luck" and error["extensions"]["reason"] == 5, error


# The workspace.


def test_the_workspace_reads_files_of_the_module(connected, repository):
    read = (
        "def of(*fields, workspace=workspace):\n"
        "    try: return chain(f'loadWorkspaceFromID(id: \"{workspace}\")', *fields)\n"
        "    except SystemExit as error: return str(error)\n"
        "give(json.dumps(json.dumps([of('path'), of('address'), of('file(path: \"a.txt\")', 'contents'), of('file(path: \"/shared/s.txt\")', 'contents'),"
        " of('directory(path: \".\", exclude: [\"*.toml\"])', 'entries'), of('directory(path: \"..\")', 'entries'), of('findUp(name: \"s.txt\", from: \"/shared/deep\")'),"
        " of('findUp(name: \"deep\", from: \"/shared\")'), of('findUp(name: \"a.txt\")'), of('findUp(name: \"nowhere\")'), of('file(path: \"../../x\")', 'contents'),"
        " of('directory(path: \"/..\")', 'entries'), of('findUp(name: \"a\", from: \"../..\")'), of('file(path: \"gone\")', 'contents'), of('file(path: \"sub\")', 'contents')])))"
    )
    module = write_module_with_entrypoint(repository, entrypoint(call=read), more='include = ["../shared"]\n')
    (module / "sub").mkdir()
    (module / "sub/b").write_text("b")
    (module / "a.txt").write_text("mine")
    (repository / "shared/deep").mkdir(parents=True)
    (repository / "shared/deep/d").write_text("d")
    (repository / "shared/s.txt").write_text("ours")
    (repository / "secret.txt").write_text("not the module's")
    found = json.loads(connected.run("call", "-m", module, "hello").ok().out)
    assert found[:4] == ["probe", "file:///probe", "mine", "ours"]
    assert found[4:6] == [["a.txt", "sub/"], ["probe/", "shared/"]]
    assert found[6:10] == ["/shared/s.txt", "/shared/deep", "/probe/a.txt", ""]
    assert all("resolves outside root" in message for message in found[10:13]), found
    assert "no such file or directory" in found[13] and "it is no file" in found[14], found


def test_only_an_edit_of_the_module_runs_anything(connected, repository):
    """Types are read again when a file of the module changes.

    Results are keyed by the module's files.
    """
    content = "chain(f'loadWorkspaceFromID(id: \"{workspace}\")', 'file(path: \"a.txt\")', 'contents')"
    types = f"give([main_object('Probe', [function(name, 'String') for name in {content}.split()])])"
    module = write_module_with_entrypoint(repository, entrypoint(types, f"give(json.dumps(fnName + ' of ' + {content}))"))
    (module / "a.txt").write_text("one two")
    assert connected.run("call", "-m", module, "two").ok().out.strip() == "two of one two"
    execs = connected.execs()
    (repository / "unrelated.txt").write_text("x")
    assert connected.run("call", "-m", module, "two").ok().out.strip() == "two of one two"
    assert connected.execs() == execs, "an unchanged module was run"
    (module / "a.txt").write_text("one three")
    assert connected.run("call", "-m", module, "three").ok().out.strip() == "three of one three"
    connected.run("call", "-m", module, "two").failed("two")


def test_the_cache_policy_is_that_of_the_function(connected, repository):
    """The module's function decides whether its result is cached, not the entrypoint."""
    never = "chain(f'loadFunctionFromID(id: \"{function(\"fresh\", \"String\")}\")', 'withCachePolicy(policy: Never)', 'id')"
    types = f"give([main_object('Probe', [{never}, function('kept', 'String')])])"
    module = write_module_with_entrypoint(repository, entrypoint(types, "import time\ngive(json.dumps(str(time.time())))"))

    def call(name):
        return connected.run("call", "-m", module, name).ok().out

    assert call("kept") == call("kept") and call("fresh") != call("fresh")
    write_manifest(module, "disableDefaultFunctionCaching = true\n")
    assert call("kept") != call("kept")


# Broken entrypoints.

TWO = "chain('typeDef', 'withObject(name: \"Other\")', 'withConstructor(function: \"' + function('', 'Other') + '\")', 'id')"
ONE = "chain('typeDef', 'withObject(name: \"Probe\")', 'withConstructor(function: \"' + function('', 'Probe') + '\")', 'id')"
BROKEN = {
    "no-types": (entrypoint(functions={"call": ENTRYPOINT["call"]}), ["`types(workspace: Workspace!): [TypeDef!]!`, got `call`"]),
    "no-call": (entrypoint(functions={"types": ENTRYPOINT["types"]}), ["`call(workspace: Workspace!, receiverType: String!,", "got `types`"]),
    "types-without-a-workspace": (entrypoint(functions={**ENTRYPOINT, "types": ("[TypeDef]", {})}), ["got `types(): [TypeDef!]!`"]),
    "types-of-another-kind": (entrypoint(functions={**ENTRYPOINT, "types": ("JSON", ENTRYPOINT_TYPES)}), ["got `types(workspace: Workspace!): JSON!`"]),
    "types-of-a-directory": (entrypoint(functions={**ENTRYPOINT, "types": ("[TypeDef]", {"workspace": "Directory"})}), ["got `types(workspace: Directory!"]),
    "call-with-text": (entrypoint(functions={**ENTRYPOINT, "call": ("JSON", {**ENTRYPOINT_CALL, "fnArgs": "String"})}), ["fnArgs: JSON!", "fnArgs: String!"]),
    "call-that-needs-a-receiver": (entrypoint(functions={**ENTRYPOINT, "call": ("JSON", {**ENTRYPOINT_CALL, "receiverValue": "JSON"})}), ["receiverValue: JSON!"]),
    "call-with-more": (entrypoint(functions={**ENTRYPOINT, "call": ("JSON", {**ENTRYPOINT_CALL, "colour": "String"})}), ["colour: String!"]),
    "types/fails": (entrypoint("raise SystemExit('no luck today')"), ["no luck today"]),
    "types/other-id": (entrypoint("give([chain('directory', 'id')])"), ["Directory"]),
    "types/no-main-object": (entrypoint("give([main_object('Other', [])])"), ["Other"]),
    "types/scalar": (entrypoint("give([protocol.type_def('String')])"), ["objects, interfaces and enums", "String"]),
    "types/twice": (entrypoint("give([main_object('Probe', []), protocol.level(), protocol.level()])"), ["two types called `Level`"]),
    "types/reserved-name": (entrypoint("give([main_object('Probe', [function('id', 'String')])])"), ['"id"']),
    "types/constructors": (entrypoint(f"give([{ONE}, {TWO}])"), ["multiple object constructors are not supported"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_of_an_entrypoint_is_named(connected, repository, case):
    """The message names the module, the entrypoint, the contract, what was expected and what came.
    """
    sdk, words = BROKEN[case]
    done = connected.run("call", "-m", write_module_with_entrypoint(repository, sdk), "hello").failed(*words)
    message = report_of(done.err)
    assert "`probe`" in message and "`../entry`" in message and "entrypoint" in message, message


@pytest.mark.parametrize(
    "call, words",
    [
        ("give('this is text')", ["expected JSON text from `call`", "this is text"]),
        ("give(None)", ["call"]),
        ("give(json.dumps(5))", ["function `hello` must give `String!`, and gave a number: 5"]),
        ("pass", ["probe hello failed", "without returning a value"]),
        ("raise SystemExit('no luck today')", ["probe hello failed", "no luck today"]),
    ],
    ids=["no-json", "nothing", "another-type", "no-answer", "fails"],
)
def test_a_wrong_answer_of_a_call_is_named(connected, repository, call, words):
    connected.run("call", "-m", write_module_with_entrypoint(repository, entrypoint(call=call)), "hello").failed(*words)


def test_an_entrypoint_with_required_arguments_is_refused(connected, repository):
    write_module(repository / "entry", "from dagger import object_type\n\n@object_type\nclass Entry:\n    needed: str\n", name="entry")
    done = connected.run("functions", "-m", write_manifest(repository / "probe")).failed("made without arguments", "needed: String!")
    assert "`../entry`" in done.err


@pytest.mark.parametrize(
    "written, words",
    [
        ('[entrypoint]\nkind = "dang"\nsource = "."\n', ["the kind `dang` is not supported yet", "`dagger-module.toml`", 'kind = "module"']),
        ('[entrypoint]\nsource = "."\n', ["has no `kind`"]),
        ('[entrypoint]\nkind = "module"\n', ["has no `source`"]),
        ('[runtime]\nsource = "python"\n[entrypoint]\nkind = "module"\nsource = "../entry"\n', ["there is a `[runtime]` as well"]),
        ('[entrypoint]\nkind = "module"\nsource = "../nowhere"\n', ["entrypoint `../nowhere` of module `probe`"]),
        ('[entrypoint]\nkind = "module"\nsource = "../../outside"\n', ["outside of the module's context directory"]),
        ('[entrypoint]\nkind = "module"\nsource = "/etc"\n', ["the path of the entrypoint `/etc`", "absolute"]),
        ('[entrypoint]\nkind = "module"\nsource = "."\n', ["circular"]),
        ('[entrypoint]\nkind = "module"\nsource = "../none"\n', ["../none", "expected a function `types("]),
        ("[entrypoint\n", ["dagger-module.toml", "line 2"]),
        ('entrypoint = "x"\n', ["dagger-module.toml", "invalid type"]),
        ('blueprint = "../x"\n', ["`blueprint` in `dagger-module.toml`"]),
    ],
    ids=["dang", "no-kind", "no-source", "both", "missing", "outside", "absolute", "itself", "no-functions", "no-toml", "text", "blueprint"],
)
def test_a_wrong_manifest_is_explained(connected, folder, written, words):
    repository = folder / "r"
    (repository / ".git").mkdir(parents=True)
    (repository / "none").mkdir()
    (repository / "none/dagger.json").write_text('{"name": "none", "engineVersion": "v0.21.8"}')
    module = repository / "probe"
    module.mkdir()
    (module / "dagger-module.toml").write_text(f'name = "probe"\n{written}')
    connected.run("functions", "-m", module).failed(*words, code=1)


# The manifest in other places.


def test_a_manifest_may_name_a_runtime(connected, folder):
    code = "from dagger import function, object_type\n\n@object_type\nclass Probe:\n    @function\n    def hello(self) -> str:\n        return 'from python'\n"
    module = write_module(folder / "probe", code)
    (module / "dagger.json").unlink()
    (module / "dagger-module.toml").write_text('name = "probe"\nengineVersion = "v0.21.8"\n[runtime]\nsource = "python"\n')
    (module / "src/below").mkdir()
    assert connected.run("call", "hello", cwd=module / "src/below").ok().out.strip() == "from python"
    query = '{ host { directory(path: "%s") { asModule { name sdk { source } source { engineVersion contextDirectory { entries } } } } } }' % module
    found = connected.data(query)["host"]["directory"]["asModule"]
    assert found["name"] == "probe" and found["sdk"]["source"] == "python" and found["source"]["engineVersion"] == "v0.21.8"
    assert "dagger-module.toml" in found["source"]["contextDirectory"]["entries"]


def test_dagger_json_wins_over_a_manifest(connected, repository):
    module = write_manifest(repository / "probe", kind="dang")
    (module / "dagger.json").write_text('{"name": "other", "engineVersion": "v0.18.10"}')
    query = '{ moduleSource(refString: "%s") { moduleName engineVersion } }' % module
    assert connected.data(query)["moduleSource"] == {"moduleName": "other", "engineVersion": "v0.18.10"}


def test_a_module_with_an_entrypoint_can_be_a_dependency(connected, repository):
    code = "import dagger\nfrom dagger import dag, function, object_type\n\n@object_type\nclass Uses:\n    @function\n    async def go(self) -> str:\n        return await dag.probe().hello()\n"
    write_module_with_entrypoint(repository, entrypoint(call="give(json.dumps('hello ' + receiverType))"))
    config = {"name": "uses", "engineVersion": "v0.21.8", "sdk": "python", "dependencies": ["../probe"]}
    uses = write_module(repository / "uses", code, name="uses", config=json.dumps(config))
    assert connected.run("call", "-m", uses, "go").ok().out.strip() == "hello Probe"
    query = '{ host { directory(path: "%s") { asModule(sourceRootPath: "probe") { objects { asObject { name } } } } } }' % repository
    assert connected.data(query)["host"]["directory"]["asModule"]["objects"] == [{"asObject": {"name": "Probe"}}]


def test_an_entrypoint_may_be_in_a_repository(connected, folder):
    work = folder / "work"
    write_sdk(work / "tools/entry", entrypoint(call="give(json.dumps('from git'))"))
    write_manifest(work / "probe", source="../tools/entry")
    git(work, "init", "-q")
    commit(work, {"README": "x\n"})
    git(folder, "clone", "-q", "--bare", str(work), str(folder / "served/mods.git"))
    with Web(folder / "served") as web:
        address = web.open("mods.git")
        local = write_manifest(folder / "local/probe", source=f"{address}#main:tools/entry")
        assert connected.run("call", "-m", local, "hello").ok().out.strip() == "from git"
        assert connected.run("call", "-m", f"{address}/probe@main", "hello").ok().out.strip() == "from git"


# SDKs that have an entrypoint themselves.

SDK_TYPES = "made = [function('moduleRuntime', 'Container', modSource='ModuleSource', introspectionJson='File'), function('moduleTypes', %r, modSource='ModuleSource', introspectionJson='File')]\ngive([main_object('Probe', made)])"
SDK_CALL = "give(json.dumps(chain(*process('serve_hello()'), 'id') if fnName == 'moduleRuntime' else %s))"


def used_as_sdk(repository, returns, value):
    write_module_with_entrypoint(repository, entrypoint(SDK_TYPES % returns, SDK_CALL % value))
    user = repository / "user"
    user.mkdir()
    (user / "dagger.json").write_text(json.dumps({"name": "user", "engineVersion": "v0.18.10", "sdk": "../probe"}))
    return user


def test_an_sdk_may_have_an_entrypoint(connected, repository):
    user = used_as_sdk(repository, "[TypeDef]", "[main_object('User', [function('hello', 'String')])]")
    assert connected.run("call", "-m", user, "hello").ok().out.strip() == "hello"


def test_an_sdk_with_an_entrypoint_cannot_register_by_processes(connected, repository):
    user = used_as_sdk(repository, "Module", "module([])")
    connected.run("functions", "-m", user).failed("`../probe` cannot keep the contract", "typed", "`../entry`")
