"""Exec scopes: the schema that a process sees, which it cannot choose, and parts that are in no
key.
"""

import json

import pytest

from kit import write_module
from kit.nested import NESTED_CLIENT, run_nested

# Code that makes the headers by which a library says its version.
METADATA = """
def metadata(version):
    text = json.dumps({'client_id': 'c', 'session_id': 's', 'client_secret_token': 't', 'client_version': version})
    return {'X-Dagger-Client-Metadata': base64.b64encode(text.encode()).decode()}

"""
VERSION = "ask('{__schemaVersion}', **metadata(%r))['data']['__schemaVersion']"
MODULE = """import dagger
from dagger import dag, function, object_type

@object_type
class Probe:
    @function
    async def nested(self, code: str) -> str:
        ctr = dag.container().from_("python:3.13-slim")
        return await ctr.with_exec(["python3", "-c", code], experimental_privileged_nesting=True).stdout()

    @function
    def own(self, code: str) -> str:
        out = {}
        exec(code, out)
        return out["answer"]
"""


def printed_inside(rondel, code: str, *before: str) -> str:
    return run_nested(rondel.data, METADATA + code, *before)


def test_a_process_without_a_module_is_a_client_of_its_own(connected):
    assert printed_inside(connected, "print(ask('{__schemaVersion}')['data']['__schemaVersion'])") == "v0.21.8"
    assert printed_inside(connected, f"print({VERSION % 'v0.18.10'})") == "v0.18.10"
    assert printed_inside(connected, f"print({VERSION % 'v0.18.10'}, {VERSION % 'v0.19.11'}, {VERSION % ''})") == "v0.18.10 v0.19.11 v0.21.8"
    refused = printed_inside(connected, "print(ask('{currentModule{name}}')['errors'][0]['message'])")
    assert "no current module" in refused
    refused = printed_inside(connected, "print(ask('{currentFunctionCall{name}}')['errors'][0]['message'])")
    assert "no current" in refused


def test_the_environment_of_a_container_names_the_version_of_its_clients(connected):
    """A library's own version wins. A malformed version counts as the oldest."""
    code = f"print(ask('{{__schemaVersion}}')['data']['__schemaVersion'], {VERSION % 'v0.19.11'})"
    version = 'withEnvVariable(name: "_EXPERIMENTAL_DAGGER_VERSION", value: "%s")'
    assert printed_inside(connected, code, version % "v0.18.10") == "v0.18.10 v0.19.11"
    assert printed_inside(connected, code, version % "soon") == "v0.11.9 v0.19.11"
    assert printed_inside(connected, code) == "v0.21.8 v0.19.11"
    # A library without a version gets the engine's.
    assert printed_inside(connected, f"print({VERSION % ''})", version % "v0.18.10") == "v0.21.8"


def test_queries_may_be_in_the_address(connected):
    get = (
        "import urllib.parse\n"
        "def get(**parts):\n"
        "    address = 'http://127.0.0.1:' + os.environ['DAGGER_SESSION_PORT'] + '/query?' + urllib.parse.urlencode(parts)\n"
        "    return json.loads(urllib.request.urlopen(address).read())\n"
    )
    code = get + "print(get(query='query($p: String!) { directory { withNewFile(path: $p, contents: \"+ &\") { entries } } }', variables='{\"p\": \"a b\"}'))\n"
    assert printed_inside(connected, code) == "{'data': {'directory': {'withNewFile': {'entries': ['a b']}}}}"
    assert "not a GraphQL request" in printed_inside(connected, get + "print(get()['errors'][0]['message'])")
    assert "not a GraphQL request" in printed_inside(connected, get + "print(get(query='{version}', variables='{')['errors'][0]['message'])")


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return write_module(tmp_path_factory.mktemp("probe"), MODULE, engine_version="v0.18.10")


def test_module_code_cannot_choose_its_identity(connected, probe):
    """No header, variable, argument or ID changes the schema that it sees."""
    tries = [
        VERSION % "v0.21.8",
        "[os.environ.update(_EXPERIMENTAL_DAGGER_VERSION='v0.21.8'), ask('{__schemaVersion}')['data']['__schemaVersion']][1]",
        "ask('{__schemaVersion}', **{'X-Dagger-Session-ID': 'other', 'x-rondel-client': 'c0'})['data']['__schemaVersion']",
    ]
    code = NESTED_CLIENT + METADATA + f"answer = ' '.join([{', '.join(tries)}, ask('{{currentModule{{name}}}}')['data']['currentModule']['name']])"
    seen = connected.run("call", "-m", probe, "own", "--code", code).ok().out.split()
    assert seen == ["v0.18.10", "v0.18.10", "v0.18.10", "probe"]


def test_processes_that_a_module_starts_are_clients_of_their_own(connected, probe):
    """As in the newest original: only work of an SDK for a module acts as the module."""
    code = NESTED_CLIENT + METADATA + "print(ask('{__schemaVersion}')['data']['__schemaVersion'], 'errors' in ask('{currentModule{name}}'))"
    assert connected.run("call", "-m", probe, "nested", "--code", code).ok().out.split() == ["v0.21.8", "True"]


def test_random_parts_of_a_scope_are_no_part_of_a_key(connected):
    """The result is a cache hit in another session and after a restart, with other ports and
    tokens.
    """
    code = "print(len(ask('{__schemaVersion}')['data']), os.environ['DAGGER_SESSION_PORT'], os.environ['DAGGER_SESSION_TOKEN'])"
    first = printed_inside(connected, code)
    execs = connected.execs()
    assert printed_inside(connected, code) == first
    assert connected.execs() == execs
    connected.stop()
    assert printed_inside(connected, code) == first
    assert connected.execs() == 0


def test_a_code_generator_sees_the_schema_of_the_module(connected, tmp_path):
    """The API at the module's version with its dependencies, the same bytes by source and by
    module.
    """
    config = {"name": "user", "sdk": "python", "engineVersion": "v0.18.10", "dependencies": ["./dep"]}
    module = write_module(tmp_path, MODULE.replace("Probe", "User"), name="user", config=json.dumps(config))
    write_module(tmp_path / "dep", MODULE.replace("Probe", "Dep"), name="dep")
    selection = "introspectionSchemaJSON { contents }"
    data = connected.data('{ moduleSource(refString: %s) { %s asModule { %s } } }' % (json.dumps(str(module)), selection, selection))
    first = data["moduleSource"]["introspectionSchemaJSON"]["contents"]
    assert first == data["moduleSource"]["asModule"]["introspectionSchemaJSON"]["contents"]
    told = json.loads(first)
    assert told["__schemaVersion"] == "v0.18.10"
    types = {ty["name"]: ty for ty in told["__schema"]["types"]}
    assert {field["name"] for field in types["Dep"]["fields"]} == {"id", "nested", "own"}
    assert "User" not in types and "Host" not in types and "Container" in types
