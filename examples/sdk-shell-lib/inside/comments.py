"""Reads the typed comments of a folder of shell scripts and gives the types document of the module.

    #: Greets people.
    #: module

    #: How loud.
    #: @LOW in a whisper
    #: enum Level { LOW = "low", HIGH = "high" }

    #: Says hello.
    #: @name who is greeted
    #: hello(name: String! = "World", level: Level! = LOW): String! @cache(policy: NEVER)

Text before a declaration documents it, `@name text` documents an argument or member. Types are GraphQL; an
argument may say `@defaultPath(path: ".")` and `@ignorePatterns(patterns: ["*.o"])`.
"""

import json
import os
import re
import sys
from pathlib import Path

SCALARS = ("String", "Int", "Float", "Boolean", "Void")
OBJECTS = ("Directory", "File")
TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?)|(@?[A-Za-z_]\w*)|([][(){}:=!,]))')


class Wrong(Exception):
    """A comment that says nothing sensible: the place and what is wrong."""


class Reader:
    """The tokens of one declaration."""

    def __init__(self, text, place):
        self.place = place
        self.tokens = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if not found:
                self.fail(f"cannot read `{text[at:].strip()}`")
            self.tokens.append(found.group().strip())
            at = found.end()

    def fail(self, message):
        raise Wrong(f"{self.place}: {message}")

    def peek(self):
        return self.tokens[0] if self.tokens else ""

    def take(self, wanted=None):
        if not self.tokens:
            self.fail(f"the declaration ends where {f'`{wanted}`' if wanted else 'more'} is expected")
        if wanted and self.tokens[0] != wanted:
            self.fail(f"expected `{wanted}`, found `{self.tokens[0]}`")
        return self.tokens.pop(0)

    def accept(self, token):
        if self.peek() == token:
            return self.tokens.pop(0)

    def name(self):
        found = self.take()
        if not re.fullmatch(r"[A-Za-z_]\w*", found):
            self.fail(f"expected a name, found `{found}`")
        return found

    def value(self):
        """A literal; the name of an enum's member stays a `Member`."""
        if self.accept("["):
            return self.listed("]", self.value)
        found = self.take()
        if found in ("true", "false", "null") or found[0] in '"-' or found[0].isdigit():
            return json.loads(found)
        if found[0].isalpha():
            return Member(found)
        self.fail(f"expected a value, found `{found}`")

    def type(self):
        text = f"[{self.type()}{self.take(']')}" if self.accept("[") else self.name()
        return text + (self.accept("!") or "")

    def listed(self, end, item):
        items = []
        while not self.accept(end):
            items.append(item())
            if self.peek() != end:
                self.take(",")
        return items

    def directives(self):
        """`@name(key: value)`, as a table of tables."""
        found = {}
        while self.peek().startswith("@"):
            name = self.take()[1:]
            found[name] = dict(self.listed(")", self.pair)) if self.accept("(") else {}
        return found

    def pair(self):
        name = self.name()
        self.take(":")
        return name, self.value()


class Member(str):
    """The name of an enum's member."""


class Module:
    """What the comments of a folder say."""

    def __init__(self, folder, name):
        self.main = "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
        self.description = ""
        self.functions = {}
        self.enums = {}
        self.scripts = {}
        for path in sorted(Path(folder).glob("*.sh")):
            self.read(path)
        self.check()

    def read(self, path):
        text, notes, pending = [], {}, ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            place = f"{path.name}:{number}"
            if not line.startswith("#:"):
                if pending:
                    raise Wrong(f"{place}: the declaration `{pending}` has no end")
                text, notes = [], {}
                continue
            line = line[2:].strip()
            if not pending and not re.match(r"module$|enum\s+\w+\s*\{|[A-Za-z_]\w*\(", line):
                note = re.match(r"@(\w+)\s+(.*)", line)
                notes.update([note.groups()]) if note else text.append(line)
                continue
            pending = f"{pending} {line}".strip()
            if pending.count("(") + pending.count("{") > pending.count(")") + pending.count("}"):
                continue
            self.declare(Reader(pending, place), path, " ".join(text).strip(), notes)
            text, notes, pending = [], {}, ""
        if pending:
            raise Wrong(f"{path.name}: the declaration `{pending}` has no end")

    def declare(self, reader, path, description, notes):
        name = reader.name()
        if name == "module":
            self.description = description
        elif name == "enum":
            name = reader.name()
            self.put(reader, self.enums, name, self.enum(reader, name, description, notes))
        else:
            self.put(reader, self.functions, name, self.function(reader, name, description, notes))
            if path in self.scripts.values():
                reader.fail("a script is one function")
            self.scripts[name] = path
        if reader.peek():
            reader.fail(f"expected the end, found `{reader.peek()}`")
        unknown = notes.keys() - {item["name"] for item in self.parts(name)}
        if unknown:
            reader.fail(f"`@{min(unknown)}` documents nothing in `{name}`")

    def put(self, reader, table, name, item):
        if name in table:
            reader.fail(f"`{name}` is declared twice")
        table[name] = item

    def parts(self, name):
        if name in self.enums:
            return self.enums[name]["members"]
        return self.functions[name]["args"] if name in self.functions else []

    def enum(self, reader, name, description, notes):
        def member():
            known = reader.name()
            value = reader.value() if reader.accept("=") else known
            return {"name": known, "value": value, "description": notes.get(known, "")}

        reader.take("{")
        return {"kind": "ENUM", "name": name, "description": description, "members": reader.listed("}", member)}

    def function(self, reader, name, description, notes):
        def argument():
            known = reader.name()
            if not known[0].islower():
                reader.fail(f"argument `{known}` becomes a variable of the script, so it begins with a small letter")
            reader.take(":")
            arg = {"name": known, "type": reader.type(), "description": notes.get(known, "")}
            if reader.accept("="):
                arg["default"] = reader.value()
            said = reader.directives()
            if "defaultPath" in said:
                arg["defaultPath"] = said["defaultPath"]["path"]
            if "ignorePatterns" in said:
                arg["ignore"] = said["ignorePatterns"]["patterns"]
            return arg

        reader.take("(")
        args = reader.listed(")", argument)
        reader.take(":")
        found = {"name": name, "description": description, "args": args, "returns": reader.type()}
        cache = reader.directives().get("cache")
        if cache:
            found["cache"] = cache
        found["place"] = reader.place
        return found

    def check(self):
        """Every type is known, and every default that is a member becomes its value."""
        known = [*SCALARS, *OBJECTS, *self.enums]
        for function in self.functions.values():
            place = function.pop("place")
            for text in [function["returns"], *(arg["type"] for arg in function["args"])]:
                if base(text) not in known:
                    raise Wrong(f"{place}: unknown type `{base(text)}`; known are {', '.join(known)}")
            for arg in function["args"]:
                if isinstance(arg.get("default"), Member):
                    arg["default"] = self.value_of(base(arg["type"]), arg["default"], place)

    def value_of(self, enum, member, place):
        for known in self.enums.get(enum, {"members": []})["members"]:
            if known["name"] == member:
                return known["value"]
        raise Wrong(f"{place}: `{member}` is no member of `{enum}`")

    def document(self):
        """The types document: what contract 4 hands over, and what `register.py` makes types of."""
        main = {"kind": "OBJECT", "name": self.main, "description": self.description, "functions": [*self.functions.values()]}
        return {"description": self.description, "types": [main, *self.enums.values()]}


def base(text):
    """The name inside a type: `Level` of `[Level!]!`."""
    return text.strip("[]!")


def read():
    """The module of this container; ends the process when its comments cannot be read."""
    try:
        return Module("/module", os.environ["MODULE_NAME"])
    except Wrong as error:
        sys.exit(str(error))


if __name__ == "__main__":
    print(json.dumps(read().document()))
