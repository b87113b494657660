"""Registries on loopback: Debian's `docker-registry`, and a proxy that asks for tokens."""

import base64
import http.client
import http.server
import json
import re
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import bcrypt

from kit.system import free_port
from kit.waiting import eventually

MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"


def password_file(user: str, password: str) -> str:
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


class Registry:
    """A registry. With `users`, lines of a password file, it asks for credentials."""

    def __init__(self, folder: Path, users: str = ""):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        auth = ""
        if users:
            passwords = folder / "htpasswd"
            passwords.write_text(users)
            auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {passwords}\n"
        config = folder / "registry.yml"
        config.write_text(
            f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n"
            f"http:\n  addr: {self.address}\n{auth}"
        )
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self.answers, what="the registry")

    def answers(self) -> bool:
        assert self.process.poll() is None, f"the registry ended with code {self.process.returncode}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def manifest(self, name: str, reference: str) -> dict:
        return self.json(f"{name}/manifests/{reference}")

    def json(self, path: str) -> dict:
        request = urllib.request.Request(f"http://{self.address}/v2/{path}", headers={"Accept": MANIFESTS})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def config_of(self, name: str, manifest: dict) -> dict:
        return self.json(f"{name}/blobs/{manifest['config']['digest']}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class TokenRegistry:
    """A proxy for `behind` that asks for a token of the right scope. Pulling is anonymous.

    Pushing needs `user` with `password`.
    """

    def __init__(self, behind: Registry, user: str, password: str):
        expected = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.tokens: list[tuple[str, bool]] = []
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status: int, body: bytes, headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def token(self):
                asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                known = self.headers.get("Authorization") == f"Basic {expected}"
                scopes = []
                for scope in " ".join(asked.get("scope", [])).split():
                    _, name, actions = scope.split(":")
                    scopes += [f"{name}:{action}" for action in actions.split(",") if action == "pull" or known]
                registry.tokens.append((" ".join(asked.get("scope", [])), known))
                text = base64.urlsafe_b64encode(json.dumps(scopes).encode()).decode()
                self.answer(200, json.dumps({"token": text}).encode(), [("Content-Type", "application/json")])

            def do(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if self.path.startswith("/token"):
                    return self.token()
                found = re.match(r"/v2/(.+?)/(?:manifests|blobs|tags)/", self.path)
                action = "pull" if self.command in ("GET", "HEAD") else "push"
                needed = f"{found[1]}:{action}" if found else None
                bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                granted = json.loads(base64.urlsafe_b64decode(bearer)) if bearer and not bearer.startswith("Basic") else None
                if granted is None or (needed and needed not in granted):
                    scope = f',scope="repository:{found[1]}:pull{"" if action == "pull" else ",push"}"' if found else ""
                    challenge = f'Bearer realm="http://{registry.address}/token",service="test"{scope}'
                    return self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', [("WWW-Authenticate", challenge)])
                connection = http.client.HTTPConnection(behind.address, timeout=20)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("authorization", "content-length")}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in ("content-length", "transfer-encoding", "connection")]
                if self.command == "HEAD":
                    self.send_response(answer.status)
                    for name, value in answer.getheaders():
                        self.send_header(name, value)
                    self.end_headers()
                else:
                    self.answer(answer.status, answer.read(), kept)
                connection.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=10)
