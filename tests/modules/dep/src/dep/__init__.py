"""A module that others use."""

import base64
import enum
import json
import os
import urllib.request
from typing import Annotated

import dagger
from dagger import DefaultPath, dag, field, function, object_type


def ask(query: str) -> dict:
    """The data of a query of the module's own."""
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    url = f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query"
    headers = {"Authorization": "Basic " + token, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"query": query}).encode(), headers)
    return json.load(urllib.request.urlopen(request))["data"]


@dagger.enum_type
class Status(enum.Enum):
    """How it is."""

    ACTIVE = "ACTIVE"
    GONE = "GONE"


@object_type
class Item:
    """A thing."""

    name: str = field()
    folder: dagger.Directory | None = field(default=None)
    hidden: str = "?"

    @function
    def reveal(self) -> str:
        return self.hidden


@object_type
class Keeper:
    """Keeps secrets: one for everybody to see, and one for itself."""

    shown: dagger.Secret | None = field(default=None)
    kept: dagger.Secret | None = None

    @function
    async def reveal(self) -> list[str]:
        return [await secret.plaintext() if secret else "nothing" for secret in (self.shown, self.kept)]

    @function
    def box(self) -> dagger.Container:
        box = dag.container().from_("busybox")
        if self.kept:
            box = box.with_secret_variable("KEPT", self.kept).with_mounted_secret("/kept", self.kept)
        return box

    @function
    def nest(self) -> "Nest":
        return Nest(inner=self)


@object_type
class Nest:
    """Keeps who keeps secrets."""

    inner: Keeper = field()


@object_type
class Dep:
    """What others use."""

    greeting: str = field(default="Hello")

    @function
    def hello(self, name: str = "World", times: int | None = None) -> str:
        """Greet."""
        return " ".join([f"{self.greeting}, {name}!"] * (times or 1))

    @function
    def view(self) -> str:
        return ask("{__schemaVersion}")["__schemaVersion"]

    @function
    def item(self, name: str) -> Item:
        return Item(name=name, hidden=f"hidden {name}", folder=dag.directory().with_new_file(name, name))

    @function
    def items(self, names: list[str]) -> list[Item]:
        return [Item(name=name, hidden=f"hidden {name}") for name in names]

    @function
    def describe(self, item: Item) -> str:
        return f"{item.name} ({item.hidden})"

    @function
    def describe_all(self, items: list[Item]) -> list[str]:
        return [self.describe(item) for item in items]

    @function
    def turn(self, status: Status = Status.ACTIVE) -> Status:
        return Status.GONE if status == Status.ACTIVE else Status.ACTIVE

    @function
    def add(self, folder: dagger.Directory, name: str) -> dagger.Directory:
        return folder.with_new_file(name, name)

    @function
    async def own_files(self, files: Annotated[dagger.Directory, DefaultPath(".")]) -> list[str]:
        return await files.entries()

    @function
    async def breaks(self) -> str:
        return await dag.container().from_("busybox").with_exec(["sh", "-c", "echo of the dependency >&2; exit 17"]).stdout()

    @function
    async def length(self, token: dagger.Secret) -> int:
        return len(await token.plaintext())

    @function
    def keeper(self, shown: dagger.Secret | None = None, kept: dagger.Secret | None = None) -> Keeper:
        return Keeper(shown=shown, kept=kept)

    @function
    def secret(self, text: str) -> dagger.Secret:
        return dag.set_secret("of-dep", text)

    @function
    def boxed(self, salt: str) -> dagger.Container:
        """Its process prints something else each time it runs."""
        box = dag.container().from_("busybox").with_secret_variable("T", dag.set_secret("of-dep", "a text of its own"))
        return box.with_exec(["sh", "-c", f"echo {salt}; head -c 8 /dev/urandom | od -An -tx1"])

    @function
    def volume(self, key: str) -> dagger.CacheVolume:
        return dag.cache_volume(key)

    @function
    async def in_volume(self, volume: dagger.CacheVolume, salt: str) -> str:
        box = dag.container().from_("busybox").with_mounted_cache("/c", volume)
        return await box.with_exec(["sh", "-c", f"echo dep >> /c/log; cat /c/log; : {salt}"]).stdout()
