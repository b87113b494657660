import enum
from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, dag, field, function, object_type


@dagger.enum_type
class Tone(enum.Enum):
    """How a greeting sounds."""

    FRIENDLY = "friendly"
    """With an exclamation mark."""

    FORMAL = "formal"
    """With a full stop."""


@object_type
class Greeting:
    """A greeting for one person."""

    name: str = field()
    text: str = field()

    @function
    def shout(self) -> str:
        """The greeting in capitals."""
        return self.text.upper()


@object_type
class Greeter:
    """Greets people."""

    salutation: Annotated[str, Doc("What comes before the name")] = field(default="Hello")

    @function
    def hello(
        self,
        name: Annotated[str, Doc("Who is greeted")] = "World",
        tone: Annotated[Tone, Doc("How it sounds")] = Tone.FRIENDLY,
    ) -> str:
        """Greet somebody."""
        mark = "!" if tone == Tone.FRIENDLY else "."
        return f"{self.salutation}, {name}{mark}"

    @function
    def greeting(self, name: str) -> Greeting:
        """A greeting that can do more."""
        return Greeting(name=name, text=self.hello(name))

    @function
    def greetings(self, names: list[str]) -> list[Greeting]:
        """One greeting per name."""
        return [self.greeting(name) for name in names]

    @function
    async def from_container(self, name: str = "World") -> str:
        """Greet somebody from inside a container."""
        return await (
            self.container()
            .with_env_variable("NAME", name)
            .with_exec(["sh", "-c", f'echo "{self.salutation}, $NAME, from $(. /etc/os-release; echo $PRETTY_NAME)"'])
            .stdout()
        )

    @function
    def container(self) -> dagger.Container:
        """The container that greetings come from."""
        return dag.container().from_("debian:bookworm-slim")

    @function
    async def files(
        self,
        source: Annotated[dagger.Directory, DefaultPath("."), Doc("The directory to look at")],
    ) -> list[str]:
        """The names of the files in a directory."""
        return await source.entries()

    @function
    async def fail(self, code: int = 42) -> str:
        """Run a process that fails."""
        return await self.container().with_exec(["sh", "-c", f"echo no luck >&2; exit {code}"]).stdout()
