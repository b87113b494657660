"""`Container`: base images, processes, entrypoints, variables and health checks, by behaviour
number.
"""

import hashlib
import io
import json
import re
import tarfile

import pytest

from kit import BINARY, IMAGES, ask, document, find_field, in_busybox, leaf, peak_memory, quote, set_secret, sh, unique
from kit.oci import Layout, base_layer, machine, tar


def of_image(data: dict) -> dict:
    """The selection of a container from an image."""
    return data["container"]["from"]


def test_ctr_002_ctr_009_ctr_010_arg_001_an_image_has_files_and_a_reference(engine):
    seen = of_image(engine.data(in_busybox('file(path: "/etc/passwd") { contents } imageRef entrypoint defaultArgs user platform workdir')))
    assert seen["file"]["contents"].startswith("root:")
    assert re.fullmatch(r"docker\.io/library/busybox:latest@sha256:[0-9a-f]{64}", seen["imageRef"])
    assert (seen["entrypoint"], seen["defaultArgs"], seen["user"], seen["workdir"]) == ([], ["sh"], "", "/")
    with engine.session() as session:
        empty = session.query("{ directory { id } }")["directory"]["id"]
        for change in ['withExec(args: ["true"])', 'withDirectory(path: "/x", source: %s)' % quote(empty), 'withEnvVariable(name: "A", value: "b")', 'withLabel(name: "a", value: "b")']:
            error = session.error(in_busybox(change + " { imageRef }"))
            assert error["message"].startswith("Image reference can only be retrieved immediately after the 'Container.From' call")
        assert "Image reference" in session.error("{ container { imageRef } }")["message"]


def test_ctr_003_ctr_004_ctr_006_a_root_can_be_taken_and_replaced(engine):
    with engine.session() as session:
        roots = of_image(session.query(in_busybox('rootfs { id } ' + sh("mkdir /out && cp /bin/busybox /out/echo") + ' { directory(path: "/out") { id } }')))
        whole, part = roots["rootfs"]["id"], roots["withExec"]["directory"]["id"]
        selection = 'withEnvVariable(name: "KEPT", value: "k") { withWorkdir(path: "/w") { withRootfs(directory: %s) { %s } } }'
        seen = session.query("{ container { " + selection % (quote(whole), 'workdir file(path: "/etc/passwd") { size } ' + sh("echo $KEPT") + " { stdout }") + " } }")
        seen = seen["container"]["withEnvVariable"]["withWorkdir"]["withRootfs"]
        assert seen["withExec"]["stdout"] == "k\n" and seen["file"]["size"] > 0 and seen["workdir"] == "/w"
        hello = session.query('{ container { withRootfs(directory: %s) { withExec(args: ["/echo", "Hello, world!"]) { stdout } } } }' % quote(part))
        assert hello["container"]["withRootfs"]["withExec"]["stdout"] == "Hello, world!\n"


def test_ctr_007_an_image_merges_into_the_configuration(make_engine, folder):
    layout = Layout(folder / "l")
    layout.image("docker.io/library/app:1", base_layer(IMAGES), config={
        "Env": ["PATH=/bin", "B=image"], "Labels": {"same": "image"}, "ExposedPorts": {"80/tcp": {}}, "Cmd": ["sh"]})
    engine = make_engine('offline = true\n[[mirrors]]\nlayout = "%s"\n' % layout.folder)
    before = 'withEnvVariable(name: "%s", value: "%s") { ' * 3 % ("PATH", "/mine", "A", "own", "B", "own")
    before += 'withLabel(name: "same", value: "own") { withLabel(name: "mine", value: "own") { withExposedPort(port: 90, protocol: UDP, description: "d") { withUser(name: "me") { '
    seen = engine.data("{ container { " + before + 'from(address: "app:1") { user envVariables { name value } labels { name value } exposedPorts { port protocol description } }' + " }" * 9)
    seen = leaf(seen)
    assert {(e["name"], e["value"]) for e in seen["envVariables"]} == {("PATH", "/bin"), ("A", "own"), ("B", "image")}
    assert {(e["name"], e["value"]) for e in seen["labels"]} == {("same", "image"), ("mine", "own")}
    assert sorted(p["port"] for p in seen["exposedPorts"]) == [80, 90]


def test_ctr_011_plt_006_platforms_are_written_in_their_short_form(engine):
    def platform(text):
        return engine.query('{ container(platform: "%s") { platform } }' % text)

    for text, wanted in [("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"), ("linux/x86_64", "linux/amd64"), ("windows/amd64", "windows/amd64")]:
        assert platform(text).json()["container"]["platform"] == wanted
    platform("windows98").failed("unknown operating system or architecture")
    assert engine.data("{ defaultPlatform }") == {"defaultPlatform": f"linux/{machine()}"}


def archive_of(folder) -> bytes:
    """A layout folder as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, str(path.relative_to(folder)))
    return buffer.getvalue()


def test_ctr_013_archives_of_other_tools_are_imported(engine, folder):
    """As apko writes them: an index in the index, no names."""
    layout = Layout(folder / "l")
    layout.image("ignored", base_layer(IMAGES), tar(("etc/apko.json", b"{}")), config={"Env": ["PATH=/bin", "MARK=apko"]})
    (entry,) = layout.entries
    entry.pop("annotations")
    inner = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**entry, "platform": {"os": "linux", "architecture": machine()}}]}).encode()
    layout.entries = [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": layout.put(inner), "size": len(inner)}]
    layout.flush()
    (folder / "apko.tar").write_bytes(archive_of(layout.folder))
    with engine.session(cwd=folder) as session:
        source = session.query('{ host { file(path: "apko.tar") { id } } }')["host"]["file"]["id"]
        seen = session.query('{ container { import(source: %s) { envVariable(name: "MARK") %s { stdout } } } }' % (quote(source), sh("echo $MARK $(cat /etc/apko.json)")))
        assert seen["container"]["import"] == {"envVariable": "apko", "withExec": {"stdout": "apko {}\n"}}


def test_ctr_014_ctr_015_our_own_archives_are_imported(engine):
    with engine.session() as session:
        docker = of_image(session.query(in_busybox('withNewFile(path: "/f", contents: "docker") { asTarball(mediaTypes: DOCKER) { id } }')))
        source = quote(docker["withNewFile"]["asTarball"]["id"])
        assert session.query('{ container { import(source: %s) { file(path: "/f") { contents } } } }' % source)["container"]["import"]["file"]["contents"] == "docker"
        variant = '{ container(platform: "%s") { withNewFile(path: "/arch", contents: "%s") { id } } }'
        made = [session.query(variant % (platform, platform))["container"]["withNewFile"]["id"] for platform in ["linux/arm64", "linux/amd64", "linux/s390x"]]
        source = quote(session.query("{ container { asTarball(platformVariants: %s) { id } } }" % quote(made))["container"]["asTarball"]["id"])
        for platform in ["linux/arm64", "linux/amd64", "linux/s390x"]:
            seen = session.query('{ container(platform: "%s") { import(source: %s) { platform file(path: "/arch") { contents } } } }' % (platform, source))
            assert seen["container"]["import"] == {"platform": platform, "file": {"contents": platform}}
        assert "linux/riscv64" in session.error('{ container(platform: "linux/riscv64") { import(source: %s) { platform } } }' % source)["message"]


def test_a_file_that_is_no_image_archive_is_named(engine):
    with engine.session() as session:
        source = quote(session.query('{ file(name: "nope", contents: "no archive") { id } }')["file"]["id"])
        error = session.error("{ container { import(source: %s) { platform } } }" % source)["message"]
        assert "`/nope`" in error and "image archive" in error and "/proc" not in error


def test_ctr_017_a_missing_image_is_named(engine):
    for reference in ["nowhere:1", "no-such-host.invalid/x:1", "busybox:no-such-tag"]:
        engine.query('{ container { from(address: "%s") { file(path: "/x") { contents } } } }' % reference).failed(reference.split(":")[0].split("/")[-1])
    engine.query('{ container { from(address: "Bad Name") { imageRef } } }').failed("invalid image reference")


def test_exec_001_exec_014_exec_022_plt_008_exit_codes_are_compared_with_what_is_expected(engine):
    with engine.session() as session:
        assert "exit code: 1" in session.error(in_busybox('withExec(args: ["false"]) { sync }'))["message"]
        for expect, code, fine in [("ANY", 0, True), ("ANY", 1, True), ("FAILURE", 1, True), ("FAILURE", 0, False), ("SUCCESS", 1, False),
                                   ("ANY", 254, True), ("FAILURE", 254, True), ("SUCCESS", 254, False)]:
            document = in_busybox(sh(f"exit {code}", f", expect: {expect}") + " { exitCode }")
            if fine:
                assert of_image(session.query(document))["withExec"]["exitCode"] == code
            else:
                assert f"exit code: {code}" in session.error(document)["message"]


def test_exec_003_arg_005_arg_008_output_needs_a_command(engine):
    with engine.session() as session:
        for field in ["stdout", "stderr"]:
            assert session.error("{ container { %s } }" % field)["message"] == "no command has been set"
            assert session.error(in_busybox("withoutDefaultArgs { %s }" % field))["message"] == "no command has been set"
        for field in ["stdout", "stderr", "combinedOutput", "exitCode"]:
            made = in_busybox('withDefaultArgs(args: ["echo", "default"]) { %s }' % field)
            assert session.error(made)["message"] == "no command has been set"
    with engine.session("--version", "v0.11.9") as session:
        made = in_busybox('withDefaultArgs(args: ["-n", "default"]) { withEntrypoint(args: ["echo"], keepDefaultArgs: true) { stdout } }')
        assert of_image(session.query(made))["withDefaultArgs"]["withEntrypoint"]["stdout"] == "default"


def test_exec_004_output_streams_are_kept_apart(engine):
    seen = of_image(engine.data(in_busybox(sh("echo out; echo err >&2") + " { stdout stderr combinedOutput }")))["withExec"]
    assert (seen["stdout"], seen["stderr"]) == ("out\n", "err\n")
    assert sorted(seen["combinedOutput"].split()) == ["err", "out"]


def test_exec_006_exec_007_standard_input_comes_from_files_and_secrets(engine):
    with engine.session() as session:
        made = session.query('{ directory { withNewFile(path: "input.txt", contents: "from a file") { id } } setSecret(name: "s", plaintext: "from-a-secret") { id } }')
        folder, secret = made["directory"]["withNewFile"]["id"], made["setSecret"]["id"]
        seen = of_image(session.query(in_busybox(
            'withMountedDirectory(path: "/mnt", source: %s) { withExec(args: ["cat"], redirectStdin: "/mnt/input.txt") { stdout } } ' % quote(folder)
            + 'withMountedSecret(path: "/run/s", source: %s) { withExec(args: ["md5sum"], redirectStdin: "/run/s") { stdout } }' % quote(secret))))
        assert seen["withMountedDirectory"]["withExec"]["stdout"] == "from a file"
        assert seen["withMountedSecret"]["withExec"]["stdout"].split()[0] == hashlib.md5(b"from-a-secret").hexdigest()
        assert "nothing.txt" in session.error(in_busybox('withExec(args: ["cat"], redirectStdin: "/nothing.txt") { stdout }'))["message"]
        both = session.error(in_busybox('withExec(args: ["cat"], stdin: "x", redirectStdin: "/etc/passwd") { stdout }'))
        assert "cannot set both" in both["message"]


def test_exec_013_long_output_in_an_error_keeps_its_end(engine):
    with engine.session("--silent") as session:
        error = session.error(in_busybox(sh("head -c 200000 /dev/zero | tr '\\0' x; echo END; head -c 102401 /dev/zero | tr '\\0' y >&2; exit 1") + " { stdout }"))
    for stream, total, end in [("stdout", 200_004, "xEND"), ("stderr", 102_401, "yyy")]:
        text = error["extensions"][stream]
        # Surrounding white space is cut, here the last newline.
        assert len(text) == 102_400 - (stream == "stdout") and text.endswith(end), (len(text), text[-20:])
        assert text.startswith(f"[omitting {total - 102_400} bytes]..."), text[:60]


def test_the_output_in_an_error_is_trimmed(engine):
    with engine.session("--silent") as session:
        extensions = session.error(in_busybox(sh("echo; echo ' out '; echo; printf '\\t err\\n\\n' >&2; exit 1") + " { stdout }"))["extensions"]
    assert (extensions["stdout"], extensions["stderr"]) == ("out", "err")


def test_exec_015_pid_1_is_an_init_or_the_command(engine):
    ps = 'withExec(args: ["ps", "-o", "pid,comm"]%s) { stdout }'
    seen = of_image(engine.data(in_busybox("a: " + ps % "" + " b: " + ps % ", noInit: true")))
    assert re.search(r"^\s*1 \.init$", seen["a"]["stdout"], re.M), seen
    assert re.search(r"^\s*1 ps$", seen["b"]["stdout"], re.M), seen


def test_exec_021_an_exec_leaves_nothing_in_the_root(engine):
    with engine.session() as session:
        rootfs = quote(of_image(session.query(in_busybox("rootfs { id }")))["rootfs"]["id"])
        for exec in ['withExec(args: ["true"])', 'withExec(args: ["true"], noInit: true)', 'withExec(args: ["true"], insecureRootCapabilities: true)', 'withExec(args: ["true"], experimentalPrivilegedNesting: true)']:
            after = quote(of_image(session.query(in_busybox(exec + " { rootfs { id } }")))["withExec"]["rootfs"]["id"])
            diff = session.query("{ loadDirectoryFromID(id: %s) { diff(other: %s) { glob(pattern: \"**/*\") } } }" % (rootfs, after))
            assert diff["loadDirectoryFromID"]["diff"]["glob"] == [], exec


def test_exec_023_commands_are_looked_up_in_path(engine):
    with engine.session() as session:
        made = in_busybox('withNewFile(path: "/own/tool", contents: "#!/bin/sh\\necho tool", permissions: 493) { withEnvVariable(name: "PATH", value: "/own:/bin") { withExec(args: ["tool"]) { stdout } } }')
        assert of_image(session.query(made))["withNewFile"]["withEnvVariable"]["withExec"]["stdout"] == "tool\n"
        assert "no-such-command" in session.error(in_busybox('withExec(args: ["no-such-command"]) { stdout }'))["message"]


def test_exec_024_an_error_of_the_client_is_returned(engine):
    with engine.session() as session:
        for selection in ["sync", "stdout", "rootfs { entries }", 'withExec(args: ["true"]) { sync }']:
            assert session.error(in_busybox('withError(err: "my words") { %s }' % selection))["message"] == "my words"
        assert of_image(session.query(in_busybox('withError(err: "") { sync }')))


@pytest.mark.parametrize(
    "selection, wanted",
    [
        ('withDefaultArgs(args: ["d"]) { withEntrypoint(args: ["e"]) { defaultArgs entrypoint } }', {"defaultArgs": [], "entrypoint": ["e"]}),
        ('withDefaultArgs(args: ["d"]) { withEntrypoint(args: ["e"], keepDefaultArgs: true) { defaultArgs entrypoint } }', {"defaultArgs": ["d"], "entrypoint": ["e"]}),
        ('withEntrypoint(args: []) { entrypoint defaultArgs }', {"entrypoint": [], "defaultArgs": []}),
        ('withEntrypoint(args: ["e"]) { withoutEntrypoint { entrypoint } }', {"entrypoint": []}),
        ('withDefaultArgs(args: ["echo", "kept"]) { withoutEntrypoint(keepDefaultArgs: true) { withExec(args: []) { stdout } } }', {"stdout": "kept\n"}),
        ('withEntrypoint(args: ["echo"]) { withDefaultArgs(args: ["foobar"]) { withExec(args: [], useEntrypoint: true) { stdout } } }', {"stdout": "foobar\n"}),
        ('withEntrypoint(args: ["echo"]) { withExec(args: [], useEntrypoint: true) { stdout } }', {"stdout": "\n"}),
        ('withDefaultArgs(args: []) { withEntrypoint(args: ["e"]) { defaultArgs } }', {"defaultArgs": []}),
        ('withEntrypoint(args: ["sh", "-c"]) { withDefaultArgs(args: ["id -u"]) { withExec(args: [], useEntrypoint: true) { stdout } } }', {"stdout": "0\n"}),
        ('withEntrypoint(args: ["echo", "-n"]) { withoutDefaultArgs { withExec(args: [], useEntrypoint: true) { stdout } } }', {"stdout": ""}),
    ],
    ids=["arg_003_reset", "arg_003_kept", "arg_005_none", "arg_005_without", "arg_005_default_kept", "arg_004_both", "arg_004_entrypoint_alone",
         "arg_006_empty", "arg_006_behind_an_entrypoint", "arg_007_nothing"],
)
def test_arg_003_arg_004_arg_006_arg_007_entrypoints_and_default_arguments_combine(engine, selection, wanted):
    seen = of_image(engine.data(in_busybox(selection)))
    while seen.keys() != wanted.keys():
        (seen,) = seen.values()
    assert seen == wanted


def test_arg_010_arg_011_variables_are_expanded_on_request(engine):
    with engine.session() as session:
        selection = 'withEnvVariable(name: "A", value: "foo") { withEnvVariable(name: "B", value: "${A}/bin:$PATH", expand: %s) { envVariable(name: "B") } }'
        seen = of_image(session.query(in_busybox("a: " + selection % "true" + " b: " + selection % "false")))
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        assert seen["a"]["withEnvVariable"]["envVariable"] == f"foo/bin:{path}"
        assert seen["b"]["withEnvVariable"]["envVariable"] == "${A}/bin:$PATH"
        secret = quote(set_secret(session, "a longer plaintext", "t"))
        made = in_busybox('withSecretVariable(name: "TOKEN", secret: %s) { withExec(args: ["echo", "$TOKEN"], expand: true) { stdout } }' % secret)
        assert session.error(made)["message"] == 'expand cannot be used with secret env variable "TOKEN"'


# Every field with the argument `expand`, with a reference in each expanded argument.
EXPANDING = [
    'asService(args: ["$V"], expand: true) { id }',
    'directory(path: "/$V", expand: true) { id }',
    'export(path: "$V", expand: true)',
    'exists(path: "/$V", expand: true)',
    'file(path: "/$V", expand: true) { id }',
    'up(args: ["$V"], expand: true)',
    'withDirectory(path: "/$V", source: DIR, expand: true) { id }',
    'withEnvVariable(name: "A", value: "$V", expand: true) { id }',
    'withExec(args: ["$V"], expand: true) { id }',
    'withExec(args: ["true"], redirectStdout: "/$V", expand: true) { id }',
    'withExec(args: ["true"], redirectStderr: "/$V", expand: true) { id }',
    'withFile(path: "/$V", source: FILE, expand: true) { id }',
    'withFiles(path: "/$V", sources: [FILE], expand: true) { id }',
    'withMountedCache(path: "/$V", cache: CACHE, expand: true) { id }',
    'withMountedDirectory(path: "/$V", source: DIR, expand: true) { id }',
    'withMountedFile(path: "/$V", source: FILE, expand: true) { id }',
    'withMountedSecret(path: "/$V", source: SECRET, expand: true) { id }',
    'withMountedTemp(path: "/$V", expand: true) { id }',
    'withNewFile(path: "/$V", contents: "", expand: true) { id }',
    'withSymlink(target: "/$V", linkName: "/l", expand: true) { id }',
    'withSymlink(target: "/l", linkName: "/$V", expand: true) { id }',
    'withWorkdir(path: "/$V", expand: true) { id }',
    'withoutDirectory(path: "/$V", expand: true) { id }',
    'withoutFile(path: "/$V", expand: true) { id }',
    'withoutFiles(paths: ["/$V"], expand: true) { id }',
    'withoutMount(path: "/$V", expand: true) { id }',
    'withoutUnixSocket(path: "/$V", expand: true) { id }',
]


def test_volatile_variables_are_not_expanded(engine):
    with engine.session() as session:
        made = session.query(
            '{ directory { id withNewFile(path: "f", contents: "") { file(path: "f") { id } } } setSecret(name: "s", plaintext: "a longer plaintext") { id } cacheVolume(key: "expanding") { id } }'
        )
        ids = {
            "DIR": made["directory"]["id"],
            "FILE": made["directory"]["withNewFile"]["file"]["id"],
            "SECRET": made["setSecret"]["id"],
            "CACHE": made["cacheVolume"]["id"],
        }
        for field in EXPANDING:
            for name, value in ids.items():
                field = field.replace(name, quote(value))
            message = session.error('{ container { withVolatileVariable(name: "V", value: "x") { %s } } }' % field)["message"]
            assert 'expand cannot be used with volatile env variable "V"' in message, (field, message)
        asked = session.query('{ __type(name: "Container") { fields { name args { name } } } }')["__type"]["fields"]
        expanding = {field["name"] for field in asked if any(arg["name"] == "expand" for arg in field["args"])}
        assert expanding - {field.split("(")[0] for field in EXPANDING} <= {"withUnixSocket"}


def test_the_length_of_expanded_text_is_limited(engine):
    doubled = 'withEnvVariable(name: "A", value: "${A}${A}", expand: true) { '
    with engine.session() as session:
        message = session.error('{ container { withEnvVariable(name: "A", value: "x") { ' + doubled * 30 + "user" + " }" * 33)["message"]
        assert message == "the expanded text is longer than 16777216 bytes"


@pytest.mark.once
def test_a_chain_of_100000_labels_answers(engine):
    steps = "".join('withLabel(name: "l%d", value: "v") { ' % n for n in range(100_000))
    document = "{ container { " + steps + 'label(name: "l5") ' + "} " * 100_000 + "} }"
    with engine.session() as session:
        status, text = session.post_text({"query": document})
    assert status == 200 and text.count("withLabel") == 100_000, text[-200:]


def test_a_chain_needs_memory_for_what_its_steps_add(fresh):
    """8,000 labels took 4 GB: each step had a copy of everything before it."""

    def engine_memory() -> int:
        return peak_memory(fresh.status()["pid"]) >> 20

    with fresh.session() as session:
        session.query("{ container { user } }")
        before = engine_memory()
        steps = [
            'withLabel(name: "n%d", value: "v")',
            'withEnvVariable(name: "n%d", value: "v")',
            'withVolatileVariable(name: "n%d", value: "v")',
            'withAnnotation(name: "n%d", value: "v")',
        ]
        for step in steps:
            document = "{ container { " + " { ".join(step % n for n in range(8_000)) + " { user }" + " }" * 8_001
            status, text = session.post_text({"query": document})
            assert status == 200 and "errors" not in text[:100], text[:200]
        ports = " { ".join(f"withExposedPort(port: {n + 1})" for n in range(4_000))
        status, text = session.post_text({"query": "{ container { " + ports + " { user }" + " }" * 4_001})
        assert status == 200 and "errors" not in text[:100], text[:200]
        variables = " { ".join(f'withVariable(name: "n{n}", value: "v")' for n in range(8_000))
        status, text = session.post_text({"query": "{ envFile { " + variables + ' { get(name: "n7") }' + " }" * 8_001})
        assert status == 200 and '"get":"v"' in text, text[:200]
        assert engine_memory() - before < 300, (before, engine_memory())


def test_env_001_env_002_variables_are_set_and_removed(engine):
    selection = 'withEnvVariable(name: "%s", value: "%s") { '
    document = in_busybox(selection * 3 % ("A", "1", "B", "2", "A", "3") + 'envVariables { name value } none: envVariable(name: "UNKNOWN") '
        'withoutEnvVariable(name: "A") { envVariables { name } ' + sh("echo ${A-unset} $B") + " { stdout } } } } }")
    seen = of_image(engine.data(document))["withEnvVariable"]["withEnvVariable"]["withEnvVariable"]
    assert [(e["name"], e["value"]) for e in seen["envVariables"]][1:] == [("A", "3"), ("B", "2")] and seen["none"] is None
    assert [e["name"] for e in seen["withoutEnvVariable"]["envVariables"]] == ["PATH", "B"]
    assert seen["withoutEnvVariable"]["withExec"]["stdout"] == "unset 2\n"
    engine.query(in_busybox('withEnvVariable(name: "A=B", value: "") { envVariables { name } }')).failed("cannot be the name")


def test_env_003_env_004_env_007_volatile_variables_are_no_part_of_a_key(fresh):
    def run(value: str, other: str = "same", before: bool = False) -> str:
        image, volatile = 'from(address: "busybox")', f'withVolatileVariable(name: "V", value: "{value}")'
        steps = [volatile, image] if before else [image, volatile]
        steps.append(f'withEnvVariable(name: "OTHER", value: "{other}")')
        steps.append(sh("echo $V; cat /proc/sys/kernel/random/uuid; echo"))
        steps.append(sh(f"echo second $V $OTHER {other}-{value}"))
        data = leaf(fresh.data(document("container", *steps[:4], "stdout " + steps[4] + " { stdout }")))
        return data["stdout"], data["withExec"]["stdout"]

    first, second = run("one")
    assert first.startswith("one\n") and second == "second one same same-one\n"
    # Only the volatile value differs: a cache hit. A later exec that misses sees the new value.
    again, second = run("two")
    assert again == first and second == "second two same same-two\n"
    assert run("three", before=True)[0] == first
    rerun, _ = run("four", "changed")
    assert rerun.startswith("four\n") and rerun != first


@pytest.mark.parametrize("before,with_it,without", [
    pytest.param('withEnvVariable(name: "FOO", value: "persist")', "second", "persist", id="over a plain variable"),
    pytest.param("", "second", "unset", id="over nothing"),
    pytest.param('withEnvVariable(name: "FOO", value: "persist") { withVolatileVariable(name: "FOO", value: "second") { withoutEnvVariable(name: "FOO")',
        "second", "unset", id="over a variable that is removed afterwards"),
    pytest.param('withSecretVariable(name: "FOO", secret: SECRET)', "***", "***", id="below a secret variable"),
])
def test_a_volatile_variable_changes_no_result_without_it(engine, before, with_it, without):
    """A volatile variable is no part of a key, and does not change a result without it, in either
    order.
    """
    volatile = 'withVolatileVariable(name: "FOO", value: "%s")'
    show = sh("echo ${FOO-unset}; head -c 16 /dev/urandom | base64") + " { stdout }"

    def run(salt: str, *more: str) -> list:
        with engine.session() as session:
            secret = quote(set_secret(session, "hidden-text"))
            fields = ['withEnvVariable(name: "SALT", value: "%s")' % salt, *filter(None, [before.replace("SECRET", secret)]), *more]
            if not more:  # The one in `before` is left out, too.
                fields = [field.replace(volatile % "second" + " { ", "") for field in fields]
            chain = " { ".join(fields)
            data = session.query(in_busybox(chain + " { " + show + " }" * chain.count("{") + " }"))
        return find_field(data, "stdout").split()

    one, two = unique(), unique()
    first, bare = run(one, volatile % "second"), run(one)
    assert (first[0], bare[0]) == (with_it, without)
    # The value is no part of the key, and removing the variable restores the result.
    assert run(one, volatile % "third") == first
    assert run(one, volatile % "third", 'withoutVolatileVariable(name: "FOO")')[0] == without
    assert (run(two)[0], run(two, volatile % "second")[0]) == (without, with_it)


def test_a_volatile_variable_hides_one_of_the_image(engine):
    show = sh("echo $PATH") + " { stdout }"
    hidden = of_image(engine.data(in_busybox('withVolatileVariable(name: "PATH", value: "/bin:/volatile") { %s }' % show)))
    assert hidden["withVolatileVariable"]["withExec"]["stdout"] == "/bin:/volatile\n"
    assert "volatile" not in of_image(engine.data(in_busybox(show)))["withExec"]["stdout"]


def test_env_005_volatile_variables_hide_others(engine, folder):
    selection = 'withEnvVariable(name: "V", value: "kept") { withVolatileVariable(name: "V", value: "v") { withVolatileVariable(name: "W", value: "w") { %s } } }'
    inner = 'envVariable(name: "V") w: envVariable(name: "W") envVariables { name } ' + sh("echo $V $W") + ' { stdout } withoutVolatileVariable(name: "V") { withoutVolatileVariable(name: "W") { ' + sh("echo $V ${W-unset}") + " { stdout } } }"
    seen = of_image(engine.data(in_busybox(selection % inner)))["withEnvVariable"]["withVolatileVariable"]["withVolatileVariable"]
    assert (seen["envVariable"], seen["w"], [e["name"] for e in seen["envVariables"]]) == ("kept", None, ["PATH", "V"])
    assert seen["withExec"]["stdout"] == "v w\n"
    assert seen["withoutVolatileVariable"]["withoutVolatileVariable"]["withExec"]["stdout"] == "kept unset\n"


def test_env_010_users_and_groups_are_looked_up_in_the_image(engine):
    script = sh("id -u; id -g; id -G; whoami 2>/dev/null || true") + " { stdout }"
    queries = []
    for at, user in enumerate(["daemon", "daemon:nobody", "1234", "1234:5678", "1:nobody", "root"]):
        queries.append('u%d: withUser(name: "%s") { user %s }' % (at, user, script))
    queries.append('without: withUser(name: "daemon") { withoutUser { user %s } }' % script)
    queries.append('input: withUser(name: "daemon") { withExec(args: ["sh", "-c", "cat; id -u"], stdin: "in ") { stdout } }')
    passwd = 'withNewFile(path: "/etc/passwd", contents: "root:x:0:0::/:/bin/sh\\ndaemon:x:1:1::/:/bin/sh\\n") { withNewFile(path: "/etc/group", contents: "root:x:0:\\ndaemon:x:1:\\nextra:x:7:daemon\\nnobody:x:65534:\\n") { %s } }'
    seen = of_image(engine.data(in_busybox(passwd % " ".join(queries))))["withNewFile"]["withNewFile"]
    outputs = [seen[f"u{at}"]["withExec"]["stdout"].split("\n") for at in range(6)]
    assert outputs[0][:2] == ["1", "1"] and "7" in outputs[0][2].split() and outputs[0][3] == "daemon"
    assert outputs[1][:3] == ["1", "65534", "65534"]
    assert outputs[2][0] == "1234" and outputs[3][:2] == ["1234", "5678"] and outputs[4][:2] == ["1", "65534"]
    assert outputs[5][:2] == ["0", "0"]
    assert seen["without"]["withoutUser"]["user"] == "" and seen["without"]["withoutUser"]["withExec"]["stdout"].startswith("0\n")
    assert seen["u1"]["user"] == "daemon:nobody" and seen["input"]["withExec"]["stdout"] == "in 1\n"
    engine.query(in_busybox('withUser(name: "nobody-knows") { withExec(args: ["id"]) { stdout } }')).failed("nobody-knows")


def test_env_011_working_directories_are_relative_to_the_last(engine):
    seen = of_image(engine.data(in_busybox('withWorkdir(path: "/a") { withWorkdir(path: "b/../c") { workdir withExec(args: ["pwd"]) { stdout } withoutWorkdir { workdir withExec(args: ["pwd"]) { stdout } } } }')))
    seen = seen["withWorkdir"]["withWorkdir"]
    assert (seen["workdir"], seen["withExec"]["stdout"]) == ("/a/c", "/a/c\n")
    assert (seen["withoutWorkdir"]["workdir"], seen["withoutWorkdir"]["withExec"]["stdout"]) == ("/", "/\n")


def test_env_013_ports_are_exposed_per_protocol(engine):
    selection = 'withExposedPort(port: 5000) { withExposedPort(port: 5000, protocol: UDP, description: "d", experimentalSkipHealthcheck: true) { exposedPorts { port protocol description experimentalSkipHealthcheck } withoutExposedPort(port: 5000) { exposedPorts { protocol description } } } }'
    seen = of_image(engine.data(in_busybox(selection)))["withExposedPort"]["withExposedPort"]
    assert seen["exposedPorts"] == [
        {"port": 5000, "protocol": "TCP", "description": None, "experimentalSkipHealthcheck": False},
        {"port": 5000, "protocol": "UDP", "description": "d", "experimentalSkipHealthcheck": True},
    ]
    assert seen["withoutExposedPort"]["exposedPorts"] == [{"protocol": "UDP", "description": "d"}]
    for port in [0, 65536, -1]:
        engine.query(in_busybox("withExposedPort(port: %d) { exposedPorts { port } }" % port)).failed("between 1 and 65535")


CHECK = "args shell interval timeout startPeriod startInterval retries"


def test_hc_002_a_health_check_has_defaults(engine):
    seen = of_image(engine.data(in_busybox('dockerHealthcheck { shell } withDockerHealthcheck(args: ["curl", "x"]) { dockerHealthcheck { %s } withoutDockerHealthcheck { dockerHealthcheck { shell } } }' % CHECK)))
    assert seen["dockerHealthcheck"] is None and seen["withDockerHealthcheck"]["withoutDockerHealthcheck"]["dockerHealthcheck"] is None
    assert seen["withDockerHealthcheck"]["dockerHealthcheck"] == {
        "args": ["curl", "x"], "shell": False, "interval": "0s", "timeout": "0s", "startPeriod": "0s", "startInterval": "0s", "retries": 0}
    engine.query(in_busybox('withDockerHealthcheck(args: ["x"], interval: "soon") { dockerHealthcheck { interval } }')).failed("`interval`", "invalid duration `soon`")
    engine.query(in_busybox('withDockerHealthcheck(args: ["x"], retries: -1) { dockerHealthcheck { retries } }')).failed("retries")


def test_gpus_are_refused(engine):
    for field in ['experimentalWithGPU(devices: ["0"])', "experimentalWithAllGPUs"]:
        engine.query(in_busybox(field + ' { withExec(args: ["true"]) { stdout } }')).failed("GPU support is not enabled")


def test_exec_018_cli_ses_007_an_engine_runs_in_a_container(engine, folder):
    """Containers in a container: this engine's own binary, with all capabilities and a cache volume
    for its state.
    """
    script = """set -e
    export RONDEL_STATE_DIR=/tmp/state RONDEL_CONFIG=/config.toml HOME=/root
    for n in 1 2; do
        echo '{ container { from(address: "busybox") { withExec(args: ["sh", "-c", "echo inner; cat /proc/sys/kernel/random/uuid"]) { stdout } } } }' | /rondel query --silent 2>/tmp/err || { cat /tmp/err; exit 1; }
    done
    /rondel engine status --json
    /rondel engine stop >/dev/null"""
    layout = Layout(folder / "images")
    layout.image("docker.io/library/busybox:latest", base_layer(IMAGES))
    with engine.session() as session:
        host = session.query("{ host { images: directory(path: %s) { id } binary: file(path: %s) { id } } cacheVolume(key: \"inner\") { id } }" % (quote(str(layout.folder)), quote(str(BINARY))))
        steps = [
            'from(address: "debian:bookworm-slim")',
            "withMountedDirectory(path: \"/images\", source: %s)" % quote(host["host"]["images"]["id"]),
            'withMountedFile(path: "/rondel", source: %s)' % quote(host["host"]["binary"]["id"]),
            'withMountedCache(path: "/tmp", cache: %s)' % quote(host["cacheVolume"]["id"]),
            'withNewFile(path: "/config.toml", contents: "offline = true\\n[[mirrors]]\\nlayout = \\"/images\\"\\n")',
            sh(script, ", insecureRootCapabilities: true"),
        ]
        printed = ask(session, "container", *steps, "stdout")
    assert printed.count("inner") == 2 and '"execs":1' in printed.replace(" ", ""), printed


def test_mnt_003_mnt_008_mnt_009_mounts_are_replaced_and_removed(engine):
    with engine.session() as session:
        made = session.query('{ directory { a: withNewFile(path: "a", contents: "1") { file(path: "a") { id } } b: withNewFile(path: "b", contents: "2") { file(path: "b") { id } id } } }')["directory"]
        one, two, folder = quote(made["a"]["file"]["id"]), quote(made["b"]["file"]["id"]), quote(made["b"]["id"])
        base = 'withNewFile(path: "/w/sub/below", contents: "b") { withWorkdir(path: "/w") { %s } }'
        files = 'withMountedFile(path: "/m/1", source: %s) { withMountedFile(path: "/m/2", source: %s) { withMountedFile(path: "/m/3", source: %s) { %s { stdout } } } }' % (one, two, one, sh("cat /m/1 /m/2 /m/3"))
        mounts = 'withMountedDirectory(path: "sub", source: %s) { withMountedTemp(path: "/t") { mounts %s { stdout } withoutMount(path: "sub") { mounts %s { stdout } } } }' % (folder, sh("ls sub"), sh("ls sub"))
        again = 'withMountedDirectory(path: "sub", source: %s) { withMountedTemp(path: "sub") { mounts withoutMount(path: "sub") { mounts %s { stdout } } } }' % (folder, sh("ls sub"))
        seen = of_image(session.query(in_busybox(base % ("files: " + files + " mounts: " + mounts + " again: " + again))))["withNewFile"]["withWorkdir"]
    assert seen["files"]["withMountedFile"]["withMountedFile"]["withExec"]["stdout"] == "121"
    mounted = seen["mounts"]["withMountedTemp"]
    assert mounted["mounts"] == ["/w/sub", "/t"] and mounted["withExec"]["stdout"] == "b\n"
    assert mounted["withoutMount"] == {"mounts": ["/t"], "withExec": {"stdout": "below\n"}}
    again = seen["again"]["withMountedTemp"]
    assert again["mounts"] == ["/w/sub"] and again["withoutMount"] == {"mounts": [], "withExec": {"stdout": "below\n"}}


def test_a_mounted_secret_covers_a_file_and_is_no_file(engine):
    look = 'withExec(args: ["cat", "/s"]) { stdout } file(path: "/s") { contents } exists(path: "/s")'
    with engine.session() as session:
        made = session.query('{ setSecret(name: "s", plaintext: "of the secret") { id } directory { withNewFile(path: "f", contents: "mounted") { file(path: "f") { id } } } }')
        secret = f'withMountedSecret(path: "/s", source: {quote(made["setSecret"]["id"])})'
        written = 'withNewFile(path: "/s", contents: "written")'
        mounted = f'withMountedFile(path: "/s", source: {quote(made["directory"]["withNewFile"]["file"]["id"])})'
        for file, contents in [(written, "written"), (mounted, "mounted")]:
            for first, second in [(secret, file), (file, secret)]:
                seen = of_image(session.query(in_busybox(f"{first} {{ {second} {{ {look} }} }}")))
                seen = list(list(seen.values())[0].values())[0]
                # A process sees the secret. The covered file is the container's.
                assert (seen["withExec"]["stdout"], seen["file"]["contents"], seen["exists"]) == ("***", contents, True)
        alone = session.query(in_busybox(f'{secret} {{ exists(path: "/s") withExec(args: ["true"]) {{ exists(path: "/s") }} }}'))
        assert of_image(alone)["withMountedSecret"]["exists"] is False
        assert "/s: no such file or directory" in session.error(in_busybox(f'{secret} {{ file(path: "/s") {{ contents }} }}'))["message"]
        # A directory that is mounted above it later does not hide it.
        below = secret.replace('"/s"', '"/d/s"') + ' { withMountedDirectory(path: "/d", source: DIR) { withExec(args: ["cat", "/d/s"]) { stdout } } }'
        empty = session.query('{ directory { withNewFile(path: "s", contents: "") { id } } }')["directory"]["withNewFile"]["id"]
        seen = of_image(session.query(in_busybox(below.replace("DIR", quote(empty)))))
        assert seen["withMountedSecret"]["withMountedDirectory"]["withExec"]["stdout"] == "***"


def test_mnt_007_a_temporary_mount_has_the_size_asked_for(engine):
    show = sh("grep ' /t ' /proc/mounts") + " { stdout }"
    seen = of_image(engine.data(in_busybox('a: withMountedTemp(path: "/t") { %s } b: withMountedTemp(path: "/t", size: 4000) { %s }' % (show, show))))
    for name, size in [("a", False), ("b", True)]:
        line = seen[name]["withExec"]["stdout"]
        assert " tmpfs " in line and ("size=4k" in line) == size and ("size=" in line) == size, line
    engine.query(in_busybox('withMountedTemp(path: "/t", size: 0) { mounts }')).failed("greater than zero")


def test_cli_ses_001_cli_ses_004_a_session_has_the_view_of_its_library(engine):
    with engine.session() as session:
        assert session.query("{ __schemaVersion }") == {"__schemaVersion": "v0.21.8"}
        assert session.close() == 0
    with engine.session("--version", "v123.456.789") as session:
        assert session.query("{ __schemaVersion }") == {"__schemaVersion": "v123.456.789"}
        assert session.close() == 0


def test_cli_ses_005_many_clients_wait_for_the_engine_that_one_of_them_starts(fresh):
    started = [fresh.start("query", "--silent", stdin=-1) for _ in range(4)]
    answers = [process.communicate("{ version }", timeout=60)[0] for process in started]
    assert all("v0.21.8" in answer for answer in answers), answers
    assert len(fresh.engines()) in (1, 2)


def test_cli_ses_002_clients_see_their_own_work(fresh):
    """Two clients in one trace, with a process that they share: each sees its own and the shared
    one, once.
    """
    shared = sh("sleep 1; echo shared-output")
    document = '{ container { from(address: "busybox") { own: %s { stdout } shared: %s { stdout } } } }'
    trace = {"TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    fresh.data(in_busybox("platform"))
    started = {
        name: fresh.start_query(document % (sh(f"echo output-of-{name}"), shared), "--progress", "plain", env=trace)
        for name in ["one", "two"]
    }
    said = {name: process.communicate(timeout=60) for name, process in started.items()}
    for name, other in [("one", "two"), ("two", "one")]:
        out, err = said[name]
        assert json.loads(out)["container"]["from"]["shared"]["stdout"] == "shared-output\n"
        assert err.count(f"| output-of-{name}") == 1 and f"output-of-{other}" not in err, err
        assert err.count("| shared-output") <= 1, err
    assert fresh.execs() == 3
