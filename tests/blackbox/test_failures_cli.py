"""Failures that are not those of a module's code: the text that a person reads, in a pipe and on a terminal."""

import os
import socket
import subprocess

import pytest

from kit import BINARY, ROOT, eventually, module_config, processes_with, run_in, write_module
from kit.failures import COLUMNS, GOLDENS, USUAL, Failure, check_failure, report
from kit.golden import check_golden
from kit.registries import Registry, password_file
from kit.terminal import Terminal

IN_BUSYBOX = '{ container { from(address: "busybox") { %s } } }'

CHOICES = """
import enum
from dagger import enum_type, function, object_type

@enum_type
class CiLevel(enum.Enum):
    QUICK = "QUICK"
    THOROUGH = "THOROUGH"

@object_type
class Probe:
    @function
    def check(self, level: CiLevel, times: int = 1) -> str:
        return level.value * times
"""


def module_beside(folder):
    """A module whose name is one letter off."""
    (folder / "greeter").mkdir()
    (folder / "greeter/dagger.json").write_text(module_config("greeter"))


def modules_inside(folder):
    for name in ("ci", "tools"):
        (folder / "all" / name).mkdir(parents=True)
        (folder / "all" / name / "dagger.json").write_text(module_config(name))


def wrong(text: str):
    return lambda folder: (folder / "wrong.toml").write_text(text)


# A command line that is wrong. No engine is asked.
USAGE = [
    Failure("usage-command", ("functoins",), code=2),
    Failure("usage-command-missing", ("cache",), code=2),
    Failure("usage-flag", ("version", "--jsn"), code=2),
    Failure("usage-value", ("cache", "prune", "--keep", "much"), code=2),
    Failure("usage-conflict", ("cache", "prune", "--policy", "--keep=1GB"), code=2),
    Failure("usage-argument-missing", ("run",), code=2),
    Failure("usage-module-flag", ("-m", "ci", "version"), code=2),
    Failure("usage-help", ("help", "cache", "lss"), code=2),
]

# Configuration and state.
SETTINGS = [
    Failure("config-missing-variable", ("query",), env={"RONDEL_CONFIG": "/nonexistent.toml"}, document="{ version }"),
    Failure("config-missing-flag", ("--config", "nowhere.toml", "engine", "serve")),
    Failure("config-unknown-key", ("--config", "wrong.toml", "query"), document="{ version }", prepare=wrong("# mine\n\nmirors = []\n")),
    Failure("config-unknown-key-serve", ("--config", "wrong.toml", "engine", "serve"), prepare=wrong("[limits]\ncpus = 2\n")),
    Failure("config-wrong-value", ("--config", "wrong.toml", "query"), document="{ version }", prepare=wrong('offline = "no"\n')),
    Failure("config-not-toml", ("--config", "wrong.toml", "query"), document="{ version }", prepare=wrong("offline: true\n")),
    Failure("config-mirror", ("--config", "wrong.toml", "query"), document="{ version }", prepare=wrong('[[mirrors]]\nregistry = "docker.io"\n')),
    Failure(
        "state-foreign",
        ("--state-dir", "mine", "query"),
        document="{ version }",
        prepare=lambda folder: [(folder / "mine").mkdir(exist_ok=True), (folder / "mine/letter").write_text("dear")],
    ),
    Failure("engine-not-running", ("--state-dir", "none", "engine", "status")),
]

# What a document names and the engine does not find.
DOCUMENTS = [
    Failure("secret-variable", ("query",), document='{ secret(uri: "env://NPM_TOKEN_X") { plaintext } }'),
    Failure("secret-file", ("query",), document='{ secret(uri: "file:///no/such/file") { plaintext } }'),
    Failure("secret-command", ("query",), document='{ secret(uri: "cmd://echo it is locked >&2; exit 3") { plaintext } }'),
    Failure("secret-provider", ("query",), document='{ secret(uri: "pass://token") { plaintext } }'),
    Failure("image-offline", ("query",), document='{ container { from(address: "no-such-image:1") { imageRef } } }'),
    Failure("image-address", ("query",), document='{ container { from(address: "UPPER/Case!!") { imageRef } } }'),
    Failure("image-digest", ("query",), document='{ container { from(address: "busybox@sha256:%s") { imageRef } } }' % ("0" * 64)),
    Failure("host-directory", ("query",), document='{ host { directory(path: "/no/such/folder") { entries } } }'),
    Failure("host-file", ("query",), document='{ host { file(path: "nothing.txt") { contents } } }'),
    Failure("container-file", ("query",), document=IN_BUSYBOX % 'file(path: "/no/file") { contents }'),
    Failure("container-directory-is-a-file", ("query",), document=IN_BUSYBOX % 'directory(path: "/etc/passwd") { entries }'),
    Failure("container-user", ("query",), document=IN_BUSYBOX % 'withUser(name: "nobody-knows") { withExec(args: ["true"]) { stdout } }'),
    Failure("argument-unknown", ("query",), document=IN_BUSYBOX % 'withExec(args: ["true"], nonsense: 1) { stdout }'),
    Failure("argument-missing", ("query",), document=IN_BUSYBOX % 'withEnvVariable(name: "A") { stdout }'),
    Failure("argument-enum", ("query",), document=IN_BUSYBOX % 'withExec(args: ["true"], expect: MAYBE) { stdout }'),
    Failure("id-malformed", ("query",), document=IN_BUSYBOX % 'withMountedDirectory(path: "/m", source: "not-an-id") { id }'),
    Failure("module-missing", ("functions", "-m", "greter"), prepare=module_beside),
    Failure("module-without-configuration", ("functions", "-m", "all"), prepare=modules_inside),
    Failure("document-missing", ("query", "--doc", "nowhere.graphql")),
    Failure("program-missing", ("run", "no-such-program")),
]

# What a function is given. The module has to be loaded.
FUNCTIONS = [
    Failure("function-unknown", ("call", "-m", "m", "chek"), code=2),
    Failure("function-unknown-listing", ("functions", "-m", "m", "chek"), code=2),
    Failure("function-flag", ("call", "-m", "m", "check", "--levl=QUICK"), code=2),
    Failure("function-flag-missing", ("call", "-m", "m", "check"), code=2),
    Failure("function-enum", ("call", "-m", "m", "check", "--level=thoroug"), code=2),
    Failure("function-number", ("call", "-m", "m", "check", "--level=QUICK", "--times=two"), code=2),
]


def named(failures):
    return pytest.mark.parametrize("failure", failures, ids=[failure.name for failure in failures])


@named(USAGE + SETTINGS)
def test_a_wrong_command_line_or_setting(make_engine, folder, failure):
    check_failure(make_engine(), folder, failure)


@named(DOCUMENTS)
def test_something_that_is_not_there(engine, folder, failure):
    check_failure(engine, folder, failure)


@pytest.fixture(scope="module")
def choices(place):
    write_module(place / "m", CHOICES)
    return place


@named(FUNCTIONS)
def test_a_function_that_is_called_wrongly(connected, choices, failure):
    check_failure(connected, choices, failure)


def test_a_registry_that_refuses_credentials(make_engine, folder):
    engine = make_engine("offline = false\n")
    registry = Registry(folder, password_file("user", "pass"))
    try:
        document = '{ container { from(address: "%s/private:1") { imageRef } } }' % registry.address
        check_failure(engine, folder, Failure("registry-without-login", ("query",), document=document))
        login = 'withRegistryAuth(address: "%s", username: "user", secret: "%s")'
        secret = '{ container { %s { from(address: "%s/private:1") { imageRef } } } }'
        with engine.session() as session:
            given = session.query('{ setSecret(name: "p", plaintext: "wrong") { id } }')["setSecret"]["id"]
            error = session.error(secret % (login % (registry.address, given), registry.address))
            assert "check the user name and the password that were given" in error["extensions"]["hints"], error
    finally:
        registry.stop()


def test_a_wrong_git_reference(engine, folder, git_address):
    check_failure(engine, folder, Failure("git-repository", ("functions", "-m", f"{git_address}/none.git")))
    check_failure(engine, folder, Failure("git-version", ("functions", "-m", f"{git_address}/r.git@mian")))
    check_failure(engine, folder, Failure("git-directory", ("functions", "-m", f"{git_address}/r.git/nowhere")))


SLEEP = "3600.77"
KILLED = Failure(
    "engine-killed",
    ("query",),
    varies=((r"process \d+", "process PID"), (r"`/\S+/engine\.log`", "`STATE/engine.log`")),
)


def check_report(text: str, folder, failure: Failure, where: str) -> None:
    check_golden(GOLDENS / f"{failure.name}.{where}.txt", report(text, folder, failure))


def kill_while_working(engine) -> None:
    eventually(lambda: processes_with(SLEEP), what="the process to run")
    engine.kill()


def test_an_engine_that_is_killed(fresh, folder):
    document = run_in("busybox", f"sleep {SLEEP}")
    # The engine belongs to another command. This one cannot know how it ended.
    fresh.data("{ version }")
    client = fresh.start_query(document)
    kill_while_working(fresh)
    _, said = client.communicate(timeout=60)
    assert client.returncode == 1, said
    check_report(said, folder, KILLED, "pipe")
    eventually(lambda: not processes_with(SLEEP), what="the process to end")

    fresh.data("{ version }")
    (folder / "document.graphql").write_text(document)
    terminal = Terminal(fresh, "query", "--doc", "document.graphql", cwd=folder, columns=COLUMNS, env=USUAL)
    kill_while_working(fresh)
    assert terminal.end() == 1, terminal.said
    check_report(terminal.said.decode().replace("\r\n", "\n"), folder, KILLED, "terminal")


def test_the_signal_of_an_engine_of_this_command_is_named(fresh):
    client = fresh.start_query(run_in("busybox", f"sleep {SLEEP}"))
    kill_while_working(fresh)
    _, said = client.communicate(timeout=60)
    # An ordinary user's engine is a child of the process that waits for it.
    how = "ended with signal 9 (SIGKILL)" if ROOT else "is gone"
    assert client.returncode == 1 and how in said, said


def test_an_engine_that_is_stopped(fresh):
    client = fresh.start_query(run_in("busybox", f"sleep {SLEEP}"))
    eventually(lambda: processes_with(SLEEP), what="the process to run")
    fresh.stop()
    _, said = client.communicate(timeout=60)
    assert client.returncode == 1 and "the engine was stopped" in said, said


def test_an_engine_that_does_not_start(make_engine, folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        engine = make_engine(f'metrics = "127.0.0.1:{port}"\n')
        check_failure(engine, folder, Failure("engine-port-taken", ("query",), document="{ version }"))


@pytest.mark.skipif(not ROOT, reason="an ordinary user has nobody else's socket")
def test_a_socket_of_somebody_else(fresh):
    assert fresh.data("{ version }")
    nobody = 65534
    os.chmod(fresh.folder, 0o755)
    words = [BINARY, "query"]
    done = subprocess.run(
        words, input="{ version }", text=True, capture_output=True, env=fresh.environment(RONDEL_CONFIG=""), cwd="/", user=nobody, group=nobody, extra_groups=[]
    )
    assert done.returncode == 1
    assert "it belongs to the user with the id 0, and this is the user 65534" in done.stderr, done.stderr
    assert "--state-dir" in done.stderr


@pytest.mark.skipif(not ROOT, reason="a small disk is a mount, which only root makes")
def test_a_full_disk_is_one_line_and_what_helps(make_engine, folder):
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        engine = make_engine()
        engine.state = disk / "s"
        failure = Failure("disk-full", ("query",), document='{ container { from(address: "debian:bookworm-slim") { rootfs { digest } } } }', varies=((r"`/\S+`", "`PATH`"),))
        check_failure(engine, folder, failure)
        engine.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
