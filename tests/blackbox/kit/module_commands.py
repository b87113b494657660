"""Trees that the commands that change modules work on, and what is in them afterwards."""

import json


def files(folder) -> dict[str, str]:
    """The files of a tree with their contents, without those of git."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def config(folder) -> dict:
    """The keys of a module's `dagger.json`."""
    return json.loads((folder / "dagger.json").read_text())


def make(engine, folder, *flags):
    """Makes a module by `rondel init`."""
    engine.run("init", folder, *flags).ok()
    return folder


def write_keys(folder, **keys):
    """A folder with a `dagger.json` of these keys alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagger.json").write_text(json.dumps(keys, indent=2) + "\n")
    return folder


def plain(folder, name: str | None = None, **more):
    """A module of the newest version without code."""
    return write_keys(folder, name=name or folder.name, engineVersion="v0.21.8", **more)


def listed(outcome) -> dict[str, str]:
    """What a command says of each file: the word by the path."""
    words = ("created", "changed", "removed", "unchanged")
    rows = (line.split(maxsplit=1) for line in outcome.ok().out.splitlines())
    return {path: word for word, path in (row for row in rows if len(row) == 2) if word in words}
