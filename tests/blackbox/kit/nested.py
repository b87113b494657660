"""Clients of the API inside containers."""

import json

from kit.graphql import PYTHON, container, document, leaf, quote

# A part of the error for an address that a container does not reach.
REFUSED = "which a container does not reach"
# Python code for a process in a container: `ask` sends a document and returns the whole answer.
NESTED_CLIENT = """
import base64, json, os, sys, urllib.error, urllib.request

def ask(document, **headers):
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    address = "http://127.0.0.1:" + os.environ["DAGGER_SESSION_PORT"] + "/query"
    headers = {"Content-Type": "application/json", "Authorization": "Basic " + token, **headers}
    request = urllib.request.Request(address, json.dumps({"query": document}).encode(), headers)
    return json.loads(urllib.request.urlopen(request).read())

"""
ASK_ALL = NESTED_CLIENT + "print(json.dumps([ask(document) for document in json.loads(sys.argv[1])]))\n"


def nested_exec(code: str, *words: str) -> str:
    """The field that runs Python code with `ask` as a client of the API."""
    args = ["python3", "-c", NESTED_CLIENT + code, *words]
    return f"withExec(args: {quote(args)}, experimentalPrivilegedNesting: true)"


def run_nested(query, code: str, *before: str) -> str:
    """The output of Python code with `ask`, in a container that the fields `before` changed.

    `query` evaluates a document: that of a session, or the one of a command.
    """
    return leaf(query(document(*container(PYTHON), *before, nested_exec(code), "stdout"))).strip()


def ask_nested(query, documents: list[str], *before: str) -> dict[str, dict]:
    """The answers that a process in a container gets, by document. See `run_nested`."""
    args = quote(["python3", "-c", ASK_ALL, json.dumps(documents)])
    run = f"withExec(args: {args}, experimentalPrivilegedNesting: true)"
    answers = json.loads(leaf(query(document(*container(PYTHON), *before, run, "stdout"))))
    return dict(zip(documents, answers, strict=True))


def error_message(answer: dict) -> str:
    """The message of the first error of an answer. Fails if there is none."""
    assert answer.get("errors"), answer
    return answer["errors"][0]["message"]
