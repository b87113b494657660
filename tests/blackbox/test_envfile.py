"""`EnvFile`: variables in files."""

import pytest

from kit import document, leaf, quote

pytestmark = pytest.mark.once


def env_file(variables, selection: str) -> str:
    """A document that selects something of an env file with these variables."""
    steps = [f"withVariable(name: {quote(name)}, value: {quote(value)})" for name, value in variables]
    return document("envFile", *steps, selection)


def test_envf_001_variables_are_set_read_and_removed(engine):
    seen = leaf(engine.data(env_file([("A", "1"), ("B", "$A"), ("A", "2")],
        'get(name: "B") raw: get(name: "B", raw: true) none: get(name: "C") exists(name: "A") no: exists(name: "C") '
        'variables { name value } all: variables(raw: true) { name value } '
        'withoutVariable(name: "B") { variables { name } }')))
    assert (seen["get"], seen["raw"], seen["none"], seen["exists"], seen["no"]) == ("2", "$A", "", True, False)
    assert seen["variables"] == [{"name": "A", "value": "2"}, {"name": "B", "value": "2"}]
    assert seen["all"] == [{"name": "A", "value": "2"}, {"name": "B", "value": "$A"}]
    assert seen["withoutVariable"] == {"variables": [{"name": "A"}]}


@pytest.mark.parametrize(
    "prefix, names",
    [("animal", ["name", "KIND"]), ("animal_", ["name", "KIND"]), ("my-app", ["token", "url", "NAME"]), ("MY_APP_", ["token", "url", "NAME"]), ("none", [])],
)
def test_envf_001_a_namespace_selects_variables_by_prefix(engine, prefix, names):
    variables = [("animal_name", "daisy"), ("ANIMAL_KIND", "dog"), ("my_app_token", "t"), ("foo", "$MISSING"), ("myApp_url", "$my_app_token"), ("MY_APP_NAME", "n")]
    seen = leaf(engine.data(env_file(variables, "namespace(prefix: %s) { variables { name value } }" % quote(prefix))))
    assert [entry["name"] for entry in seen] == names
    assert {"name": "url", "value": "t"} in seen or "url" not in names


def test_envf_002_quotes_and_references_are_read(engine):
    variables = [
        ("animal", "dog"), ("hero", "${animal}man"), ("double", '"nice $animal"'), ("single", "'nice $animal'"), ("spaces", "a   b"),
        ("escaped", "a\\ b"), ("mixed", "hello, '$animal'"), ("default", "${MISSING:-none}"), ("later", "$last"), ("last", "end"),
        ("json", '\'["a", 1]\''), ("special", "!@#$%^&*()"),
    ]
    seen = {entry["name"]: entry["value"] for entry in leaf(engine.data(env_file(variables, "variables { name value }")))}
    assert seen == {
        "animal": "dog", "hero": "dogman", "double": "nice dog", "single": "nice $animal", "spaces": "a   b", "escaped": "a b",
        "mixed": "hello, $animal", "default": "none", "later": "end", "last": "end", "json": '["a", 1]', "special": "!@#$%^&*()",
    }
    raw = {entry["name"]: entry["value"] for entry in leaf(engine.data(env_file(variables, "variables(raw: true) { name value }")))}
    assert raw == dict(variables)
    engine.query(env_file([("A", "$B"), ("B", "$A")], 'get(name: "A")')).failed("circular dependency")
    engine.query(env_file([("A", "$(id)")], 'get(name: "A")')).failed("not executed")
    engine.query(env_file([("A B", "x")], "asFile { contents }")).failed("cannot be the name")


def test_envf_002_quoted_values_may_have_several_lines(engine, folder):
    (folder / "vars").write_text("KEY='-----BEGIN\n# no comment\n-----END'\nA=\"$B\n2\"\nB=1 # c\nC='1' # c\n")
    seen = leaf(engine.data('{ host { file(path: "vars") { asEnvFile { variables { name value } } } } }', cwd=folder))
    assert {entry["name"]: entry["value"] for entry in seen} == {"KEY": "-----BEGIN\n# no comment\n-----END", "A": "1 # c\n2", "B": "1 # c", "C": "1"}


def test_envf_003_references_are_resolved_when_read(engine):
    variables = [("GREETING", "bonjour"), ("NAME", "monde"), ("message", "$GREETING, $NAME!")]
    seen = leaf(engine.data(env_file(variables, 'get(name: "message") withVariable(name: "NAME", value: "toi") { get(name: "message") } '
        'withoutVariable(name: "NAME") { get(name: "message", raw: true) }')))
    assert seen["get"] == "bonjour, monde!" and seen["withVariable"]["get"] == "bonjour, toi!"
    assert seen["withoutVariable"]["get"] == "$GREETING, $NAME!"
    engine.query(env_file(variables, 'withoutVariable(name: "NAME") { get(name: "message") }')).failed("NAME: unbound variable")


def test_envf_004_envf_007_fil_016_an_env_file_keeps_its_text(engine, folder):
    text = "# kept\nexport animal=dog\n\nmessage=\"nice ${animal}\"\n"
    (folder / "vars").write_text(text)
    (folder / "broken").write_text("A=1\nwhat is this\n")
    file = '{ host { file(path: "vars") { asEnvFile { %s } } } }'
    seen = leaf(engine.data(file % 'get(name: "message") exists(name: "animal") asFile { name contents } withVariable(name: "B", value: "1") { asFile { contents } }', cwd=folder))
    assert (seen["get"], seen["exists"]) == ("nice dog", True)
    assert seen["asFile"] == {"name": ".env", "contents": text}
    assert seen["withVariable"]["asFile"]["contents"] == text + "B=1\n"
    same = file % 'withVariable(name: "animal", value: "dog") { asFile { contents asEnvFile { get(name: "message") } } }'
    assert leaf(engine.data(same, cwd=folder)) == {"contents": text, "asEnvFile": {"get": "nice dog"}}
    engine.query('{ host { file(path: "broken") { asEnvFile { get(name: "A") } } } }', cwd=folder).failed("line 2 of the env file")


def test_envf_005_env_012_references_are_to_variables_of_the_client(fresh, folder):
    (folder / ".env").write_text("NAME=${MYNAME}\nPLAIN=p\n")
    script = "echo $NAME $PLAIN; cat /proc/sys/kernel/random/uuid"
    seen = {}
    for name in ["one", "two", "one", "two"]:
        with fresh.session(env={"MYNAME": name}, cwd=folder) as session:
            made = session.query('{ host { file(path: ".env") { asEnvFile { id get(name: "NAME") } } } }')["host"]["file"]["asEnvFile"]
            assert made["get"] == name
            document = '{ container { from(address: "busybox") { withEnvVariable(name: "PLAIN", value: "old") { withEnvFileVariables(source: %s) { envVariable(name: "NAME") withExec(args: ["sh", "-c", %s]) { stdout } } } } } }'
            seen_here = session.query(document % (quote(made["id"]), quote(script)))["container"]["from"]["withEnvVariable"]["withEnvFileVariables"]
            assert seen_here["envVariable"] == name and seen_here["withExec"]["stdout"].startswith(f"{name} p\n")
            assert seen.setdefault(name, seen_here["withExec"]["stdout"]) == seen_here["withExec"]["stdout"]
    assert fresh.execs() == 2
    assert leaf(fresh.data(env_file([("A", "${MYNAME:-nobody}")], 'get(name: "A")'))) == "nobody"
