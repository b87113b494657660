"""Servers on this machine and in containers, and tunnels between them."""

import contextlib
import os
import socket
import threading
import urllib.request

from kit.graphql import PYTHON, ask, container, document, quote

# Code of a web server with one page.
PAGE_SERVER = "import http.server as h; open('/srv/index.html', 'w').write('the page'); h.HTTPServer(('', 8000), __import__('functools').partial(h.SimpleHTTPRequestHandler, directory='/srv')).serve_forever()"


class UnixServer:
    """Answers each connection with what it received, after a prefix."""

    def __init__(self, path, prefix: bytes = b""):
        self.path, self.prefix = path, prefix
        self.accepted = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.answer, args=(near,), daemon=True).start()

    def answer(self, near):
        with near, contextlib.suppress(OSError):
            near.sendall(self.prefix)
            while piece := near.recv(65536):
                near.sendall(piece)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class TcpServer(UnixServer):
    """The same on a port of this machine."""

    def __init__(self, prefix: bytes):
        self.prefix, self.accepted = prefix, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def __exit__(self, *_):
        self.close()


def words(*args) -> str:
    """The words of a command, as they are written in a document."""
    return quote([str(arg) for arg in args])


def in_python(steps: str, ending: str = "stdout") -> str:
    """A document on the Python image.

    Each line of `steps` is a field, `ending` the last selection.
    """
    return document(*container(PYTHON), *(line.strip() for line in steps.strip().splitlines()), ending)


def page_service_id(session, *ports: int, listens: int = 8000) -> str:
    """The ID of a service that serves one page, with these exposed ports."""
    exposed = [f"withExposedPort(port: {port})" for port in ports]
    code = PAGE_SERVER.replace("8000", str(listens))
    served = f"asService(args: {words('python3', '-c', code)})"
    return ask(session, *container(PYTHON), *exposed, 'withNewFile(path: "/srv/x", contents: "")', served, "id")


def host_service_id(session, backend: int, frontend: int, name: str = "forge") -> str:
    """The quoted ID of a service under a name, which is a port of this machine."""
    made = "service(ports: [{frontend: %d, backend: %d}])" % (frontend, backend)
    return quote(ask(session, "host", made, f'withHostname(hostname: "{name}")', "id"))


def start_service(session, quoted_id: str) -> None:
    session.query(f"{{ node(id: {quoted_id}) {{ ... on Service {{ start }} }} }}")


def tunnel(session, service: str, more: str, fields: str) -> dict:
    """A started tunnel to a service, and what is selected of it."""
    made = quote(ask(session, "host", f'tunnel(service: "{service}"{more})', "id"))
    start_service(session, made)
    return session.query(f"{{ node(id: {made}) {{ ... on Service {{ {fields} }} }} }}")["node"]


def get(address: str) -> str:
    """The body of a page. Without a scheme, `address` is a host and a port."""
    with urllib.request.urlopen(address if "://" in address else f"http://{address}/", timeout=20) as answer:
        return answer.read().decode()
