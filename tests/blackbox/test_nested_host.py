"""The "host" of a process in a container is its own container, whatever symlinks it makes."""

import json

from kit import leaf, sh
from kit.nested import ask_nested


def test_the_host_of_a_nested_client_is_its_container(engine, folder):
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
    # Fields of the container before its process runs.
    before = ['withNewFile(path: "/client.py", contents: "")', 'withMountedTemp(path: "/temporary")', 'withWorkdir(path: "/code")', sh(prepare)]
    answers = ask_nested(engine.data, [*forbidden, *allowed, *found, *exports], *before)
    for document in forbidden:
        assert "from the host" not in json.dumps(answers[document])
        assert answers[document].get("errors"), (document, answers[document])
    for document, want in {**allowed, **found}.items():
        assert "errors" not in answers[document], (document, answers[document])
        assert leaf(answers[document]["data"]) == want, document
    assert sorted(path.name for path in secret.iterdir()) == ["only-outside"]
