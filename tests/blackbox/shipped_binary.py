"""The binary that is shipped: static, and beside an older C library. `scripts/release --check` runs this."""

import contextlib
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from kit import BINARY, REPO, ask, container, document, quote, run_in, sh
from kit.root_tree import RootTree, libraries
from kit.web import Server, page

# Its image is in the folder of images when it is asked for: `cargo xtask base-images debian-11`.
OLDER = "debian:bullseye-slim"
ECHO = run_in("busybox", "echo from a container")


def test_the_release_is_static_and_names_no_place_of_this_machine():
    assert not libraries()
    dynamic = subprocess.run(["readelf", "--dynamic", "--program-headers", str(BINARY)], text=True, capture_output=True, check=True).stdout
    assert "NEEDED" not in dynamic and "INTERP" not in dynamic
    contents = BINARY.read_bytes()
    for place in (REPO, Path.home() / ".cargo", Path.home() / ".rustup"):
        assert bytes(place) not in contents, place


class NameServer:
    """Answers every question for an address with 127.0.0.1."""

    ADDRESS = "127.0.0.153"

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.ADDRESS, 53))
        self.asked = []
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                question, client = self.socket.recvfrom(512)
                end = question.index(b"\0", 12) + 5
                self.asked.append(question[12:end])
                is_a = question[end - 4 : end - 2] == b"\0\1"
                answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if is_a else b""
                counts = b"\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
                self.socket.sendto(question[:2] + b"\x81\x80" + counts + question[12:end] + answer, client)

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def debian_11(engine, folder):
    """A tree of Debian 11, whose C library is older than the one that the binary was linked with."""
    place = folder / "debian"
    engine.data(document(*container(OLDER), "rootfs", f"export(path: {quote(place)})"))
    tree = RootTree(place)
    yield tree
    tree.stop()


def test_an_older_c_library_is_no_hindrance(engine, debian_11):
    with engine.session() as session:
        file = ask(session, "host", f"file(path: {quote(BINARY)})", "id")
        with_binary = f'withFile(path: "/rondel", source: {quote(file)})'
        said = ask(session, *container(OLDER), with_binary, sh("ldd --version; /rondel version"), "stdout")
    assert "GLIBC 2.31" in said and "\nrondel v" in said, said
    assert "from a container" in debian_11.run("query", stdin=ECHO)


def test_names_are_found_without_plugins(debian_11):
    """The tree asks for a plug-in of its own C library and for nothing else. The binary reads the files and asks DNS."""
    etc = debian_11.folder / "etc"
    assert list(debian_11.folder.rglob("libnss_hesiod.so.2"))
    (etc / "nsswitch.conf").write_text("passwd: hesiod\ngroup: hesiod\nhosts: hesiod\n")
    (etc / "hosts").write_text("127.0.0.1 listed.example\n")
    (etc / "resolv.conf").write_text(f"nameserver {NameServer.ADDRESS}\n")
    with Server({"/f": page("found")}) as server, NameServer() as names:
        for host in ("listed.example", "asked.example"):
            fetch = document(f"http(url: {quote(f'http://{host}:{server.port}/f')})", "contents")
            assert '"found"' in debian_11.run("query", stdin=fetch), host
    assert any(b"asked" in question for question in names.asked)
    assert not any(b"listed" in question for question in names.asked)
