"""Memory that clients can make a listener hold: none before they are known, then a limited amount.
"""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import socket

from kit import eventually, peak_memory

MB = 1 << 20
LIMIT = 32 * MB
SIZED = "query($x: String!) { directory { withNewFile(path: \"a\", contents: $x) { file(path: \"a\") { size } } } }"


def authorization(token: str) -> str:
    return "Basic " + base64.b64encode(f"{token}:".encode()).decode()


def head(length: int | str, *more: str, path: str = "/query", token: str | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *more]
    lines.append("Transfer-Encoding: chunked" if length == "chunked" else f"Content-Length: {length}")
    if token is not None:
        lines.append(f"Authorization: {authorization(token)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def connect(session) -> socket.socket:
    return socket.create_connection(("127.0.0.1", session.port), timeout=60)


def to_engine(rondel) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(rondel.state / "engine.sock"))
    return connection


def answer(connection: socket.socket) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def test_an_unknown_client_is_refused_before_its_body_is_read(engine, own_session):
    """The answer comes before a byte of the body is sent."""
    for length in [1_200_000_000, 10, "chunked"]:
        for path in ["/query", "/attach", "/stream", "/served", "/init", "/nothing"]:
            for token in [None, "wrong"]:
                with connect(own_session) as connection:
                    connection.sendall(head(length, path=path, token=token))
                    assert answer(connection)[0] == 401, (path, token)
        with to_engine(engine) as connection:
            connection.sendall(head(length))
            assert answer(connection)[0] == 401
        with to_engine(engine) as connection:
            connection.sendall(head(length, "x-rondel-client: c0"))
            assert answer(connection)[0] == 401


def test_a_body_that_is_too_large_is_refused(own_session):
    for length, body in [(LIMIT + 1, b""), (1_200_000_000, b""), (LIMIT + 1, b"x" * (LIMIT + 1)), ("chunked", None)]:
        with connect(own_session) as connection:
            more = ["Expect: 100-continue"] if body == b"" else []
            connection.sendall(head(length, *more, token=own_session.token))
            if body is None:
                for _ in range(34):
                    connection.sendall(f"{MB:x}\r\n".encode() + b"x" * MB + b"\r\n")
                connection.sendall(b"0\r\n\r\n")
            else:
                connection.sendall(body)
            status, text = answer(connection)
            assert status == 413, (length, status)
            assert json.loads(text)["errors"][0]["message"] == "the request body is larger than 32 MB"


def test_a_large_body_is_taken(own_session):
    size = 31 * MB
    status, found = own_session.post({"query": SIZED, "variables": {"x": "a" * size}})
    assert status == 200 and found["data"]["directory"]["withNewFile"]["file"]["size"] == size, str(found)[:300]


def test_control_requests_are_limited_in_size(engine):
    with to_engine(engine) as connection:
        body = json.dumps({"matching": "x" * (2 * MB)}).encode()
        with contextlib.suppress(ConnectionError):
            connection.sendall(head(len(body), path="/cache/why") + body)
        assert answer(connection)[0] == 413


def test_an_endless_header_is_cut_off(engine, own_session):
    for open_connection in [lambda: connect(own_session), lambda: to_engine(engine)]:
        with open_connection() as connection:
            sent = 0
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"POST /query HTTP/1.1\r\nHost: x\r\nx-long: ")
                # More than the kernel takes while the other end has not read.
                while sent < 64 * MB:
                    connection.sendall(b"a" * 10_000)
                    sent += 10_000
            assert sent < 64 * MB
        with open_connection() as connection:
            many = "".join(f"x-{n}: v\r\n" for n in range(5000))
            with contextlib.suppress(ConnectionError):
                connection.sendall(f"POST /query HTTP/1.1\r\nHost: x\r\n{many}\r\n".encode())
                assert answer(connection)[0] == 431


def test_bodies_that_do_not_end_take_bounded_memory(engine, own_session):
    """Twenty-five requests of 31 MB each, all but their last byte."""
    pids = [engine.status()["pid"], own_session.process.pid]
    before = [peak_memory(pid) for pid in pids]
    part = b"x" * MB
    with contextlib.ExitStack() as open_ones:
        for _ in range(25):
            connection = open_ones.enter_context(connect(own_session))
            connection.sendall(head(31 * MB, token=own_session.token))
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(30):
                    connection.sendall(part)
        for pid, was in zip(pids, before):
            assert peak_memory(pid) - was < 200 * MB, "the bodies are in memory"
        # The client's limit is reached. Other clients are not delayed, and the session recovers.
        assert engine.data("{ version }")["version"]
    assert own_session.query("{ version }")["version"]


def test_silent_connections_do_not_keep_others_out(own_session):
    """More connections than may be open at a time, all of them silent."""
    with contextlib.ExitStack() as silent:
        for _ in range(600):
            silent.enter_context(connect(own_session)).sendall(b"POST /query HT")
        assert own_session.query("{ version }")["version"]


def test_700_requests_are_answered_in_parallel(own_session):
    def ask(n: int) -> int:
        document = '{ directory { withNewFile(path: "a", contents: "%d") { file(path: "a") { size } } } }' % n
        return own_session.query(document)["directory"]["withNewFile"]["file"]["size"]

    with concurrent.futures.ThreadPoolExecutor(700) as pool:
        assert list(pool.map(ask, range(700))) == [len(str(n)) for n in range(700)]


NESTED = """
import http.client, json, os, socket
port = int(os.environ["DAGGER_SESSION_PORT"])
MB = 1 << 20

def send(head, body=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(("POST /query HTTP/1.1\\r\\nHost: x\\r\\n" + head + "\\r\\n\\r\\n").encode())
    connection.sendall(body)
    return connection

def status(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status

seen = [status(send("Content-Length: 1200000000")), status(send("Content-Length: %d" % (33 * MB), b"x" * 33 * MB))]
held = []
for _ in range(25):
    connection = send("Content-Length: %d" % (31 * MB))
    connection.settimeout(0.2)
    try:
        for _ in range(30):
            connection.sendall(b"x" * MB)
    except TimeoutError:
        pass
    held.append(connection)
for connection in held:
    connection.close()
attached = []
for _ in range(80):
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(b"GET /attach HTTP/1.1\\r\\nHost: x\\r\\nConnection: upgrade\\r\\nUpgrade: rondel-link\\r\\n\\r\\n")
    attached.append((connection.recv(12)[9:].decode(), connection))
codes = [code for code, _ in attached]
seen.append([codes.count("101"), codes.count("503")])
request = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
request.request("POST", "/query", json.dumps({"query": "{ version }"}), {"Content-Type": "application/json"})
seen.append((lambda answer: (answer.read(), answer.status)[1])(request.getresponse()))
request.request("GET", "/query?query=%7Bversion%7D" )
seen.append(request.getresponse().status)
print(json.dumps(seen))
"""


def test_a_container_cannot_fill_the_memory(engine):
    engine.data("{ version }")
    pid = engine.status()["pid"]
    before = peak_memory(pid)
    arguments = json.dumps(["python3", "-c", NESTED])
    found = engine.data(
        '{ container { from(address: "python:3.13-slim") { withExec(args: %s, experimentalPrivilegedNesting: true) { stdout } } } }'
        % arguments
    )
    assert json.loads(found["container"]["from"]["withExec"]["stdout"]) == [413, 413, [64, 16], 200, 200]
    assert peak_memory(pid) - before < 200 * MB


def test_an_endless_line_of_an_attached_client_is_cut_off(engine):
    """The first line of an attached client is limited in length."""
    engine.data("{ version }")
    pid = engine.status()["pid"]
    before = peak_memory(pid)
    with to_engine(engine) as connection:
        connection.sendall(b"GET /attach HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: rondel-link\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 101"

        def closed() -> bool:
            try:
                connection.sendall(b"x" * MB)
                return False
            except ConnectionError:
                return True

        eventually(closed, what="the engine to hang up")
    assert peak_memory(pid) - before < 50 * MB
