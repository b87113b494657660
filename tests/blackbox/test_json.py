"""`JSONValue`: values of JSON, taken apart and put together."""

import json

import pytest

from kit import quote

pytestmark = pytest.mark.once


@pytest.mark.parametrize("number", [0, 1, -7, 2**31 - 1])
def test_jsn_001_integers_are_values(engine, number):
    json_value = engine.data("{ json { newInteger(value: %d) { asInteger contents } } }" % number)["json"]["newInteger"]
    assert json_value == {"asInteger": number, "contents": str(number)}


def test_jsn_001_strings_and_booleans_are_values(engine):
    for text in ["", "plain", 'with "quotes"\n\ttabs and ünïcödé']:
        seen = engine.data("{ json { newString(value: %s) { asString contents } } }" % quote(text))["json"]["newString"]
        assert seen["asString"] == text and json.loads(seen["contents"]) == text
    seen = engine.data("{ json { contents t: newBoolean(value: true) { asBoolean } f: newBoolean(value: false) { asBoolean contents } } }")
    assert seen["json"] == {"contents": "null", "t": {"asBoolean": True}, "f": {"asBoolean": False, "contents": "false"}}


def test_jsn_001_values_of_another_kind_are_refused(engine):
    with engine.session() as session:
        for wrong in ["asInteger", "asBoolean", "asArray { asString }", "fields"]:
            error = session.error('{ json { newString(value: "x") { %s } } }' % wrong)
            assert "value is not" in error["message"] and "a string" in error["message"]
        assert "value is not an integer" in session.error('{ json { withContents(contents: "1.5") { asInteger } } }')["message"]


def test_jsn_002_objects_and_arrays_are_taken_apart(engine):
    document = {"b": [1, "two", True, None], "a": {"deep": {"er": 5}}}
    with engine.session() as session:
        made = "json { withContents(contents: %s) { %%s } }" % quote(json.dumps(document))
        seen = session.query("{ %s }" % made % "fields contents field(path: [\"a\", \"deep\", \"er\"]) { asInteger }")["json"]["withContents"]
        assert seen["fields"] == ["a", "b"] and seen["field"] == {"asInteger": 5}
        assert json.loads(seen["contents"]) == document
        items = session.query("{ %s }" % made % 'field(path: ["b"]) { asArray { contents id } }')["json"]["withContents"]["field"]["asArray"]
        assert [item["contents"] for item in items] == ["1", '"two"', "true", "null"]
        again = session.query("{ node(id: %s) { ... on JSONValue { asString } } }" % quote(items[1]["id"]))
        assert again["node"] == {"asString": "two"}
        pretty = session.query("{ %s }" % made % 'field(path: ["a"]) { p: contents(pretty: true) t: contents(pretty: true, indent: "\\t") }')
        pretty = pretty["json"]["withContents"]["field"]
        assert pretty["p"] == json.dumps(document["a"], indent=2) and pretty["t"] == json.dumps(document["a"], indent="\t")
        for path, words in [([], "empty"), (["x"], "no such field: 'x'"), (["b", "y"], "can't lookup field 'y' in non-object value")]:
            assert words in session.error("{ %s }" % made % ("field(path: %s) { contents }" % quote(path)))["message"]
        assert "invalid JSON" in session.error('{ json { withContents(contents: "{") { contents } } }')["message"]


def test_jsn_002_fields_are_set(engine, folder):
    (folder / "x.json").write_text('{"name": "app", "list": [1]}')
    with engine.session(cwd=folder) as session:
        value = session.query('{ json { newString(value: "v") { id } } }')["json"]["newString"]["id"]
        with_field = 'withField(path: ["new", "deep"], value: %s) { withField(path: ["name"], value: %s) { contents } }' % (quote(value), quote(value))
        seen = session.query('{ host { file(path: "x.json") { asJSON { %s } } } json { withField(path: ["only"], value: %s) { contents } } }' % (with_field, quote(value)))
        contents = seen["host"]["file"]["asJSON"]["withField"]["withField"]["contents"]
        assert json.loads(contents) == {"name": "v", "list": [1], "new": {"deep": "v"}}
        assert json.loads(seen["json"]["withField"]["contents"]) == {"only": "v"}


def test_jsn_002_numbers_keep_their_digits(engine, folder):
    text = '{"big":12345678901234567890123, "f" : 1.50}'
    (folder / "x.json").write_text(text)
    with engine.session(cwd=folder) as session:
        fields = 'contents field(path: ["big"]) { contents } pretty: contents(pretty: true) withField(path: ["f"], value: %s) { contents }'
        value = session.query('{ json { withContents(contents: "0.10") { id } } }')["json"]["withContents"]["id"]
        fields %= quote(value)
        seen = session.query('{ json { withContents(contents: %s) { %s } } host { file(path: "x.json") { asJSON { %s } } } }' % (quote(text), fields, fields))
        expected = {
            "contents": text,
            "field": {"contents": "12345678901234567890123"},
            "pretty": '{\n  "big": 12345678901234567890123,\n  "f": 1.50\n}',
            "withField": {"contents": '{"big":12345678901234567890123,"f":0.10}'},
        }
        assert seen["json"]["withContents"] == expected
        assert seen["host"]["file"]["asJSON"] == expected
