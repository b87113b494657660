"""Files by HTTP: contents, caching, errors."""

import hashlib
import json
import socket
import ssl
import struct
import subprocess

import pytest

from kit import IMAGES, mirror_of
from kit.web import Server, give, page

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"
TOKEN = "Bearer plain-4b1d-of-a-header"


def http_field(url: str, select: str = "contents", **args) -> str:
    given = "".join(f", {name}: {json.dumps(value)}" for name, value in args.items())
    return f"http(url: {json.dumps(url)}{given}) {{ {select} }}"


def fetch(session, url: str, select: str = "contents", **args) -> dict:
    return session.query("{ " + http_field(url, select, **args) + " }")["http"]


def http_failure(session, url: str, **args) -> str:
    return session.error("{ " + http_field(url, **args) + " }")["message"]


@pytest.fixture(scope="module")
def files():
    def tagged(handler):
        if handler.headers.get("If-None-Match") == '"one"':
            give(handler, 304, ETag='"one"')
        else:
            give(handler, 200, b"tagged", ETag='"one"')

    def dated(handler):
        if handler.headers.get("If-Modified-Since") == MODIFIED:
            give(handler, 304)
        else:
            give(handler, 200, b"dated", Last_Modified=MODIFIED)

    routes = {
        "/a.txt": page("hello"),
        "/dir/a%20b.txt": page("spaces"),
        "/": page("root"),
        "/tagged": tagged,
        "/dated": dated,
        "/big": page("x" * (20 << 20)),
        "/broken": lambda handler: give(handler, 500),
        "/to/a": lambda handler: give(handler, 302, Location="/a.txt"),
        "/round": lambda handler: give(handler, 302, Location="/round"),
    }
    with Server(routes) as server:
        yield server


def test_http_001_a_file_has_contents_name_and_permissions(engine, files):
    with engine.session() as session:
        answer = session.query(
            "{ plain: %s, named: %s, decoded: %s, root: %s }"
            % (
                http_field(f"{files.address}/a.txt?x=/y", "contents name size"),
                http_field(f"{files.address}/a.txt", "contents name stat { permissions }", name="b.sh", permissions=0o755),
                http_field(f"{files.address}/dir/a%20b.txt", "name contents"),
                http_field(f"{files.address}/", "name contents"),
            )
        )
        assert answer == {
            "plain": {"contents": "hello", "name": "a.txt", "size": 5},
            "named": {"contents": "hello", "name": "b.sh", "stat": {"permissions": 0o755}},
            "decoded": {"contents": "spaces", "name": "a b.txt"},
            "root": {"contents": "root", "name": "index"},
        }
        assert fetch(session, f"{files.address}/big", "size") == {"size": 20 << 20}
        assert fetch(session, f"{files.address}/to/a", "name contents") == {"name": "a", "contents": "hello"}
        assert "cannot be the name" in http_failure(session, f"{files.address}/a.txt", name="../x")


def test_http_001_old_views_have_the_field(engine, files):
    for version in ["v0.11.9", "v0.18.10", "v0.19.11"]:
        document = "{ " + http_field(f"{files.address}/a.txt") + " }"
        assert engine.data(document, "--api-version", version)["http"]["contents"] == "hello"


def test_http_002_checksums_are_verified(engine, files):
    right = "sha256:" + hashlib.sha256(b"hello").hexdigest()
    wrong = "sha256:" + "0" * 64
    with engine.session() as session:
        url = f"{files.address}/a.txt"
        assert fetch(session, url, checksum=right) == {"contents": "hello"}
        said = http_failure(session, url, checksum=wrong)
        assert "http checksum mismatch" in said and f"expected {wrong}" in said and right in said
        assert 'invalid checksum "not-a-digest"' in http_failure(session, url, checksum="not-a-digest")
        assert fetch(session, url, checksum=right) == {"contents": "hello"}


def test_http_005_the_time_of_a_file_is_its_last_modified_header(engine, files):
    with engine.session() as session:
        document = """{ container { from(address: "busybox") { withMountedFile(path: "/f", source: "%s") {
            withExec(args: ["stat", "-c", "%%Y", "/f"]) { stdout } } } } }"""
        given = fetch(session, f"{files.address}/dated", "id")["id"]
        answer = session.query(document % given)["container"]["from"]["withMountedFile"]["withExec"]
        assert answer["stdout"].strip() == "1445412480"


def test_http_006_a_session_asks_once_and_a_later_one_revalidates(engine, files):
    for path, header in [("/tagged", "If-None-Match"), ("/dated", "If-Modified-Since")]:
        before = len(files.seen(path))
        with engine.session() as session:
            for name in ["a", "b", "a"]:
                assert fetch(session, files.address + path, name=name) == {"contents": path[1:]}
        first = len(files.seen(path)) - before
        with engine.session() as session:
            assert fetch(session, files.address + path) == {"contents": path[1:]}
        assert (first, len(files.seen(path)) - before) == (1, 2)
        assert files.seen(path)[-1].get(header)


def test_the_user_of_a_file_is_keyed_by_its_content(engine):
    said = {"body": b"one"}
    with Server({"/f": lambda handler: give(handler, 200, said["body"])}) as server:
        document = """{ container { from(address: "busybox") { withFile(path: "/f", source: "%s") {
            withExec(args: ["cat", "/f"]) { stdout } } } } }"""

        def run() -> tuple[str, int]:
            with engine.session() as session:
                given = fetch(session, f"{server.address}/f", "id")["id"]
                before = engine.execs()
                answer = session.query(document % given)["container"]["from"]["withFile"]["withExec"]["stdout"]
                return answer, engine.execs() - before

        assert run() == ("one", 1)
        assert run() == ("one", 0)
        said["body"] = b"two"
        assert run() == ("two", 1)
        said["body"] = b"one"
        assert run() == ("one", 0)
        # An ID names the content, so it loads when the server is gone.
        with engine.session() as session:
            given = fetch(session, f"{server.address}/f", "id")["id"]
    assert engine.data('{ node(id: "%s") { ... on File { contents } } }' % given)["node"] == {"contents": "one"}


def test_an_authorization_is_sent_to_its_own_host_only(fresh):
    def guarded(handler):
        if handler.headers.get("Authorization") == TOKEN:
            give(handler, 200, b"for you")
        else:
            give(handler, 401)

    with Server({"/f": page("elsewhere")}, host="127.0.0.2") as other:
        away = {"/guarded": guarded, "/away": lambda handler: give(handler, 302, Location=f"{other.address}/f")}
        with Server(away) as server:
            document = '{ secret(uri: "env://HEADER") { id } }'
            with fresh.session("--progress", "plain", env={"HEADER": TOKEN + "\n"}) as session:
                given = session.query(document)["secret"]["id"]
                assert fetch(session, f"{server.address}/guarded", authHeader=given) == {"contents": "for you"}
                # Without the header it is another request.
                assert "401" in http_failure(session, f"{server.address}/guarded")
                assert fetch(session, f"{server.address}/away", authHeader=given) == {"contents": "elsewhere"}
                session.process.stdin.close()
                assert "plain-4b1d" not in session.process.stdout.read() + session.process.stderr.read()
            assert server.seen("/away")[0]["Authorization"] == TOKEN
            assert "Authorization" not in other.seen("/f")[0]
    assert "plain-4b1d" not in fresh.log()


def test_a_failed_request_is_explained(engine, files):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()[1]

        def short(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", "100")
            handler.end_headers()
            handler.wfile.write(b"only this")
            handler.close_connection = True

        with Server({"/short": short}) as server, engine.session() as session:
            url = f"http://me:hunter2@127.0.0.1:{files.port}/missing?token=hunter2"
            for address, words in [
                (url, ["invalid response status 404"]),
                (f"{files.address}/broken", ["invalid response status 500"]),
                (f"{files.address}/round", ["redirects more than"]),
                (f"http://127.0.0.1:{nobody}/x", ["cannot fetch", "refused"]),
                ("http://no-such-host.invalid/x", ["cannot fetch", "no-such-host.invalid"]),
                (f"{server.address}/short", ["truncated", "of 100 bytes"]),
                ("ftp://h.example/x", ["only http and https"]),
                ("nonsense", ["no URL"]),
            ]:
                said = http_failure(session, address)
                assert all(word in said for word in words), (address, said)
                assert "hunter2" not in said
            assert len(server.seen("/short")) == 1


def test_a_reset_connection_is_tried_again(engine):
    tries = []

    def rude(times):
        def answer(handler):
            tries.append(handler.path)
            if len([path for path in tries if path == handler.path]) <= times:
                # A reset instead of an orderly end.
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                handler.connection.close()
                handler.close_connection = True
                handler.wfile = type("Nothing", (), {"flush": lambda self: None, "closed": True})()
            else:
                give(handler, 200, b"in the end")

        return answer

    with Server({"/twice": rude(2), "/always": rude(1000)}) as server, engine.session() as session:
        assert fetch(session, f"{server.address}/twice") == {"contents": "in the end"}
        assert "cannot fetch" in http_failure(session, f"{server.address}/always")
        assert (tries.count("/twice"), tries.count("/always")) == (3, 4)


def test_proxies_of_the_host_are_used(make_engine):
    with Server({"*": page("by proxy")}) as proxy, Server({"/f": page("direct")}) as server:
        engine = make_engine(mirror_of(IMAGES))
        with engine.session(env={"http_proxy": proxy.address}) as session:
            assert fetch(session, "http://files.example/f") == {"contents": "by proxy"}
            assert fetch(session, f"{server.address}/f") == {"contents": "direct"}
        assert [path for _, path, _ in proxy.requests] == ["http://files.example/f"]


def test_certificates_that_the_host_trusts_are_trusted(make_engine, folder):
    for words in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out cert.pem -extfile names",
    ]:
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    wrap = lambda plain: context.wrap_socket(plain, server_side=True)  # noqa: E731
    with Server({"/f": page("over TLS")}, wrap=wrap) as server:
        trusting = make_engine(mirror_of(IMAGES))
        with trusting.session(env={"SSL_CERT_FILE": str(folder / "ca.pem")}) as session:
            assert fetch(session, f"{server.address}/f") == {"contents": "over TLS"}
        with make_engine(mirror_of(IMAGES)).session() as session:
            assert "certificate" in http_failure(session, f"{server.address}/f")


SERVED = """{ container { from(address: "busybox") { withFile(path: "/www/f", source: "%s") {
    withExposedPort(port: 8080) { asService(args: ["httpd", "-f", "-p", "8080", "-h", "/www"]) { id hostname } } } } } }"""


def file_service(session, url: str) -> dict:
    """A service that serves the file at an address."""
    answer = session.query(SERVED % fetch(session, url, "id")["id"])
    return answer["container"]["from"]["withFile"]["withExposedPort"]["asService"]


def test_http_009_the_name_of_a_service_follows_from_the_content_of_files(engine, files):
    names = []
    for _ in range(2):
        with engine.session() as session:
            names.append(file_service(session, f"{files.address}/a.txt")["hostname"])
    assert names[0] == names[1]


def test_a_service_can_be_the_host_of_an_address(engine, files):
    with engine.session() as session:
        service = file_service(session, f"{files.address}/dated")
        url = f"http://{service['hostname']}:8080/f"
        assert fetch(session, url, experimentalServiceHost=service["id"]) == {"contents": "dated"}
        assert "404" in http_failure(session, url + "x", experimentalServiceHost=service["id"])
        # The hostname resolves while the service is up, and only in its session.
        with engine.session() as other:
            assert "cannot fetch" in http_failure(other, url)
