"""Reports an exception of module code: as the official library does, and with where it happened.

The chain of causes goes into the value `rondel.causes` of the API's `Error`; its form is in docs/protocol.md#causes.
"""

import ast
import asyncio
import builtins
import difflib
import importlib.metadata
import itertools
import json
import linecache
import os
import pkgutil
import re
import sys
import traceback
from pathlib import Path

import dagger
from dagger import dag
from dagger.mod._exceptions import ModuleError

CAUSES = "rondel.causes"
# Where the module's context directory is.
CODE = "/src/"
MAIN_OBJECT = os.getenv("DAGGER_MAIN_OBJECT", "")
MODULE = os.getenv("DAGGER_MODULE", "")
PACKAGE = os.getenv("DAGGER_DEFAULT_PYTHON_PACKAGE", "main")
# How much is kept of what grows with the program.
MAX_FRAMES = 40
MAX_TEXT = 20_000
MAX_LINE = 400


class WrongResultError(ModuleError):
    """A function returned a value of another type than it declares."""

    def __init__(self, function, result):
        declared = getattr(function.return_type, "__name__", str(function.return_type))
        if not isinstance(function.return_type, type) or isinstance(result, (list, tuple)):
            declared = str(function.return_type)
        given = "None" if result is None else f"{type(result).__name__}: {shortened(repr(result), 80)}"
        super().__init__(f"`{function}` must return `{declared}`, and returned {given}")
        self.function = function.wrapped


def show_exit(error: SystemExit) -> None:
    """Says on standard error where the program asked to end. The exit code alone is the answer."""
    for frame in own(frames_of(error))[-1:]:
        sys.stderr.write(f"SystemExit: {error.code} at {frame['file']}:{frame['line']}\n")


async def report(error: Exception) -> int:
    """Answers the function call with an error. Returns the exit code."""
    links, hints = explain(error)
    for link in links:
        sys.stderr.write(in_words(link))
    message, values = of_library(error)
    values[CAUSES] = links
    if hints:
        values["hints"] = [*values.get("hints", []), *hints]
    answer = dag.error(message)
    for name, value in values.items():
        answer = answer.with_value(name, dagger.JSON(json.dumps(value, default=repr)))
    await dag.current_function_call().return_error(answer)
    return 2 if isinstance(error, (ModuleError, dagger.QueryError)) else 1


def of_library(error: Exception) -> tuple[str, dict]:
    """The message and the values that the library gives an error."""
    name = type_name(error)
    values = {f"extra.{key}": value for key, value in (getattr(error, "extra", None) or {}).items()}
    values["exception.type"] = name
    values["exception.message"] = str(error)
    values["exception.stacktrace"] = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, dagger.QueryError):
        values.update(error.error.extensions)
        return str(error), values
    return f"{name}: {error}", values


def explain(error: Exception) -> tuple[list[dict], list[str]]:
    """The chain of causes, and what the reader can do."""
    if missing := missing_main_object(error):
        return missing
    links: list[dict] = []
    hints: list[str] = []
    add(error, "cause", links, hints, set())
    return links, hints


def add(error: BaseException, relation: str, links: list[dict], hints: list[str], seen: set[int]) -> None:
    """Adds an exception and what led to it."""
    if id(error) in seen:
        return
    seen.add(id(error))
    frames = frames_of(error)
    inner = error.__cause__
    # The library wraps exceptions of module code in its own, with the same words.
    if isinstance(error, ModuleError) and inner is not None and not own(frames) and str(error) == str(inner):
        add(inner, relation, links, hints, seen)
        return
    raised_by_module = bool(own(frames))
    if not raised_by_module:
        frames.extend(definition(error))
    link = {"type": type_name(error).replace("dagger._exceptions.", "dagger."), "message": message_of(error)}
    if relation != "cause":
        link["relation"] = relation
    if notes := getattr(error, "__notes__", None):
        link["notes"] = [shortened(str(note), MAX_TEXT) for note in notes]
    link["frames"] = frames
    links.append(link)
    hints.extend(hint for hint in advice(error) if hint not in hints)
    if isinstance(error, dagger.QueryError):
        # What the engine says led to it, in place of the same message.
        if behind := error.error.extensions.get(CAUSES):
            link["type"] = link["message"] = ""
            links.extend(behind)
        return
    # The library's own conversions have nothing to do with module code.
    if isinstance(error, ModuleError) and not raised_by_module:
        return
    for member in getattr(error, "exceptions", None) or ():
        if isinstance(member, BaseException):
            add(member, "member", links, hints, seen)
    # A timeout cancels the work below it.
    if isinstance(error, TimeoutError) and isinstance(inner, asyncio.CancelledError):
        return
    if inner is not None:
        add(inner, "cause", links, hints, seen)
    elif error.__context__ is not None and not error.__suppress_context__:
        add(error.__context__, "context", links, hints, seen)


def own(frames: list[dict]) -> list[dict]:
    """The frames in files of the module."""
    return [frame for frame in frames if not frame["file"].startswith("/")]


def frames_of(error: BaseException) -> list[dict]:
    """Where an exception was raised, outermost call first."""
    frames = []
    entry = error.__traceback__
    while entry is not None:
        code = entry.tb_frame.f_code
        # Code without a file is a part of Python's import, or generated.
        if not code.co_filename.startswith("<") and code.co_filename != "/runtime":
            frame = place(code.co_filename, entry.tb_lineno, getattr(code, "co_qualname", code.co_name))
            mark(frame, *columns_of(code, entry.tb_lasti, entry.tb_lineno))
            frames.append(frame)
        entry = entry.tb_next
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        frame = place(error.filename, error.lineno, "")
        one_line = getattr(error, "end_lineno", None) == error.lineno
        mark(frame, error.offset or 0, (error.end_offset or 0) if one_line else 0)
        frames.append(frame)
    kept = own(frames)
    if len(kept) > MAX_FRAMES:
        kept = kept[: MAX_FRAMES // 4] + kept[-MAX_FRAMES * 3 // 4 :]
    others = [frame for frame in frames if frame["file"].startswith("/")][-MAX_FRAMES:]
    return [frame for frame in frames if any(frame is one for one in (*kept, *others))]


def columns_of(code, instruction: int, line: int) -> tuple[int, int]:
    """The columns of an instruction. Positions are counted in bytes, columns in characters."""
    if not hasattr(code, "co_positions") or instruction < 0:
        return 0, 0
    found = next(itertools.islice(code.co_positions(), instruction // 2, None), None)
    if not found or None in found or found[0] != line:
        return 0, 0
    _, end_line, start, end = found
    text = linecache.getline(code.co_filename, line).rstrip("\n").encode()
    end = end if end_line == line else len(text)
    return tuple(len(text[:at].decode(errors="replace")) + 1 for at in (start, end))


def place(path: str, line: int, function: str) -> dict:
    """A line of a file. Files of the module are named by their path in the context directory."""
    if path.startswith(CODE):
        path = path.removeprefix(CODE)
    source = linecache.getline(path if path.startswith("/") else CODE + path, line) if line else ""
    frame = {"file": path, "line": line, "source": shortened(source.rstrip(), MAX_LINE)}
    if function and function != "<module>":
        frame["function"] = function.replace(".<locals>", "")
    return frame


def mark(frame: dict, column: int, end: int) -> None:
    """Marks the columns of a frame that the exception is about."""
    if 0 < column <= MAX_LINE:
        frame["column"] = column
        frame["endColumn"] = max(end, column + 1)


def definition(error: BaseException) -> list[dict]:
    """The definition of the function or class that the library was at work on."""
    found = getattr(error, "function", None)
    for entry, _ in traceback.walk_tb(error.__traceback__):
        if not entry.f_globals.get("__name__", "").startswith("dagger.mod."):
            continue
        for name in ("obj_type", "self", "func", "fn"):
            value = entry.f_locals.get(name)
            found = getattr(value, "wrapped", None) or getattr(value, "cls", None) or found
    return definition_of(found)


def definition_of(thing) -> list[dict]:
    """The line on which a function or a class of the module is defined."""
    thing = getattr(thing, "__func__", thing)
    while hasattr(thing, "__wrapped__"):
        thing = thing.__wrapped__
    if isinstance(thing, type):
        path = getattr(sys.modules.get(thing.__module__), "__file__", None) or ""
        line = line_of(path, rf"\s*class\s+{re.escape(thing.__name__)}\b")
    elif code := getattr(thing, "__code__", None):
        path = code.co_filename
        # The first line is that of the first decorator.
        line = line_of(path, r"\s*(async\s+)?def\s", code.co_firstlineno)
    else:
        return []
    return [place(path, line, thing.__qualname__)] if path.startswith(CODE) and line else []


def line_of(path: str, pattern: str, first: int = 1) -> int:
    """The number of the first line from `first` on that a pattern matches. Zero if there is none."""
    lines = linecache.getlines(path)
    numbers = range(max(first, 1), len(lines) + 1)
    return next((number for number in numbers if re.match(pattern, lines[number - 1])), 0)


def type_name(error: BaseException) -> str:
    """The name of an exception's type, with its module unless that is Python's or the library's own."""
    kind = type(error)
    plain = kind.__module__ in ("builtins", "dagger.mod._exceptions", __name__)
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """The message of an exception, without what its frames say."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return shortened(str(text), MAX_TEXT)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def in_words(link: dict) -> str:
    """An exception as Python shows it, with the frames of the module alone."""
    if "exec" in link or not link.get("type"):
        return ""
    lines = [f"{link['type']}: {link['message']}" if link["message"] else link["type"]]
    for frame in reversed(own(link.get("frames", []))[-10:]):
        where = f" in {frame['function']}" if "function" in frame else ""
        lines.insert(0, f"  {frame['file']}:{frame['line']}{where}\n    {frame['source'].strip()}")
    return "\n".join(lines) + "\n"


def advice(error: BaseException) -> list[str]:
    """What the reader of an exception can do about a name that does not exist."""
    name = getattr(error, "name", None)
    if not isinstance(name, str):
        return []
    if isinstance(error, ModuleNotFoundError):
        top = name.partition(".")[0]
        known = {*sys.stdlib_module_names, *(found.name for found in pkgutil.iter_modules())}
        if near := nearest(top, known, 0.85):
            return [f"did you mean `{near}`?"]
        return [f"add the package that provides `{top}` to `dependencies` in `pyproject.toml`"]
    if isinstance(error, ImportError):
        wanted = re.match(r"cannot import name '(\w+)'", str(error))
        near = wanted and nearest(wanted[1], public(sys.modules.get(name)))
        return [f"did you mean `{near}`?"] if near else []
    if isinstance(error, AttributeError):
        return of_attribute(name, getattr(error, "obj", None))
    if isinstance(error, NameError):
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        known = {*dir(builtins)}
        if last is not None:
            known |= {*last.tb_frame.f_locals, *last.tb_frame.f_globals}
        near = nearest(name, known - {name})
        return [f"did you mean `{near}`?"] if near else []
    return []


def of_attribute(name: str, thing) -> list[str]:
    known = public(thing)
    if near := nearest(name, known):
        return [f"did you mean `{near}`?"]
    if isinstance(thing, dagger.client.base.Type):
        functions = sorted(known - public(dagger.client.base.Type) - {"id", "with_"})
        if functions:
            more = " and more" if len(functions) > 12 else ""
            return [f"`{type(thing).__name__}` has " + ", ".join(f"`{one}`" for one in functions[:12]) + more]
    return []


def public(thing) -> set[str]:
    try:
        return {one for one in dir(thing) if not one.startswith("_")}
    except Exception:
        return set()


def nearest(name: str, known, likeness: float = 0.7) -> str | None:
    found = difflib.get_close_matches(name, sorted(known), 1, likeness)
    return found[0] if found else None


def missing_main_object(error: Exception) -> tuple[list[dict], list[str]] | None:
    """The explanation if the module has no class that is its main object."""
    inner = error.__cause__
    text = str(error)
    attribute = isinstance(inner, AttributeError) and not own(frames_of(inner)) and isinstance(inner.obj, type(sys))
    undecorated = text.startswith("The main object must be a class decorated")
    unregistered = text.startswith("Main object with name")
    nowhere = text.startswith("Main object not found")
    if not isinstance(error, ModuleError) or not (attribute or undecorated or unregistered or nowhere):
        return None
    package, wanted = expected()
    if nowhere:
        return without_package(package, wanted)
    loaded = sys.modules.get(package)
    path = getattr(loaded, "__file__", None) or ""
    classes = classes_of(path)
    at = [place(path, 0, "")] if path.startswith(CODE) else []
    message = f"module `{MODULE}` has no main object: the class `{wanted}` is not in `{package}`"
    hints = [f"the main object is the class `{wanted}`, decorated with `@dagger.object_type`"]
    here = [one for one in classes if one[1] == path]
    exact = next((one for one in classes if one[0] == wanted), None)
    near = nearest(wanted, [one[0] for one in here])
    if undecorated or unregistered:
        message = f"module `{MODULE}` has no main object: `{wanted}` is not decorated with `@dagger.object_type`"
        hints = ["add `@dagger.object_type` above the class"]
        at = definition_of(getattr(loaded, wanted, None)) or at
    elif exact:
        at = [place(exact[1], exact[2], "")]
        hints = [f"`{wanted}` is in another file: import it in `{Path(path).name}` of the package"]
    elif near:
        at = [place(path, next(one[2] for one in here if one[0] == near), "")]
        hints = [f"rename the class `{near}` to `{wanted}`, or the module in `dagger.json`"]
    elif here:
        hints.append("classes there: " + ", ".join(f"`{one[0]}`" for one in here))
    else:
        hints.append("there is no class in this file")
    return [{"type": "ModuleLoadError", "message": message, "frames": at}], hints


def expected() -> tuple[str, str]:
    """The package and the class of the main object."""
    declared = next(iter(importlib.metadata.entry_points(group="dagger.mod", name="main_object")), None)
    if declared:
        return declared.module, declared.attr
    return (PACKAGE if PACKAGE in sys.modules else "main" if "main" in sys.modules else PACKAGE), MAIN_OBJECT


def without_package(package: str, wanted: str) -> tuple[list[dict], list[str]]:
    folders = [folder for folder in sys.path if folder.startswith(CODE)]
    found = sorted({one.name for one in pkgutil.iter_modules(folders)})
    message = f"module `{MODULE}` has no code: there is no package `{package}`"
    hints = [f"put the class `{wanted}` into a package `{package}`, in `src` or beside `dagger.json`"]
    if found:
        hints.append("packages there: " + ", ".join(f"`{one}`" for one in found))
    return [{"type": "ModuleLoadError", "message": message, "frames": []}], hints


def classes_of(path: str) -> list[tuple[str, str, int]]:
    """The classes in the files of a package: name, file and line."""
    folder = Path(path).parent
    if not path.startswith(CODE):
        return []
    found = []
    for file in [Path(path), *sorted(one for one in folder.glob("*.py") if one != Path(path))][:50]:
        try:
            tree = ast.parse(file.read_text())
        except (OSError, ValueError, SyntaxError):
            continue
        found += [(one.name, str(file), one.lineno) for one in tree.body if isinstance(one, ast.ClassDef)]
    return found
