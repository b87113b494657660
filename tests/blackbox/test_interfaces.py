"""Interfaces of modules: objects of any module that conform are accepted."""

import json

import pytest

from kit import serve_module, write_module
from kit.nested import NESTED_CLIENT

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

@dagger.interface
class Guest(typing.Protocol):
    @function
    async def label(self) -> str: ...

@dagger.interface
class Host(typing.Protocol):
    @function
    def with_other(self, other: Guest) -> typing.Self: ...

    @function
    async def seen(self) -> str: ...

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
    async def meet(self, host: Host, other: Guest) -> str:
        return await host.with_other(other).seen()

    @function
    def keep(self, host: Host, other: Guest) -> Host:
        return host.with_other(other)

    @function
    async def visit(self, friend: Friend) -> str:
        return await friend.pal().quack()
"""
FARM = NESTED_CLIENT + HEAD + """
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
class Hen:
    name: str = "Berta"

    @function
    def label(self) -> str:
        return f"hen {self.name}"

@object_type
class Cow:
    @function
    def label(self) -> str:
        return "cow"

@object_type
class Coop:
    '''Takes hens, where the interface lets guests of any kind pass.'''
    hens: list[Hen] = dagger.field(default=list)

    @function
    def with_other(self, other: Hen) -> typing.Self:
        return Coop(hens=[*self.hens, other])

    @function
    def seen(self) -> str:
        return ", ".join(hen.label() for hen in self.hens)

@object_type
class Pen:
    @function
    def with_other(self, other: dagger.Directory) -> typing.Self:
        return self

    @function
    def seen(self) -> str:
        return ""

@object_type
class Farm:
    @function
    def hen(self) -> Hen:
        return Hen()

    @function
    def cow(self) -> Cow:
        return Cow()

    @function
    def coop(self) -> Coop:
        return Coop()

    @function
    def pen(self) -> Pen:
        return Pen()

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
        query = "{ currentTypeDefs(hideCore: true) { asObject { name sourceModuleName fields { name } functions { name } } } }"
        return json.dumps(ask(query))
"""


@pytest.fixture(scope="module")
def farm_session(connected, tmp_path_factory):
    """A session with two modules in its schema. Neither knows the other."""
    folder = tmp_path_factory.mktemp("interfaces")
    with connected.session() as session:
        for name, code in (("zoo", ZOO), ("farm", FARM)):
            source = write_module(folder / name, code, name)
            serve_module(session, source)
        yield session


@pytest.fixture(scope="module")
def ids(farm_session):
    found = farm_session.query("{ farm { mallard { id } decoy { id } owner { id } hen { id } cow { id } coop { id } pen { id } } }")["farm"]
    return {name: made["id"] for name, made in found.items()}


def test_an_object_of_another_module_can_implement_an_interface(farm_session, ids):
    duck = ids["mallard"]
    found = farm_session.query(f'{{ zoo {{ hear(duck: "{duck}") hearAll(ducks: ["{duck}"]) echo(duck: "{duck}") {{ quack __typename }} }} }}')["zoo"]
    said = "Mallard quacks"
    assert found == {"hear": said, "hearAll": [said], "echo": {"quack": said, "__typename": "FarmMallard"}}


def test_a_result_that_conforms_is_enough(farm_session, ids):
    assert farm_session.query(f'{{ zoo {{ visit(friend: "{ids["owner"]}") }} }}') == {"zoo": {"visit": "Donald quacks"}}


def test_an_object_with_another_argument_type_does_not_conform(farm_session, ids):
    message = farm_session.error(f'{{ zoo {{ hear(duck: "{ids["decoy"]}") }} }}')["message"]
    assert message == "load ZooDuck: expected ZooDuck, got FarmDecoy"


def test_a_function_may_take_one_implementer_of_an_interface(farm_session, ids):
    """`with_other(other: Other)` of an interface, implemented as `with_other(other: OtherImpl)`."""
    args = f'host: "{ids["coop"]}", other: "{ids["hen"]}"'
    assert farm_session.query(f"{{ zoo {{ meet({args}) keep({args}) {{ seen __typename }} }} }}") == {
        "zoo": {"meet": "hen Berta", "keep": {"seen": "hen Berta", "__typename": "FarmCoop"}}
    }
    # Another implementer is refused by the function that cannot take it.
    message = farm_session.error(f'{{ zoo {{ meet(host: "{ids["coop"]}", other: "{ids["cow"]}") }} }}')["message"]
    assert "expected FarmHen, got FarmCow" in message, message
    # A type whose function takes another type does not conform.
    message = farm_session.error(f'{{ zoo {{ meet(host: "{ids["pen"]}", other: "{ids["hen"]}") }} }}')["message"]
    assert message == "load ZooHost: expected ZooHost, got FarmPen"


def test_the_schema_lists_implementers(farm_session):
    found = farm_session.query('{ duck: __type(name: "ZooDuck") { possibleTypes { name } } friend: __type(name: "ZooFriend") { possibleTypes { name } } }')
    names = {interface: [ty["name"] for ty in said["possibleTypes"]] for interface, said in found.items()}
    assert names == {"duck": ["FarmMallard"], "friend": ["FarmOwner"]}


def test_module_code_sees_its_types_by_their_full_names(farm_session):
    found = json.loads(farm_session.query("{ farm { types } }")["farm"]["types"])["data"]["currentTypeDefs"]
    objects = {entry["asObject"]["name"]: entry["asObject"] for entry in found if entry["asObject"]}
    assert objects["FarmMallard"]["sourceModuleName"] == "farm"
    assert {function["name"] for function in objects["FarmMallard"]["functions"]} == {"quack", "eat"}
