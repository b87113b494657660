"""The official libraries, unmodified, by their own start of an engine and by `rondel run`."""

import json
import os
import subprocess
import uuid

import pytest

from kit import BINARY, CLIENTS, REPO

SECRET = "s3cr3t-of-the-pipeline"
NODE = "node"
PROGRAMS = {
    "python-0.21.11": [CLIENTS / "python-0.21.11/bin/python", REPO / "tests/clients/python/pipeline.py"],
    "python-0.18.12": [CLIENTS / "python-0.18.12/bin/python", REPO / "tests/clients/python/pipeline.py"],
    "typescript-0.21.9": [NODE, CLIENTS / "typescript-0.21.9/pipeline.mjs"],
    "rust-0.21": [CLIENTS / "rust-pipeline"],
    "go-0.21.8": [CLIENTS / "go-pipeline"],
}


@pytest.mark.parametrize("how", ["cli-bin", "run"])
@pytest.mark.parametrize("client", PROGRAMS)
def test_an_official_library_runs_its_pipeline(engine, folder, client, how):
    (folder / "host.txt").write_text("from the host\n")
    environment = {"PIPELINE_SECRET": SECRET, "PIPELINE_RUN": uuid.uuid4().hex}
    words = [*map(str, PROGRAMS[client]), str(folder)]
    if how == "run":
        words = [str(BINARY), "run", *words]
    else:
        environment["_EXPERIMENTAL_DAGGER_CLI_BIN"] = str(BINARY)
    done = subprocess.run(
        words, env=engine.environment(**environment), cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    check_pipeline(json.loads(done.stdout.strip().splitlines()[-1]))
    assert SECRET not in done.stdout + done.stderr
    assert (folder / "out/x").read_text() == "hi\n"


def check_pipeline(seen: dict) -> None:
    error = seen.pop("error")
    missing = seen.pop("missing")
    assert seen.pop("env_value") == "green"
    assert {"COLOUR", "PATH"} <= set(seen.pop("env"))
    assert seen == {
        "stdout": f"one\ntwo\nnoted\ngreen\n{len(SECRET)}\n",
        "stderr": "to-stderr\n",
        "scrubbed": "***\n***",
        "cache": "kept\n",
        "entries": ["a.txt", "sub/"],
        "sub": "two\n",
        "size": 4,
        "synced": True,
        "loaded": True,
        "loaded_entries": ["a.txt", "sub/"],
        "host": "from the host\n",
        "exported": "hi\n",
    }
    assert (error["exit"], error["stdout"].strip(), error["stderr"].strip()) == (42, "some", "bad")
    assert error["command"] == ["sh", "-c", "echo some; echo bad >&2; exit 42"]
    assert "/nothing/here" in missing


def test_the_first_line_is_exact_and_stdin_ends_the_session(engine):
    session = engine.session("--label", "dagger.io/sdk.name:test", "--label", "dagger.io/sdk.version:0.21.8")
    line = json.loads(session.first_line)
    assert session.first_line == '{"port":%d,"session_token":"%s"}\n' % (line["port"], line["session_token"])
    assert session.query("{ version }")["version"].startswith("v0.21")
    assert session.post({"query": "{ version }"}, token="wrong")[0] == 401
    assert session.close() == 0


def test_sigterm_ends_the_session_with_0(engine):
    session = engine.session()
    session.process.terminate()
    assert session.process.wait(timeout=20) == 0


@pytest.mark.parametrize("lines", [2_000, 100_000])
def test_a_session_goes_on_when_its_stderr_is_not_read(engine, lines):
    session = engine.session()
    loud = f'yes {"x" * 99} | head -n {lines} && echo {uuid.uuid4().hex}'
    asked = 'container { from(address: "busybox") { withExec(args: ["sh", "-c", "%s"]) { stdout } } }' % loud
    said = session.query("{ %s }" % asked)["container"]["from"]["withExec"]["stdout"]
    assert said.count("\n") == lines + 1
    assert session.query("{ version }")["version"]
    assert session.close() == 0


def test_a_library_may_leave_stderr_unread(engine, folder):
    """The library of v0.18 leaves stderr unread unless it has a log output."""
    program = folder / "quiet.py"
    program.write_text(
        "import anyio, dagger\n"
        "async def main():\n"
        "    async with dagger.Connection() as client:\n"
        f"        loud = client.container().from_('busybox').with_exec(['sh', '-c', 'yes {'x' * 99} | head -n 3000'])\n"
        "        print(len(await loud.stdout()))\n"
        "anyio.run(main)\n"
    )
    done = subprocess.run(
        [str(CLIENTS / "python-0.18.12/bin/python"), str(program)],
        env=engine.environment(_EXPERIMENTAL_DAGGER_CLI_BIN=str(BINARY)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "300000\n"), done.stderr


def test_all_output_is_shown_before_the_error(engine):
    document = '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "seq 5000; exit 3"]) { stdout } } } }'
    done = engine.run("--progress", "plain", "query", stdin=document)
    before, _, _ = done.err.partition("\n✘ exec")
    shown = [line.rpartition("| ")[2] for line in before.splitlines() if "| " in line]
    assert shown == [str(number) for number in range(1, 5001)]


def test_run_passes_the_exit_code_on(engine):
    assert engine.run("run", "sh", "-c", "exit 7").code == 7
    seen = engine.run("run", "sh", "-c", 'echo "$DAGGER_SESSION_PORT" "$DAGGER_SESSION_TOKEN"').ok().out.split()
    assert int(seen[0]) > 0 and seen[1]


def test_an_engine_needs_a_state_directory():
    kept = {name: os.environ[name] for name in ["PATH"]}
    done = subprocess.run([str(BINARY), "engine", "status"], env=kept, capture_output=True, text=True)
    assert done.returncode == 1 and "HOME" in done.stderr
