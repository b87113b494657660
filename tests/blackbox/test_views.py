"""The same module at two API versions, and views of the core API."""

import json

import pytest

from kit import EXAMPLES

pytestmark = pytest.mark.once

OLD = EXAMPLES / "enums-v0.18.10"
NEW = EXAMPLES / "enums-v0.18.11"
ENUMS = "{ __schema { types { kind name enumValues(includeDeprecated: true) { name } } } }"


def own_enums(rondel, module) -> dict:
    """Names of the members of the enums that are not part of the core API."""

    def enums(*flags):
        types = rondel.data(ENUMS, *flags)["__schema"]["types"]
        return {t["name"]: [v["name"] for v in t["enumValues"]] for t in types if t["kind"] == "ENUM"}

    core = enums()
    return {name: members for name, members in enums("-m", module).items() if name not in core}


def test_a_module_has_the_enum_members_of_its_version(connected):
    old, new = own_enums(connected, OLD), own_enums(connected, NEW)
    flat = lambda enums: sorted(member for members in enums.values() for member in members)
    assert (flat(old), flat(new)) == (["high", "low"], ["HIGH", "LOW"])


def test_calls_take_the_members_of_the_view(connected):
    for module in [OLD, NEW]:
        functions = connected.run("functions", "-m", module).ok().out
        assert functions
        enums = own_enums(connected, module)
        help_text = "".join(
            connected.run("call", "-m", module, line.split()[0], "--help").ok().out
            for line in functions.splitlines()[1:]
        )
        member = next(iter(enums.values()))[0]
        assert member in help_text, f"`{member}` is not offered by:\n{help_text}"


def arguments(rondel, version: str, type_name: str, field: str) -> set:
    document = "{ __type(name: %s) { fields(includeDeprecated: true) { name args { name } } } }" % json.dumps(type_name)
    answer = rondel.data(document, "--api-version", version)["__type"]["fields"]
    return {a["name"] for f in answer if f["name"] == field for a in f["args"]}


@pytest.mark.parametrize("version", ["v0.9.9", "v0.12.0", "v0.18.10", "v0.18.11", "v0.19.11", "v0.21.8"])
def test_every_view_answers(engine, version):
    assert engine.data("{ version }", "--api-version", version)["version"].startswith("v0.21")
    types = engine.data("{ __schema { types { name } } }", "--api-version", version)["__schema"]["types"]
    assert {"Container", "Directory", "File", "Query"} <= {t["name"] for t in types}


def test_arguments_differ_between_views(engine):
    old = arguments(engine, "v0.18.10", "Directory", "withDirectory")
    new = arguments(engine, "v0.21.8", "Directory", "withDirectory")
    assert "directory" in old and "source" in new and "directory" not in new


def test_a_field_of_another_version_is_unknown(engine):
    document = '{ directory { withDirectory(path: "a", directory: "x") { id } } }'
    engine.query(document, "--api-version", "v0.21.8").failed("directory")


INTROSPECTION = """{ __schema { queryType { name } types { kind name
  fields(includeDeprecated: true) { name args { name defaultValue type { ...T } } type { ...T } }
  inputFields { name defaultValue type { ...T } } interfaces { name } enumValues(includeDeprecated: true) { name } possibleTypes { name } } } }
fragment T on __Type { name kind ofType { name kind ofType { name kind ofType { name kind ofType { name kind } } } } }"""


@pytest.mark.parametrize("minor", [f"v0.{n}.0" for n in range(10, 22)] + ["v0.9.9", "v0.11.9", "v0.18.10", "v0.18.19", "v0.21.1"])
def test_every_view_is_closed(engine, minor):
    """A client library needs every named type to exist and to have members."""
    types = engine.data(INTROSPECTION, "--api-version", minor)["__schema"]["types"]
    kinds = {t["name"]: t["kind"] for t in types}
    assert len(kinds) == len(types)
    members = {t["name"]: {v["name"] for v in t["enumValues"]} for t in types if t["kind"] == "ENUM"}

    def check(ty, where):
        while ty["kind"] in ("LIST", "NON_NULL"):
            ty = ty["ofType"]
        assert kinds.get(ty["name"]) == ty["kind"], f"{where} has the type {ty}"

    for t in types:
        where = t["name"]
        if t["kind"] in ("OBJECT", "INTERFACE"):
            assert t["fields"], f"{where} has no fields"
            assert len({f["name"] for f in t["fields"]}) == len(t["fields"]), where
        if t["kind"] == "ENUM":
            assert t["enumValues"], f"{where} has no members"
        if t["kind"] == "INPUT_OBJECT":
            assert t["inputFields"], f"{where} has no fields"
        for field in (t["fields"] or []) + (t["inputFields"] or []):
            check(field["type"], f"{where}.{field['name']}")
            for argument in field.get("args", []):
                place = f"{where}.{field['name']}({argument['name']})"
                check(argument["type"], place)
                of = argument["type"]["ofType"] or argument["type"]
                if of["kind"] == "ENUM" and argument["defaultValue"] not in (None, "null"):
                    assert argument["defaultValue"] in members[of["name"]], place
        for other in (t["interfaces"] or []) + (t["possibleTypes"] or []):
            assert other["name"] in kinds, f"{where} names {other['name']}"
