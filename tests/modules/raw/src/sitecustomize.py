"""A runtime that speaks the protocol itself, and breaks it in every way that has a function here.

Python runs this file before anything else, so that the library never gets a chance to do the right thing.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request


def ask(query, **variables):
    """The answer to a query, errors included."""
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Authorization": "Basic " + token, "Content-Type": "application/json"},
    )
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return json.load(error)


def get(query, **variables):
    answer = ask(query, **variables)
    if answer.get("errors"):
        raise SystemExit(f"the engine says: {answer['errors'][0]['message']}")
    return answer["data"]


def give(value):
    """`returnValue` with anything that JSON can say; the engine's answer."""
    return give_text(json.dumps(value))


def give_text(text):
    return ask("query($v: JSON!) { currentFunctionCall { returnValue(value: $v) } }", v=text)


def error(message, **values):
    chain = "".join(
        f" {{ withValue(name: {json.dumps(name)}, value: {json.dumps(json.dumps(value))})" for name, value in values.items()
    )
    found = get(f"{{ error(message: {json.dumps(message)}){chain} {{ id }}{'}' * len(values)} }}")["error"]
    while "withValue" in found:
        found = found["withValue"]
    return found["id"]


def fail(message, **values):
    return ask(f"{{ currentFunctionCall {{ returnError(error: {json.dumps(error(message, **values))}) }} }}")


def refused(answer):
    """The message of an answer that should be an error."""
    return answer["errors"][0]["message"] if answer.get("errors") else "no error"


# What a function returns in the schema, and what it does.


def nothing(_):
    pass


def twice(_):
    give("first")
    print("second:", refused(give("second")), file=sys.stderr)


def value_then_error(_):
    give("first")
    print("second:", refused(fail("too late")), file=sys.stderr)


def error_then_value(_):
    fail("the first answer counts")
    print("second:", refused(give("too late")), file=sys.stderr)


def error_and_success(_):
    fail("an error, and exit code 0")


def error_and_failure(_):
    fail("own words", reason={"deep": [1, "zwei"]}, code=7)
    os._exit(9)


def process_error(_):
    fail("exit code: 21", _type="EXEC_ERROR", cmd=["a", "b"], exitCode=21, stdout="from stdout", stderr="from stderr")
    os._exit(2)


def value_and_failure(_):
    give("value")
    print("last words", file=sys.stderr)
    os._exit(5)


def no_json(_):
    give_text("this is not JSON")


def number(_):
    give(5)


def nested(_):
    give({"a": ["b"]})


def null(_):
    give(None)


def text_for_number(_):
    give("5")


def fraction_for_number(_):
    give(1.5)


def huge_number(_):
    give(9007199254740993)


def number_too_large(_):
    give_text("92233720368547758070")


def whole_float(_):
    give_text("3.0")


def mixed_list(_):
    give(["a", 1])


def no_id(_):
    give("this is no ID")


def other_id(_):
    give(get("{ directory { id } }")["directory"]["id"])


def object_for_id(_):
    give({"rootfs": "/"})


def unknown_platform(_):
    give("linux/abc/def/ghi")


def unicode(_):
    give("Grüße, 世界 🎉 \u0000\u001f\u2028 \"quoted\" \\ end")


def secret(_):
    found = get('{ setSecret(name: "of-the-module", plaintext: "plain-text-of-the-module") { id } }')
    give(found["setSecret"]["id"])


def shout(_):
    line = "y" * 1023 + "\n"
    for _ in range(3072):
        sys.stdout.write(line)
        sys.stderr.write(line)
    print("the last line", file=sys.stderr)
    os._exit(3)


def hang(_):
    subprocess.run(["sleep", MARK], check=False)


def answer_and_hang(_):
    give("done")
    subprocess.run(["sleep", MARK], check=False)


def killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(_):
    os.kill(os.getpid(), signal.SIGSEGV)


def orphan(_):
    subprocess.Popen(["sleep", MARK], start_new_session=True)
    give("left a process behind")


def view(_):
    give(get("{ __schemaVersion }")["__schemaVersion"])


def who(_):
    found = get("{ currentModule { name } currentFunctionCall { name parentName parent inputArgs { name value } } }")
    give(json.dumps(found, sort_keys=True))


def self_call(_):
    give(get("{ raw { view } }")["raw"]["view"])


def hosts(_):
    found = ask('{ host { file(path: "/etc/hostname") { contents } } }')
    give(refused(found) if found.get("errors") else "contents")


def clock(_):
    give(str(time.monotonic_ns()))


MARK = "8640077.25"
RETURNS = {
    "number": "STRING",
    "text_for_number": "INTEGER",
    "fraction_for_number": "INTEGER",
    "huge_number": "INTEGER",
    "number_too_large": "INTEGER",
    "whole_float": "INTEGER",
    "mixed_list": ["STRING"],
    "no_id": "Container",
    "other_id": "Container",
    "object_for_id": "Container",
    "unknown_platform": "Platform",
    "secret": "Secret",
}
FUNCTIONS = [
    nothing, twice, value_then_error, error_then_value, error_and_success, error_and_failure, process_error,
    value_and_failure, no_json, number, nested, null, text_for_number, fraction_for_number, huge_number,
    number_too_large, whole_float, mixed_list, no_id, other_id, object_for_id, unknown_platform, unicode, secret,
    shout, hang, answer_and_hang, killed, segfault, orphan, view, who, self_call, hosts, clock,
]  # fmt: skip


def type_def(returns):
    if isinstance(returns, list):
        return get(f'{{ typeDef {{ withListOf(elementType: "{type_def(returns[0])}") {{ id }} }} }}')["typeDef"]["withListOf"]["id"]
    if returns == "Platform":
        return get('{ typeDef { withScalar(name: "Platform") { id } } }')["typeDef"]["withScalar"]["id"]
    if returns.isupper():
        return get(f"{{ typeDef {{ withKind(kind: {returns}_KIND) {{ id }} }} }}")["typeDef"]["withKind"]["id"]
    return get(f'{{ typeDef {{ withObject(name: "{returns}") {{ id }} }} }}')["typeDef"]["withObject"]["id"]


def register():
    made = get('{ typeDef { withObject(name: "Raw") { id } } }')["typeDef"]["withObject"]["id"]
    for function in FUNCTIONS:
        returns = type_def(RETURNS.get(function.__name__, "STRING"))
        known = get(f'{{ function(name: "{function.__name__}", returnType: "{returns}") {{ id }} }}')["function"]["id"]
        query = f'{{ node(id: "{made}") {{ ... on TypeDef {{ withFunction(function: "{known}") {{ id }} }} }} }}'
        made = get(query)["node"]["withFunction"]["id"]
    give(get(f'{{ module {{ withObject(object: "{made}") {{ id }} }} }}')["module"]["withObject"]["id"])


def main():
    call = get("{ currentFunctionCall { name parentName } }")["currentFunctionCall"]
    if not call["parentName"]:
        register()
    elif call["name"]:
        next(function for function in FUNCTIONS if function.__name__ == call["name"])(call)
    else:
        give({})
    sys.stdout.flush()
    os._exit(0)


if "DAGGER_SESSION_PORT" in os.environ:
    main()
