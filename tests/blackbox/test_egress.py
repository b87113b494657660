"""A process in a container reaches the outside and its session's services, not the engine's
machine.
"""

import json
import socket

import pytest

from kit import IMAGES, ROOT, eventually, leaf, mirror_of, quote, write_module
from kit.git_server import Web, commit, daemon, git, git_document
from kit.nested import REFUSED, ask_nested, error_message
from kit.streams import host_service_id, start_service
from kit.web import Server, give, page


def fetched(url: str) -> str:
    return f"{{ http(url: {quote(url)}) {{ contents }} }}"


def commits(url: str) -> str:
    return git_document(url, "head { commit }")


def test_a_nested_client_reaches_nothing_of_the_machine(make_engine, folder, sample):
    """Not by address, by name or after a redirect.

    The user's own client and allowed addresses work.
    """
    engine = make_engine(mirror_of(IMAGES, offline=False) + '[security]\negress = ["127.0.0.2"]\n')
    routes = {"/f": page("reached")}
    with Server(routes) as server, Server({}, host="127.0.0.2") as other, Web(sample.bare.parent) as web, daemon(sample.bare.parent) as base:
        port = server.port
        there = lambda handler: give(handler, 302, Location=f"http://127.0.0.1:{port}/f")  # noqa: E731
        # A registry names its token server.
        token = {"WWW-Authenticate": f'Bearer realm="http://127.0.0.1:{port}/f",service="s",scope="repository:x:pull"'}
        for path, answer in {"/f": page("allowed"), "/to": there, "*": lambda handler: give(handler, 401, **token)}.items():
            other.routes[path] = answer
        git_port = base.rsplit(":", 1)[1]
        machine = socket.gethostbyname(socket.gethostname())
        refused = [
            *(fetched(f"http://{host}:{port}/f") for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "[::ffff:127.0.0.1]", machine)),
            fetched("http://169.254.169.254/latest/meta-data/"),
            fetched(f"{other.address}/to"),
            commits(web.open()),
            commits(web.open().replace("127.0.0.1", "localhost")),
            commits(f"{base}/r.git"),
            commits(f"git://localhost:{git_port}/r.git"),
            '{ container { from(address: "127.0.0.1:%d/x") { id } } }' % port,
            '{ container { from(address: "localhost:%d/x") { id } } }' % port,
            '{ container { publish(address: "localhost:%d/x") } }' % port,
            '{ container { from(address: "127.0.0.2:%d/x:1") { id } } }' % other.port,
        ]
        with engine.session() as session:
            answers = ask_nested(session.query, [*refused, fetched(f"{other.address}/f")])
            for document in refused:
                assert REFUSED in error_message(answers[document]), (document, answers[document])
            assert leaf(answers[fetched(f"{other.address}/f")]["data"]) == "allowed"
            assert not server.requests and not web.requests
            # The user's own client is not restricted.
            assert leaf(session.query(fetched(server.address + "/f"))) == "reached"
            assert leaf(session.query(commits(web.open()))) == sample.second
            # Content that the user fetched in this session is shared; no connection is made for it.
            (again,) = ask_nested(session.query, [fetched(server.address + "/f")]).values()
            assert leaf(again["data"]) == "reached" and len(server.seen("/f")) == 1


def test_a_nested_client_reaches_what_is_allowed(make_engine, folder, sample):
    engine = make_engine(mirror_of(IMAGES) + '[security]\negress = ["127.0.0.0/8"]\n')
    with Server({"/f": page("reached")}) as server, Web(sample.bare.parent) as web, daemon(sample.bare.parent) as base:
        with engine.session() as session:
            documents = [fetched(server.address + "/f"), commits(web.open()), commits(f"{base}/r.git")]
            answers = [leaf(answer["data"]) for answer in ask_nested(session.query, documents).values()]
            assert answers == ["reached", sample.second, sample.second]


def test_a_submodule_leads_a_nested_client_to_no_other_server(make_engine, folder, place, sample):
    engine = make_engine(mirror_of(IMAGES) + '[security]\negress = ["127.0.0.2"]\n')
    root = place / "with-submodules"
    root.mkdir()
    with Web(sample.bare.parent) as inner, daemon(sample.bare.parent) as base, Web(root, host="127.0.0.2") as outer:
        addresses = {"web": inner.open(), "name": inner.open().replace("127.0.0.1", "localhost"), "git": f"{base}/r.git", "ssh": "ssh://git@127.0.0.1:9/r.git"}
        for name, address in addresses.items():
            work = root / f"{name}-work"
            # The folder of a submodule that was not fetched is empty.
            (work / "lib").mkdir(parents=True)
            git(work, "init", "-q")
            modules = f'[submodule "lib"]\n\tpath = lib\n\turl = {address}\n'
            git(work, "update-index", "--add", "--cacheinfo", f"160000,{sample.second},lib")
            commit(work, {".gitmodules": modules, "a": "a"})
            git(root, "clone", "-q", "--bare", work.name, f"{name}.git")
        tree = lambda name: f"{{ git(url: {quote(outer.open(f'{name}.git'))}) {{ head {{ tree {{ entries }} }} }} }}"  # noqa: E731
        with engine.session() as session:
            for document, answer in ask_nested(session.query, [tree(name) for name in addresses]).items():
                assert "git error" in error_message(answer), (document, answer)
            assert not inner.requests
            assert leaf(session.query(tree("web"))) == [".git/", ".gitmodules", "a", "lib/"]


def test_a_nested_client_reaches_services_of_its_session(engine, folder, sample):
    with Server({"/f": page("by a service")}) as server, Web(sample.bare.parent) as web, engine.session() as session:
        services = [host_service_id(session, server.port, 80, "pages"), host_service_id(session, web.port, 80, "repositories")]
        documents = [
            f'{{ http(url: "http://pages/f", experimentalServiceHost: {services[0]}) {{ contents }} }}',
            f'{{ git(url: "http://repositories/open/r.git", experimentalServiceHost: {services[1]}) {{ head {{ commit }} }} }}',
        ]
        answers = [leaf(answer["data"]) for answer in ask_nested(session.query, documents).values()]
        assert answers == ["by a service", sample.second]


def published(root, name: str, files: dict) -> str:
    """Makes a repository in the folder of a server, and returns its file name."""
    (root / name).mkdir(parents=True)
    git(root / name, "init", "-q")
    commit(root / name, files)
    git(root, "clone", "-q", "--bare", name, f"{name}.git")
    return f"{name}.git"


def configured(name: str, **more) -> dict:
    return {"dagger.json": json.dumps({"name": name, "engineVersion": "v0.21.8", **more})}


def test_a_nested_client_reaches_a_repository_that_it_was_given(engine, folder, sample):
    """A process reaches a repository by the ID that it was given, and no other, and not by the
    address.
    """
    with Web(sample.bare.parent) as web, Web(sample.bare.parent) as other, engine.session() as session:
        given = lambda rest: quote(leaf(session.query(f"{{ git(url: {quote(web.open())}) {{ {rest} }} }}")))  # noqa: E731
        address = quote(leaf(session.query(f"{{ address(value: {quote(web.open())}) {{ gitRepository {{ id }} }} }}")))
        dev = given('branch(name: "dev") { id }')
        asked = [
            *(f"{{ node(id: {repository}) {{ ... on GitRepository {{ head {{ commit }} }} }} }}" for repository in (given("id"), address)),
            f"{{ node(id: {dev}) {{ ... on GitRef {{ tree {{ file(path: {quote('dev')}) {{ contents }} }} }} }} }}",
        ]
        refused = [commits(web.open()), commits(other.open())]
        answers = ask_nested(session.query, [*asked, *refused])
        assert [leaf(answers[document]["data"]) for document in asked] == [sample.second, sample.second, "dev\n"]
        for document in refused:
            assert REFUSED in error_message(answers[document]), (document, answers[document])
        assert not other.requests


def test_a_module_from_outside_reaches_nothing_of_the_machine(make_engine, folder, place):
    """Not by a dependency and not by an SDK, although the user named the module."""
    # The second address stands for a server outside.
    engine = make_engine(mirror_of(IMAGES) + '[security]\negress = ["127.0.0.2"]\n')
    inner, outer = place / "inner", place / "outer"
    published(inner, "lib", configured("lib"))
    with Web(inner) as here, Web(outer, host="127.0.0.2") as there, engine.session() as session:
        library = here.open("lib.git")
        uses = configured("uses", dependencies=[{"name": "lib", "source": library}])
        made = configured("made", sdk={"source": library})
        for root in (outer, inner):
            published(root, "uses", uses)
            published(root, "made", made)
            # A further repository of the same server has no more rights.
            published(root, "far", configured("far", dependencies=[{"name": "uses", "source": (there if root == outer else here).open("uses.git")}]))
        query = lambda address, rest: f"{{ moduleSource(refString: {quote(address)}) {{ {rest} }} }}"  # noqa: E731
        assert REFUSED in engine.run("functions", "-m", there.open("uses.git")).ok().err
        assert REFUSED in session.error(query(there.open("made.git"), "moduleName"))["message"]
        assert session.query(query(there.open("far.git"), "dependencies { dependencies { moduleName } }")) == {"moduleSource": {"dependencies": [{"dependencies": []}]}}
        # Also a directory of the API, whose content may come from anywhere.
        tree = f"{{ git(url: {quote(there.open('uses.git'))}) {{ head {{ tree {{ asModuleSource {{ dependencies {{ moduleName }} }} }} }} }} }}"
        assert leaf(session.query(tree)) == []
        documents = [query(library, "commit"), query(here.open("uses.git"), "commit")]
        for document, answer in ask_nested(session.query, documents).items():
            assert REFUSED in error_message(answer), (document, answer)
        assert not here.requests
        # A module that the user names on the machine may use its own server, and so may the user's
        # files.
        assert session.query(query(here.open("far.git"), "dependencies { dependencies { moduleName } }")) == {"moduleSource": {"dependencies": [{"dependencies": [{"moduleName": "lib"}]}]}}
        assert leaf(session.query(query(here.open("made.git"), "moduleName"))) == "made"
        (folder / "own").mkdir()
        (folder / "own/dagger.json").write_text(uses["dagger.json"])
        assert leaf(session.query(query(str(folder / "own"), "dependencies { moduleName }"))) == [{"moduleName": "lib"}]


DEFAULTS = """
from typing import Annotated

import dagger
from dagger import DefaultPath, function, object_type


@object_type
class Probe:
    @function
    async def elsewhere(self, repo: Annotated[dagger.GitRepository, DefaultPath("ELSEWHERE")]) -> str:
        return await repo.head().commit()

    @function
    async def ref(self, ref: Annotated[dagger.GitRef, DefaultPath("ELSEWHERE")]) -> str:
        return await ref.commit()
"""


@pytest.mark.once
def test_a_default_of_a_module_reaches_no_other_server_of_the_machine(connected, place, sample):
    """A module in a repository may use the server of that repository only."""
    with Web(sample.bare.parent) as here, Web(place / "served") as there:
        work = write_module(place / "served/probe", DEFAULTS.replace("ELSEWHERE", here.open()))
        git(work, "init", "-q")
        commit(work, {"README": "x"})
        git(work.parent, "clone", "-q", "--bare", "probe", "probe.git")
        for function in ("elsewhere", "ref"):
            connected.run("call", "-m", there.open("probe.git"), function).failed(REFUSED)
        assert not here.requests
        # The same code in the user's files is allowed.
        assert connected.run("call", "-m", work, "ref").ok().out.strip() == sample.second


CONNECT = """
import socket, sys
for where in sys.argv[1:]:
    host, port = where.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print(where, "reached")
    except OSError as error:
        print(where, "no")
"""


def test_a_container_reaches_nothing_that_the_machine_listens_on(engine):
    """Not on the gateway and on no other address of the machine. The name server is reached."""
    addresses = [socket.gethostbyname(socket.gethostname())]
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        script = "import sys; g = [int(l.split()[2], 16) for l in open('/proc/net/route') if l.split()[1] == '00000000'][0]; print('.'.join(str(g >> s & 255) for s in (0, 8, 16, 24)))"
        run = lambda *args: leaf(engine.data('{ container { from(address: "python:3.13-slim") { withExec(args: %s) { stdout } } } }' % json.dumps(args)))  # noqa: E731
        gateway = run("python3", "-c", script).strip()
        places = [f"{address}:{port}" for address in [gateway, *addresses] if not address.startswith("127.")]
        shown = run("python3", "-c", CONNECT, *places, f"{gateway}:53", "169.254.169.254:80").splitlines()
        assert shown == [*(f"{place} no" for place in places), f"{gateway}:53 reached", "169.254.169.254:80 no"]


@pytest.mark.skipif(not ROOT, reason="the kernel lets an ordinary user move no process into the network of the machine")
def test_dkr_014_a_step_may_have_the_network_of_the_machine(make_engine, folder):
    engine = make_engine()
    with Server({"/f": page("from the machine")}) as server:
        dockerfile = f"FROM busybox\nRUN --network=host wget -qO /f {server.address}/f\nRUN ! wget -T 2 -qO /g {server.address}/f\n"
        (folder / "Dockerfile").write_text(dockerfile)
        shown = engine.data(f'{{ host {{ directory(path: "{folder}") {{ dockerBuild {{ file(path: "/f") {{ contents }} }} }} }} }}')
        assert leaf(shown) == "from the machine"


HEARER = """
import http.server, socket, sys, threading
seen = []
box = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
box.bind(("", 9000))
def hear():
    while True: seen.append(box.recv(1000).decode())
threading.Thread(target=hear, daemon=True).start()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        way.connect(("192.0.2.1", 9))
        own = way.getsockname()[0]
        if self.path.startswith("/send"):
            box.sendto(b"from a friend", (self.path.split("?")[1], 9000))
        text = own if self.path == "/own" else ",".join(seen)
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text.encode())
http.server.HTTPServer(("", 8000), Page).serve_forever()
"""

FORGER = """
import socket, struct, sys
victim, service = sys.argv[1:]
way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
gateway = [line.split() for line in open("/proc/net/route") if line.split()[1] == "00000000"][0][2]
gateway = socket.inet_ntoa(struct.pack("<I", int(gateway, 16)))
way.sendto(b"x", (gateway, 53))
import select
for _ in range(100):
    known = [line.split() for line in open("/proc/net/arp") if line.startswith(gateway + " ")]
    if known and known[0][3] != "00:00:00:00:00:00": break
    select.select([], [], [], 0.01)
mac = lambda text: bytes.fromhex(text.replace(":", ""))
to, own = mac(known[0][3]), mac(open("/sys/class/net/eth0/address").read().strip())
other = own[:2] + socket.inet_aton(victim)
def datagram(source, data):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(data), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(service))
    total = sum(struct.unpack(">10H", head)); total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xffff) + head[12:]
    return head + struct.pack(">HHHH", 9000, 9000, 8 + len(data), 0) + data
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
for source in (own, other):
    arp = b"\\0\\1\\x08\\0\\6\\4\\0\\2" + source + socket.inet_aton(victim) + to + socket.inet_aton(gateway)
    raw.send(to + source + b"\\x08\\x06" + arp)
    raw.send(to + source + b"\\x08\\0" + datagram(victim, b"forged"))
    raw.send(to + source + b"\\x08\\0" + datagram(service, b"forged"))
print("sent")
"""


def test_raw_frames_of_another_session_do_not_arrive(engine):
    """A container of another session forges addresses of this session by packet sockets."""
    image = 'from(address: "python:3.13-slim")'
    made = f'container {{ {image} {{ withExposedPort(port: 8000) {{ withEnvVariable(name: "WHO", value: "%s") {{ asService(args: {json.dumps(["python3", "-c", HEARER])}) {{ id }} }} }} }} }}'
    with engine.session() as session, engine.session() as attacker:
        hearer, friend = (quote(leaf(session.query("{ " + made % name + " }"))) for name in ("hearer", "friend"))
        for service in (hearer, friend):
            start_service(session, service)
        get = lambda service, path: leaf(session.query(f'{{ http(url: "http://it:8000/{path}", experimentalServiceHost: {service}) {{ contents }} }}'))  # noqa: E731
        own, other = get(hearer, "own"), get(friend, "own")
        run = json.dumps(["python3", "-c", FORGER, other, own])
        assert leaf(attacker.query(f"{{ container {{ {image} {{ withExec(args: {run}) {{ stdout }} }} }} }}")) == "sent\n"
        # A later datagram of the same session arrives.
        get(friend, f"send?{own}")
        eventually(lambda turns=iter(range(1000)): "from a friend" in get(hearer, f"seen?{next(turns)}"), what="the friend")
        assert get(hearer, "seen?last") == "from a friend"
