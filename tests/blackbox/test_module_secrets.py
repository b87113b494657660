"""Secrets and cache volumes between modules."""

import json
import shutil

import pytest

from kit import IMPORTS, REPO, unique, write_module
from kit.terminal import Terminal

pytestmark = pytest.mark.once

TOKEN = "plain-9c2e-text-of-the-caller"


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Copies of two modules, of which one is edited."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / ".git").mkdir()
    for name in ["uses", "dep"]:
        shutil.copytree(REPO / "tests/modules" / name, folder / name)
    return folder


def test_sec_015_secrets_pass_between_modules_and_are_redacted(connected, modules):
    done = connected.run(
        "call", "--progress", "plain", "-m", modules / "uses", "--json", "secrets", "--token=env://TOKEN", env={"TOKEN": TOKEN}
    )
    assert json.loads(done.ok().out) == [
        *[TOKEN, "own text", TOKEN] * 3,
        "*** ***\n***",
        f"8 {len(TOKEN)}",
        "text of dep",
        "11",
    ]
    assert TOKEN not in done.err + connected.log()


def test_sec_018_call_006_an_object_may_hold_an_optional_secret(connected, modules, folder):
    (folder / "token").write_text("of a file")
    for flags, want in [
        ([], ["nothing", "nothing"]),
        (["--kept=env://TOKEN"], ["nothing", TOKEN]),
        (["--shown=env:TOKEN", "--kept=TOKEN"], [TOKEN, TOKEN]),
        (["--shown=file:token", "--kept=cmd:echo -n $TOKEN"], ["of a file", TOKEN]),
    ]:
        words = ["call", "-m", modules / "dep", "--json", "keeper", *flags, "nest", "inner", "reveal"]
        done = connected.run(*words, env={"TOKEN": TOKEN}, cwd=folder)
        assert json.loads(done.ok().out) == want, flags


def test_sec_005_sec_019_a_container_with_a_modules_own_secret_is_made_per_session(connected, modules):
    """The secret is of the session, so the container is made per session.

    Its process does not run again.
    """

    def ask(*documents: str) -> tuple:
        with connected.session() as session:
            session.query('{ moduleSource(refString: "%s") { asModule { serve } } }' % (modules / "dep"))
            before = connected.execs()
            return [session.query(document) for document in documents], connected.execs() - before

    ask("{ dep { hello } }")
    document = '{ dep { boxed(salt: "%s") { stdout } } }' % unique()
    once, first = ask(document, document)
    again, second = ask(document, document)
    assert once == again and once[0] == once[1]
    # The constructor, the function and its container's process. Then only the first two.
    assert (first, second) == (3, 2)


def test_cvo_004_cvo_005_volumes_belong_to_their_module(connected, modules):
    def run(salt: str) -> list:
        words = ["call", "-m", modules / "uses", "--json", "volumes", f"--salt={salt}"]
        return [text.split() for text in json.loads(connected.run(*words).ok().out)]

    # A volume passed to a module stays the giver's. One key is two volumes in two modules.
    own, handed, others, same = run(f"one{unique()}")
    assert (own, handed, others, same) == (["uses"], ["uses", "dep"], ["uses"], ["False"])
    source = modules / "dep/src/dep/__init__.py"
    source.write_text(source.read_text() + "\n# edited\n")
    own, handed, others, _ = run(f"two{unique()}")
    assert (own, handed, others) == (["uses", "dep", "uses"], ["uses", "dep", "uses", "dep"], ["uses", "uses"])


BUILDS = '''import dagger
from dagger import dag, function, object_type


@object_type
class Builder:
    @function
    async def log(self, salt: str) -> str:
        text = f"FROM busybox\\nRUN --mount=type=cache,target=/c echo {salt} >> /c/log && cp /c/log /log"
        return await dag.directory().with_new_file("Dockerfile", text).docker_build().file("/log").contents()
'''


def test_cache_mounts_of_a_modules_dockerfiles_belong_to_the_module(connected, folder):
    """A module does not see a cache mount of the same name of another module or the user."""
    for name in ["one", "two"]:
        write_module(folder / name, BUILDS.replace("Builder", name.capitalize()), name=name)
    salt = unique()

    def log(name: str, salt: str) -> list:
        return connected.run("call", "-m", folder / name, "log", f"--salt={salt}").ok().out.split()

    assert log("one", salt + "a") == [salt + "a"]
    assert log("two", salt + "b") == [salt + "b"]
    assert log("one", salt + "c") == [salt + "a", salt + "c"]
    text = f"FROM busybox\\nRUN --mount=type=cache,target=/c echo {salt} >> /c/log && cp /c/log /log"
    mine = '{ directory { withNewFile(path: "Dockerfile", contents: "%s") { dockerBuild { file(path: "/log") { contents } } } } }'
    with connected.session() as session:
        seen = session.query(mine % text)["directory"]["withNewFile"]["dockerBuild"]["file"]["contents"].split()
    assert salt in seen and salt + "a" not in seen


LEAKING = (
    IMPORTS
    + '''import sys
import time


@object_type
class Leaking:
    @function
    async def leak(self, token: dagger.Secret) -> str:
        """Does everything with the text of a secret that module code should not do."""
        text = await token.plaintext()
        print("whole:", text, flush=True)
        sys.stdout.write("in parts: " + text[:9])
        sys.stdout.flush()
        time.sleep(0.3)
        print(text[9:], "over", flush=True)
        container = dag.container().from_("busybox")
        await container.with_exec(["echo", text]).sync()
        padding = "x" * 70
        await container.with_exec(["echo", padding, text]).sync()
        try:
            await container.with_exec(["sh", "-c", "echo of a process >&2; exit 3", text]).sync()
        except dagger.ExecError as error:
            raise ValueError(f"the token {text} is refused") from error
        return ""
'''
)


@pytest.mark.parametrize("progress", ["plain", "tty", "logs", "json"])
def test_what_module_code_prints_of_a_secret_is_redacted(connected, folder, progress):
    module = write_module(folder, LEAKING, "leaking")
    token = f"{TOKEN}-{unique()}"
    before = set((connected.state / "traces").glob("*"))
    words = ["--progress", progress, "-v", "call", "-m", module, "leak", "--token=env://TOKEN"]
    if progress == "tty":
        terminal = Terminal(connected, *words, columns=200, env={"TOKEN": token})
        assert terminal.end() == 1
        shown = terminal.everything.decode(errors="replace")
    else:
        done = connected.run(*words, env={"TOKEN": token}).failed("the token *** is refused", code=1)
        shown = done.out + done.err
    (recording,) = set((connected.state / "traces").glob("*")) - before
    for text in [shown, recording.read_text(), connected.log()]:
        # Half of it is not shown either.
        assert TOKEN[:12] not in text and token[-12:] not in text, text
    written = "".join(event["text"] for line in recording.read_text().splitlines() if "text" in (event := json.loads(line)))
    assert "whole: ***\n" in written and "in parts: *** over\n" in written, written
    assert "exec echo ***" in recording.read_text()
