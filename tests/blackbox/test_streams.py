"""Bytes between the client's machine and containers: unix sockets, terminals, ports."""

import contextlib
import os
import socket

from kit import eventually, find_field, free_port, is_open, processes_with
from kit.nested import NESTED_CLIENT
from kit.streams import PAGE_SERVER, TcpServer, UnixServer, get, in_python, page_service_id, tunnel, words
from kit.terminal import Terminal, document_file

TALK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode())
s.shutdown(socket.SHUT_WR)
data = b""
while piece := s.recv(65536):
    data += piece
print(data.decode(), end="")
"""

BULK = """
import hashlib, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def send():
    for _ in range(512):
        s.sendall(b"x" * 65536)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
count = 0
while piece := s.recv(1 << 20):
    count += len(piece)
print(count)
"""


def socket_id(asker, path, field: str = "host.unixSocket") -> str:
    if field == "host.unixSocket":
        return find_field(asker('{ host { unixSocket(path: "%s") { id } } }' % path), "id")
    return find_field(asker('{ address(value: "%s") { socket { id } } }' % path), "id")


def test_hst_005_hst_010_mnt_012_sockets_of_the_client_are_reached(engine, folder):
    with UnixServer(folder / "one", b"1:") as one, UnixServer(folder / "two", b"2:"), engine.session() as session:
        ids = {name: socket_id(session.query, folder / name) for name in ("one", "two")}
        assert ids["one"] != ids["two"]
        assert socket_id(session.query, f"{folder}/one", "address") == ids["one"]
        assert socket_id(session.query, f"unix://{folder}/one", "address") == ids["one"]
        talk = words("python3", "-c", TALK, "/s/agent", "hello")
        base = f'withUnixSocket(path: "/s/agent", source: "{ids["one"]}")'
        answer = session.query(in_python(f"{base}\nwithExec(args: {talk})"))
        assert find_field(answer, "stdout") == "1:hello"
        # A second socket at a path replaces the first. Each connection is separate.
        twice = words("sh", "-c", f"python3 -c '{TALK}' /s/agent a; python3 -c '{TALK}' /s/agent b")
        again = f'{base}\nwithUnixSocket(path: "/s/agent", source: "{ids["two"]}")\nwithExec(args: {twice})'
        assert find_field(session.query(in_python(again)), "stdout") == "2:a2:b"
        gone = f'{base}\nwithoutUnixSocket(path: "/s/agent")\nwithExec(args: {words("sh", "-c", "test ! -e /s/agent; echo $?")})'
        assert find_field(session.query(in_python(gone)), "stdout") == "0\n"
        # The socket is not part of the tree.
        rest = f'{base}\nwithExec(args: {words("stat", "-c", "%F %a %u:%g", "/s/agent")})'
        assert find_field(session.query(in_python(rest)), "stdout") == "socket 600 0:0\n"
        owned = rest.replace('")\n', '", owner: "1000:1001")\n', 1)
        assert find_field(session.query(in_python(owned)), "stdout") == "socket 600 1000:1001\n"
        user = f'withUser(name: "1000:1001")\n{base[:-1]}, owner: "1000:1001")\nwithExec(args: {talk})'
        assert find_field(session.query(in_python(user)), "stdout") == "1:hello"
        assert one.accepted == 2


def test_hst_010_a_socket_carries_bulk_and_many_connections(engine, folder):
    with UnixServer(folder / "s"), engine.session() as session:
        mounted = f'withUnixSocket(path: "/s", source: "{socket_id(session.query, folder / "s")}")'
        bulk = f'{mounted}\nwithExec(args: {words("python3", "-c", BULK, "/s")})'
        assert find_field(session.query(in_python(bulk)), "stdout") == f"{512 * 65536}\n"
        many = "import sys, threading, socket\nok = []\n" + (
            "def one(i):\n s = socket.socket(socket.AF_UNIX); s.connect('/s'); t = (str(i) * 1000).encode(); s.sendall(t)\n"
            " s.shutdown(1); d = b''\n while p := s.recv(9999): d += p\n ok.append(d == t)\n"
            "ts = [threading.Thread(target=one, args=(i,)) for i in range(100)]\n"
            "[t.start() for t in ts]; [t.join() for t in ts]; print(len(ok), all(ok))"
        )
        assert find_field(session.query(in_python(f'{mounted}\nwithExec(args: {words("python3", "-c", many)})')), "stdout") == "100 True\n"


def test_hst_010_a_missing_socket_is_named(engine, folder):
    with engine.session() as session:
        for path, why in [(folder / "none", "no such file or directory"), (folder, "it is no socket")]:
            mounted = f'withUnixSocket(path: "/s", source: "{socket_id(session.query, path)}")'
            error = session.error(in_python(f'{mounted}\nwithExec(args: {words("echo", path)})'))
            assert f"cannot use the socket `{path}` of the client: {why}" in error["message"], error
        # Without a listener the connection ends without data.
        server = UnixServer(folder / "dead")
        server.close()
        mounted = f'withUnixSocket(path: "/s", source: "{socket_id(session.query, folder / "dead")}")'
        answer = session.query(in_python(f'{mounted}\nwithExec(args: {words("python3", "-c", TALK, "/s", "x")}, expect: ANY)', "stdout exitCode"))
        assert find_field(answer, "stdout") == ""


def test_xs_005_sockets_belong_to_a_session(engine, folder):
    document = 'withUnixSocket(path: "/s", source: "%s")\nwithEnvVariable(name: "N", value: "%s")\nwithExec(args: %s)'
    talk = words("python3", "-c", TALK, "/s", "x")
    with engine.session() as first, engine.session() as second:
        with UnixServer(folder / "s", b"first:"):
            mine = socket_id(first.query, folder / "s")
            assert find_field(first.query(in_python(document % (mine, 1, talk))), "stdout") == "first:x"
            error = second.error(in_python(document % (mine, 2, talk)))
            assert "the socket is not known in this session" in error["message"]
        with UnixServer(folder / "s", b"second:") as server:
            # The container is of another session. Its socket is now this session's socket of the
            # same path.
            made = find_field(first.query(in_python(f'withUnixSocket(path: "/s", source: "{mine}")', "id")), "id")
            socket_id(second.query, folder / "s")
            run = '{ node(id: "%s") { ... on Container { withEnvVariable(name: "N", value: "3") { withExec(args: %s) { stdout } } } } }'
            assert find_field(second.query(run % (made, talk)), "stdout") == "second:x"
            # The output of an exec with an equal socket is cached, as with the network.
            assert find_field(second.query(in_python(document % (socket_id(second.query, folder / "s"), 1, talk))), "stdout") == "first:x"
            assert server.accepted == 1


NESTED = NESTED_CLIENT + """
import socket, threading

server = socket.socket(socket.AF_UNIX)
server.bind("/own")
server.listen(1)
def serve():
    near, _ = server.accept()
    near.sendall(b"from the inner process")
    near.close()
threading.Thread(target=serve, daemon=True).start()

sock = ask('{ host { unixSocket(path: "/own") { id } } }')["data"]["host"]["unixSocket"]["id"]
outer = ask('{ host { unixSocket(path: "OUTER") { id } } }')["data"]["host"]["unixSocket"]["id"]
run = '{ container { from(address: "python:3.13-slim") { withUnixSocket(path: "/s", source: "%s") { withExec(args: %s) { stdout } } } } }'
talk = json.dumps(["python3", "-c", TALK, "/s", ""])
print(ask(run % (sock, talk))["data"]["container"]["from"]["withUnixSocket"]["withExec"]["stdout"])
print(ask(run % (outer, talk))["errors"][0]["message"])
"""


def test_hst_010_sockets_of_a_nested_client_are_those_of_its_container(engine, folder):
    with UnixServer(folder / "outer"), engine.session() as session:
        code = f"TALK = {TALK!r}\n" + NESTED.replace("OUTER", str(folder / "outer"))
        steps = f'withExec(args: {words("python3", "-c", code)}, experimentalPrivilegedNesting: true)'
        said = find_field(session.query(in_python(steps)), "stdout").splitlines()
        assert said[0] == "from the inner process"
        assert "cannot use the socket" in said[1] and "no such file or directory" in said[1].lower(), said


def test_trm_001_a_terminal_opens_in_a_container(engine, folder):
    chain = in_python('withEnvVariable(name: "COLOUR", value: "green")\nwithWorkdir(path: "/code")\nterminal(cmd: ["sh"])\nwithExec(args: ["sh", "-c", "ls /code; echo went on"])')
    terminal = Terminal(engine, "query", "--doc", document_file(folder, chain))
    terminal.until("# ")
    terminal.type("tty; stty size; pwd; echo colour=$COLOUR; test -t 2 && echo 'all' three; touch made\r")
    said = terminal.until("all three\r\n")
    for wanted in ["/dev/pts/0", "40 100", "/code", "colour=green"]:
        assert wanted in said, said
    terminal.resize(120, 50)
    terminal.until("# ")
    terminal.type("sleep 0.3; stty size\r")
    terminal.until("50 120")
    # Ctrl-C goes to the process, not to the client.
    terminal.type("sh -c 'echo fast \"asleep\"; exec sleep 1000'\r")
    terminal.until("fast asleep\r\n")
    terminal.type("\x03")
    terminal.until("# ")
    terminal.type("exit 3\r")
    said = terminal.until('"stdout"') + terminal.until("\n")
    assert terminal.end() == 0
    # Changes in the terminal are discarded, and the chain goes on.
    assert '"went on\\n"' in said, said


def test_trm_001_a_terminal_runs_the_default_or_the_given_command(engine, folder):
    steps = 'withDefaultTerminalCmd(args: ["echo", "the default one"])\nterminal\nterminal(cmd: ["sh", "-c", "echo the asked one; exit 1"])'
    terminal = Terminal(engine, "query", "--doc", document_file(folder, in_python(steps, "workdir")))
    terminal.until("the default one\r\n")
    terminal.until("the asked one\r\n")
    terminal.until('"workdir"')
    assert terminal.end() == 0
    (folder / "dir").mkdir()
    (folder / "dir/only-file").write_text("")
    asked = '{ host { directory(path: "%s") { terminal(cmd: ["sh", "-c", "pwd; ls; id -u"]) { entries } } } }' % (folder / "dir")
    terminal = Terminal(engine, "query", "--doc", document_file(folder, asked))
    assert "/src\r\nonly-file\r\n0\r\n" in terminal.until('"entries"')
    assert terminal.end() == 0


def test_trm_001_svc_021_a_client_without_a_tty_gets_an_error(engine):
    engine.query(in_python("terminal", "workdir")).failed("cannot open a terminal", "no TTY")
    engine.query(in_python("", 'asService(args: ["sleep", "9"]) { terminal { id } }')).failed("cannot open a terminal", "no TTY")
    engine.query("{ host { service(ports: [{backend: 1}]) { terminal { id } } } }").failed("cannot open a terminal", "not a container")
    for command in ["query", "run", "session"]:
        engine.run(command, "-i", *["true"][command != "run" :], stdin=in_python("", "workdir")).failed("no tty available for `--interactive`")
    with engine.session() as session:
        assert "no TTY" in session.error(in_python("terminal", "workdir"))["message"]
    old = engine.query('{ container { from(address: "busybox") { terminal { websocketEndpoint } } } }', "--api-version", "v0.11.9")
    old.failed("websockets", "v0.12.0")


def test_trm_001_a_terminal_ends_with_its_client(engine, folder):
    engine.settle()
    terminal = Terminal(engine, "query", "--doc", document_file(folder, in_python('terminal(cmd: ["sh", "-c", "echo here; sleep 987654"])')))
    terminal.until("here")
    eventually(lambda: processes_with("sleep 987654"))
    os.kill(terminal.pid, 9)
    terminal.end()
    eventually(lambda: not processes_with("sleep 987654"), what="the end of the process")
    eventually(lambda: engine.status()["clients"] == 0, what="the end of the client")


SERVE_HERE = "import http.server as h; open('index.html', 'w').write('the page'); h.HTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
FETCH = "import urllib.request as u; print(u.urlopen('http://%s:8000').read().decode())"


def inside_service(ending: str) -> str:
    steps = 'withEnvVariable(name: "COLOUR", value: "green")\nwithWorkdir(path: "/work")\nwithUser(name: "1000:1001")\nwithExposedPort(port: 8000)\nwithDefaultTerminalCmd(args: ["sh", "-i"])'
    return in_python(steps, f"asService(args: {words('python3', '-c', SERVE_HERE)}) {{ {ending} }}")


def test_trm_001_a_program_opens_terminals(engine, folder):
    chain = '{ container { from(address: "busybox") { terminal(cmd: ["echo", "one"]) { withExec(args: ["sh", "-c", "exit 9"]) { stdout } } } } }'
    (folder / "program.py").write_text(f"{NESTED_CLIENT}print(ask({chain!r})['errors'][0]['message'])\n")
    terminal = Terminal(engine, "run", "-i", "--interactive-command=echo two", "python3", folder / "program.py")
    terminal.until("one\r\n")
    terminal.until("two\r\n")
    terminal.until("exit code: 9\r\n")
    assert terminal.end() == 0


def test_svc_021_a_terminal_opens_in_a_service(engine, folder):
    chain = inside_service('terminal { terminal(cmd: ["cat", "index.html"]) { hostname } }')
    terminal = Terminal(engine, "query", "--doc", document_file(folder, chain))
    terminal.until("$ ")
    programs = "for f in /proc/[0-9]*/cmdline; do tr '\\0' '\\n' < $f | head -n 1; done"
    terminal.type(f"tty; stty size; pwd; id -u; echo colour=$COLOUR; stat -c owner=%u $(tty); echo programs $({programs}) all \'told\'\r")
    said = terminal.until("all told\r\n")
    for wanted in ["/dev/pts/0\r\n", "\r\n40 100\r\n/work\r\n1000\r\ncolour=green\r\nowner=1000\r\n"]:
        assert wanted in said, said
    assert {"/.init", "python3", "sh"} <= set(said.rpartition("programs ")[2].split()), said
    terminal.type(f'cat index.html; echo; echo changed > index.html; python3 -c "{FETCH % "localhost"}"; echo all \'done\'\r')
    said = terminal.until("all done\r\n")
    # The echo of the input may come before the prompt.
    assert "the page\r\n" in said and "\r\nchanged\r\n" in said, said
    terminal.type("sh -c 'echo fast \"asleep\"; exec sleep 1000'\r")
    terminal.until("fast asleep\r\n")
    terminal.type("\x03")
    terminal.until("$ ")
    terminal.type("exit 3\r")
    # The service is the same instance, and its changed file is still changed.
    terminal.until("changed\r\n")
    terminal.until('"hostname"')
    assert terminal.end() == 0


def test_svc_021_a_terminal_that_ends_early_is_an_error(engine, folder):
    def ending(command: list) -> tuple:
        terminal = Terminal(engine, "query", "--doc", document_file(folder, inside_service(f"terminal(cmd: {words(*command)}) {{ id }}")))
        return terminal.end(), terminal.said.decode(errors="replace")

    code, said = ending(["nope"])
    assert code == 1 and 'exec: "nope": executable file not found in $PATH' in said, said
    code, said = ending(["/bin/nope"])
    assert code == 1 and 'exec: "/bin/nope": no such file or directory' in said, said
    code, said = ending(["sh", "-c", "echo here; kill -9 -1; sleep 1000"])
    assert code == 137 and "here\r\n" in said and "ended, and its terminal with it" in said and "exit code: 137" in said, said


def failing(script: str) -> tuple:
    """A failing process with every kind of mount and binding."""
    served = f"{{ container {{ from(address: \"python:3.13-slim\") {{ withWorkdir(path: \"/work\") {{ withExposedPort(port: 8000) {{ asService(args: {words('python3', '-c', SERVE_HERE)}) {{ id }} }} }} }} }} }}"
    return served, f"""
        withEnvVariable(name: "COLOUR", value: "green")
        withMountedDirectory(path: "/mnt", source: "DIRECTORY", owner: "1000")
        withMountedCache(path: "/cache", cache: "CACHE")
        withServiceBinding(alias: "www", service: "SERVICE")
        withWorkdir(path: "/work")
        withUser(name: "1000:1001")
        withExec(args: {words("sh", "-c", script)}, stdin: "unread")
    """


def test_trm_001_a_terminal_opens_at_a_failed_process(engine, folder):
    with engine.session() as session:
        served, steps = failing("echo left > left; chmod 600 left; echo inside > /mnt/new; echo said; echo complained >&2; exit 3")
        ids = {"SERVICE": find_field(session.query(served), "id"), "CACHE": find_field(session.query('{ cacheVolume(key: "k") { id } }'), "id")}
        ids["DIRECTORY"] = find_field(session.query('{ directory { withNewFile(path: "old", contents: "before\\n") { id } } }'), "id")
        for name, value in ids.items():
            steps = steps.replace(name, value)
        chain = in_python(steps)
        terminal = Terminal(engine, "query", "-i", "--doc", document_file(folder, chain))
        assert "exit code: 3\r\n" in terminal.until("complained\r\n")
        terminal.until("$ ")
        # Another client does not wait for the terminal.
        before = engine.execs()
        assert "exit code: 3" in session.error(chain)["message"]
        assert engine.execs() == before + 2
        terminal.type(f'pwd; id -u; cat left /mnt/old /mnt/new; stat -c %u /mnt/new; echo colour=$COLOUR; test -d /cache; echo cache=$?; tty; python3 -c "{FETCH % "www"}"; echo all \'done\'\r')
        said = terminal.until("all done\r\n")
        wanted = ["/work", "1000", "left", "before", "inside", "1000", "colour=green", "cache=0", "/dev/pts/0", "the page"]
        assert "".join(f"{line}\r\n" for line in wanted) in said, said
        terminal.type("exit 5\r")
        assert terminal.end() == 3
        assert b"exit code: 3" in terminal.said
        # The failure is not cached.
        before = engine.execs()
        assert "exit code: 3" in session.error(chain)["message"]
        assert engine.execs() > before


def test_trm_001_failures_get_their_terminals_in_order(engine, folder):
    inner = 'ask(\'{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "exit 7"]) { stdout } } } }\')["data"]["container"]'
    code = NESTED_CLIENT + inner
    fail = "withExec(args: %s) { stdout }"
    several = in_python("", " ".join([
        f'a: withExec(args: {words("python3", "-c", code)}, experimentalPrivilegedNesting: true) {{ stdout }}',
        f'b: withExec(args: {words("sh", "-c", "sleep 6; exit 4")}) {{ stdout }}',
        f'c: withExec(args: {words("sh", "-c", "exit 5")}, expect: FAILURE) {{ stdout }}',
    ]))
    terminal = Terminal(engine, "query", "-i", "--interactive-command", "sh -c 'echo \"shown  here\"; read line; echo $line'", "--doc", document_file(folder, several))
    # One after the other, in the order in which they failed.
    for wanted in ["exit code: 7", "exit code: 1", "exit code: 4"]:
        said = terminal.until("shown  here\r\n")
        assert wanted in said and said.count("This terminal shows what it left") == 1, said
        terminal.type("typed\r")
        terminal.until("typed\r\ntyped\r\n")
    assert terminal.end() in (1, 4)
    assert b"shown  here" not in terminal.said
    # A command that did not start gets a terminal in its container. A failed terminal is a hint.
    absent = document_file(folder, in_python(f'withNewFile(path: "/found", contents: "as it was")\n{fail % words("absent")}'.removesuffix(" { stdout }")))
    terminal = Terminal(engine, "query", "-i", "--interactive-command=cat /found", "--doc", absent)
    assert terminal.end() == 1
    assert b"as it was" in terminal.said and b'"absent": executable file not found' in terminal.said, terminal.said
    terminal = Terminal(engine, "query", "-i", "--interactive-command=/none -l", "--doc", absent)
    assert terminal.end() == 1
    assert b'he terminal at what failed ended with an error: exec: "/none": no such file' in terminal.said, terminal.said
    # An expected failure opens no terminal.
    caught = in_python(f'withExec(args: {words("sh", "-c", "exit 6")}, expect: ANY)', "exitCode")
    terminal = Terminal(engine, "query", "-i", "--doc", document_file(folder, caught))
    assert terminal.end() == 0 and b"exitCode" in terminal.said


def test_svc_017_tunnels_reach_services(engine):
    one, two = free_port(), free_port()
    with engine.session() as session:
        service = page_service_id(session, 8000)
        random = tunnel(session, service, "", 'hostname endpoint url: endpoint(scheme: "http") ports { port protocol }')
        assert random["hostname"] == "localhost" and get(random["endpoint"]) == "the page" and get(random["url"] + "/") == "the page"
        assert [f"localhost:{port['port']}" for port in random["ports"]] == [random["endpoint"]]
        assert random["ports"][0]["protocol"] == "TCP"
        several = tunnel(session, service, f", ports: [{{frontend: {one}, backend: 8000}}, {{frontend: {two}, backend: 8000}}]", "endpoint")
        assert several["endpoint"] == f"localhost:{one}"
        assert get(f"localhost:{one}") == get(f"localhost:{two}") == "the page"
        error = session.error('{ host { tunnel(service: "%s", ports: [{frontend: %d, backend: 8000}]) { start } } }' % (service, one))
        assert f"cannot listen on port {one}/tcp of the client's machine: address already in use" in error["message"], error
        error = session.error('{ host { tunnel(service: "%s") { start } } }' % page_service_id(session))
        assert "no ports to forward" in error["message"]
        error = session.error('{ host { tunnel(service: "%s", ports: [{frontend: 70000, backend: 1}]) { id } } }' % service)
        assert "`frontend` must be a port" in error["message"]
        stopped = find_field(session.query('{ host { tunnel(service: "%s", ports: [{frontend: %d, backend: 8000}]) { id } } }' % (service, free_port())), "id")
        assert "not running" in session.error('{ node(id: "%s") { ... on Service { endpoint } } }' % stopped)["message"]
        assert is_open(one)
    eventually(lambda: not is_open(one) and not is_open(two), what="the end of the tunnels")


def test_svc_017_native_tunnels_keep_port_numbers(engine):
    native, other = free_port(), free_port()
    with engine.session() as session:
        service = page_service_id(session, native, listens=native)
        made = tunnel(session, service, f", native: true, ports: [{{frontend: {other}, backend: {native}}}]", "ports { port }")
        assert [port["port"] for port in made["ports"]] == [native, other]
        assert get(f"localhost:{native}") == get(f"localhost:{other}") == "the page"


DIAL = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); s.sendall(b'x'); s.shutdown(1); d = b''\nwhile p := s.recv(9): d += p\nprint(d.decode(), end='')"


def test_svc_018_adr_001_containers_reach_ports_of_the_client(engine):
    with TcpServer(b"one:") as one, TcpServer(b"two:") as two, engine.session() as session:
        ports = f"[{{frontend: 80, backend: {one.port}}}, {{backend: {two.port}}}]"
        fields = "id hostname endpoint ports { port }"
        host = session.query("{ host { service(ports: %s) { %s } } }" % (ports, fields))["host"]["service"]
        assert host["endpoint"] == host["hostname"] + ":80" and [p["port"] for p in host["ports"]] == [80, two.port]
        both = f'withServiceBinding(alias: "outside", service: "{host["id"]}")\n'
        for port, wanted in [(80, "one:x"), (two.port, "two:x")]:
            assert find_field(session.query(in_python(f'{both}withExec(args: {words("python3", "-c", DIAL, "outside", port)})')), "stdout") == wanted
        assert "no ports specified" in session.error("{ host { service(ports: []) { id } } }")["message"]
        address = find_field(session.query('{ address(value: "tcp://127.0.0.1:%d") { service { id } } }' % one.port), "id")
        bound = f'withServiceBinding(alias: "there", service: "{address}")\nwithExec(args: {words("python3", "-c", DIAL, "there", one.port)})'
        assert find_field(session.query(in_python(bound)), "stdout") == "one:x"
        for wrong in ["", "localhost:80", "tcp://", "http://localhost", "foo://bar", "tcp://h", "tcp://h:0", "tcp://h:x"]:
            assert "address" in session.error('{ address(value: "%s") { service { id } } }' % wrong)["message"], wrong


def test_svc_018_a_tunnel_carries_udp_both_ways(engine):
    echo = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 4321))\nwhile True: d, a = s.recvfrom(9999); s.sendto(d.upper(), a)"
    with engine.session() as session, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        exposed = 'withExposedPort(port: 4321, protocol: UDP)'
        service = find_field(session.query(in_python(exposed, f'asService(args: {words("python3", "-c", echo)}) {{ id }}')), "id")
        port = int(tunnel(session, service, "", "endpoint")["endpoint"].split(":")[1])
        near.settimeout(1)
        for _ in range(30):
            near.sendto(b"datagram", ("127.0.0.1", port))
            with contextlib.suppress(TimeoutError):
                assert near.recvfrom(9999)[0] == b"DATAGRAM"
                break
        else:
            raise AssertionError("no answer")


def test_svc_021_up_opens_ports_until_it_is_interrupted(engine, folder):
    port = free_port()
    up = f'{{ container {{ from(address: "python:3.13-slim") {{ withNewFile(path: "/srv/x", contents: "") {{ withExposedPort(port: 8000) {{ asService(args: {words("python3", "-c", PAGE_SERVER)}) {{ up(ports: [{{frontend: {port}, backend: 8000}}]) }} }} }} }} }} }}'
    process = engine.start("query", "--doc", document_file(folder, up))
    eventually(lambda: is_open(port), what="the tunnel")
    assert get(f"localhost:{port}") == "the page"
    process.send_signal(2)
    _, said = process.communicate(timeout=30)
    assert f"localhost:{port}" in said, said
    eventually(lambda: not is_open(port), what="the end of the tunnel")
    # The ports of a killed client are closed.
    process = engine.start("query", "--doc", document_file(folder, up.replace("asService", "withEnvVariable(name: \"A\", value: \"B\") { asService") + "}"))
    eventually(lambda: is_open(port), what="the tunnel")
    process.kill()
    process.communicate(timeout=30)
    eventually(lambda: not is_open(port), what="the end of the tunnel")
