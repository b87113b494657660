"""Asks the engine: GraphQL over HTTP, with nothing but the standard library."""

import base64
import json
import os
import urllib.error
import urllib.request


def ask(query):
    """The data of the answer; ends the process with the engine's words when there is an error."""
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query",
        json.dumps({"query": query}).encode(),
        {"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"the engine says: {error.read().decode(errors='replace')}") from None
    if answer.get("errors"):
        raise SystemExit("the engine says: " + "; ".join(error["message"] for error in answer["errors"]))
    return answer["data"]


def chain(*fields):
    """What the last of the fields gives, each selected on the one before: `chain("typeDef", "id")`."""
    found = ask("{ " + " { ".join(fields) + " }" * len(fields))
    while isinstance(found, dict):
        (found,) = found.values()
    return found


def call(field, **args):
    """A field with its arguments, as text; arguments that are none are left out."""
    given = ", ".join(f"{name}: {literal(value)}" for name, value in args.items() if value is not None)
    return f"{field}({given})" if given else field


def literal(value):
    """A value in a query. `Word` is written as it is."""
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return json.dumps(value, ensure_ascii=False)


class Word(str):
    """A name in a query: the member of an enum."""
