"""A module that uses another one, twice."""

import base64
import json
import os
import urllib.request

import dagger
from dagger import dag, function, object_type


def ask(query: str) -> dict:
    """The data of a query of the module's own."""
    token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
    url = f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query"
    headers = {"Authorization": "Basic " + token, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"query": query}).encode(), headers)
    return json.load(urllib.request.urlopen(request))["data"]


@object_type
class Uses:
    """Uses `dep`."""

    @function
    async def hello(self, name: str = "you") -> str:
        return await dag.dep(greeting="Good day").hello(name=name, times=2)

    @function
    async def views(self) -> list[str]:
        return [ask("{__schemaVersion}")["__schemaVersion"], await dag.dep().view()]

    @function
    async def items(self) -> list[str]:
        found = await dag.dep().items(["a", "b"])
        described = await dag.dep().describe_all(found)
        one = dag.dep().item("c")
        entries = await one.folder().entries()
        return [*[await item.name() for item in found], *described, await one.reveal(), await dag.dep().describe(one), *entries]

    @function
    async def turned(self) -> list[str]:
        first = await dag.dep().turn()
        second = await dag.dep().turn(status=first)
        return [first.name, second.name, type(first).__name__]

    @function
    def folder(self, folder: dagger.Directory) -> dagger.Directory:
        return dag.twin().add(dag.dep().add(folder, "one"), "two")

    @function
    async def files_of_dep(self) -> list[str]:
        return await dag.dep().own_files()

    @function
    async def breaks(self) -> str:
        return await dag.dep().breaks()

    @function
    async def length(self, token: dagger.Secret) -> int:
        return await dag.dep().length(token)

    @function
    async def secrets(self, token: dagger.Secret) -> list[str]:
        """A secret of the caller, one of its own and one of the other module, on every way there is."""
        own = dag.set_secret("own", "own text")
        keeper = dag.dep().keeper(shown=token, kept=own)
        said = [*await keeper.reveal(), await keeper.shown().plaintext()]
        for _ in range(2):
            inner = keeper.nest().inner()
            said += [*await inner.reveal(), await inner.shown().plaintext()]
        box = keeper.box().with_secret_variable("TOKEN", token)
        # What is printed is a secret; its length is not.
        said.append(await box.with_exec(["sh", "-c", "echo $KEPT $TOKEN; cat /kept"]).stdout())
        said.append(await box.with_exec(["sh", "-c", "echo ${#KEPT} ${#TOKEN}"]).stdout())
        made = dag.dep().secret("text of dep")
        said += [await made.plaintext(), str(await dag.dep().length(made))]
        return [text.strip() for text in said]

    @function
    async def volumes(self, salt: str) -> list[str]:
        """The same key in two modules, and a volume that is handed on."""
        own = dag.cache_volume("same-key")
        others = dag.dep().volume("same-key")
        box = dag.container().from_("busybox")
        write = ["sh", "-c", f"echo uses >> /c/log; cat /c/log; : {salt}"]
        return [
            await box.with_mounted_cache("/c", own).with_exec(write).stdout(),
            await dag.dep().in_volume(own, salt),
            await box.with_mounted_cache("/c", others).with_exec(write).stdout(),
            str(await own.id() == await others.id()),
        ]
