"""Every kind of argument, result and state that a module can have, through the official library."""

import json

import pytest

from kit import REPO, serve_module

pytestmark = pytest.mark.once

KINDS = REPO / "tests/modules/kinds"


@pytest.fixture(scope="module")
def kinds(connected):
    """Selects something of the module's main object."""

    def ask(selection, arguments=""):
        return connected.data(f"{{ kinds{arguments} {{ {selection} }} }}", "-m", KINDS)["kinds"]

    return ask


def test_scalars_arrive_as_they_are(kinds):
    found = kinds('scalars(text: "tä", number: 9007199254740993, real: 2.0, flag: true) unicode(text: "Grüße 🎉") nothing')
    assert found["scalars"] == ["str:tä", "int:9007199254740993", "float:2.0", "bool:True"]
    assert found["unicode"] == "«Grüße 🎉» 7" and found["nothing"] is None


def test_optional_arguments_have_defaults(kinds):
    # MOD-004.
    found = kinds('a: matrix(a: "A") b: matrix(a: "A", b: "B", c: "C", d: "D", e: "E") c: matrix(a: "A", b: null, d: null)')
    assert found == {"a": "'A', None, 'foo', None, 'bar'", "b": "'A', 'B', 'C', 'D', 'E'", "c": "'A', None, 'foo', None, 'bar'"}


def test_null_is_not_the_default(connected, kinds):
    # TYP-004.
    assert kinds('matrix(a: "A", e: null)') == {"matrix": "'A', None, 'foo', None, None"}
    with connected.session() as session:
        serve_module(session, KINDS)
        query = 'query($e: String) { kinds { matrix(a: "A", e: $e) } }'
        for variables, last in (({"e": None}, "None"), ({}, "'bar'")):
            _, answer = session.post({"query": query, "variables": variables})
            assert answer == {"data": {"kinds": {"matrix": f"'A', None, 'foo', None, {last}"}}}


def test_introspection_shows_optional_arguments_and_defaults(connected):
    query = '{ __type(name: "Kinds") { fields { name args { name defaultValue type { kind name ofType { kind name } } } } } }'
    fields = connected.data(query, "-m", KINDS)["__type"]["fields"]
    args = next(field["args"] for field in fields if field["name"] == "matrix")
    required = {"kind": "NON_NULL", "name": None, "ofType": {"kind": "SCALAR", "name": "String"}}
    optional = {"kind": "SCALAR", "name": "String", "ofType": None}
    assert [(arg["name"], arg["type"], arg["defaultValue"]) for arg in args] == [
        ("a", required, None),
        ("b", optional, None),
        ("c", required, '"foo"'),
        ("d", optional, "null"),
        ("e", optional, '"bar"'),
    ]
    assert not any(field["name"].startswith("__") for field in fields)


def test_enums_are_arguments_and_results(kinds):
    found = kinds("levels(levels: [HIGH, LOW], maybe: HIGH) coreEnum udp: coreEnum(protocol: UDP)")
    assert found == {"levels": ["HIGH", "LOW", "LOW", "HIGH"], "coreEnum": "TCP", "udp": "UDP"}


def test_lists_may_be_nested_empty_or_null(kinds):
    found = kinds("nestedList(rows: [[1, 2], [], [3]]) none: maybeNumbers empty: maybeNumbers(numbers: []) null: maybeNumbers(numbers: null)")
    assert found == {"nestedList": [[2, 1], [], [3]], "none": None, "empty": [], "null": None}


def test_json_and_platforms_are_scalars(kinds):
    found = kinds(r'json(document: "{\"a\": [1, null]}") platform(platform: "linux/arm64/v8") otherName(from: "x")')
    assert json.loads(found["json"]) == {"a": [1, None]}
    assert found["platform"] == "linux/arm64" and found["otherName"] == "x"


@pytest.mark.parametrize(
    "selection, words",
    [
        ("matrix", ['"a"', "String!"]),
        ("matrix(a: null)", ['"a"', "String!"]),
        ('matrix(a: "A", c: null)', ['"c"', "it is null"]),
        ("levels(levels: [MIDDLE])", ["MIDDLE", "KindsLevel"]),
        ("coreEnum(protocol: XYZ)", ["XYZ", "NetworkProtocol"]),
        ('scalars(text: "x", number: 99999999999999999999, real: 1, flag: true)', ["99999999999999999999"]),
        ('platform(platform: "a/b/c/d")', ["unknown operating system or architecture"]),
        ('join(parts: ["abc"])', ["not an ID: `abc`"]),
        ('part(name: "x") { hidden }', ['Cannot query field "hidden" on type "KindsPart"']),
        ("raises", ["this is wrong"]),
    ],
    ids=range(10),
)
def test_a_wrong_argument_is_refused(connected, selection, words):
    connected.query(f"{{ kinds {{ {selection} }} }}", "-m", KINDS).failed(*words, code=1)


def test_an_object_of_the_wrong_type_is_refused(connected):
    with connected.session() as session:
        serve_module(session, KINDS)
        given = session.query("{ directory { id } }")["directory"]["id"]
        message = session.error(f'{{ kinds {{ join(parts: ["{given}"]) }} }}')["message"]
        assert "expected KindsPart, got Directory" in message
        message = session.error(f'{{ kinds {{ objects(folder: "{given}", file: "{given}", box: "{given}") }} }}')["message"]
        assert "expected File, got Directory" in message


def test_constructors_set_fields(kinds, connected):
    found = kinds("tag numbers unset base { entries }", '(tag: "T", numbers: [1, 2])')
    assert found == {"tag": "T", "numbers": [1, 2], "unset": None, "base": {"entries": ["tag"]}}
    connected.query('{ kinds(tag: "refuse") { tag } }', "-m", KINDS).failed("too bad: so sad", code=1)


def test_objects_in_lists_of_lists_have_ids(connected, kinds):
    found = kinds('rows(names: [["a", "b"], [], ["c"]]) { name id grain { size } }')["rows"]
    assert [[part["name"] for part in row] for row in found] == [["a", "b"], [], ["c"]]
    one = found[0][1]["id"]
    assert connected.data(f'{{ node(id: "{one}") {{ ... on KindsPart {{ reveal }} }} }}', "-m", KINDS)["node"]["reveal"] == "secret of b"


def test_private_state_is_kept_between_calls(kinds):
    found = kinds('count { tag count { tag base { file(path: "tag") { contents } } } }', '(tag: "T")')
    assert found["count"]["tag"] == "counted 42"
    assert found["count"]["count"] == {"tag": "counted 43", "base": {"file": {"contents": "T"}}}


def test_objects_hold_objects(kinds):
    found = kinds(
        'part(name: "p") { weight grain { size } reveal ground(sizes: [1, 2]) { grain { size noted } grains { noted } reveal } } '
        "none: maybePart(given: false) { name } some: maybePart(given: true) { name }"
    )
    part = found["part"]
    assert (part["weight"], part["grain"], part["reveal"]) == (1.5, None, "secret of p")
    ground = {"grain": {"size": 1, "noted": "1 p1"}, "grains": [{"noted": "1 p1"}, {"noted": "2 p2"}], "reveal": "secret of p"}
    assert part["ground"] == ground
    assert (found["none"], found["some"]) == (None, {"name": "given"})


def test_objects_are_arguments(connected):
    with connected.session() as session:
        serve_module(session, KINDS)
        made = session.query('{ kinds { part(name: "p") { id } parts(names: ["a", "b"]) { id } base { id } } }')["kinds"]
        part, (a, b), base = made["part"]["id"], [part["id"] for part in made["parts"]], made["base"]["id"]
        found = session.query(f'{{ kinds {{ join(parts: ["{a}", "{part}"], last: "{b}") }} }}')["kinds"]
        assert found["join"] == "a/secret of a p/secret of p b/secret of b"
        # TYP-002: objects of lists too.
        found = session.query(f'{{ node(id: "{b}") {{ id ... on KindsPart {{ name reveal }} }} old: loadKindsPartFromID(id: "{a}") {{ reveal }} }}')
        assert found == {"node": {"id": b, "name": "b", "reveal": "secret of b"}, "old": {"reveal": "secret of a"}}
        core = session.query(
            '{ container { from(address: "busybox") { id } } '
            'directory { withNewFile(path: "x", contents: "y") { id file(path: "x") { id } } } }'
        )
        box, folder = core["container"]["from"]["id"], core["directory"]["withNewFile"]
        found = session.query(
            f'{{ kinds {{ objects(folder: "{folder["id"]}", file: "{folder["file"]["id"]}", box: "{box}") '
            f'folders(folders: ["{folder["id"]}", "{base}"]) {{ glob(pattern: "**") }} }} }}'
        )["kinds"]
        assert found == {"objects": "['x'] y ran\n", "folders": {"glob": ["0/", "0/x", "1/", "1/tag"]}}


def test_objects_implement_interfaces(connected):
    with connected.session() as session:
        serve_module(session, KINDS)
        made = session.query('{ kinds { part(name: "p") { id } parts(names: ["a", "b"]) { id } } }')["kinds"]
        part, (a, b) = made["part"]["id"], [part["id"] for part in made["parts"]]
        found = session.query(f'{{ kinds {{ listen(quacker: "{part}") listenAll(quackers: ["{a}", "{b}"]) }} }}')["kinds"]
        assert found == {"listen": "ppp", "listenAll": ["a", "b"]}
        found = session.query(f'{{ node(id: "{part}") {{ ... on KindsQuacker {{ quack(times: 2) }} }} }}')
        assert found["node"] == {"quack": "pp"}
        folder = session.query("{ directory { id } }")["directory"]["id"]
        assert "KindsQuacker" in session.error(f'{{ kinds {{ listen(quacker: "{folder}") }} }}')["message"]


def test_ids_of_module_objects_load_in_a_later_session(connected):
    query = '{ kinds { part(name: "p") { id } parts(names: ["a", "b"]) { id } } }'
    made = connected.data(query, "-m", KINDS)["kinds"]
    ids = [made["part"]["id"], *(part["id"] for part in made["parts"])]
    connected.stop()
    found = [connected.data(f'{{ node(id: "{one}") {{ ... on KindsPart {{ name reveal }} }} }}', "-m", KINDS)["node"] for one in ids]
    assert found == [{"name": name, "reveal": f"secret of {name}"} for name in "pab"]
    with connected.session() as session:
        # No module is served. The ID names its module.
        assert session.query(f'{{ node(id: "{ids[2]}") {{ id __typename }} }}')["node"]["__typename"] == "KindsPart"


def test_an_id_of_a_list_member_is_short(kinds):
    names = json.dumps([f"name{number}" for number in range(200)])
    found = kinds(f"parts(names: {names}) {{ id }}")["parts"]
    assert len({part["id"] for part in found}) == 200
    assert max(len(part["id"]) for part in found) < 2000


def test_secrets_pass_through_functions_and_are_redacted(connected):
    env = {"TOKEN_OF_TEST": "f00-bar-secret-value"}
    call = lambda *words: connected.run("call", "-m", KINDS, *words, env=env)  # noqa: E731
    assert call("secret", "--token=env://TOKEN_OF_TEST").ok().out.strip() == "20"
    done = call("secret-in-box", "--token=env://TOKEN_OF_TEST").ok()
    assert done.out.split() == ["21", "***"]
    assert "f00-bar-secret-value" not in done.err + connected.log()
    done = call("pass-secret", "--token=env://TOKEN_OF_TEST", "plaintext").ok()
    assert done.out.strip() == "f00-bar-secret-value"


def test_arguments_default_to_files_of_the_context(kinds):
    # CTX-007.
    assert kinds("context contextFile") == {"context": ["pyproject.toml"], "contextFile": "dagger.json"}


def test_a_failed_process_of_a_function_keeps_its_exit_code(connected, kinds):
    # CON-006.
    connected.run("call", "-m", KINDS, "fails-inside").failed("exit code: 42", "out", "err", code=42)
    assert kinds("failsAndRecovers") == {"failsAndRecovers": "3 out err"}
    with connected.session() as session:
        serve_module(session, KINDS)
        extensions = session.error("{ kinds { failsInside(code: 7) } }")["extensions"]
        assert (extensions["_type"], extensions["exitCode"], extensions["stdout"].strip(), extensions["stderr"].strip()) == ("EXEC_ERROR", 7, "out", "err")


def test_functions_of_the_main_object_are_at_the_root(connected):
    found = connected.data('{ tag kinds { tag } with(tag: "W") { tag matrix(a: "x") kinds(tag: "V") { tag } } }', "-m", KINDS)
    assert found == {
        "tag": "untagged",
        "kinds": {"tag": "untagged"},
        "with": {"tag": "W", "matrix": "'x', None, 'foo', None, 'bar'", "kinds": {"tag": "V"}},
    }


def test_current_types_are_those_of_the_module(connected):
    query = "{ currentTypeDefs(hideCore: true) { asObject { name sourceModuleName functions { name args { name } } fields { name } } asEnum { name members { name value } } asInterface { name } } }"
    found = connected.data(query, "-m", KINDS)["currentTypeDefs"]
    objects = {entry["asObject"]["name"]: entry["asObject"] for entry in found if entry["asObject"]}
    assert {"Query", "Kinds", "KindsPart", "KindsGrain"} == set(objects)
    assert "kinds" in [function["name"] for function in objects["Query"]["functions"]]
    assert [field["name"] for field in objects["KindsPart"]["fields"]] == ["name", "weight", "grain", "grains"]
    assert objects["Kinds"]["sourceModuleName"] == "kinds"
    enums = [entry["asEnum"] for entry in found if entry["asEnum"]]
    assert enums == [{"name": "KindsLevel", "members": [{"name": "LOW", "value": "low"}, {"name": "HIGH", "value": "high"}]}]
    assert [entry["asInterface"]["name"] for entry in found if entry["asInterface"]] == ["KindsQuacker"]


def test_a_caller_keeps_its_own_view(connected):
    found = connected.data("{ __schemaVersion kinds { tag } }", "--api-version", "v0.18.10", "-m", KINDS)
    assert found == {"__schemaVersion": "v0.18.10", "kinds": {"tag": "untagged"}}
    assert connected.data("{ __schemaVersion }") == {"__schemaVersion": "v0.21.8"}
