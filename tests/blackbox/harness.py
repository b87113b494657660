"""Drives the `rondel` binary from outside: one engine per state folder, commands, and sessions as libraries see them."""

import base64
import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("RONDEL_BIN", REPO / "target/debug/rondel"))
IMAGES = Path(os.environ.get("RONDEL_IMAGES", REPO / ".state/images"))
CLIENTS = Path(os.environ.get("RONDEL_CLIENTS", REPO / ".state/clients"))
EXAMPLES = REPO / "examples"
ROOT = os.geteuid() == 0
# Below those that the kernel gives to whoever asks for any, and elsewhere than another run of the suite begins.
PORTS = itertools.count(10_000 + os.getpid() * 64 % 20_000)


class Outcome:
    """What a finished command left behind."""

    def __init__(self, process: subprocess.CompletedProcess):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    def ok(self) -> "Outcome":
        assert self.code == 0, f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"
        return self

    def failed(self, *words: str, code: int | None = None) -> "Outcome":
        """The command failed and its messages contain all the words, whatever their case."""
        assert self.code != 0, f"it worked:\n{self.out}\n--- stderr\n{self.err}"
        if code is not None:
            assert self.code == code, f"exit code {self.code}\n{self.err}"
        for word in words:
            assert word.lower() in self.err.lower(), f"`{word}` is not in:\n{self.err}"
        assert "panicked" not in self.err, self.err
        return self

    def json(self):
        return json.loads(self.ok().out)


class Rondel:
    """One state folder with its configuration."""

    def __init__(self, folder: Path, config: str = ""):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "s"
        self.config_file = folder / "config.toml"
        self.config_file.write_text(config or mirror_of(IMAGES))
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)

    def environment(self, **more: str) -> dict:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DAGGER_", "_EXPERIMENTAL_DAGGER", "RONDEL_", "DOCKER_", "TRACEPARENT", "OTEL_"))
        }
        kept.update(
            RONDEL_STATE_DIR=str(self.state),
            RONDEL_CONFIG=str(self.config_file),
            HOME=str(self.home),
            XDG_CACHE_HOME=str(self.home / ".cache"),
            PATH=f"{BINARY.parent}:{kept.get('PATH', '')}",
        )
        kept.update(more)
        return kept

    def run(self, *words, stdin: str = "", cwd=None, timeout: float = 240, env: dict | None = None) -> Outcome:
        return Outcome(
            subprocess.run(
                [str(BINARY), *map(str, words)],
                input=stdin,
                text=True,
                capture_output=True,
                cwd=cwd or self.folder,
                env=self.environment(**(env or {})),
                timeout=timeout,
            )
        )

    def start(self, *words, cwd=None, env: dict | None = None, **more) -> subprocess.Popen:
        return subprocess.Popen(
            [str(BINARY), *map(str, words)],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd or self.folder,
            env=self.environment(**(env or {})),
            **more,
        )

    def query(self, document: str, *flags, **more) -> Outcome:
        return self.run("query", *flags, stdin=document, **more)

    def data(self, document: str, *flags, **more):
        return self.query(document, *flags, **more).json()

    def status(self) -> dict:
        return self.run("engine", "status").json()

    def execs(self) -> int:
        """How many processes the engine has run in containers."""
        return self.status()["execs"]

    def verify(self) -> dict:
        report = self.run("engine", "verify").json()
        assert report["problems"] == [], report
        return report

    def settle(self) -> None:
        """Waits until nothing is in use: no client is attached, and the clock of uses, which is coarse, has gone on."""
        wait_until(lambda: self.status()["clients"] == 0, what="the clients to be gone")
        time.sleep(0.1)

    def log(self) -> str:
        path = self.state / "engine.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        self.run("engine", "stop")

    def kill(self) -> None:
        """`kill -9` of the engine, and of nothing else."""
        os.kill(self.status()["pid"], signal.SIGKILL)

    def session(self, *flags, env: dict | None = None, cwd=None) -> "Session":
        return Session(self, flags, env, cwd)

    def engines(self) -> list[int]:
        """The engine's process and, when an ordinary user's, the one that waits for it."""
        return [pid for pid in processes_with(str(self.state)) if b"\0serve\0" in command_line(pid)]

    def remove(self) -> None:
        """Ends the engine and removes everything; files of an ordinary user's further ids only the engine can remove."""
        said = self.run("engine", "reset", timeout=1800)
        for pid in self.engines():
            said.err += f"the engine was still there as process {pid}\n"
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        rest = subprocess.run(["rm", "-rf", str(self.folder)], text=True, capture_output=True, check=False)
        assert not self.folder.exists(), f"`{self.folder}` is left:\n{said.err}{rest.stderr[-2000:]}"


class Session:
    """`rondel session`, spoken to over HTTP as the official libraries do."""

    def __init__(self, rondel: Rondel, flags, env, cwd):
        self.process = rondel.start("session", *flags, env=env, cwd=cwd, stdin=subprocess.PIPE)
        self.first_line = self.process.stdout.readline()
        if not self.first_line:
            raise AssertionError(f"no session: {self.process.stderr.read()}")
        hello = json.loads(self.first_line)
        self.port = hello["port"]
        self.token = hello["session_token"]

    def post(self, body, token: str | None = None) -> tuple[int, dict]:
        status, text = self.post_text(body, token)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, {"text": text}

    def post_text(self, body, token: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        credentials = base64.b64encode(f"{self.token if token is None else token}:".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        payload = body if isinstance(body, (bytes, str)) else json.dumps(body)
        connection.request("POST", "/query", payload, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, text

    def query(self, document: str):
        status, answer = self.post({"query": document})
        assert status == 200 and "errors" not in answer, answer
        return answer["data"]

    def error(self, document: str) -> dict:
        status, answer = self.post({"query": document})
        assert status == 200, (status, answer)
        assert answer.get("errors"), answer
        return answer["errors"][0]

    def close(self) -> int:
        self.process.stdin.close()
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.close()


def mirror_of(layout: Path, offline: bool = True) -> str:
    """A configuration with one layout folder as mirror."""
    return f"offline = {str(offline).lower()}\n[[mirrors]]\nlayout = {json.dumps(str(layout))}\n"


def wait_until(condition, seconds: float = 20, what: str = "the condition") -> None:
    """Polls; a test that waits for the world outside names what it waits for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)


def free_port() -> int:
    """A port on which nobody listens, and which nobody else is given before the test uses it."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port


def processes_with(marker: str) -> list[int]:
    """Processes of this run whose command line holds the marker; the suite may run as another user at the same time."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid() or not is_ours(entry):
            continue
        line = command_line(int(entry.name)).replace(b"\0", b" ").decode(errors="replace")
        if marker in line:
            found.append(int(entry.name))
    return found


def is_ours(process: Path) -> bool:
    """Whether it is in our user namespace, or, unless we are root, this user's or in one that we made."""
    try:
        if not ROOT and f"Uid:\t{os.getuid()}\t" in (process / "status").read_text():
            # An engine lets nobody but root look at it any closer.
            return True
        namespace = os.readlink(process / "ns/user")
    except OSError:
        return False
    return not ROOT or namespace == os.readlink("/proc/self/ns/user")


def command_line(pid: int) -> bytes:
    """Words, each with a zero byte behind it; nothing when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def write_module(
    folder: Path,
    code: str,
    name: str = "probe",
    engine_version: str | None = "v0.21.8",
    config: str | None = None,
) -> Path:
    """A Python module with `code` as its only source file."""
    source = folder / "src" / name
    source.mkdir(parents=True, exist_ok=True)
    (source / "__init__.py").write_text(code)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "0.1.0"\nrequires-python = ">=3.13"\ndependencies = ["dagger-io"]\n\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        f'[tool.hatch.build.targets.wheel]\npackages = ["src/{name}"]\n'
    )
    if config is None:
        document = {"name": name, "sdk": {"source": "python"}}
        if engine_version is not None:
            document["engineVersion"] = engine_version
        config = json.dumps(document)
    (folder / "dagger.json").write_text(config)
    return folder
