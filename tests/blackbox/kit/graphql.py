"""GraphQL documents: fields one inside the other, values in them, and answers taken apart."""

import base64
import json
import uuid

PYTHON = "python:3.13-slim"
# A part of the error for an ID that the engine did not write.
UNSEALED = "this engine did not seal"


def quote(value) -> str:
    """A value as it is written in a document. A path is a string."""
    return json.dumps(value, default=str)


def nest(*fields: str) -> str:
    """Fields, each a selection of the one before."""
    return " { ".join(fields) + " }" * (len(fields) - 1)


def document(*fields: str) -> str:
    """A document that selects fields, each of the one before."""
    return "{ " + nest(*fields) + " }"


def leaf(answer):
    """The value at the end of single selections: the first that has not exactly one member."""
    while isinstance(answer, dict) and len(answer) == 1:
        (answer,) = answer.values()
    return answer


def find_field(answer: dict, name: str):
    """The value of a field at the end of single selections."""
    while name not in answer:
        (answer,) = answer.values()
    return answer[name]


def ask(session, *fields: str):
    """The value at the end of nested fields."""
    return leaf(session.query(document(*fields)))


def container(image: str = "busybox") -> tuple[str, str]:
    """The fields of a container from an image."""
    return ("container", f'from(address: "{image}")')


def sh(script: str, options: str = "") -> str:
    """The field that runs a shell script.

    `options` are further arguments and start with a comma.
    """
    return f'withExec(args: ["sh", "-c", {quote(script)}]{options})'


def run_in(image: str, script: str) -> str:
    """A document that asks for the output of a shell script in an image."""
    return document(*container(image), sh(script), "stdout")


def in_busybox(selection: str) -> str:
    """A document that selects something of a container from busybox."""
    return document(*container(), selection)


def set_secret(session, plaintext: str, name: str = "s") -> str:
    """The ID of a secret that the session sets."""
    return ask(session, f"setSecret(name: {quote(name)}, plaintext: {quote(plaintext)})", "id")


def id_bytes(id_: str) -> bytes:
    """The bytes of a recipe that an ID is the text of."""
    return base64.urlsafe_b64decode(id_[1:] + "=" * (-len(id_[1:]) % 4))


def id_of_bytes(raw: bytes) -> str:
    """The ID of a recipe's bytes, as anyone can write it."""
    return "R" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unique() -> str:
    """Digits that no other call returns: a salt for a cache key, a marker in a command line."""
    return str(uuid.uuid4().int)[:12]


class Chain:
    """Selections in a session, each on the result of the one before."""

    def __init__(self, session, parts=()):
        self.session, self.parts = session, tuple(parts)

    def then(self, part: str) -> "Chain":
        return Chain(self.session, (*self.parts, part))

    def document(self, leaf: str) -> str:
        return "{" + "{".join((*self.parts, leaf)) + "}" * (len(self.parts) + 1)

    def get(self, selection: str):
        """The value of a selection. Values of several selections by name."""
        data = self.session.query(self.document(selection))
        for _ in self.parts:
            (data,) = data.values()
        return next(iter(data.values())) if len(data) == 1 else data

    def error(self, leaf: str) -> str:
        return self.session.error(self.document(leaf))["message"]

    def run(self, script: str) -> str:
        """The output of a shell script in a container."""
        return self.then(sh(script)).get("stdout")

    def id(self) -> str:
        """The ID, quoted."""
        return quote(self.get("id"))


def busybox(session) -> Chain:
    return Chain(session, container())


def directory(session, files: dict) -> Chain:
    """A directory by path: contents, `(contents, mode)`, `->target` for a symlink, `None` for a
    directory.
    """
    chain = Chain(session, ["directory"])
    for path, contents in files.items():
        mode = ""
        if isinstance(contents, tuple):
            contents, bits = contents
            mode = f", permissions: {bits}"
        if contents is None:
            chain = chain.then(f"withNewDirectory(path: {quote(path)})")
        elif contents.startswith("->"):
            chain = chain.then(f"withSymlink(target: {quote(contents[2:])}, linkName: {quote(path)})")
        else:
            chain = chain.then(f"withNewFile(path: {quote(path)}, contents: {quote(contents)}{mode})")
    return chain


def files_of(chain: Chain) -> dict:
    """The contents of every file of a directory, by path."""
    paths = [path for path in chain.get('glob(pattern: "**/*")') if not path.endswith("/")]
    return {path: chain.then(f"file(path: {quote(path)})").get("contents") for path in paths}
