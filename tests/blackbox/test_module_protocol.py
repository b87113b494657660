"""Answers of a runtime, by a module that speaks the protocol itself and breaks it."""

import json

import pytest

from kit import REPO, eventually, processes_with, serve_module
from kit.failures import report_of

pytestmark = pytest.mark.once

RAW = REPO / "tests/modules/raw"
MARK = "8640077.25"


@pytest.mark.parametrize(
    "name, code, words",
    [
        ("nothing", 1, ['function "nothing" completed without returning a value']),
        ("error-then-value", 1, ["the first answer counts"]),
        ("error-and-success", 1, ["an error, and exit code 0"]),
        ("error-and-failure", 1, ["own words"]),
        ("process-error", 21, ["exit code: 21", "from stdout", "from stderr"]),
        ("value-and-failure", 5, ["raw value-and-failure failed", "exit code: 5", "last words"]),
        ("no-json", 1, ["raw.no_json answered with something that is not JSON"]),
        ("number", 1, ["function `number` must give `String!`, and gave a number: 5"]),
        ("nested", 1, ["function `nested` must give `String!`, and gave an object"]),
        ("null", 1, ["cannot create String from <nil>"]),
        ("text-for-number", 1, ["must give `Int!`, and gave a string"]),
        ("fraction-for-number", 1, ["must give `Int!`, and gave a number: 1.5"]),
        ("number-too-large", 1, ["must give `Int!`, and gave a number: 9.2"]),
        ("mixed-list", 1, ["must give `String!`, and gave a number: 1"]),
        ("no-id", 1, ["function `no_id`", "not an ID: `this is no ID`"]),
        ("other-id", 1, ["must give `Container!`, and gave `Directory`"]),
        ("object-for-id", 1, ["must give `Container!`, and gave an object"]),
        ("unknown-platform", 1, ["unknown operating system or architecture"]),
        ("killed", 137, ["raw killed failed", "exit code: 137"]),
        ("segfault", 139, ["raw segfault failed", "exit code: 139"]),
        ("shout", 3, ["raw shout failed", "exit code: 3", "the last line"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_answer_is_explained(connected, name, code, words):
    report = report_of(connected.call(RAW, name).failed(*words, code=code).err)
    assert all(word.lower() in report.lower() for word in words), report
    assert connected.data("{ version }")


@pytest.mark.parametrize(
    "name, out",
    [("huge-number", "9007199254740993"), ("whole-float", "3"), ("view", "v0.21.8"), ("self-call", "v0.21.8")],
    ids=lambda value: value,
)
def test_a_right_answer_is_returned(connected, name, out):
    assert connected.call(RAW, name).ok().out.strip() == out


@pytest.mark.parametrize("name", ["twice", "value-then-error"])
def test_the_first_answer_counts(connected, name):
    done = connected.call(RAW, name, env={"DAGGER_PROGRESS": "plain"}).ok()
    assert done.out.strip() == "first"
    assert "second: function call return already set" in done.err


def test_text_of_every_kind_arrives_unchanged(connected):
    data = connected.data("{ raw { unicode } }", "-m", RAW)
    assert data["raw"]["unicode"] == 'Grüße, 世界 🎉 \u0000\u001f\u2028 "quoted" \\ end'


def test_values_of_an_error_reach_the_client(connected):
    with connected.session() as session:
        serve_module(session, RAW)
        error = session.error("{ raw { errorAndFailure } }")
        assert error["message"] == "own words"
        assert error["extensions"]["reason"] == {"deep": [1, "zwei"]} and error["extensions"]["code"] == 7
        error = session.error("{ raw { processError } }")
        wanted = {"_type": "EXEC_ERROR", "cmd": ["a", "b"], "exitCode": 21, "stdout": "from stdout", "stderr": "from stderr"}
        assert {name: error["extensions"][name] for name in wanted} == wanted


def test_module_code_is_told_which_function_is_called(connected):
    found = json.loads(connected.call(RAW, "who").ok().out)
    assert found["currentModule"] == {"name": "raw"}
    assert found["currentFunctionCall"] == {"name": "who", "parentName": "Raw", "parent": "{}", "inputArgs": []}


@pytest.mark.parametrize("field", ["currentModule", "currentFunctionCall"])
def test_a_client_has_no_current_module(connected, field):
    with connected.session() as session:
        assert session.error(f"{{ {field} {{ name }} }}")["message"] == "no current module: main client caller has no current module"


@pytest.mark.parametrize("name", ["hang", "answer-and-hang"])
def test_a_hanging_function_ends_with_its_client(connected, name):
    client = connected.start("call", "-m", RAW, name)
    eventually(lambda: processes_with(MARK), within=120, what="the function to hang")
    client.terminate()
    client.communicate(timeout=20)
    assert client.returncode != 0
    eventually(lambda: not processes_with(MARK), what="the function to end")
    assert connected.data("{ version }")


def test_processes_that_a_function_left_end_with_it(connected):
    assert connected.call(RAW, "orphan").ok().out.strip() == "left a process behind"
    eventually(lambda: not processes_with(MARK), what="the process to end")


def test_a_secret_of_a_module_is_not_kept_for_later_sessions(connected):
    connected.data("{ version }")
    before = connected.execs()
    for _ in range(2):
        assert connected.data("{ raw { secret { plaintext } } }", "-m", RAW)["raw"]["secret"]["plaintext"] == "plain-text-of-the-module"
    # The function runs in both sessions, the constructor at most once.
    assert 2 <= connected.execs() - before <= 4
    # The index and the log. An ordinary user cannot read all files in layers.
    state = b"".join(path.read_bytes() for path in connected.state.iterdir() if path.is_file())
    assert b"plain-text-of-the-module" not in state


def test_results_are_kept_across_sessions_and_engines(connected):
    first = connected.call(RAW, "clock").ok().out
    before = connected.execs()
    assert connected.call(RAW, "clock").ok().out == first
    assert connected.execs() == before
    connected.stop()
    assert connected.call(RAW, "clock").ok().out == first
    assert connected.execs() == 0
