"""A function for every kind of argument and result."""

import dataclasses
import enum
import typing
from typing import Annotated, Self

import dagger
from dagger import DefaultPath, Doc, Ignore, Name, dag, field, function, object_type


@dagger.enum_type
class Level(enum.Enum):
    """How much."""

    LOW = "low"
    HIGH = "high"


@dagger.interface
class Quacker(typing.Protocol):
    """What can quack."""

    @function
    async def quack(self, times: int) -> str: ...


@object_type
class Grain:
    """A part of a part."""

    size: int = field(default=7)
    note: str = "not shown"

    @function
    def noted(self) -> str:
        return f"{self.size} {self.note}"


@object_type
class Part:
    """A part of something."""

    name: str = field()
    weight: float = field(default=1.5)
    grain: Grain | None = field(default=None)
    grains: list[Grain] = field(default=list)
    hidden: str = "private"

    @function
    def reveal(self) -> str:
        """What is not in the schema."""
        return self.hidden

    @function
    def quack(self, times: int) -> str:
        return self.name * times

    @function
    def ground(self, sizes: list[int]) -> Self:
        """With grains."""
        self.grains = [Grain(size=size, note=f"{self.name}{size}") for size in sizes]
        self.grain = self.grains[0]
        return self


@object_type
class Kinds:
    """Every kind."""

    tag: str = field(default="untagged")
    numbers: list[int] = field(default=list)
    base: dagger.Directory | None = field(default=None)
    unset: str | None = field(default=None)
    counter: int = dataclasses.field(default=0, init=False)

    @classmethod
    async def create(cls, tag: str = "untagged", numbers: list[int] | None = None) -> Self:
        """Make one."""
        if tag == "refuse":
            msg = "too bad: so sad"
            raise ValueError(msg)
        made = cls(tag=tag, numbers=numbers or [])
        made.base = dag.directory().with_new_file("tag", tag)
        made.counter = 41
        return made

    @function
    def scalars(self, text: str, number: int, real: float, flag: bool) -> list[str]:
        return [f"{type(value).__name__}:{value}" for value in (text, number, real, flag)]

    @function
    def matrix(self, a: str, b: str | None, c: str = "foo", d: str | None = None, e: str | None = "bar") -> str:
        return ", ".join(map(repr, (a, b, c, d, e)))

    @function
    def levels(self, levels: list[Level], one: Level = Level.LOW, maybe: Level | None = None) -> list[Level]:
        return [*levels, one, *([maybe] if maybe else [])]

    @function
    def core_enum(self, protocol: dagger.NetworkProtocol = dagger.NetworkProtocol.TCP) -> dagger.NetworkProtocol:
        return protocol

    @function
    def nested_list(self, rows: list[list[int]]) -> list[list[int]]:
        return [list(reversed(row)) for row in rows]

    @function
    def maybe_numbers(self, numbers: list[int] | None = None) -> list[int] | None:
        return numbers

    @function
    async def objects(self, folder: dagger.Directory, file: dagger.File, box: dagger.Container) -> str:
        entries = await folder.entries()
        return f"{entries} {await file.contents()} {await box.with_exec(['echo', 'ran']).stdout()}"

    @function
    async def folders(self, folders: list[dagger.Directory]) -> dagger.Directory:
        made = dag.directory()
        for number, folder in enumerate(folders):
            made = made.with_directory(str(number), folder)
        return made

    @function
    async def secret(self, token: dagger.Secret) -> int:
        return len(await token.plaintext())

    @function
    async def secret_in_box(self, token: dagger.Secret) -> str:
        box = dag.container().from_("busybox").with_secret_variable("TOKEN", token)
        return await box.with_exec(["sh", "-c", "echo $TOKEN | wc -c; echo $TOKEN"]).stdout()

    @function
    def pass_secret(self, token: dagger.Secret) -> dagger.Secret:
        return token

    @function
    def part(self, name: str) -> Part:
        return Part(name=name, hidden=f"secret of {name}")

    @function
    def parts(self, names: list[str]) -> list[Part]:
        return [Part(name=name, hidden=f"secret of {name}") for name in names]

    @function
    def rows(self, names: list[list[str]]) -> list[list[Part]]:
        return [self.parts(row) for row in names]

    @function
    def join(self, parts: list[Part], last: Part | None = None) -> str:
        return " ".join(f"{part.name}/{part.hidden}" for part in [*parts, *([last] if last else [])])

    @function
    def maybe_part(self, given: bool) -> Part | None:
        return Part(name="given") if given else None

    @function
    async def listen(self, quacker: Quacker) -> str:
        return await quacker.quack(times=3)

    @function
    async def listen_all(self, quackers: list[Quacker]) -> list[str]:
        return [await quacker.quack(times=1) for quacker in quackers]

    @function
    def nothing(self) -> None:
        return None

    @function
    def json(self, document: dagger.JSON) -> dagger.JSON:
        return document

    @function
    def platform(self, platform: dagger.Platform) -> dagger.Platform:
        return platform

    @function
    def count(self) -> Self:
        """State that is not in the schema survives."""
        self.counter += 1
        self.tag = f"counted {self.counter}"
        return self

    @function
    def unicode(self, text: str) -> str:
        return f"«{text}» {len(text)}"

    @function(name="other-name")
    def renamed(self, value: Annotated[str, Name("from")]) -> str:
        return value

    @function
    def documented(self, x: Annotated[int, Doc("An x.")]) -> int:
        """What it does.

        And more.
        """
        return x

    @function
    async def context(self, files: Annotated[dagger.Directory, DefaultPath("."), Ignore(["**", "!*.toml"])]) -> list[str]:
        return await files.entries()

    @function
    async def context_file(self, file: Annotated[dagger.File, DefaultPath("dagger.json")]) -> str:
        return await file.name()

    @function
    async def fails_inside(self, code: int = 42) -> str:
        box = dag.container().from_("busybox")
        return await box.with_exec(["sh", "-c", f"echo out; echo err >&2; exit {code}"]).stdout()

    @function
    async def fails_and_recovers(self) -> str:
        try:
            return await self.fails_inside(3)
        except dagger.ExecError as error:
            return f"{error.exit_code} {error.stdout.strip()} {error.stderr.strip()}"

    @function
    def raises(self) -> str:
        msg = "this is wrong"
        raise ValueError(msg)
