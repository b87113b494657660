"""A client that reads the engine's event stream itself: docs/protocol.md#the-event-stream."""

import contextlib
import http.client
import json
import socket
import threading

from kit.waiting import eventually


class EngineConnection(http.client.HTTPConnection):
    """HTTP on the socket of an engine."""

    def __init__(self, rondel):
        super().__init__("engine", timeout=240)
        self.path = str(rondel.state / "engine.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class EventClient:
    """A client of an engine, with the events that it was sent, in order."""

    def __init__(self, rondel, module=None):
        self.rondel = rondel
        rondel.data("{ version }")
        self.events = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(rondel.state / "engine.sock"))
        modules = [] if module is None else [{"reference": str(module)}]
        hello = {"version": "", "workdir": str(rondel.folder), "modules": modules}
        head = "GET /attach HTTP/1.1\r\nhost: engine\r\nconnection: upgrade\r\nupgrade: rondel-link\r\n\r\n"
        self.socket.sendall(head.encode() + json.dumps(hello).encode() + b"\n")
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\n")
        while self.lines.readline().strip():
            pass
        self.name = json.loads(self.lines.readline())["welcome"]["client"]
        self.pongs = 0
        # A request whose connection is no longer held is given up.
        self.requests = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.detach()

    def _read(self):
        # The connection is reset when this side closes it.
        try:
            for line in self.lines:
                message = json.loads(line)
                if "event" in message:
                    self.events.append(message["event"])
                elif "pong" in message:
                    self.pongs += 1
        except (OSError, ValueError):
            pass

    def _send(self, message: dict) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def query(self, document: str) -> dict:
        """The answer to a request. Its events have arrived."""
        answer = self.start(document).getresponse().read()
        self.flush()
        return json.loads(answer)

    def start(self, document: str) -> EngineConnection:
        """Sends a request and does not wait for the answer. Closing the connection gives it up."""
        connection = EngineConnection(self.rondel)
        headers = {"content-type": "application/json", "x-rondel-client": self.name}
        connection.request("POST", "/query", json.dumps({"query": document}), headers)
        self.requests.append(connection)
        return connection

    def flush(self) -> None:
        """Waits until everything that the engine has emitted so far has arrived."""
        before = self.pongs
        self._send({"ping": {"id": before + 1}})
        eventually(lambda: self.pongs > before, what="the engine's pong")

    def detach(self) -> None:
        # The reader holds the socket, so that closing it would not end the connection.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(timeout=20)
        self.lines.close()
        self.socket.close()
        for request in self.requests:
            request.close()

    def titles(self, **fields) -> list[str]:
        """The titles of the spans whose start has all `fields`."""
        return [start["name"] for start in starts(self.events) if fields.items() <= start.items()]

    def of(self, title: str) -> list[dict]:
        """The events of the one span with this title."""
        [start] = [start for start in starts(self.events) if start["name"] == title]
        return [event for event in self.events if event["span"] == start["span"]]


def starts(events: list[dict]) -> list[dict]:
    return [event for event in events if event["event"] == "start"]


def outcome(events: list[dict]):
    """How the span of these events ended."""
    [end] = [event for event in events if event["event"] == "end"]
    return end["outcome"]


def open_spans(events: list[dict]) -> dict[int, str]:
    """The titles of the spans that have started and not ended. Fails unless every span starts before
    its other events, ends at most once, and ends before its parent.
    """
    running, ended = {}, set()
    for event in events:
        span = event["span"]
        if event["event"] == "start":
            assert span not in running and span not in ended, event
            assert event["parent"] == 0 or event["parent"] in running, event
            running[span] = event
            continue
        assert span in running, event
        if event["event"] == "end":
            below = [start for start in running.values() if start["parent"] == span]
            assert not below, (event, below)
            del running[span]
            ended.add(span)
    return {span: start["name"] for span, start in running.items()}
