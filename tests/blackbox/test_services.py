"""Services: processes that other containers reach by name, once per session."""

import re
import threading
import time

from kit import PYTHON, ask, container, document, eventually, processes_with, quote, serve_module, sh, write_module


def fail(session, *links: str) -> dict:
    return session.error(document(*links))


def py(script: str) -> str:
    return f'withExec(args: ["python", "-c", {quote(script)}])'


def service(session, script: str, *links: str, image: str = "busybox", what: str = "id") -> str:
    """A service that runs a script."""
    return ask(session, *container(image), *links, f'asService(args: ["sh", "-c", {quote(script)}])', what)


def web_service(session, content: str, *links: str) -> str:
    """A web server with one file."""
    file = f'withNewFile(path: "/srv/index.html", contents: {quote(content)})'
    return service(session, "httpd -f -p 80 -h /srv", file, "withExposedPort(port: 80)", *links)


def loaded_service(identity: str) -> str:
    return f'loadServiceFromID(id: "{identity}")'


def bind(identity: str, alias: str = "www") -> str:
    return f'withServiceBinding(alias: "{alias}", service: "{identity}")'


def name(session, identity: str) -> str:
    return ask(session, loaded_service(identity), "hostname")


def fetch_from(session, identity: str, alias: str = "www", salt: str = "") -> str:
    return ask(session, *container(), bind(identity, alias), sh(f"wget -qO- http://{alias}/ # {salt}"), "stdout")


FIND = "import socket; print(socket.gethostbyname({!r}))"
GET = "import urllib.request; print(urllib.request.urlopen('http://{}/', timeout=5).read().decode())"


def test_svc_001_hostnames_follow_from_content_and_endpoints_from_both(engine, session):
    one, same, other = web_service(session, "1"), web_service(session, "1"), web_service(session, "2")
    hostname = name(session, one)
    assert hostname == name(session, same) != name(session, other)
    with engine.session() as later:
        assert name(later, web_service(later, "1")) == hostname
    assert ask(session, loaded_service(one), "endpoint") == f"{hostname}:80"
    assert ask(session, loaded_service(one), 'endpoint(port: 8080, scheme: "http")') == f"http://{hostname}:8080"
    closed = service(session, "sleep 1000")
    assert "no ports exposed" in fail(session, loaded_service(closed), "endpoint")["message"]
    assert "between 1 and 65535" in fail(session, loaded_service(one), "endpoint(port: 70000)")["message"]


def test_svc_002_a_chosen_hostname_is_known_in_the_session(session):
    named = ask(session, loaded_service(web_service(session, "named")), 'withHostname(hostname: "wwwhatsup")', "id")
    assert ask(session, loaded_service(named), 'endpoint(scheme: "http")') == "http://wwwhatsup:80"
    ask(session, loaded_service(named), "start")
    assert ask(session, *container(PYTHON), py(GET.format("wwwhatsup")), "stdout") == "named\n"
    assert "no host name" in fail(session, loaded_service(named), 'withHostname(hostname: "a b")', "id")["message"]
    ask(session, loaded_service(named), "stop")


def test_svc_008_a_service_lists_its_ports(session):
    links = (
        'withExposedPort(port: 8000, description: "eight thousand")',
        "withExposedPort(port: 8000, protocol: UDP, experimentalSkipHealthcheck: true)",
        "withExposedPort(port: 9000)",
        "withoutExposedPort(port: 9000)",
    )
    ports = "ports { port protocol description experimentalSkipHealthcheck }"
    found = service(session, "sleep 1000", *links, what=ports)
    tcp = {"port": 8000, "protocol": "TCP", "description": "eight thousand", "experimentalSkipHealthcheck": False}
    udp = {"port": 8000, "protocol": "UDP", "description": None, "experimentalSkipHealthcheck": True}
    assert found == [tcp, udp]


def test_svc_009_a_service_is_reached_by_udp(session):
    echo = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 4321))\nwhile True: s.sendto(*s.recvfrom(99))"
    server = ask(
        session, *container(PYTHON), "withExposedPort(port: 4321, protocol: UDP)", f'asService(args: ["python", "-c", {quote(echo)}])', "id"
    )
    client = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2)\n"
        "for _ in range(50):\n"
        "  s.sendto(b'hey', ('echo', 4321))\n"
        "  try: print(s.recv(9).decode()); break\n"
        "  except OSError: pass"
    )
    assert ask(session, *container(PYTHON), bind(server, "echo"), py(client), "stdout") == "hey\n"


def test_svc_010_a_consumer_runs_once_ports_accept(session):
    slow = "sleep 0.7; httpd -f -p 80 -h /srv"
    file = 'withNewFile(path: "/srv/index.html", contents: "at last")'
    ready = service(session, slow, file, "withExposedPort(port: 80)")
    assert fetch_from(session, ready) == "at last"
    skipped = service(session, "sleep 1001", "withExposedPort(port: 80, experimentalSkipHealthcheck: true)")
    begun = time.monotonic()
    assert ask(session, *container(), bind(skipped), sh("echo ran"), "stdout") == "ran\n"
    assert time.monotonic() - begun < 5


def test_svc_011_a_health_check_decides_when_a_service_is_ready(session):
    script = "echo started > /state; sleep 0.5; echo ready > /state; sleep 1000"
    file = "grep -q ready /state"
    for check in (f'args: ["sh", "-c", "{file}"]', f'args: ["{file}"], shell: true'):
        healthy = service(session, script, f'withDockerHealthcheck({check}, interval: "100ms", retries: 50)')
        assert ask(session, *container(), bind(healthy), sh("echo it is ready"), "stdout") == "it is ready\n"
    failing = 'args: ["sh", "-c", "echo out; echo err >&2; exit 3"], interval: "50ms", retries: 2'
    sick = service(session, "sleep 1002", f"withDockerHealthcheck({failing})")
    error = fail(session, *container(), bind(sick), sh("echo never"), "stdout")
    assert f"start {name(session, sick)} (aliased as www): health check errored: exit code: 3" in error["message"], error
    details = error["extensions"]
    assert (details["_type"], details["exitCode"]) == ("EXEC_ERROR", 3)
    assert (details["stdout"], details["stderr"]) == ("out", "err")
    assert details["cmd"][-1].startswith("echo out")


def test_svc_012_svc_020_a_service_that_does_not_start_is_named(session):
    script = "echo hello there; exit 42"
    broken = service(session, script, "withExposedPort(port: 80)")
    starts = f"start {name(session, broken)}"
    for error, message in (
        (fail(session, *container(), bind(broken), sh("echo never"), "stdout"), f"{starts} (aliased as www): exit code: 42"),
        (fail(session, loaded_service(broken), "start"), f"{starts}: exit code: 42"),
    ):
        assert message in error["message"], error
        details = error["extensions"]
        assert (details["_type"], details["exitCode"], details["stdout"]) == ("EXEC_ERROR", 42, "hello there")
        assert details["cmd"] == ["sh", "-c", script]
    assert "no service command has been set" in fail(session, "container", "asService", "start")["message"]
    missing = ask(session, *container(), 'asService(args: ["/no/such/program"])', "id")
    assert "no such file" in fail(session, loaded_service(missing), "start")["message"]


def test_svc_013_a_service_that_ends_is_named_as_the_cause(session):
    web_for_a_while = "(sleep 3; kill -9 $(cat /pid)) & httpd -f -p 80 & echo $! > /pid; wait $!; echo bye; exit 42"
    mortal = service(session, web_for_a_while, "withExposedPort(port: 80)")
    begun = time.monotonic()
    error = fail(session, *container(), bind(mortal), sh("echo waiting; sleep 60"), "stdout")
    assert time.monotonic() - begun < 30
    bound = f"bound service {name(session, mortal)} (aliased as www) exited"
    assert re.search(re.escape(bound) + ".*exit code: 42", error["message"]), error
    assert error["extensions"]["exitCode"] == 42
    # A service that needs the ended one fails, too.
    middle = service(session, "httpd -f -p 80 # middle", bind(mortal, "below"), "withExposedPort(port: 80)")
    error = fail(session, *container(), bind(middle, "middle"), sh("sleep 61"), "stdout")
    assert re.search(r"\(aliased as middle\) exited.*\(aliased as below\) exited.*exit code: 42", error["message"]), error


def test_svc_014_processes_inside_reach_services_of_the_session(engine, session):
    server = web_service(session, "from within")
    ask(session, loaded_service(server), "start")
    hostname = name(session, server)
    page = document(*container(PYTHON), py(GET.format(hostname)), "stdout")
    inner = (
        "import base64, json, os, urllib.request as u\n"
        "r = u.Request('http://127.0.0.1:' + os.environ['DAGGER_SESSION_PORT'] + '/query', "
        f"json.dumps({{'query': {page!r}}}).encode(), {{'Content-Type': 'application/json'}})\n"
        "print(u.urlopen(r).read().decode())\n"
        "print(open('/etc/resolv.conf').read())"
    )
    nested = f'withExec(args: ["python", "-c", {quote(inner)}], experimentalPrivilegedNesting: true)'
    said = ask(session, *container(PYTHON), nested, "stdout")
    assert "from within" in said
    assert re.search(r"^search [0-9a-v]{13}\.dagger\.local", said, re.MULTILINE), said
    ask(session, loaded_service(server), "stop")


def test_svc_015_a_service_is_started_and_stopped(session):
    server = web_service(session, "start and stop")
    look = (*container(PYTHON), py(FIND.format(name(session, server))))
    ask(session, loaded_service(server), "start")
    ask(session, loaded_service(server), "start")
    assert ask(session, *look, "stdout").startswith("1")
    ask(session, loaded_service(server), "stop")
    again = (*container(PYTHON), "withEnvVariable(name: \"AGAIN\", value: \"1\")", look[-1])
    assert "exit code" in fail(session, *again, "stdout")["message"]
    ask(session, loaded_service(server), "stop")
    # The process ignores SIGTERM.
    script = "trap '' TERM; touch /deaf; while true; do sleep 0.1; done"
    deaf = service(session, script, 'withDockerHealthcheck(args: ["test", "-e", "/deaf"], interval: "50ms", retries: 100)')
    ask(session, loaded_service(deaf), "start")
    stopped = threading.Event()
    first = threading.Thread(target=lambda: (ask(session, loaded_service(deaf), "stop"), stopped.set()), daemon=True)
    first.start()
    assert not stopped.wait(1)
    ask(session, loaded_service(deaf), "stop(kill: true)")
    assert stopped.wait(10)
    first.join()


def test_svc_020_a_service_runs_its_command(session):
    def runs(*links: str) -> str:
        """The arguments of the service's command, which its script serves."""
        served = ask(session, *container(), *links, "id")
        return fetch_from(session, served)

    script = 'mkdir /srv; echo \\"$0 $*\\" > /srv/index.html; exec httpd -f -p 80 -h /srv'
    entry = f'withEntrypoint(args: ["sh", "-c", "{script}", "entry"])'
    port = "withExposedPort(port: 80)"
    assert runs(entry, port, "asService") == "entry \n"
    command = f'["sh", "-c", "{script}", "own"]'
    assert runs(entry, f"withDefaultArgs(args: {command})", port, "asService") == "own \n"
    assert runs(port, f"asService(args: {command})") == "own \n"
    assert runs(entry, port, 'asService(args: ["more"], useEntrypoint: true)') == "entry more\n"
    variable = 'withEnvVariable(name: "WORD", value: "expanded")'
    assert runs(variable, entry, port, 'asService(args: ["$WORD"], useEntrypoint: true, expand: true)') == "entry expanded\n"
    assert runs(entry, port, "asService(noInit: true)") == "entry \n"
    assert runs(entry, port, "asService(insecureRootCapabilities: true)") == "entry \n"


def test_env_006_services_do_not_see_volatile_variables(session):
    file = 'withVolatileVariable(name: "LOOSE", value: "seen")'
    script = "mkdir /srv; echo \"[$LOOSE]\" > /srv/index.html; exec httpd -f -p 80 -h /srv"
    assert fetch_from(session, service(session, script, file, "withExposedPort(port: 80)")) == "[]\n"


def test_leg_015_old_views_take_the_last_exec_as_the_service(engine):
    with engine.session(env={"_EXPERIMENTAL_DAGGER_VERSION": "v0.14.0"}) as old:
        file = 'withNewFile(path: "/srv/index.html", contents: "the last")'
        run = 'withExec(args: ["httpd", "-f", "-p", "80", "-h", "/srv"])'
        served = ask(old, *container(), file, run, "withExposedPort(port: 80)", "asService", "id")
        assert fetch_from(old, served) == "the last"


def test_a_service_runs_once_in_a_session(session):
    """Two users of a service reach one instance, also through another service."""
    counter = "mkdir -p /srv/cgi-bin; printf '%s\\n' '#!/bin/sh' 'echo; echo >> /count; wc -l < /count' > /srv/cgi-bin/c; chmod +x /srv/cgi-bin/c; exec httpd -f -p 80 -h /srv"
    count = service(session, counter, "withExposedPort(port: 80)")
    relay = service(session, "mkdir /srv; wget -qO /srv/index.html http://count/cgi-bin/c; exec httpd -f -p 80 -h /srv", bind(count, "count"), "withExposedPort(port: 80)")
    visit = lambda salt: ask(session, *container(), bind(count, "count"), sh(f"wget -qO- http://count/cgi-bin/c # {salt}"), "stdout").strip()
    assert fetch_from(session, relay).strip() == "1"
    assert [visit("a"), visit("b")] == ["2", "3"]


def test_sessions_do_not_reach_one_another(engine, session):
    server = web_service(session, "private")
    ask(session, loaded_service(server), "start")
    address = ask(session, *container(PYTHON), py(FIND.format(name(session, server))), "stdout").strip()
    try_it = f"timeout 5 wget -qO- http://{address}/ && echo reached || echo refused"
    assert ask(session, *container(), sh(try_it), "stdout") == "privatereached\n"
    with engine.session() as stranger:
        assert ask(stranger, *container(), sh(try_it + " # stranger"), "stdout") == "refused\n"
        # Not by name either. The same service is another instance in that session.
        assert "exit code" in fail(stranger, *container(PYTHON), "withWorkdir(path: \"/tmp\")", py(FIND.format(name(session, server))), "stdout")["message"]
        assert fetch_from(stranger, server, salt="stranger") == "private"
    ask(session, loaded_service(server), "stop")


def test_a_service_ends_with_its_session(engine):
    marker = "7719.25"
    with engine.session() as session:
        ask(session, loaded_service(service(session, f"sleep {marker}")), "start")
        eventually(lambda: processes_with(f"sleep {marker}"), what="the service")
    eventually(lambda: not processes_with(f"sleep {marker}"), within=30, what="the end of the service")


MODULE = """
import dagger
from dagger import dag, function, object_type


@object_type
class One:
    @function
    def server(self, text: str, port: int = 80) -> dagger.Service:
        return (
            dag.container().from_("busybox").with_new_file("/srv/index.html", text).with_exposed_port(port)
            .as_service(args=["httpd", "-f", "-p", str(port), "-h", "/srv"])
        )

    @function
    def named(self, text: str) -> dagger.Service:
        return self.server(text).with_hostname("mine")

    @function
    async def find_mine(self, text: str) -> str:
        await self.named(text).start()
        script = "import urllib.request as u; print(u.urlopen('http://mine/').read().decode(), end='')"
        return await (
            dag.container().from_("python:3.13-slim").with_env_variable("TEXT", text)
            .with_exec(["python", "-c", script]).stdout()
        )

    @function
    async def visit(self, server: dagger.Service, salt: str) -> str:
        script = "wget -qO- http://$HOST/"
        return await (
            dag.container().from_("busybox").with_env_variable("HOST", await server.hostname())
            .with_env_variable("SALT", salt).with_service_binding(await server.hostname(), server)
            .with_exec(["sh", "-c", script]).stdout()
        )

    @function
    def consumer(self, text: str) -> dagger.Container:
        return dag.container().from_("busybox").with_service_binding("www", self.server(text))
"""


def test_svc_003_svc_004_svc_023_xs_003_services_of_modules_are_used_in_every_session(connected, folder):
    write_module(folder, MODULE, name="one")
    look = (*container(PYTHON), 'withEnvVariable(name: "WHO", value: "a client")', py(FIND.format("mine")), "stdout")
    with connected.session() as session:
        serve_module(session, folder)
        server = ask(session, "one", 'server(text: "of one")', "id")
        assert fetch_from(session, server) == "of one"
        assert ask(session, "one", f'visit(server: "{server}", salt: "1")') == "of one"
        # Its hostname resolves only for the module's code. Another client may use the same
        # hostname.
        assert ask(session, "one", 'findMine(text: "mine of one")') == "mine of one"
        assert "exit code" in fail(session, *look)["message"]
        mine = ask(session, loaded_service(web_service(session, "mine of a client")), 'withHostname(hostname: "mine")', "id")
        ask(session, loaded_service(mine), "start")
        assert ask(session, *container(PYTHON), py(GET.format("mine")), "stdout") == "mine of a client\n"
        assert ask(session, "one", 'findMine(text: "still of one")') == "still of one"
        # A binding of one function works in a later exec of the client.
        read = sh("wget -qO- http://www/")
        assert ask(session, "one", 'consumer(text: "bound by one")', read, "stdout") == "bound by one"
    # The function's result is cached. Its service starts in the session that uses it.
    with connected.session() as again:
        serve_module(again, folder)
        server = ask(again, "one", 'server(text: "of one")', "id")
        assert fetch_from(again, server, salt="again") == "of one"
