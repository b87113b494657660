"""Git repositories, and servers for them on loopback: git's own protocol, HTTP, SSH."""

import asyncio
import base64
import contextlib
import http.server
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from kit.graphql import document, quote
from kit.system import free_port
from kit.waiting import eventually

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *words: str, day: int = 1, stdin: str | None = None) -> str:
    """Runs git in a folder at noon of a day, and returns its output."""
    date = f"2024-01-{day:02}T12:00:00Z"
    environment = {**os.environ, **IDENTITY, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", "-c", "safe.directory=*", *words],
        cwd=folder,
        env=environment,
        input=stdin,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, f"git {words}: {done.stderr}"
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str], day: int = 1) -> str:
    """Writes files, commits everything, and returns the commit."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", f"day {day}", day=day)
    return git(folder, "rev-parse", "HEAD")


def git_document(url: str, selection: str, arguments: str = "") -> str:
    """A document that selects something of a repository. `arguments` start with a comma."""
    return document(f"git(url: {quote(url)}{arguments})", selection)


def credential_helper(password: str) -> str:
    """A configuration of git whose credential helper knows the user `me`."""
    return f'[credential]\n\thelper = "!f() {{ echo username=me; echo password={password}; }}; f"\n'


class Sample:
    """A repository with two branches, tags of every kind and a work tree."""

    def __init__(self, folder: Path):
        self.work = folder / "work"
        self.bare = folder / "r.git"
        self.work.mkdir(parents=True)
        git(self.work, "init", "-q")
        self.first = commit(self.work, {"README": "one\n", "dir/file": "deep\n", "run.sh": "#!/bin/sh\n"}, 1)
        git(self.work, "tag", "v0.9.5")
        git(self.work, "tag", "-a", "-m", "x", "sdk/go/v0.1.0")
        (self.work / "run.sh").chmod(0o755)
        self.second = commit(self.work, {"README": "two\n"}, 2)
        git(self.work, "tag", "-a", "-m", "annotated", "v0.10.0", day=2)
        self.annotated = git(self.work, "rev-parse", "v0.10.0")
        git(self.work, "checkout", "-q", "-b", "dev", self.first)
        self.dev = commit(self.work, {"dev": "dev\n"}, 3)
        # Later in time, earlier as a version.
        git(self.work, "tag", "v0.2.0")
        git(self.work, "checkout", "-q", "main")
        git(folder, "clone", "-q", "--bare", str(self.work), str(self.bare))


@contextlib.contextmanager
def daemon(root: Path):
    """Runs `git daemon`. Yields the address of the folder."""
    port = free_port()
    words = ["git", "daemon", "--export-all", f"--base-path={root}", "--listen=127.0.0.1", f"--port={port}", "--reuseaddr"]
    process = subprocess.Popen([*words, str(root)], env={**os.environ, **IDENTITY}, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, f"`git daemon` ended with code {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    try:
        eventually(answers, what="`git daemon`")
        yield f"git://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def certificate(folder: Path, name: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """Two files: a self-signed certificate, and the certificate with its key."""
    alone, both = folder / "certificate.pem", folder / "both.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout key.pem -addext basicConstraints=critical,CA:FALSE"
    subprocess.run([*words.split(), "-addext", f"subjectAltName={name}", "-out", str(alone)], cwd=folder, check=True, capture_output=True)
    both.write_text(alone.read_text() + (folder / "key.pem").read_text())
    return alone, both


class Web:
    """A web server for the repositories below `root`.

    `/open` is smart HTTP for anyone. `/private` needs an `Authorization` of `accepted`. `/dumb` and
    `/dumb-private` serve the same files without git. `pages` are served as they are, by path and
    query.
    """

    def __init__(self, root: Path, certificate: Path | None = None, host: str = "127.0.0.1"):
        self.requests: list[str] = []
        self.accepted: set[str] = set()
        self.pages: dict[str, str] = {}
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer()

            def do_POST(self):
                self.answer()

            def answer(self):
                web.requests.append(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else self.chunks()
                if self.path in web.pages:
                    self.plain(200, web.pages[self.path].encode())
                    return
                _, place, *_ = self.path.split("/")
                if place not in ("open", "private", "dumb", "dumb-private"):
                    self.plain(404)
                    return
                if "private" in place and self.headers.get("Authorization") not in web.accepted:
                    self.plain(401)
                    return
                path, _, query = self.path.partition("?")
                if "dumb" in place:
                    file = root / path.removeprefix(f"/{place}/")
                    self.plain(*(200, file.read_bytes()) if self.command == "GET" and file.is_file() else (404,))
                    return
                environment = {
                    **os.environ,
                    **IDENTITY,
                    "GIT_PROJECT_ROOT": str(root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path.removeprefix(f"/{place}"),
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    "REMOTE_ADDR": "127.0.0.1",
                }
                done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def plain(self, status: int, body: bytes = b""):
                self.send_response(status)
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def chunks(self) -> bytes:
                body = b""
                while "chunked" in self.headers.get("Transfer-Encoding", ""):
                    size = int(self.rfile.readline(), 16)
                    body += self.rfile.read(size)
                    self.rfile.readline()
                    if size == 0:
                        break
                return body

        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.port = self.server.server_address[1]
        self.host = f"{host}:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def open(self, name: str = "r.git") -> str:
        return f"{self.scheme}://{self.host}/open/{name}"

    def private(self, name: str = "r.git") -> str:
        return f"{self.scheme}://{self.host}/private/{name}"

    def dumb(self, name: str = "r.git", place: str = "dumb") -> str:
        return f"{self.scheme}://{self.host}/{place}/{name}"

    def accept(self, user: str, password: str) -> None:
        self.accepted.add("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Ssh:
    """An SSH server that runs git, and an SSH agent with the accepted key."""

    def __init__(self, folder: Path, root: Path):
        import asyncssh

        folder.mkdir(parents=True, exist_ok=True)
        self.root = root
        key, self.host_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        private = folder / "id"
        key.write_private_key(str(private))
        private.chmod(0o600)
        self.agent_socket = str(folder / "agent")
        self.agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", self.agent_socket], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(lambda: os.path.exists(self.agent_socket), what="the agent")
        environment = {**os.environ, "SSH_AUTH_SOCK": self.agent_socket}
        subprocess.run(["ssh-add", "-q", str(private)], env=environment, check=True, capture_output=True)
        self.users: list[str] = []
        ready = threading.Event()

        class Server(asyncssh.SSHServer):
            def begin_auth(_, username):
                self.users.append(username)
                return True

        async def serve(process):
            words = process.command.replace("'", "").split()
            assert words[0] == "git-upload-pack", words
            child = await asyncio.create_subprocess_exec(
                "git", "upload-pack", str(root / words[1].lstrip("/")),
                env={**os.environ, **IDENTITY, "GIT_PROTOCOL": process.env.get("GIT_PROTOCOL", "")},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )
            await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
            process.exit(await child.wait())
            await process.wait_closed()

        async def main():
            keys = asyncssh.import_authorized_keys(key.export_public_key().decode())
            server = await asyncssh.create_server(
                Server, "127.0.0.1", 0, server_host_keys=[self.host_key], authorized_client_keys=keys,
                process_factory=serve, encoding=None,
            )
            self.port = server.sockets[0].getsockname()[1]
            self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
            ready.set()
            await self.over.wait()
            server.close()

        # `asyncio.run` cancels and awaits connections that are open when the server ends.
        self.thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
        self.thread.start()
        assert ready.wait(20)

    def known_hosts(self, key=None) -> str:
        return f"[127.0.0.1]:{self.port} {(key or self.host_key).export_public_key().decode().strip()}"

    def url(self, name: str = "r.git") -> str:
        return f"ssh://127.0.0.1:{self.port}/{name}"

    def __enter__(self) -> "Ssh":
        return self

    def __exit__(self, *_) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(10)
        self.agent.terminate()
        self.agent.wait()
