"""The `rondel` binary, driven from outside: engines, commands and sessions."""

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

from kit.paths import BINARY, IMAGES
from kit.system import command_line, processes_with
from kit.waiting import eventually, let_time_pass


class Outcome:
    """The exit code and the output of a finished command."""

    def __init__(self, process: subprocess.CompletedProcess):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    def ok(self) -> "Outcome":
        assert self.code == 0, f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"
        return self

    def failed(self, *words: str, code: int | None = None) -> "Outcome":
        """The command failed, and its messages contain all the words in any case."""
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
    """One state directory with its configuration, and the commands that use it."""

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

    def start_query(self, document: str, *flags, env: dict | None = None) -> subprocess.Popen:
        """`rondel query` under way, which has read its document."""
        process = self.start("query", *flags, env=env, stdin=subprocess.PIPE)
        process.stdin.write(document)
        process.stdin.close()
        # `communicate` would write to it again.
        process.stdin = None
        return process

    def call(self, module, *words, **more) -> Outcome:
        """`rondel call` of a function of a module."""
        return self.run("call", "-m", module, *words, **more)

    def data(self, document: str, *flags, **more):
        return self.query(document, *flags, **more).json()

    def status(self) -> dict:
        return self.run("engine", "status", "--json").json()

    def execs(self) -> int:
        """The number of processes that the engine has run in containers."""
        return self.status()["execs"]

    def verify(self) -> dict:
        report = self.run("engine", "verify", "--json").json()
        assert report["problems"] == [], report
        return report

    def settle(self) -> None:
        """Waits until nothing is in use: no client is attached, and the coarse clock has moved on.
        """
        self.wait_for_clients_to_go()
        let_time_pass(0.1)

    def wait_for_clients_to_go(self) -> None:
        eventually(lambda: self.status()["clients"] == 0, what="the clients to be gone")

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
        """The engine's process. An ordinary user's engine also has one that waits for it."""
        return [pid for pid in processes_with(str(self.state)) if b"\0serve\0" in command_line(pid)]

    def remove(self) -> None:
        """Ends the engine and removes all files.

        Only the engine can remove those of subordinate IDs.
        """
        said = self.run("engine", "reset", timeout=1800)
        for pid in self.engines():
            said.err += f"the engine was still there as process {pid}\n"
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        rest = subprocess.run(["rm", "-rf", str(self.folder)], text=True, capture_output=True, check=False)
        assert not self.folder.exists(), f"`{self.folder}` is left:\n{said.err}{rest.stderr[-2000:]}"


class Session:
    """`rondel session`, asked over HTTP as the official libraries do."""

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
    """A configuration with one OCI layout as mirror."""
    return f"offline = {str(offline).lower()}\n[[mirrors]]\nlayout = {json.dumps(str(layout))}\n"


def short_folder() -> Path:
    """A new folder with a short path. The path of a socket is at most 107 bytes long."""
    return Path(tempfile.mkdtemp(prefix="rb-", dir="/var/tmp"))
