"""Attacks of a process in a container on the engine and its machine."""

import base64
import contextlib
import json
import os
import platform
import struct

import pytest

from kit import BINARY, sh

SETUID = 0o4777
ATTACKED = 77
CHMOD, SETXATTR, EXIT = 90, 188, 60
X86 = platform.machine() == "x86_64"
only_x86 = pytest.mark.skipif(not X86, reason="the programs of these attacks are written for one processor")


def elf(code: bytes, interpreter: bytes = b"") -> bytes:
    """A static program of one segment. With an interpreter, the kernel loads the interpreter."""
    base, headers = 0x400000, 1 + bool(interpreter)
    start = 64 + 56 * headers
    text = interpreter + b"\0" + code if interpreter else code
    entry = base + start + (len(interpreter) + 1 if interpreter else 0)
    size = start + len(text)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, headers, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, 0, base, base, size, size, 0x1000)
    asked = struct.pack("<IIQQQQQQ", 3, 4, start, base + start, base + start, len(interpreter) + 1, len(interpreter) + 1, 1)
    return header + (asked if interpreter else b"") + load + text


def attack() -> bytes:
    """Machine code: `chmod("/proc/self/exe", 04777)`, `setxattr` of it, `exit(ATTACKED)`."""
    path, name = b"/proc/self/exe\0", b"user.owned\0"

    def call(number: int) -> bytes:
        return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"

    def address(register: bytes, over: int) -> bytes:
        return b"\x48\x8d" + register + struct.pack("<i", over)

    # lea rdi, [rip + path] is 7 bytes; what follows is counted backwards from the end, where both
    # strings are.
    tail = b"\xbf" + struct.pack("<I", ATTACKED) + call(EXIT)
    attribute = b"\xba\0\0\0\0" + b"\x4d\x31\xd2" + b"\x4d\x31\xc0" + call(SETXATTR)
    after_name = len(attribute) + len(tail)
    take_name = address(b"\x35", after_name + len(path))
    take_path = address(b"\x3d", len(take_name) + after_name)
    mode = b"\xbe" + struct.pack("<I", SETUID) + call(CHMOD)
    first = address(b"\x3d", len(mode) + len(take_path) + len(take_name) + after_name)
    return first + mode + take_path + take_name + attribute + tail + path + name


@contextlib.contextmanager
def unchanged(engine):
    """Asserts that the engine's file keeps its content, mode, owner and attributes."""
    engine.data("{ version }")
    file = os.path.realpath(BINARY)

    def look():
        found = os.stat(file)
        return found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns, os.listxattr(file)

    before = look()
    try:
        yield
        assert look() == before, f"`{file}` was changed from a container"
    finally:
        os.chmod(file, before[0] & 0o7777)
        for name in set(os.listxattr(file)) - set(before[-1]):
            os.removexattr(file, name)


def busybox_with(files: dict[str, bytes], links: dict[str, str] | None = None) -> str:
    """The start of a query: busybox with programs and symlinks."""
    script = "".join(
        f"mkdir -p $(dirname {path}); echo {base64.b64encode(content).decode()} | base64 -d > {path}; chmod 755 {path}; "
        for path, content in files.items()
    )
    script += "".join(f"ln -s {target} {path}; " for path, target in (links or {}).items())
    prepare = json.dumps(["sh", "-c", script + "true"])
    return '{ container { from(address: "busybox") { withExec(args: %s) { ' % prepare


def loader() -> str:
    """The path of the loader that the engine's file names.

    In a container it is the container's file.
    """
    content = BINARY.read_bytes()
    (count,) = struct.unpack_from("<H", content, 56)
    (at,) = struct.unpack_from("<Q", content, 32)
    for number in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", content, at + 56 * number)
        if kind == 3:
            return content[offset : offset + size].rstrip(b"\0").decode()
    return "/lib64/ld-linux-x86-64.so.2"


WAYS = {
    "script": ({"/attack": b"#!/proc/self/exe\n"}, {}),
    "thread": ({"/attack": b"#!/proc/thread-self/exe\n"}, {}),
    "first": ({"/attack": b"#!/proc/1/exe\n"}, {}),
    "link": ({"/attack": b"#!/way\n"}, {"/way": "/proc/self/exe"}),
    "interpreter": ({"/attack": elf(attack(), b"/proc/self/exe")}, {}),
    "nested": ({"/attack": b"#!/second\n", "/second": b"#!/proc/self/exe\n"}, {}),
}


@only_x86
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", ["", ", noInit: true"], ids=["init", "no-init"])
def test_a_container_cannot_execute_the_engine(engine, way, options):
    files, links = WAYS[way]
    with unchanged(engine):
        files = {**files, loader(): elf(attack())}
        document = busybox_with(files, links) + 'withExec(args: ["/attack"], expect: ANY%s) { exitCode } } } } }' % options
        ended = engine.data(document)["container"]["from"]["withExec"]["withExec"]["exitCode"]
        assert ended not in (0, ATTACKED), "the program of the attack ran as the engine"


@only_x86
@pytest.mark.parametrize("command", ["/shared/way", "/script"], ids=["command", "interpreter"])
def test_a_symlink_that_changes_during_execution_does_not_reach_the_engine(engine, folder, command):
    """A second container flips a symlink on a shared volume, so a check before the execution is no
    help.
    """
    name = f"race-{folder.name}"
    volume = engine.data('{ cacheVolume(key: "%s") { id } }' % name)["cacheVolume"]["id"]
    shared = 'withMountedCache(path: "/shared", cache: %s) { ' % json.dumps(volume)
    turn = (
        "end=$(($(date +%s) + 20)); until [ -e /shared/done ] || [ $(date +%s) -gt $end ]; do "
        "ln -sfn /proc/self/exe /shared/way; ln -sfn /bin/true /shared/way; done"
    )
    touch = 'withExec(args: ["touch", "/shared/%s"]) { stdout } } } } } }'
    files = {loader(): elf(attack()), "/script": b"#!/shared/way\n"}
    run = 'withEnvVariable(name: "N", value: "%d") { withExec(args: ["%s"], expect: ANY) { exitCode } } } } } } }'
    with unchanged(engine), engine.session() as session:
        engine.data(busybox_with(files) + shared + 'withExec(args: ["ln", "-s", "/bin/true", "/shared/way"]) { stdout } } } } } }')
        turner = engine.start_query(busybox_with({}) + shared + sh(turn) + " { stdout } } } } } }")
        ended = set()
        try:
            for number in range(40):
                _, answer = session.post({"query": busybox_with(files) + shared + run % (number, command)})
                if "errors" in answer:
                    (error,) = answer["errors"]
                    ended.add(error["message"])
                else:
                    found = answer["data"]["container"]["from"]["withExec"]["withMountedCache"]["withEnvVariable"]
                    ended.add(found["withExec"]["exitCode"])
        finally:
            engine.data(busybox_with({}) + shared + touch % "done")
            assert turner.wait(timeout=60) == 0
            turner.stdout.close(), turner.stderr.close()
        assert ATTACKED not in ended, "the program of the attack ran as the engine"
        # The symlink led to a program of the container at least once, so the race took place.
        assert ended & {0, 127}, ended


@only_x86
def test_a_health_check_cannot_execute_the_engine(engine):
    """Further processes of a running container start as the first one does."""
    with unchanged(engine):
        files = {"/attack": b"#!/proc/self/exe\n", loader(): elf(attack())}
        outcome = engine.query(
            busybox_with(files)
            + 'withDockerHealthcheck(args: ["/attack"], interval: "1s", retries: 1) { withExposedPort(port: 80) { '
            + 'asService(args: ["sleep", "5"]) { start } } } } } } }'
        )
        outcome.failed("health")


def test_proc_1_exe_is_the_read_only_init(engine):
    """While the kernel resolves an interpreter, `/proc/self/exe` is the small read-only init."""
    look = "readlink /proc/1/exe; (echo x > /proc/1/exe) 2>/dev/null && echo written; ls -l /proc/1/exe | wc -l"
    found = engine.data(busybox_with({}) + "withExec(args: %s) { stdout } } } } }" % json.dumps(["sh", "-c", look]))
    assert found["container"]["from"]["withExec"]["withExec"]["stdout"] == "/memfd:.init (deleted)\n1\n"
