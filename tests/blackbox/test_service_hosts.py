"""Services of a session as git servers and registries that the engine itself connects to."""

import pytest

from kit import ask, container, leaf, quote, set_secret
from kit.git_server import Sample, Ssh, Web, certificate, commit, daemon, git, git_document
from kit.registries import Registry, password_file
from kit.streams import host_service_id, start_service


@pytest.fixture(scope="module")
def sample(place):
    """A repository, one with it as a relative submodule, and another one of the same name."""
    made = Sample(place / "repos")
    outer = place / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "--quiet", "add", str(made.bare), "lib")
    modules = (outer / ".gitmodules").read_text().replace(str(made.bare), "../r.git")
    commit(outer, {".gitmodules": modules, "a": "a"})
    git(place, "clone", "-q", "--bare", "outer", "repos/outer.git")
    other = place / "other"
    other.mkdir()
    git(other, "init", "-q")
    made.other = commit(other, {"README": "other\n"})
    git(other, "tag", "v9.0.0")
    (place / "others").mkdir()
    git(place, "clone", "-q", "--bare", "other", "others/r.git")
    return made


@pytest.fixture(scope="module")
def daemon_port(git_address):
    """The port of a git daemon that serves the sample."""
    return int(git_address.rsplit(":", 1)[1])


def hosted(url: str, service: str, selection: str, more: str = "") -> str:
    """A document that selects something of a repository whose host is a service."""
    return git_document(url, selection, f", experimentalServiceHost: {service}{more}")


README = 'tree { file(path: "README") { contents } }'
LIB = 'head { tree { file(path: "lib/README") { contents } } }'


def test_a_service_can_be_the_host_of_a_repository(own_session, engine, sample, daemon_port, web):
    for service, url in [
        (host_service_id(own_session, daemon_port, 9418), "git://forge/{}"),
        (host_service_id(own_session, daemon_port, 7000), "git://forge:7000/{}"),
        (host_service_id(own_session, web.port, 8080), "http://forge:8080/open/{}"),
    ]:
        selection = f'url head {{ commit ref {README} }} tag(name: "v0.9.5") {{ {README} }} branches'
        found = own_session.query(hosted(url.format("r.git"), service, selection))["git"]
        assert found["url"] == url.format("r.git") and found["branches"] == ["dev", "main"]
        assert found["head"] == {"commit": sample.second, "ref": "refs/heads/main", "tree": {"file": {"contents": "two\n"}}}
        assert leaf(found["tag"]) == "one\n"
        assert leaf(own_session.query(hosted(url.format("outer.git"), service, LIB))) == "two\n"
        error = own_session.error(hosted(url.format("nope.git"), service, "head { commit }"))
        assert "there is no git repository at" in error["message"], error
        # No other host has this name.
        # The hostname resolves while the service is up, and only in its session.
        with engine.session() as other:
            assert "cannot find the host" in other.error("{ git(url: " + quote(url.format("r.git")) + ") { head { commit } } }")["message"]
    token = quote(set_secret(own_session, "right", "t"))
    private = "http://forge:8080/private/r.git"
    assert leaf(own_session.query(hosted(private, service, f"head {{ {README} }}", f", httpAuthToken: {token}"))) == "two\n"
    assert "Authentication failed" in own_session.error(hosted(private, service, "head { commit }"))["message"]


def test_a_service_can_be_the_host_of_a_repository_by_tls(make_engine, place, sample):
    trusted, both = certificate(place, "DNS:forge")
    with Web(sample.bare.parent, both) as server:
        with make_engine().session(env={"SSL_CERT_FILE": str(trusted), "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "forge"}) as session:
            url = "https://forge/open/{}"
            assert leaf(session.query(hosted(url.format("r.git"), host_service_id(session, server.port, 443), f"head {{ {README} }}"))) == "two\n"
            assert leaf(session.query(hosted(url.format("outer.git"), host_service_id(session, server.port, 443), LIB))) == "two\n"
            refused = session.error(hosted("https://mill/open/r.git", host_service_id(session, server.port, 443), "head { commit }"))
            assert "certificate" in refused["message"], refused


def test_git_017_a_service_on_another_port_is_reached_by_ssh(own_session, engine, sample, place):
    import asyncssh

    with Ssh(place / "ssh", sample.bare.parent) as server:
        service = host_service_id(own_session, server.port, 2222)
        socket = quote(leaf(own_session.query("{ host { unixSocket(path: " + quote(server.agent_socket) + ") { id } } }")))
        line = lambda name, key: f"{name} {key.export_public_key().decode().strip()}"  # noqa: E731
        hosts = lambda known: f", sshAuthSocket: {socket}, sshKnownHosts: {quote(known)}"  # noqa: E731
        url, key = "ssh://git@forge:2222/r.git", server.host_key
        for known in (line("[forge]:2222", key), line("forge", key), ""):
            found = own_session.query(hosted(url, service, f"head {{ commit {README} }}", hosts(known)))["git"]["head"]
            assert found["commit"] == sample.second and leaf(found["tree"]) == "two\n"
        relative = hosted("ssh://forge:2222/outer.git", service, LIB, hosts(line("[forge]:2222", key)))
        assert leaf(own_session.query(relative)) == "two\n" and set(server.users) == {"git"}
        short = hosted("me@forge:r.git", host_service_id(own_session, server.port, 22), "head { commit }", hosts(line("forge", key)))
        assert leaf(own_session.query(short)) == sample.second and "me" in server.users
        wrong = line("[forge]:2222", asyncssh.generate_private_key("ssh-ed25519"))
        refused = own_session.error(hosted(url, service, "head { commit }", hosts(wrong)))
        assert "is not the one that is known" in refused["message"], refused
        with engine.session(env={"SSH_AUTH_SOCK": ""}) as other:
            refused = other.error(hosted(url, host_service_id(other, server.port, 2222), "head { commit }"))
            assert "SSH URLs are not supported without an SSH socket" in refused["message"], refused


def test_services_under_one_address_are_told_apart(engine, sample, daemon_port, place):
    url, selection = "git://forge/r.git", f"head {{ commit {README} }} latestVersion {{ ref tree(includeTags: true) {{ id }} }}"
    with daemon(place / "others") as base:
        first = (daemon_port, "two\n", sample.second, sample.other)
        other = (int(base.rsplit(":", 1)[1]), "other\n", sample.other, sample.second)
        seen = {}
        with engine.session() as one, engine.session() as two:
            for session, (port, content, own, strange) in [(one, first), (one, other), (two, other), (two, first)]:
                service = host_service_id(session, port, 9418)
                found = session.query(hosted(url, service, selection))["git"]
                assert found["head"]["commit"] == own and leaf(found["head"]["tree"]) == content
                seen.setdefault(content, set()).add(found["latestVersion"]["tree"]["id"])
                missing = session.error(hosted(url, service, f'commit(id: "{strange}") {{ {README} }}'))
                assert "has no commit" in missing["message"], missing
        # Served content has the same ID in every session.
        assert all(len(ids) == 1 for ids in seen.values()) and seen["two\n"] != seen["other\n"]
    # The result loads without the service.
    with engine.session() as later:
        (tree,) = seen["other\n"]
        assert leaf(later.query(f'{{ loadDirectoryFromID(id: {quote(tree)}) {{ file(path: "README") {{ contents }} }} }}')) == "other\n"


RELAY = """
import socketserver, socket, threading
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        far = socket.create_connection(("real", 9418))
        def pump(a, b):
            while data := a.recv(65536): b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        other = threading.Thread(target=pump, args=(self.request, far)); other.start()
        pump(far, self.request); other.join()
class Server(socketserver.ThreadingTCPServer): allow_reuse_address = True
Server(("", 9418), Handler).serve_forever()
"""


def running(session, image: str, args: list[str], *links: str) -> dict:
    return ask(session, *container(image), *links, f"asService(args: {quote(args)})", "id hostname")


def test_a_container_can_be_the_host_of_a_repository(own_session, sample, daemon_port):
    real = 'withServiceBinding(alias: "real", service: %s)' % host_service_id(own_session, daemon_port, 9418)
    relay = running(own_session, "python:3.13-slim", ["python", "-c", RELAY], real, "withExposedPort(port: 9418)")
    url, service = f"git://{relay['hostname']}/r.git", quote(relay["id"])
    assert leaf(own_session.query(hosted(url, service, f"head {{ {README} }}"))) == "two\n"
    wrong = own_session.error(hosted(url.replace("/r.git", ":99/r.git"), service, "head { commit }"))
    assert "cannot reach `git://" in wrong["message"] and "port 99" in wrong["message"], wrong
    sleeping = running(own_session, "busybox", ["sleep", "1000"])
    wrong = own_session.error(f'{{ container {{ from(address: "{sleeping["hostname"]}:5000/x", registryService: {quote(sleeping["id"])}) {{ id }} }} }}')
    assert "cannot reach the registry" in wrong["message"], wrong


def test_svc_002_a_started_service_is_found_by_its_name(engine, sample, web):
    """Without `experimentalServiceHost`.

    Content of another service under the same name is another result.
    """
    fetched = lambda host: '{ http(url: "http://%s:8080/f") { contents } }' % host  # noqa: E731
    commit_of = '{ git(url: "http://code:80/open/r.git") { head { commit } } }'
    with engine.session() as session:
        assert "code" in session.error(commit_of)["message"]
        start_service(session, host_service_id(session, web.port, 80, "code"))
        assert leaf(session.query(commit_of)) == sample.second
        for content in ("one", "two"):
            links = [f'withNewFile(path: "/srv/f", contents: "{content}")', "withExposedPort(port: 8080)"]
            page = running(session, "busybox", ["httpd", "-f", "-p", "8080", "-h", "/srv"], *links)
            named = leaf(session.query(f'{{ node(id: {quote(page["id"])}) {{ ... on Service {{ withHostname(hostname: "pages") {{ id }} }} }} }}'))
            start_service(session, quote(named))
            assert leaf(session.query(fetched("pages"))) == content
            session.query(f"{{ node(id: {quote(named)}) {{ ... on Service {{ stop(kill: true) }} }} }}")
        start_service(session, quote(page["id"]))
        assert leaf(session.query(fetched(page["hostname"]))) == "two"
    with engine.session() as other:
        assert other.error(fetched(page["hostname"]))["message"]


def test_a_service_that_exits_is_named_as_the_reason(own_session):
    for links in (["withExposedPort(port: 80)"], []):
        gone = running(own_session, "busybox", ["sh", "-c", "echo no >&2; exit 42"], *links)
        for scheme in ("http", "git"):
            error = own_session.error(hosted(f"{scheme}://{gone['hostname']}:80/r.git", quote(gone["id"]), "head { commit }"))
            assert "exit code: 42" in error["message"], error
        image = f'from(address: "{gone["hostname"]}:80/x", registryService: {quote(gone["id"])}) {{ id }}'
        push = f'publish(address: "{gone["hostname"]}:80/x", registryService: {quote(gone["id"])})'
        for document in (image, push):
            error = own_session.error(f"{{ container {{ {document} }} }}")
            assert "exit code: 42" in error["message"], error


def test_a_service_can_be_a_registry(engine, folder):
    """The engine is offline. A service still is a registry."""
    (folder / "other").mkdir()
    open_, closed = Registry(folder), Registry(folder / "other", password_file("user", "pass"))
    image = lambda service, more: f'from(address: "hub:5000/team/app:1", registryService: {service}) {{ {more} }}'  # noqa: E731
    try:
        with engine.session() as session:
            service, private = host_service_id(session, open_.port, 5000, "hub"), host_service_id(session, closed.port, 5000, "hub")
            secret = quote(set_secret(session, "pass", "p"))
            login = f'withRegistryAuth(address: "hub:5000", username: "user", secret: {secret})'
            push = lambda service, content: (  # noqa: E731
                f'from(address: "busybox") {{ withNewFile(path: "/f", contents: "{content}") {{ '
                f'publish(address: "hub:5000/team/app:1", registryService: {service}) }} }}'
            )
            reference = leaf(session.query(f"{{ container {{ {push(service, 'open')} }} }}"))
            assert reference.startswith("hub:5000/team/app:1@sha256:")
            refused = session.error(f"{{ container {{ {push(private, 'private')} }} }}")
            assert "refuses" in refused["message"], refused
            assert leaf(session.query(f"{{ container {{ {login} {{ {push(private, 'private')} }} }} }}")) != reference
        assert open_.manifest("team/app", "1")["layers"]
        run = 'imageRef withExec(args: ["cat", "/f"]) { stdout } rootfs { id }'
        with engine.session() as session:
            service, private = host_service_id(session, open_.port, 5000, "hub"), host_service_id(session, closed.port, 5000, "hub")
            secret = quote(set_secret(session, "pass", "p"))
            login = f'withRegistryAuth(address: "hub:5000", username: "user", secret: {secret})'
            found = session.query(f"{{ container {{ {image(service, run)} }} }}")["container"]["from"]
            assert found["imageRef"] == reference and leaf(found["withExec"]) == "open"
            found = session.query(f"{{ container {{ {login} {{ {image(private, run)} }} }} }}")["container"]["withRegistryAuth"]["from"]
            assert found["imageRef"] != reference and leaf(found["withExec"]) == "private"
            assert "refuses" in session.error(f"{{ container {{ {image(private, 'id')} }} }}")["message"]
            gone = image(service, "id").replace("team/app", "team/none")
            assert "hub:5000/team/none" in session.error(f"{{ container {{ {gone} }} }}")["message"]
            assert session.error('{ container { from(address: "hub:5000/team/app:1") { id } } }')
    finally:
        open_.stop()
        closed.stop()
