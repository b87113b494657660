"""Entitlements: the user may ask for all capabilities, modules and containers need permission."""

import json

import pytest

from kit import IMAGES, UNSEALED, id_bytes, id_of_bytes, leaf, mirror_of, serve_module, write_module
from kit.nested import NESTED_CLIENT, ask_nested

DENIED = "security.insecure is not allowed"
CAPABILITIES = '["grep", "CapEff", "/proc/self/status"]'
BOX = 'container { from(address: "busybox") { %s } }'
INSECURE = "insecureRootCapabilities: true"
EXEC = "{ %s }" % (BOX % f"withExec(args: {CAPABILITIES}, {INSECURE}) {{ stdout }}")
DOCKERFILE = "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status > /caps\n"
BUILD = '{ directory { withNewFile(path: "Dockerfile", contents: %s) { dockerBuild { file(path: "/caps") { contents } } } } }'
SERVICE = "{ %s }" % (BOX % f'asService(args: ["sleep", "100"], {INSECURE}) {{ start }}')
ASKING = {
    "exec": EXEC,
    "build": BUILD % json.dumps(DOCKERFILE),
    "service": SERVICE,
    "up": "{ %s }" % (BOX % f'withExposedPort(port: 80) {{ up(args: ["true"], {INSECURE}) }}'),
    "terminal": "{ %s }" % (BOX % f"terminal({INSECURE}) {{ id }}"),
    "default terminal": "{ %s }" % (BOX % f'withDefaultTerminalCmd(args: ["sh"], {INSECURE}) {{ terminal {{ id }} }}'),
    "directory terminal": "{ directory { terminal(%s) { id } } }" % INSECURE,
    "unused": "{ %s }" % (BOX % f"withExec(args: {CAPABILITIES}, {INSECURE}) {{ id }}"),
}


def answers_inside(rondel, documents: list, *flags) -> list:
    """The data or the error that a process in a container gets, which acts as no module."""
    answers = ask_nested(lambda query: rondel.data(query, *flags), documents).values()
    return [answer["errors"][0] if answer.get("errors") else answer["data"] for answer in answers]


def is_full(text: str) -> bool:
    """Whether the process had more than the usual capabilities."""
    usual = 0xA80425FB
    return int(text.split()[1], 16) & ~usual != 0


def test_the_user_may_ask_for_all_capabilities(engine):
    assert is_full(leaf(engine.data(EXEC)))
    assert is_full(leaf(engine.data(ASKING["build"])))
    assert leaf(engine.data(SERVICE))
    with engine.session() as session:
        assert is_full(leaf(session.query(EXEC)))


def test_a_process_in_a_container_may_not_ask_for_them(engine):
    # A cached result of the user does not help.
    engine.data(EXEC)
    for name, told in zip(ASKING, answers_inside(engine, list(ASKING.values()))):
        assert DENIED in told.get("message", ""), (name, told)
        hints = " ".join(told["extensions"]["hints"])
        assert "--allow security.insecure" in hints and "allow = [" in hints, (name, told)
    plain = EXEC.replace(INSECURE, "insecureRootCapabilities: false")
    (told,) = answers_inside(engine, [plain])
    assert not is_full(leaf(told))


def test_an_entitlement_holds_for_its_session(make_engine):
    documents = [ASKING[name] for name in ["exec", "build", "service"]]
    by_flag = make_engine()
    told = answers_inside(by_flag, documents, "--allow", "security.insecure")
    assert [answer.get("message") for answer in told] == [None] * 3, told
    assert is_full(leaf(told[0])) and is_full(leaf(told[1])) and leaf(told[2])
    # For that session only.
    assert DENIED in answers_inside(by_flag, [EXEC])[0]["message"]
    assert DENIED in answers_inside(by_flag, [EXEC], "--allow", "network.host")[0]["message"]
    assert DENIED in answers_inside(by_flag, [EXEC], "--allow", "security.insecure=./somewhere")[0]["message"]
    by_flag.query("{ version }", "--allow", "insecure").failed("no entitlement", "security.insecure", code=1)
    by_file = make_engine('allow = ["security.insecure"]\n' + mirror_of(IMAGES))
    assert is_full(leaf(answers_inside(by_file, [EXEC])[0]))
    make_engine('allow = ["insecure"]\n').query("{ version }").failed("no entitlement", "config.toml", code=1)


MODULE = NESTED_CLIENT + """
import dagger
from dagger import dag, function, object_type

@object_type
class Probe:
    @function
    async def caps(self, tag: str = "") -> str:
        ctr = dag.container().from_("busybox").with_env_variable("TAG", tag)
        return await ctr.with_exec(["grep", "CapEff", "/proc/self/status"], insecure_root_capabilities=True).stdout()

    @function
    def lazy(self, tag: str = "") -> dagger.Container:
        ctr = dag.container().from_("busybox").with_env_variable("TAG", tag)
        return ctr.with_exec(["grep", "CapEff", "/proc/self/status"], insecure_root_capabilities=True)

    @function
    async def inner(self) -> str:
        code = "import os; print('inner', os.getpid())"
        ctr = dag.container().from_("python:3.13-slim")
        return await ctr.with_exec(["python3", "-c", code], experimental_privileged_nesting=True, insecure_root_capabilities=True).stdout()

    @function
    async def given(self, ctr: dagger.Container) -> str:
        return await ctr.stdout()

    @function
    def smuggled(self, id: str) -> dagger.Container:
        value = json.dumps(json.dumps(id))
        ask('{ currentFunctionCall { returnValue(value: %s) } }' % value)
        os._exit(0)
"""


@pytest.mark.once
def test_a_module_needs_an_entitlement(connected, folder):
    module = write_module(folder / "m", MODULE)
    connected.run("call", "-m", module, "caps").failed(DENIED, f"--allow security.insecure={module}")
    connected.run("call", "-m", module, "lazy", "stdout").failed(DENIED)
    connected.run("call", "-m", module, "inner").failed(DENIED)
    for leave in ["security.insecure", f"security.insecure={module}", "security.insecure=./m"]:
        allowed = ["--allow", leave, "call", "-m", module]
        assert is_full(connected.run(*allowed, "caps", "--tag", leave, cwd=folder).ok().out), leave
    assert is_full(connected.run(*allowed, "lazy", "--tag", leave, "stdout", cwd=folder).ok().out)
    # The entitlement is for one module and for one session.
    for flags in [[], ["--allow", f"security.insecure={folder}/other"], ["--allow", f"network.host={module}"]]:
        connected.run(*flags, "call", "-m", module, "caps", "--tag", "later").failed(DENIED)
        connected.run(*flags, "call", "-m", module, "lazy", "--tag", "later", "stdout").failed(DENIED)


@pytest.fixture(scope="module")
def sealed(connected) -> str:
    words = json.dumps(["sh", "-c", "echo first; grep CapEff /proc/self/status"])
    return leaf(connected.data("{ %s }" % (BOX % f"withExec(args: {words}, {INSECURE}) {{ id }}")))


LOAD = '{ loadContainerFromID(id: "%s") { stdout } }'


def forged(id_: str, old: str, new: str) -> str:
    """The ID with one text of its recipe changed, as anyone can do it."""
    assert len(old) == len(new)
    body = id_bytes(id_)
    assert old.encode() in body
    return id_of_bytes(body.replace(old.encode(), new.encode()))


@pytest.mark.once
def test_an_id_with_the_users_entitlement_can_be_passed_on(connected, folder, sealed):
    assert "CapEff" in leaf(answers_inside(connected, [LOAD % sealed])[0])
    module = write_module(folder / "m", MODULE)
    with connected.session() as session:
        serve_module(session, module)
        assert "CapEff" in session.query('{ probe { given(ctr: "%s") } }' % sealed)["probe"]["given"]
    connected.stop()
    connected.run("cache", "prune").ok()
    assert "CapEff" in leaf(answers_inside(connected, [LOAD % sealed])[0]), "a seal holds for another run of the engine"


@pytest.mark.once
def test_a_recipe_that_was_changed_is_refused_for_every_client(connected, folder, sealed):
    changed = forged(sealed, "echo first", "echo other")
    connected.query(LOAD % changed).failed(UNSEALED, code=1)
    assert UNSEALED in answers_inside(connected, [LOAD % changed])[0]["message"]
    module = write_module(folder / "m", MODULE)
    connected.run("call", "-m", module, "smuggled", "--id", changed, "stdout").failed(UNSEALED)
    image = forged(sealed, "busybox", "busybux")
    connected.query(LOAD % image).failed(code=1)
