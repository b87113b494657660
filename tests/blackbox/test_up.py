"""`rondel up` and `… up`: services of a module on this machine, until they are interrupted."""

import signal

import pytest

from kit import command_line, eventually, free_port, is_open, processes_with, write_module
from kit.streams import get

MODULE = """
import dagger
from dagger import dag, function, object_type, up

def served(text: str, port: int) -> dagger.Container:
    return dag.container().from_("busybox").with_new_file("/srv/index.html", text).with_exposed_port(port)

@object_type
class Probe:
    @function
    @up
    def web(self) -> dagger.Service:
        \"\"\"The page.

        More about it.\"\"\"
        script = "wget -qO /srv/behind http://backend:BACKEND/; exec httpd -f -p WEB -h /srv"
        page = served("the page", WEB).with_service_binding("backend", self.backend())
        return page.as_service(args=["sh", "-c", script])

    @function
    @up
    def backend(self) -> dagger.Service:
        return served("behind it", BACKEND).as_service(args=["httpd", "-f", "-p", "BACKEND", "-h", "/srv"])

    @function
    def unmarked(self) -> dagger.Service:
        return served("nobody", UNMARKED).as_service(args=["httpd", "-f", "-p", "UNMARKED", "-h", "/srv"])
"""


@pytest.fixture(scope="module")
def ports():
    return {name: free_port() for name in ("WEB", "BACKEND", "UNMARKED")}


@pytest.fixture(scope="module")
def module(ports, tmp_path_factory):
    code = MODULE
    for name, port in ports.items():
        code = code.replace(name, str(port))
    return write_module(tmp_path_factory.mktemp("up"), code)


def servers(port: int) -> list[int]:
    return [pid for pid in processes_with(f"httpd -f -p {port} -h") if command_line(pid).startswith(b"httpd\0")]


def wait_for_port(process, port: int) -> None:
    """Waits for a port of this machine."""
    eventually(lambda: is_open(port) or process.poll() is not None, within=120, what="the port")
    assert process.poll() is None, process.communicate()


def interrupted(process, *ports: int) -> str:
    """Ends the command as Ctrl-C does, and returns its output."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    for port in ports:
        eventually(lambda port=port: not is_open(port) and not servers(port), what="the end of the services")
    return said


def test_up_002_up_runs_the_services_of_a_module(connected, module, ports):
    web, backend, unmarked = ports["WEB"], ports["BACKEND"], ports["UNMARKED"]
    listed = connected.run("up", "-m", module, "--list").ok().out.splitlines()
    assert sorted(line.split()[0] for line in listed[1:]) == ["backend", "web"], listed
    assert any(line.startswith("web ") and line.endswith("The page.") for line in listed)

    process = connected.start("up", "-m", module, "web")
    wait_for_port(process, web)
    assert get(f"localhost:{web}") == "the page" and get(f"http://localhost:{web}/behind") == "behind it"
    # A server has a process of its own for each connection, for as long as it lasts.
    eventually(lambda: len(servers(backend)) == 1, what="one server behind the page")
    assert not is_open(backend)
    said = interrupted(process, web, backend)
    assert f"localhost:{web}" in said, said

    process = connected.start("up", "-m", module)
    wait_for_port(process, web)
    wait_for_port(process, backend)
    assert get(f"localhost:{web}") == "the page" and get(f"localhost:{backend}") == "behind it"
    # A service that is also a binding of another starts once.
    eventually(lambda: len(servers(backend)) == 1, what="one server for both")
    assert not is_open(unmarked)
    interrupted(process, web, backend)

    connected.run("up", "-m", module, "unmarked").failed("the module has no service called `unmarked`", "--list")


def test_svc_021_up_runs_at_the_end_of_a_chain(connected, module, ports):
    other = free_port()
    process = connected.start("call", "-m", module, "web", "up", f"--ports={other}:{ports['WEB']}")
    wait_for_port(process, other)
    assert get(f"localhost:{other}") == "the page"
    interrupted(process, other, ports["WEB"])


COLLISION = """
import dagger
from dagger import dag, function, object_type, up

def served(script: str) -> dagger.Service:
    return dag.container().from_("busybox").with_exposed_port(PORT).as_service(args=["sh", "-c", script])

@object_type
class Twice:
    @function
    @up
    def first(self) -> dagger.Service:
        return served("exec httpd -f -p PORT")

    @function
    @up
    def second(self) -> dagger.Service:
        return served("echo startup failed >&2; exit 1")
"""


def test_up_002_two_services_on_one_port_are_refused(connected, folder):
    port = free_port()
    module = write_module(folder, COLLISION.replace("PORT", str(port)), name="twice")
    before = connected.execs()
    connected.run("up", "-m", module).failed("port collision", f"`first` and `second` both expose port {port}/tcp")
    assert not servers(port) and not is_open(port), before
    connected.run("up", "-m", module, "second").failed("startup failed")
