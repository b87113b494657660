"""Asks what it is told to, as the module that it is: nothing but what its own view shows."""

import base64
import json
import os
import urllib.error
import urllib.request

from dagger import function, object_type


def post(document: str, variables: dict) -> dict:
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    url = f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query"
    headers = {"Authorization": "Basic " + token, "Content-Type": "application/json"}
    body = json.dumps({"query": document, "variables": variables}).encode()
    try:
        return json.load(urllib.request.urlopen(urllib.request.Request(url, body, headers)))
    except urllib.error.HTTPError as refused:
        return json.load(refused)


@object_type
class Probe:
    """A way to ask."""

    @function
    def ask(self, documents: str) -> str:
        """The answers to documents, both as JSON lists; `$folder` is the ID of a folder with the file `d/f`."""
        made = post('{ directory { withNewFile(path: "d/f", contents: "x") { id } } }', {})
        folder = made["data"]["directory"]["withNewFile"]["id"]
        with open("secret.txt", "w") as file:
            file.write("from a file")
        answers = []
        for document in json.loads(documents):
            variables = {"id": folder} if document.startswith("query(") else {}
            answers.append(post(document.replace("$folder", json.dumps(folder)), variables))
        return json.dumps(answers)
