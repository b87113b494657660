"""HTTP servers on loopback: a function answers each path, and every request is recorded."""

import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """`routes`: path without query → function of the handler that answers."""

    def __init__(self, routes: dict, host: str = "127.0.0.1", wrap=None):
        self.requests = []
        self.routes = routes
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                server.requests.append((self.command, self.path, self.headers))
                length = int(self.headers.get("Content-Length") or 0)
                self.body = self.rfile.read(length)
                route = routes.get(self.path.split("?")[0]) or routes.get("*")
                route(self) if route else give(self, 404, b"nothing here")

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.httpd = ThreadingHTTPServer((host, 0), Handler)
        self.httpd.daemon_threads = True
        if wrap:
            self.httpd.socket = wrap(self.httpd.socket)
        self.port = self.httpd.server_address[1]
        self.address = f"{'https' if wrap else 'http'}://{host}:{self.port}"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def seen(self, path: str) -> list[Message]:
        """The headers of every request for the path."""
        return [headers for _, asked, headers in self.requests if asked.split("?")[0] == path]

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def give(handler, status: int, body: bytes = b"", **headers) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def page(body: str, **headers):
    """A route that gives a text."""
    return lambda handler: give(handler, 200, body.encode(), **headers)
