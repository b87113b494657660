"""Selections in a session of GraphQL, one on the result of the other, and directories made by them."""

import json


def quote(text: str) -> str:
    return json.dumps(text)


class Chain:
    """Selections, one on the result of the other."""

    def __init__(self, session, parts=()):
        self.session, self.parts = session, tuple(parts)

    def then(self, part: str) -> "Chain":
        return Chain(self.session, (*self.parts, part))

    def document(self, leaf: str) -> str:
        return "{" + "{".join((*self.parts, leaf)) + "}" * (len(self.parts) + 1)

    def get(self, selection: str):
        """What a selection gives; of several, each by name."""
        data = self.session.query(self.document(selection))
        for _ in self.parts:
            (data,) = data.values()
        return next(iter(data.values())) if len(data) == 1 else data

    def error(self, leaf: str) -> str:
        return self.session.error(self.document(leaf))["message"]

    def id(self) -> str:
        return quote(self.get("id"))


def directory(session, files: dict) -> Chain:
    """A directory: contents by path; none is a directory, a pair is contents and permissions, `->x` a link."""
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


def tree(chain: Chain) -> dict:
    """Every file of a directory with its contents."""
    paths = [path for path in chain.get('glob(pattern: "**/*")') if not path.endswith("/")]
    return {path: chain.then(f"file(path: {quote(path)})").get("contents") for path in paths}
