"""`rondel` in an environment that names a session joins it and starts no engine."""

import json
import os

import pytest

from kit import BINARY, GREETER, PYTHON, container, document, leaf, write_module
from kit.nested import NESTED_CLIENT
from kit.web import Server, page

# Runs commands in a container, and prints the result of each.
DRIVER = NESTED_CLIENT + """
import subprocess

def run(words, stdin="", cwd="/", env=None):
    done = subprocess.run(words, input=stdin, text=True, capture_output=True, cwd=cwd, env={**os.environ, **(env or {})})
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}

def perform(step):
    return ask(step["raw"]) if "raw" in step else run(**step)

def engines():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open("/proc/" + pid + "/cmdline", "rb").read().split(b"\\0")
        except OSError:
            continue
        if b"serve" in line:
            found.append(line.decode())
    return found

def main(steps):
    results = [perform(step) for step in steps]
    return json.dumps({"results": results, "engines": engines(), "state": os.path.exists(os.path.expanduser("~/.local"))})
"""


def step(*words, stdin="", cwd="/", **env):
    return {"words": list(words), "stdin": stdin, "cwd": cwd, "env": env}


def host_ids(rondel, *paths) -> list:
    kinds = ["directory" if path.is_dir() else "file" for path in paths]
    asked = " ".join(f"p{n}: {kind}(path: {json.dumps(str(path))}) {{ id }}" for n, (kind, path) in enumerate(zip(kinds, paths)))
    found = rondel.data(f"{{ host {{ {asked} }} }}")["host"]
    return [found[f"p{n}"]["id"] for n in range(len(paths))]


def inside(rondel, folder, steps: list, modules: dict = {}) -> list:
    """Results of the steps in one container that has the binary under both names."""
    driver = folder / "driver.py"
    driver.write_text(DRIVER + "\nprint(main(json.loads(sys.argv[1])))\n")
    binary, script, *mounted = host_ids(rondel, BINARY, driver, *modules.values())
    mounts = [
        f'withMountedFile(path: "/usr/local/bin/{name}", source: "{binary}")' for name in ["rondel", "dagger"]
    ] + [f'withMountedFile(path: "/driver.py", source: "{script}")']
    mounts += [f'withMountedDirectory(path: "{path}", source: "{id}")' for path, id in zip(modules, mounted)]
    arguments = json.dumps(["python3", "/driver.py", json.dumps(steps)])
    run = f"withExec(args: {arguments}, experimentalPrivilegedNesting: true)"
    seen = json.loads(leaf(rondel.data(document(*container(PYTHON), *mounts, run, "stdout"))))
    assert seen["engines"] == [] and not seen["state"], seen
    return seen["results"]


def good(result) -> str:
    assert result["code"] == 0, result
    return result["out"]


def test_queries_join_the_session_of_the_container(engine, folder):
    version = "{ __schemaVersion }"
    exec = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "echo seen; exit %d"]) { stdout } } } }'
    results = inside(
        engine,
        folder,
        [
            step("rondel", "query", stdin=version),
            step("dagger", "query", stdin=version),
            step("dagger", "query", stdin=version, _EXPERIMENTAL_DAGGER_VERSION="v0.18.10"),
            step("rondel", "query", "--api-version", "v0.19.11", stdin=version),
            step("rondel", "--progress", "plain", "query", stdin=exec % 0),
            step("rondel", "query", stdin=exec % 7),
            step("rondel", "query", stdin='{ host { file(path: "/etc/hostname") { contents } } }'),
            step("rondel", "query", stdin='{ host { directory(path: ".") { entries } } }', cwd="/usr/local/bin"),
            step("rondel", "query", stdin='{ secret(uri: "env://HERE") { plaintext } }', HERE="mine"),
        ],
    )
    views = [json.loads(good(result))["__schemaVersion"] for result in results[:4]]
    assert views == ["v0.21.8", "v0.21.8", "v0.18.10", "v0.19.11"]
    assert "seen" in good(results[4]) and "exec sh" in results[4]["err"], "progress comes over the same connection"
    assert results[5]["code"] == 7 and "seen" in results[5]["err"]
    good(results[6])
    assert "rondel" in good(results[7]) and "dagger" in results[7]["out"]
    # The container is the client's machine. A variable of one process is not the container's.
    assert results[8]["code"] == 1 and "env var not found" in results[8]["err"]


def test_commands_that_control_an_engine_are_refused_inside(engine, folder):
    commands = [["engine", "stop"], ["engine", "status"], ["engine", "verify"], ["engine", "reset"], ["cache", "ls"], ["cache", "prune"]]
    more = [
        step("rondel", "-i", "query", stdin="{ version }"),
        step("rondel", "--allow", "security.insecure", "query", stdin="{ version }"),
        step("rondel", "query", stdin="{ version }", DAGGER_SESSION_PORT="1"),
        step("rondel", "query", stdin="{ version }", DAGGER_SESSION_TOKEN=""),
        step("rondel", "version"),
    ]
    results = inside(engine, folder, [*[step("rondel", *words) for words in commands], *more])
    for words, result in zip(commands, results):
        assert result["code"] == 1 and "no engine to control" in result["err"] and "DAGGER_SESSION_PORT" in result["err"], words
    for result, want in zip(results[len(commands) :], ["interactive", "--allow", "cannot join the session", "DAGGER_SESSION_TOKEN"]):
        assert result["code"] == 1 and want in result["err"], result
    good(results[-1])


def test_run_and_session_join_inside_a_container(engine, folder):
    version = "{ __schemaVersion }"
    results = inside(
        engine,
        folder,
        [
            step("rondel", "run", "sh", "-c", f"echo '{version}' | rondel query; exit 3"),
            step("rondel", "run", "--api-version", "v0.18.10", "python3", "-c", "exec(open('/driver.py').read().rsplit('print', 1)[0]); print(ask('{ __schemaVersion }'))"),
            step("rondel", "session", "--version", "v0.19.11"),
            step("rondel", "run", "rondel", "run", "rondel", "query", stdin=version),
        ],
    )
    assert results[0]["code"] == 3 and json.loads(results[0]["out"]) == {"__schemaVersion": "v0.21.8"}
    assert "v0.18.10" in good(results[1])
    assert set(json.loads(good(results[2]))) == {"port", "session_token"}
    assert json.loads(good(results[3])) == {"__schemaVersion": "v0.21.8"}


def test_modules_of_the_container_are_called_inside(connected, folder):
    served = '{ __type(name: "Greeter") { name } }'
    results = inside(
        connected,
        folder,
        [
            step("rondel", "functions", "-m", "/app/greeter"),
            step("dagger", "call", "-m", "./greeter", "hello", "--name=Ada", cwd="/app"),
            step("dagger", "call", "hello", "--name", "Bea", cwd="/app/greeter/src"),
            step("rondel", "query", stdin='{ hello(name: "Eve") }', cwd="/app/greeter"),
            step("rondel", "query", "-m", "/app/greeter", stdin=served),
            {"raw": served},
            step("rondel", "query", stdin=served),
            step("rondel", "functions", "-m", str(GREETER)),
            step("rondel", "call", "-m", "/app/greeter", "no-such"),
        ],
        {"/app/greeter": GREETER},
    )
    assert any(line.startswith("hello ") for line in good(results[0]).splitlines())
    assert "Ada" in good(results[1]) and "Bea" in good(results[2]) and "Eve" in good(results[3])
    assert json.loads(good(results[4])) == {"__type": {"name": "Greeter"}}
    # A module that one process serves is not in the schema of the others.
    assert results[5]["data"] == {"__type": None} and json.loads(good(results[6])) == {"__type": None}
    assert results[7]["code"] == 1 and "does not exist" in results[7]["err"], "the host's files are not the container's"
    assert results[8]["code"] == 2 and "no-such" in results[8]["err"]


CLI = (
    DRIVER
    + """
import dagger
from dagger import dag, function, object_type

@object_type
class Probe:
    @function
    async def drive(self, binary: dagger.File, steps: str) -> str:
        await binary.export("/usr/local/bin/dagger")
        os.chmod("/usr/local/bin/dagger", 0o755)
        os.makedirs("/tmp/inner", exist_ok=True)
        open("/tmp/inner/dagger.json", "w").write('{"name": "inner"}')
        return main(json.loads(steps))
"""
)


def test_the_code_of_a_module_joins_as_that_module(connected, folder):
    module = write_module(folder / "m", CLI, engine_version="v0.18.10")
    steps = [
        step("dagger", "query", stdin="{ __schemaVersion currentModule { name } }", cwd="/tmp"),
        step("dagger", "query", stdin="{ __schemaVersion }", cwd="/tmp", _EXPERIMENTAL_DAGGER_VERSION="v0.21.8"),
        step("dagger", "query", "--api-version", "v0.21.8", stdin="{ __schemaVersion }", cwd="/tmp"),
        step("dagger", "query", stdin='{ moduleSource(refString: "/tmp/inner") { moduleName } }', cwd="/tmp"),
        step("dagger", "functions", "-m", "/tmp/nowhere", cwd="/tmp"),
    ]
    done = connected.run("call", "-m", module, "drive", "--binary", BINARY, "--steps", json.dumps(steps)).ok()
    seen = json.loads(done.out)
    assert seen["engines"] == []
    results = seen["results"]
    assert json.loads(good(results[0])) == {"__schemaVersion": "v0.18.10", "currentModule": {"name": "probe"}}
    assert json.loads(good(results[1])) == {"__schemaVersion": "v0.18.10"}, "the module decides"
    assert results[2]["code"] == 1 and "acts as a module" in results[2]["err"]
    assert json.loads(good(results[3])) == {"moduleSource": {"moduleName": "inner"}}
    assert results[4]["code"] == 1 and "/tmp/nowhere" in results[4]["err"]


@pytest.fixture
def nowhere(folder):
    """The state directory in which a command that joins no session would start an engine."""
    return folder / "nowhere"


def test_commands_under_run_join_its_session(engine, folder, nowhere):
    script = folder / "script.sh"
    script.write_text(
        "set -e\n"
        f"export RONDEL_STATE_DIR={nowhere}\n"
        "echo '{ __schemaVersion }' | rondel query\n"
        "echo '{ __schemaVersion }' | rondel query --api-version v0.18.10\n"
        "echo '{ secret(uri: \"env://MINE\") { plaintext } }' | MINE=text rondel query\n"
        "echo '{ secret(uri: \"cmd://echo told\") { plaintext } }' | rondel query\n"
        "echo '{ engine { clients } }' | rondel query\n"
        "rondel run rondel run sh -c 'echo \"{ __schemaVersion }\" | rondel query'\n"
        "! rondel engine status 2>&1\n"
    )
    done = engine.run("run", "sh", script).ok()
    answers, rest, decoder = [], done.out, json.JSONDecoder()
    while rest.startswith("{"):
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].lstrip()
    assert [answers[n]["__schemaVersion"] for n in [0, 1, 5]] == ["v0.21.8", "v0.18.10", "v0.21.8"]
    assert answers[2]["secret"]["plaintext"] == "text" and answers[3]["secret"]["plaintext"] == "told\n"
    assert len(answers[4]["engine"]["clients"]) >= 2
    assert "no engine to control" in rest
    assert not nowhere.exists()


def test_a_joined_client_has_its_own_ports(engine, folder, nowhere):
    with Server({"/": page("there")}) as server:
        service = engine.data('{ host { service(host: "127.0.0.1", ports: [{frontend: 80, backend: %d}]) { id } } }' % server.port)
        file = folder / "q.graphql"
        file.write_text(
            '{ host { service(host: "127.0.0.1", ports: [{frontend: 80, backend: %d}]) { hostname endpoint } } '
            '  container { from(address: "busybox") { withServiceBinding(alias: "there", service: "%s") '
            '  { withExec(args: ["wget", "-qO-", "http://there"]) { stdout } } } } }' % (server.port, service["host"]["service"]["id"])
        )
        done = engine.run("run", "env", f"RONDEL_STATE_DIR={nowhere}", "rondel", "query", "--doc", file)
        assert done.json()["container"]["from"]["withServiceBinding"]["withExec"]["stdout"] == "there"


def test_a_session_that_cannot_be_joined_is_an_error(engine, folder, nowhere):
    with engine.session() as session:
        here = {"DAGGER_SESSION_PORT": str(session.port), "RONDEL_STATE_DIR": str(nowhere)}
        token = {"DAGGER_SESSION_TOKEN": session.token}
        assert engine.data("{ version }", env={**here, **token})["version"]
        engine.query("{ version }", env={**here, "DAGGER_SESSION_TOKEN": "wrong"}).failed("does not accept the token", code=1)
        engine.query("{ version }", env=here).failed("DAGGER_SESSION_TOKEN", code=1)
        engine.query("{ version }", env={**here, **token, "DAGGER_SESSION_PORT": "x"}).failed("no port", code=1)
        # An explicit state directory wins.
        engine.run("--state-dir", engine.state, "engine", "status", env={**here, **token}).ok()
        engine.run("--state-dir", nowhere, "engine", "status", env={**here, **token}).failed("no engine is running", code=1)
    engine.query("{ version }", env={**here, **token}).failed("cannot join the session", code=1)
    assert not nowhere.exists()


def test_a_joined_client_ends_with_the_session(engine, nowhere):
    session = engine.session()
    env = {"DAGGER_SESSION_PORT": str(session.port), "DAGGER_SESSION_TOKEN": session.token, "RONDEL_STATE_DIR": str(nowhere)}
    sleeping = '{ container { from(address: "busybox") { withExec(args: ["sleep", "1000", "%d"]) { stdout } } } }' % os.getpid()
    joined = engine.start_query(sleeping, "--progress", "plain", env=env)
    for line in joined.stderr:
        if "exec sleep" in line:
            break
    session.close()
    assert joined.wait(timeout=30) != 0
    joined.stdout.close()
    joined.stderr.close()
