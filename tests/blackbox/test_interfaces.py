"""Interfaces of modules: what stands where one is expected, whichever module it comes from."""

import json

import pytest

from harness import write_module

pytestmark = pytest.mark.once

HEAD = "import json\nimport typing\nimport dagger\nfrom dagger import dag, function, object_type\n\n"
ZOO = HEAD + """
@dagger.interface
class Duck(typing.Protocol):
    @function
    async def quack(self) -> str: ...

    @function
    async def eat(self, folder: dagger.Directory) -> str: ...

@dagger.interface
class Friend(typing.Protocol):
    @function
    def pal(self) -> Duck: ...

@object_type
class Zoo:
    @function
    async def hear(self, duck: Duck) -> str:
        return await duck.quack()

    @function
    async def hear_all(self, ducks: list[Duck]) -> list[str]:
        return [await duck.quack() for duck in ducks]

    @function
    def echo(self, duck: Duck) -> Duck:
        return duck

    @function
    async def visit(self, friend: Friend) -> str:
        return await friend.pal().quack()
"""
FARM = HEAD + """
@object_type
class Mallard:
    name: str = "Mallard"

    @function
    def quack(self) -> str:
        return f"{self.name} quacks"

    @function
    async def eat(self, folder: dagger.Directory) -> str:
        return str(await folder.entries())

@object_type
class Decoy:
    @function
    def quack(self) -> str:
        return "it is of wood"

    @function
    def eat(self, folder: dagger.File) -> str:
        return "nothing"

@object_type
class Owner:
    @function
    def pal(self) -> Mallard:
        return Mallard(name="Donald")

@object_type
class Farm:
    @function
    def mallard(self) -> Mallard:
        return Mallard()

    @function
    def decoy(self) -> Decoy:
        return Decoy()

    @function
    def owner(self) -> Owner:
        return Owner()

    @function
    async def types(self) -> str:
        '''What this code is told of itself.'''
        import base64, os, urllib.request

        token = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
        query = "{ currentTypeDefs(hideCore: true) { asObject { name sourceModuleName fields { name } functions { name } } } }"
        request = urllib.request.Request(
            f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query",
            json.dumps({"query": query}).encode(),
            {"Authorization": "Basic " + token, "Content-Type": "application/json"},
        )
        return urllib.request.urlopen(request).read().decode()
"""


@pytest.fixture(scope="module")
def session(connected, tmp_path_factory):
    """A session that is served two modules, of which neither knows the other."""
    folder = tmp_path_factory.mktemp("interfaces")
    with connected.session() as session:
        for name, code in (("zoo", ZOO), ("farm", FARM)):
            source = write_module(folder / name, code, name)
            session.query(f'{{ moduleSource(refString: "{source}") {{ asModule {{ serve }} }} }}')
        yield session


@pytest.fixture(scope="module")
def ids(session):
    found = session.query("{ farm { mallard { id } decoy { id } owner { id } } }")["farm"]
    return {name: made["id"] for name, made in found.items()}


def test_an_object_of_another_module(session, ids):
    duck = ids["mallard"]
    found = session.query(f'{{ zoo {{ hear(duck: "{duck}") hearAll(ducks: ["{duck}"]) echo(duck: "{duck}") {{ quack __typename }} }} }}')["zoo"]
    said = "Mallard quacks"
    assert found == {"hear": said, "hearAll": [said], "echo": {"quack": said, "__typename": "FarmMallard"}}


def test_an_object_whose_results_conform(session, ids):
    assert session.query(f'{{ zoo {{ visit(friend: "{ids["owner"]}") }} }}') == {"zoo": {"visit": "Donald quacks"}}


def test_an_object_that_takes_something_else(session, ids):
    message = session.error(f'{{ zoo {{ hear(duck: "{ids["decoy"]}") }} }}')["message"]
    assert message == "load ZooDuck: expected ZooDuck, got FarmDecoy"


def test_what_the_schema_says(session):
    found = session.query('{ duck: __type(name: "ZooDuck") { possibleTypes { name } } friend: __type(name: "ZooFriend") { possibleTypes { name } } }')
    names = {interface: [ty["name"] for ty in said["possibleTypes"]] for interface, said in found.items()}
    assert names == {"duck": ["FarmMallard"], "friend": ["FarmOwner"]}


def test_types_as_the_code_of_a_module_is_told(session):
    found = json.loads(session.query("{ farm { types } }")["farm"]["types"])["data"]["currentTypeDefs"]
    objects = {entry["asObject"]["name"]: entry["asObject"] for entry in found if entry["asObject"]}
    assert objects["FarmMallard"]["sourceModuleName"] == "farm"
    assert {function["name"] for function in objects["FarmMallard"]["functions"]} == {"quack", "eat"}
