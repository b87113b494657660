"""IDs are recipes that the engine evaluates: who can write one, and with whose rights."""

import json
import os
import socketserver
import threading

import pytest

from kit import IMAGES, UNSEALED, id_of_bytes, leaf, mirror_of, quote, write_module, write_program
from kit.git_server import Web
from kit.nested import NESTED_CLIENT, REFUSED, ask_nested, error_message, run_nested
from kit.registries import Registry
from kit.web import Server, page

CANARY = "of-the-users-machine"


# Writing IDs.


def number(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def recipe(*calls, sealed: bool) -> bytes:
    """A chain of calls as the engine writes it: (type, field, arguments, implicit inputs)."""
    said = lambda value: b"\0" + number(len(value.encode())) + value.encode()  # noqa: E731

    def literal(value) -> bytes:
        match value:
            case bool():
                return bytes([1 + value])
            case int():
                return b"\3" + number(value << 1)
            case str():
                return b"\5" + said(value)
            case list():
                return b"\7" + number(len(value)) + b"".join(map(literal, value))
            case dict():
                return b"\10" + number(len(value)) + b"".join(said(name) + literal(it) for name, it in value.items())
        raise TypeError(value)

    out = b""
    for position, (returns, field, args) in enumerate(calls):
        out += number(position) + said(returns) + said(field) + b"\0\0\0" + (b"\0" if sealed else b"")
        out += number(len(args)) + b"".join(said(name) + literal(value) for name, value in args.items()) + b"\0"
    return out


def written(*calls) -> list[str]:
    """IDs of the recipe as a process writes them: of the version without a seal, and with a seal of zeros."""
    bodies = [b"\1" + recipe(*calls, sealed=False), b"\2" + bytes(32) + recipe(*calls, sealed=True)]
    return [id_of_bytes(body) for body in bodies]


def chains(folder, port: int, session: str = "") -> dict:
    """What leads to the machine of the client that loads it, and a selection that shows it."""
    host = ("Host", "host", {})
    file = f"{folder}/secret"
    ports = [{"backend": port}]
    key = "ab" * 32
    return {
        "a directory": ("Directory", 'file(path: "secret") { contents }', host, ("Directory", "directory", {"path": str(folder)})),
        "a file": ("File", "contents", host, ("File", "file", {"path": file})),
        "a secret by its address": ("Secret", "plaintext", ("Secret", "secret", {"uri": f"file://{file}"})),
        "a secret that was read": ("Secret", "plaintext", ("Secret", "_secret", {"key": key, "uri": f"file://{file}"})),
        "a variable": ("Secret", "plaintext", ("Secret", "_secret", {"key": key, "uri": "env://CANARY"})),
        "a socket": ("Socket", "id", host, ("Socket", "unixSocket", {"path": "/run/x.sock"})),
        "a service of the host": ("Service", "hostname", host, ("Service", "service", {"ports": ports, "host": "localhost"})),
        "a file of the web": ("File", "contents", ("File", "http", {"url": f"http://127.0.0.1:{port}/f"})),
        "an early image": ("Container", "rootfs { entries }", ("Container", "container", {}), ("Container", "from", {"address": f"127.0.0.1:{port}/x"})),
        "a cache volume of another module": ("CacheVolume", "id", ("CacheVolume", "cacheVolume", {"key": "k", "namespace": "mod(of another)"})),
        "variables": (
            "EnvFile",
            'get(name: "X")',
            ("EnvFile", "envFile", {}),
            ("EnvFile", "withVariable", {"name": "P_X", "value": "${CANARY}"}),
            ("EnvFile", "namespace", {"prefix": "P"}),
        ),
    }


def test_a_written_id_is_refused(engine, folder):
    """Whatever it names, for the user's own client and for a process in a container; nothing is read and no connection is made."""
    (folder / "secret").write_text(CANARY)
    with Server({"/f": page(CANARY)}) as server, engine.session(env={"CANARY": CANARY}) as session:
        documents = {}
        for what, (kind, selection, *calls) in chains(folder, server.port).items():
            for id_ in written(*calls):
                documents[f'{{ node(id: "{id_}") {{ ... on {kind} {{ {selection} }} }} }}'] = what
        for document, what in documents.items():
            status, answer = session.post({"query": document})
            assert UNSEALED in error_message(answer), (what, answer)
            assert CANARY not in json.dumps(answer), what
        for document, answer in ask_nested(session.query, list(documents)).items():
            assert UNSEALED in error_message(answer), (documents[document], answer)
        assert not server.requests


SMUGGLES = NESTED_CLIENT + """
import json, os
import dagger
from dagger import dag, function, object_type

@object_type
class Probe:
    @function
    def container(self, id: str) -> dagger.Container: return self.smuggled(id)

    @function
    def directory(self, id: str) -> dagger.Directory: return self.smuggled(id)

    @function
    def secret(self, id: str) -> dagger.Secret: return self.smuggled(id)

    @function
    async def passes(self, id: str) -> str:
        return await dag.container().from_("busybox").with_mounted_directory("/m", dag.load_directory_from_id(dagger.DirectoryID(id))).with_exec(["cat", "/m/secret"]).stdout()

    def smuggled(self, id: str):
        ask("{ currentFunctionCall { returnValue(value: %s) } }" % json.dumps(json.dumps(id)))
        os._exit(0)
"""


def test_a_module_returns_no_id_that_it_wrote(connected, folder):
    """As a result, and as an argument that it passes on."""
    (folder / "files").mkdir()
    (folder / "files/secret").write_text(CANARY)
    module = write_module(folder / "m", SMUGGLES)
    directory, secret = ("Directory", "directory", {"path": f"{folder}/files"}), ("Secret", "_secret", {"key": "ab" * 32, "uri": f"file://{folder}/files/secret"})
    for id_ in written(("Host", "host", {}), directory):
        done = connected.run("call", "-m", module, "directory", "--id", id_, "file", "--path", "secret", "contents").failed(UNSEALED)
        assert CANARY not in done.out + done.err
        done = connected.run("call", "-m", module, "passes", "--id", id_).failed(UNSEALED)
        assert CANARY not in done.out + done.err
    for id_ in written(secret):
        done = connected.run("call", "-m", module, "secret", "--id", id_, "plaintext").failed(UNSEALED)
        assert CANARY not in done.out + done.err
    for id_ in written(("Container", "container", {}), ("Container", "withEnvVariable", {"name": "X", "value": "y"})):
        connected.run("call", "-m", module, "container", "--id", id_, "env-variable", "--name", "X").failed(UNSEALED)


# The rights of an ID.


def selected(session, document: str):
    """What a process in a container gets for its selection."""
    (answer,) = ask_nested(session.query, [document]).values()
    assert "errors" not in answer, answer
    return leaf(answer["data"])


def refused(session, document: str, words: str):
    _, answer = session.post({"query": document})
    assert words in error_message(answer), answer
    assert CANARY not in json.dumps(answer)


OWN = "a process in a container asked for it, and meant its own machine"


def test_variables_that_a_container_names_are_not_the_users(connected, folder):
    """Variables in an env file are those of the client that selected it, in any session and after a restart."""
    file = 'envFile { withVariable(name: "P_X", value: "<${CANARY:-}>") { %s } }'
    with connected.session(env={"CANARY": CANARY}) as session:
        known = selected(session, "{ %s }" % (file % 'namespace(prefix: "P") { id }'))
        plain = selected(session, "{ %s }" % (file % "id"))
        put = 'withEnvFileVariables(source: "%s") { id }' % plain
        box = selected(session, "{ container { %s } }" % put)
    for restart in (False, True):
        if restart:
            connected.stop()
        with connected.session(env={"CANARY": CANARY}) as session:
            get = '{ loadEnvFileFromID(id: "%s") { %s } }'
            assert leaf(session.query(get % (known, "asFile { contents }"))) == "X=<>\n"
            assert leaf(session.query('{ loadContainerFromID(id: "%s") { envVariable(name: "P_X") } }' % box)) == "<>"
            # What the user expands is expanded for the user.
            assert leaf(session.query("{ %s }" % (file % 'get(name: "P_X")'))) == f"<{CANARY}>"


def test_a_secret_of_a_container_is_read_for_no_other_client(connected, folder):
    """By its address it is a file of the container, also when the user's machine has one of that name."""
    (folder / "secret").write_text(CANARY)
    file = f'withNewFile(path: "{folder}/secret", contents: "of the container")'
    ask = '{ secret(uri: "file://%s/secret") { id } }' % folder
    with connected.session() as session:
        answer = ask_nested(session.query, [ask], file)
        known = leaf(answer[ask]["data"])
        # In this session it is what the container has.
        load = '{ loadSecretFromID(id: "%s") { plaintext } }' % known
        assert leaf(session.query(load)) == "of the container"
    for restart in (False, True):
        if restart:
            connected.stop()
        with connected.session() as session:
            refused(session, load, OWN)
            refused(session, '{ container { from(address: "busybox") { withSecretVariable(name: "X", secret: "%s") { withExec(args: ["sh", "-c", "echo $X | rev"]) { stdout } } } } }' % known, OWN)


def test_a_secret_that_failed_is_not_read_on_the_users_machine_later(connected, folder):
    """However many secrets a container asks for in vain: what failed for it is not read for the user's client."""
    (folder / "secret").write_text(CANARY)
    code = (
        "first = ask('{ secret(uri: \"file://%s/secret\") { id } }')['data']['secret']['id']\n"
        "ask('{ loadSecretFromID(id: \"' + first + '\") { name } }')\n"
        "for part in range(11):\n"
        "    ask('{' + ' '.join('a%%d: secret(uri: \"env://N%%d\") { id }' %% (i, 1000 * part + i) for i in range(1000)) + '}')\n"
        "print(json.dumps(ask('{ loadSecretFromID(id: \"' + first + '\") { plaintext } }')))\n"
    ) % folder
    with connected.session() as session:
        printed = run_nested(session.query, code)
        assert CANARY not in printed and "errors" in printed


def test_a_container_shares_no_cache_key_with_the_user(engine, folder):
    """The same address and `cacheKey` are another secret in a container: it neither gets the user's text nor replaces it."""
    uri = "env://CANARY?cacheKey=guessed"
    with engine.session(env={"CANARY": CANARY}) as session:
        known = leaf(session.query('{ secret(uri: "%s") { id } }' % uri))
        load = '{ loadSecretFromID(id: "%s") { plaintext } }'
        code = (
            "mine = ask('{ secret(uri: \"%s\") { id } }')['data']['secret']['id']\nprint(mine, json.dumps(ask('{ loadSecretFromID(id: \"' + mine + '\") { plaintext } }')))\n" % uri
        )
        inside = 'withEnvVariable(name: "CANARY", value: "of the container")'
        mine, said = run_nested(session.query, code, inside).split(" ", 1)
        assert json.loads(said)["data"]["loadSecretFromID"]["plaintext"] == "of the container"
        assert leaf(session.query(load % known)) == CANARY
        assert leaf(session.query('{ secret(uri: "%s") { plaintext } }' % uri)) == CANARY
        assert leaf(session.query(load % mine)) == "of the container"


def test_what_a_provider_gave_the_user_is_not_a_containers(engine, folder):
    """A provider's answer is remembered in the session for the user's clients alone."""
    write_program(folder, "op", f"printf %s {CANARY}\n")
    uri = "op://vault/item/field"
    with engine.session(env={"PATH": f"{folder}:{os.environ['PATH']}"}) as session:
        assert leaf(session.query('{ secret(uri: "%s") { plaintext } }' % uri)) == CANARY
        (answer,) = ask_nested(session.query, ['{ secret(uri: "%s") { plaintext } }' % uri]).values()
        assert "needs a client on a host" in error_message(answer)


class Answers(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(CANARY.encode())


@pytest.fixture
def listening():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_ports_that_a_container_names_are_its_own(connected, folder, listening):
    """A service of the host and a tunnel mean the machine of the client that selected them."""
    host = "host { service(ports: [{ backend: %d }]) { id } }" % listening
    read = 'container { from(address: "busybox") { withServiceBinding(alias: "h", service: "%s") { withExec(args: ["sh", "-c", "nc h %d </dev/null"]) { stdout } } } }'
    with connected.session() as session:
        # The user's own is another one, also when the user asked first.
        own = leaf(session.query("{ %s }" % host))
        assert leaf(session.query("{ %s }" % (read % (own, listening)))) == CANARY
        known = selected(session, "{ %s }" % host)
        assert known != own
        # While the user's service is passed on, it stays the user's.
        assert selected(session, "{ %s }" % (read % (own, listening))) == CANARY
        service = 'container { from(address: "busybox") { withExposedPort(port: 1) { asService(args: ["true"]) { id } } } }'
        service = leaf(session.query("{ %s }" % service))
        tunnel = selected(session, '{ host { tunnel(service: "%s") { id } } }' % service)
    for restart in (False, True):
        if restart:
            connected.stop()
        with connected.session() as session:
            refused(session, "{ %s }" % (read % (known, listening)), OWN)
            refused(session, '{ loadServiceFromID(id: "%s") { start } }' % tunnel, OWN)


@pytest.fixture(scope="module")
def registry(place):
    (place / "registry").mkdir()
    registry = Registry(place / "registry")
    yield registry
    registry.stop()


def test_an_image_is_pulled_with_the_reach_of_who_named_it(make_engine, folder, registry):
    """A registry of the machine that a container was allowed to reach is not one of the user's; one that the user names is, for a module too."""
    name = f"{registry.address}/made:1"
    engine = make_engine(mirror_of(IMAGES, offline=False) + '[security]\negress = ["127.0.0.0/8"]\n')
    with engine.session() as session:
        made = 'container { from(address: "busybox") { withNewFile(path: "/made", contents: "for the user") { publish(address: %s) } } }' % quote(name)
        session.query("{ %s }" % made)
        known = selected(session, "{ container { from(address: %s) { id } } }" % quote(name))
    engine.stop()
    engine.run("cache", "prune").ok()
    engine.stop()
    engine.config_file.write_text(engine.config_file.read_text().replace('"127.0.0.0/8"', ""))
    read = '{ loadContainerFromID(id: "%s") { file(path: "/made") { contents } } }'
    with engine.session() as session:
        refused(session, read % known, REFUSED)
        own = leaf(session.query("{ container { from(address: %s) { id } } }" % quote(name)))
        (answer,) = ask_nested(session.query, [read % own]).values()
        assert leaf(answer["data"]) == "for the user"
        (answer,) = ask_nested(session.query, ["{ container { from(address: %s) { id } } }" % quote(name)]).values()
        assert REFUSED in error_message(answer)


def test_credentials_of_the_user_are_not_for_repositories_that_a_container_names(make_engine, folder, sample):
    """A server that asks for credentials once the user's client comes gets none of the user's."""
    engine = make_engine(mirror_of(IMAGES, offline=False) + '[security]\negress = ["127.0.0.0/8"]\n')
    (engine.home / ".netrc").write_text("default login me password right\n")
    with Web(sample.bare.parent) as web:
        web.accept("me", "right")
        repository = "git(url: %s) { %s }"
        with engine.session() as session:
            known = selected(session, "{ %s }" % (repository % (quote(web.private()), "id")))
            assert leaf(session.query("{ %s }" % (repository % (quote(web.private()), "head { commit }")))) == sample.second
        load = '{ loadGitRepositoryFromID(id: "%s") { head { commit } } }' % known
        with engine.session() as session:
            refused(session, load, "Authentication failed")
