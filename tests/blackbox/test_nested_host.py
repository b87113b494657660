"""What a process in a container names as "the host" is its own container, whatever links it makes there."""

import json

CLIENT = """
import base64, json, os, sys, urllib.request

def ask(document):
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    address = "http://127.0.0.1:" + os.environ["DAGGER_SESSION_PORT"] + "/query"
    headers = {"Content-Type": "application/json", "Authorization": "Basic " + token}
    request = urllib.request.Request(address, json.dumps({"query": document}).encode(), headers)
    return json.loads(urllib.request.urlopen(request).read())

print(json.dumps({document: ask(document) for document in json.loads(sys.argv[1])}))
"""


def nested(rondel, folder, prepare: str, documents: list) -> dict:
    (folder / "client.py").write_text(CLIENT)
    words = json.dumps(["python3", "/client.py", json.dumps(documents)])
    answer = rondel.data(
        """{ container { from(address: "python:3.13-slim") {
            withFile(path: "/client.py", source: "%s") {
            withMountedTemp(path: "/temporary") { withWorkdir(path: "/code") {
            withExec(args: ["sh", "-c", %s]) { withExec(args: %s, experimentalPrivilegedNesting: true) { stdout } } } } } } } }"""
        % (file_id(rondel, folder / "client.py"), json.dumps(prepare), words)
    )
    return json.loads(dig(answer, "stdout"))


def file_id(rondel, path) -> str:
    return dig(rondel.data('{ host { file(path: "%s") { id } } }' % path), "id")


def dig(value, name):
    while name not in value:
        (value,) = value.values()
    return value[name]


def test_links_lead_nowhere_else(engine, folder):
    secret = folder / "outside"
    secret.mkdir()
    (secret / "only-outside").write_text("from the host")
    prepare = f"mkdir sub; echo mine > sub/file; ln -s {secret} dir; ln -s {secret}/only-outside file; ln -s / top; echo inside > /etc/marker"
    up = "../" * 20
    forbidden = [
        '{host{directory(path:"dir"){entries}}}',
        f'{{host{{directory(path:"{secret}"){{entries}}}}}}',
        f'{{host{{directory(path:"top{secret}"){{entries}}}}}}',
        '{host{file(path:"file"){contents}}}',
        '{host{file(path:"dir/only-outside"){contents}}}',
        f'{{host{{file(path:"{up}{secret}/only-outside"){{contents}}}}}}',
        f'{{secret(uri:"file://{secret}/only-outside"){{plaintext}}}}',
        '{secret(uri:"file://file"){plaintext}}',
    ]
    allowed = {
        '{host{directory(path:"."){entries}}}': ["dir", "file", "sub/", "top"],
        '{host{directory(path:"/temporary"){entries}}}': [],
        '{host{file(path:"top/etc/marker"){contents}}}': "inside\n",
        '{host{file(path:"/etc/marker"){contents}}}': "inside\n",
        '{secret(uri:"file:///etc/marker"){plaintext}}': "inside\n",
        '{host{findUp(name:"client.py")}}': "../client.py",
    }
    exports = [
        '{directory{withNewFile(path:"made",contents:"x"){export(path:"dir")}}}',
        '{directory{withNewFile(path:"made",contents:"x"){export(path:"dir",wipe:true)}}}',
        f'{{directory{{withNewFile(path:"made",contents:"x"){{file(path:"made"){{export(path:"top{secret}/made")}}}}}}}}',
    ]
    found = {'{host{findUp(name:"only-outside")}}': None, f'{{host{{findUp(name:"{secret.name}")}}}}': None}
    answers = nested(engine, folder, prepare, [*forbidden, *allowed, *found, *exports])
    for document in forbidden:
        assert "from the host" not in json.dumps(answers[document])
        assert answers[document].get("errors"), (document, answers[document])
    for document, want in {**allowed, **found}.items():
        assert "errors" not in answers[document], (document, answers[document])
        value = answers[document]["data"]
        while isinstance(value, dict):
            (value,) = value.values()
        assert value == want, document
    assert sorted(path.name for path in secret.iterdir()) == ["only-outside"]
