"""Platforms: the choice of a variant, and programs of other machines."""

import json
import os
import struct
import subprocess
import tempfile

import pytest

from kit import IMAGES, quote
from kit.oci import Layout, base_layer, machine, tar


def foreign() -> str:
    """An architecture that this machine is not."""
    return "arm64" if machine() == "amd64" else "amd64"


@pytest.fixture
def images(folder, make_engine):
    """An engine with images of other platforms."""
    layout = Layout(folder / "l")
    for name, platform in [("only-foreign", {"architecture": foreign()}), ("s390x", {"architecture": "s390x"}), ("windows", {"architecture": "amd64", "os": "windows"})]:
        layout.image(f"docker.io/library/{name}:1", base_layer(IMAGES) if name != "windows" else tar(("Files/x", b""), ("UtilityVM/y", b"")))
        entry = layout.entries[-1]
        manifest = json.loads(layout.path(entry["digest"]).read_bytes())
        config = json.loads(layout.path(manifest["config"]["digest"]).read_bytes())
        content = json.dumps({**config, **platform}).encode()
        manifest["config"].update(digest=layout.put(content), size=len(content))
        content = json.dumps(manifest).encode()
        entry.update(digest=layout.put(content), size=len(content))
    layout.flush()
    return make_engine('offline = true\n[[mirrors]]\nlayout = "%s"\n' % layout.folder)


def test_plt_002_an_image_of_one_platform_is_taken(images):
    seen = images.data('{ container { from(address: "only-foreign:1") { platform file(path: "/etc/passwd") { size } } } }')["container"]["from"]
    assert seen["platform"] == f"linux/{foreign()}" and seen["file"]["size"] > 0
    asked = '{ container(platform: "linux/riscv64") { from(address: "only-foreign:1") { platform } } }'
    images.query(asked).failed("no image for platform `linux/riscv64`")


def test_plt_007_files_of_windows_images_are_read(images):
    seen = images.data('{ container(platform: "windows/amd64") { from(address: "windows:1") { platform rootfs { entries } } } }')["container"]["from"]
    assert seen == {"platform": "windows/amd64", "rootfs": {"entries": ["Files/", "UtilityVM/"]}}
    images.query('{ container(platform: "windows/amd64") { from(address: "windows:1") { withExec(args: ["cmd"]) { stdout } } } }').failed("windows/amd64")


def test_plt_005_caches_are_shared_by_platforms(images):
    with images.session() as session:
        cache = quote(session.query('{ cacheVolume(key: "shared") { id } }')["cacheVolume"]["id"])
        selection = 'withMountedCache(path: "/c", cache: %s) { withExec(args: ["sh", "-c", "echo %s >> /c/log; cat /c/log"]) { stdout } }'
        # The image of the other platform holds programs of this one. The program file decides.
        for image, wanted in [("s390x", "s390x\n"), ("only-foreign", "s390x\nonly-foreign\n")]:
            document = '{ container(platform: "%s") { from(address: "%s:1") { %s } } }' % ("linux/s390x" if image == "s390x" else f"linux/{foreign()}", image, selection % (cache, image))
            assert session.query(document)["container"]["from"]["withMountedCache"]["withExec"]["stdout"] == wanted


def smallest_program(architecture: str) -> bytes:
    """The smallest program of an architecture that prints its name and ends with 0."""
    text = architecture.encode() + b"\n"
    if architecture == "arm64":
        words = [0xD2800020, 0x100000E1, 0xD2800000 | len(text) << 5 | 2, 0xD2800808, 0xD4000001, 0xD2800000, 0xD2800BA8, 0xD4000001]
        code = struct.pack("<8I", *words)
        number = 183
    else:
        code = b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\x8d\x35\x13\0\0\0\xba" + struct.pack("<I", len(text)) + b"\x0f\x05\xb8\x3c\0\0\0\x31\xff\x0f\x05"
        code = code.ljust(36, b"\x90")
        number = 62
    base, header = 0x400000, 120
    size = header + len(code) + len(text)
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, number, 1, base + header, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code + text


def runs(architecture: str) -> bool:
    """Whether this machine runs programs of the architecture."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = os.path.join(folder, "program")
        with open(path, "wb") as file:
            file.write(smallest_program(architecture))
        os.chmod(path, 0o755)
        try:
            return subprocess.run([path], capture_output=True, check=False).stdout.decode().strip() == architecture
        except OSError:
            return False


def run_program(rondel, folder, architecture: str):
    (folder / "program").write_bytes(smallest_program(architecture))
    with rondel.session(cwd=folder) as session:
        file = quote(session.query('{ host { file(path: "program") { id } } }')["host"]["file"]["id"])
        document = '{ container(platform: "linux/%s") { withFile(path: "/program", source: %s, permissions: 493) { withExec(args: ["/program"]) { stdout } } } }'
        return session.post({"query": document % (architecture, file)})[1]


def test_plt_004_native_tools_make_roots_of_other_platforms(engine, folder):
    """A native tool makes the root of another platform."""
    answer = run_program(engine, folder, machine())
    assert answer["data"]["container"]["withFile"]["withExec"]["stdout"] == machine() + "\n", answer
    with engine.session() as session:
        made = session.query('{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "mkdir /out; echo built > /out/app"]) { directory(path: "/out") { id } } } } }')
        root = quote(made["container"]["from"]["withExec"]["directory"]["id"])
        seen = session.query('{ container(platform: "linux/%s") { withRootfs(directory: %s) { platform file(path: "/app") { contents } } } }' % (foreign(), root))
        assert seen["container"]["withRootfs"] == {"platform": f"linux/{foreign()}", "file": {"contents": "built\n"}}


def test_a_program_of_another_platform_without_an_emulator_is_a_clear_error(engine, folder):
    if runs(foreign()):
        pytest.skip("this machine has an emulator")
    answer = run_program(engine, folder, foreign())
    message = answer["errors"][0]["message"]
    assert f"linux/{foreign()}" in message and "emulator" in message, message


def test_plt_001_programs_of_another_platform_run_by_an_emulator(engine, folder):
    if not runs(foreign()):
        pytest.skip("no emulator is registered on this machine")
    answer = run_program(engine, folder, foreign())
    assert answer["data"]["container"]["withFile"]["withExec"]["stdout"] == foreign() + "\n", answer
