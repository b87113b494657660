"""Images that are published, exported or handed to the client's own tool."""

import io
import json
import os
import stat
import tarfile

import pytest

from kit import IMAGES, leaf, nest, quote, set_secret
from kit.oci import Layout, base_layer, tar
from kit.registries import Registry, TokenRegistry


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory):
    """A registry that the tests of this file share."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {m.name: opened.extractfile(m).read() for m in opened if m.isfile()}


def config_in(files: dict[str, bytes]) -> dict:
    (entry,) = json.loads(files["manifest.json"])
    return json.loads(files[entry["Config"]])


def test_pub_002_pub_004_a_published_image_has_a_layer_per_directory(connected, shared_registry):
    with connected.session() as session:
        folders = [leaf(session.query('{ directory { withNewFile(path: "f%d", contents: "%d") { id } } }' % (n, n))) for n in range(10)]
        steps = ['withDirectory(path: "/d%d", source: %s)' % (n, quote(folder)) for n, folder in enumerate(folders)]
        session.query("{ container { " + nest(*steps, 'publish(address: "%s/ten:1")' % shared_registry.address) + " } }")
        session.query('{ container { publish(address: "%s/none:1") } }' % shared_registry.address)
    assert len(shared_registry.manifest("ten", "1")["layers"]) == 10
    assert shared_registry.manifest("none", "1")["layers"] == []


def test_pub_003_layers_of_the_base_are_kept(connected, shared_registry):
    """The base comes from the registry, packed by another tool."""
    name = f"{shared_registry.address}/base:1"
    other = connected.session()
    made = 'withNewFile(path: "/one", contents: "1") { withNewFile(path: "/two", contents: "2") { publish(address: "%s") } }' % name
    with other as session:
        session.query('{ container { from(address: "busybox") { %s } } }' % made)
    base = [layer["digest"] for layer in shared_registry.manifest("base", "1")["layers"]]
    with connected.session() as session:
        rootfs = leaf(session.query('{ container { from(address: "%s") { rootfs { withNewFile(path: "/three", contents: "3") { id } } } } }' % name))
        session.query('{ container { from(address: "%s") { withRootfs(directory: %s) { publish(address: "%s/on:1") } } } }' % (name, quote(rootfs), shared_registry.address))
    layers = [layer["digest"] for layer in shared_registry.manifest("on", "1")["layers"]]
    assert layers[: len(base)] == base and len(layers) == len(base) + 1


def test_pub_003_layers_of_a_foreign_packer_are_kept(make_engine, shared_registry, folder):
    layout = Layout(folder / "l")
    digests = layout.image("docker.io/library/app:1", base_layer(IMAGES), gzip_free := tar(("x", b"y")))
    engine = make_engine('offline = false\n[[mirrors]]\nlayout = "%s"\n' % layout.folder)
    engine.data('{ container { from(address: "app:1") { withNewFile(path: "/new", contents: "n") { publish(address: "%s/foreign:1") } } } }' % shared_registry.address)
    layers = [layer["digest"] for layer in shared_registry.manifest("foreign", "1")["layers"]]
    assert gzip_free and layers[:2] == digests and len(layers) == 3


def test_the_history_of_the_base_is_kept(make_engine, folder):
    """The configuration of a foreign image has the history of layers and of empty steps."""
    layout = Layout(folder / "l")
    made = [{"created_by": "ADD file"}, {"created_by": "ENV A=1", "empty_layer": True}, {"created": "2020-01-02T03:04:05Z", "created_by": "COPY x", "comment": "c"}]
    layout.image("docker.io/library/app:1", base_layer(IMAGES), tar(("x", b"y")), history=made)
    layout.image("docker.io/library/odd:1", base_layer(IMAGES), history=made)
    engine = make_engine('[[mirrors]]\nlayout = "%s"\n' % layout.folder)
    ours = {"created": "1970-01-01T00:00:00Z", "created_by": "rondel"}

    def history(selection: str) -> list:
        target = folder / "out.tar"
        engine.data("{ %s }" % selection.replace("$export", 'export(path: "%s")' % target), cwd=folder)
        return config_in(members(target.read_bytes()))["history"]

    assert history('container { from(address: "app:1") { $export } }') == made
    assert history('container { from(address: "app:1") { withNewFile(path: "/new", contents: "n") { $export } } }') == [*made, ours]
    assert history('container { from(address: "odd:1") { $export } }') == [ours]
    dockerfile = 'directory { withNewFile(path: "Dockerfile", contents: "FROM app:1\\nENV B=2\\nRUN touch /made") { dockerBuild { $export } } }'
    assert history(dockerfile) == [*made, ours]


def test_an_unsupported_compression_is_refused(engine):
    error = engine.query('{ container { withNewFile(path: "/f", contents: "c") { asTarball(forcedCompression: EStarGZ) { size } } } }')
    error.failed("layers cannot be packed as `EStarGZ`")


PLATFORMS = ["linux/amd64", "linux/arm64", "linux/s390x"]


def variants(session, annotation: bool = False) -> list[str]:
    note = 'withAnnotation(name: "who", value: "%s") { ' if annotation else ""
    made = []
    for platform in PLATFORMS:
        steps = (note % platform if annotation else "") + "id" + (" }" if annotation else "")
        made.append(leaf(session.query('{ container(platform: "%s") { withNewFile(path: "/arch", contents: "%s") { %s } } }' % (platform, platform, steps))))
    return made


def test_pub_005_plt_003_env_009_variants_are_published_under_an_index(connected, shared_registry, make_engine):
    name = f"{shared_registry.address}/multi:1"
    with connected.session() as session:
        made = variants(session, annotation=True)
        reference = leaf(session.query('{ container { publish(address: "%s", platformVariants: %s) } }' % (name, quote(made))))
        exported = leaf(session.query("{ container { asTarball(platformVariants: %s) { id } } }" % quote(made)))
        twice = session.error('{ container { publish(address: "%s", platformVariants: %s) } }' % (name, quote([made[0], made[0]])))
        assert "two variants" in twice["message"]
        assert exported
    index = shared_registry.manifest("multi", "1")
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    for entry, platform in zip(index["manifests"], PLATFORMS, strict=True):
        assert entry["platform"]["architecture"] == platform.split("/")[1]
        assert entry["annotations"] == {"who": platform}
        assert shared_registry.manifest("multi", entry["digest"])["annotations"] == {"who": platform}
    other = make_engine("offline = false\n")
    seen = other.data(
        "{ "
        + " ".join('p%d: container(platform: "%s") { from(address: "%s") { platform file(path: "/arch") { contents } } }' % (n, platform, name) for n, platform in enumerate(PLATFORMS))
        + ' default: container { from(address: "%s") { platform } } pinned: container { from(address: "%s") { platform } } }' % (name, reference)
    )
    for at, platform in enumerate(PLATFORMS):
        assert seen[f"p{at}"]["from"] == {"platform": platform, "file": {"contents": platform}}
    assert seen["default"]["from"] == seen["pinned"]["from"] == {"platform": other.data("{ defaultPlatform }")["defaultPlatform"]}


def test_env_009_pub_013_env_006_hc_003_an_export_has_the_configuration(connected, folder):
    steps = [
        'from(address: "busybox")', 'withAnnotation(name: "a.b", value: "note")', 'withEntrypoint(args: ["/bin/e"])', 'withDefaultArgs(args: ["d"])',
        'withEnvVariable(name: "KEPT", value: "k")', 'withVolatileVariable(name: "VOLATILE", value: "v")', 'withUser(name: "1:2")', 'withWorkdir(path: "/w")',
        'withLabel(name: "l", value: "v")', 'withExposedPort(port: 80)', 'withExposedPort(port: 53, protocol: UDP)',
        'withDockerHealthcheck(args: ["curl", "x"], interval: "25s", timeout: "1500ms", startPeriod: "1m", startInterval: "2s", retries: 4)',
    ]
    leaf = 'export(path: "exec.tar") withDockerHealthcheck(args: ["curl x"], shell: true) { export(path: "shell.tar") }'
    connected.data("{ container { " + nest(*steps, leaf) + " } }", cwd=folder)
    files = members((folder / "exec.tar").read_bytes())
    config = config_in(files)["config"]
    assert config["Entrypoint"] == ["/bin/e"] and config["Cmd"] == ["d"] and config["User"] == "1:2" and config["WorkingDir"] == "/w"
    assert config["Labels"] == {"l": "v"} and set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert "KEPT=k" in config["Env"] and not any("VOLATILE" in entry for entry in config["Env"])
    assert config["Healthcheck"] == {"Test": ["CMD", "curl", "x"], "Interval": 25_000_000_000, "Timeout": 1_500_000_000,
        "StartPeriod": 60_000_000_000, "StartInterval": 2_000_000_000, "Retries": 4}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {"a.b": "note"}
    assert json.loads(files["blobs/sha256/" + entry["digest"].split(":")[1]])["annotations"] == {"a.b": "note"}
    shell = config_in(members((folder / "shell.tar").read_bytes()))
    assert shell["config"]["Healthcheck"] == {"Test": ["CMD-SHELL", "curl x"]}


def test_hc_001_a_health_check_survives_publishing(connected, shared_registry, make_engine):
    name = f"{shared_registry.address}/healthy:1"
    fields = "dockerHealthcheck { args shell interval timeout startPeriod startInterval retries }"
    connected.data('{ container { from(address: "busybox") { withDockerHealthcheck(args: ["curl", "x"], interval: "25s", timeout: "90s", startPeriod: "1m", startInterval: "250ms", retries: 3) { publish(address: "%s") } } } }' % name)
    seen = make_engine("offline = false\n").data('{ container { from(address: "%s") { %s } } }' % (name, fields))
    assert leaf(seen) == {"args": ["curl", "x"], "shell": False, "interval": "25s", "timeout": "1m30s", "startPeriod": "1m0s", "startInterval": "250ms", "retries": 3}


def test_pub_009_pub_020_tokens_are_kept_by_their_scope(connected, shared_registry):
    """Pulling is anonymous, pushing needs credentials.

    A token for pulling is not used for pushing.
    """
    front = TokenRegistry(shared_registry, "user", "pass")
    try:
        connected.data('{ container { from(address: "busybox") { publish(address: "%s/shared:1") } } }' % shared_registry.address)
        with connected.session() as session:
            pulled = session.query('{ container { from(address: "%s/shared:1") { file(path: "/etc/passwd") { size } } } }' % front.address)
            assert leaf(pulled) > 0 and all(not known for _, known in front.tokens)
            push = 'withNewFile(path: "/n", contents: "%s") { publish(address: "%s/shared:%s") }'
            refused = session.error('{ container { from(address: "busybox") { %s } } }' % (push % ("0", front.address, "0")))
            assert "refuses" in refused["message"] or "UNAUTHORIZED" in refused["message"], refused
            secret = set_secret(session, "pass", "p")
            known = 'withRegistryAuth(address: "%s", username: "user", secret: %s)' % (front.address, quote(secret))
            for n in [1, 2]:
                assert session.query('{ container { from(address: "busybox") { %s { %s } } } }' % (known, push % (n, front.address, f"k{n}")))
            assert any("push" in scope and known for scope, known in front.tokens)
            forgotten = known + ' { withoutRegistryAuth(address: "%s") { %s } }' % (front.address, push % ("3", front.address, "3"))
            assert session.error('{ container { from(address: "busybox") { %s } } }' % forgotten)
    finally:
        front.stop()


def test_pub_012_pub_015_exports_are_files_with_equal_bytes(connected, folder):
    export = '{ container { from(address: "busybox") { withNewFile(path: "/f", contents: "c") { export(path: "%s") } } } }'
    path = folder / "a/b/image.tar"
    assert leaf(connected.data(export % "a/b/image.tar", cwd=folder)) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {"oci-layout", "index.json", "manifest.json"} <= set(members(path.read_bytes()))
    connected.query(export % "../outside.tar", cwd=folder).failed("outside")
    assert not (folder.parent / "outside.tar").exists()
    assert leaf(connected.data(export % str(folder / "absolute.tar"), cwd=folder)) == str(folder / "absolute.tar")
    first = path.read_bytes()
    digest = '{ container { from(address: "busybox") { withNewFile(path: "/f", contents: "c") { asTarball { digest } } } } }'
    assert leaf(connected.data(digest)) == leaf(connected.data(digest))
    connected.data(export % "again.tar", cwd=folder)
    assert (folder / "again.tar").read_bytes() == first


def test_pub_016_equal_content_under_two_names_has_one_digest(connected, shared_registry):
    made = '{ container { from(address: "busybox") { withNewFile(path: "/same", contents: "s") { publish(address: "%s/%s:1") } } } }'
    first, second = (leaf(connected.data(made % (shared_registry.address, name))) for name in ["first", "second"])
    assert first != second and first.split("@")[1] == second.split("@")[1]
    before = connected.execs()
    run = '{ container { from(address: "%s") { withExec(args: ["cat", "/proc/sys/kernel/random/uuid"]) { stdout } } } }'
    assert leaf(connected.data(run % first)) == leaf(connected.data(run % second))
    assert connected.execs() == before + 1


@pytest.mark.parametrize("media", ["OCI", "DOCKER"])
def test_pub_017_archives_of_every_packing_are_imported(connected, media):
    """Every compression with every media type."""
    with connected.session() as session:
        for packing in ["Gzip", "Zstd", "Uncompressed"]:
            made = '{ container { from(address: "busybox") { withNewFile(path: "/f", contents: "%s") { asTarball(forcedCompression: %s, mediaTypes: %s) { id } } } } }'
            source = leaf(session.query(made % (packing, packing, media)))
            again = leaf(session.query('{ container { import(source: %s) { file(path: "/f") { contents } } } }' % quote(source)))
            assert again == packing


DOCKER = """#!/bin/sh
# The part of Docker's commands that is needed, on a folder.
store={store}
case $1 in
    info) [ -d $store ] ;;
    load) cp "$3" $store/loaded.tar && echo "Loaded image ID: sha256:loaded" ;;
    tag) [ "$2" = sha256:loaded ] && echo "$3" >> $store/names ;;
    save) grep -qxF "$4" $store/names || {{ echo "no such image: $4" >&2; exit 1; }}; cp $store/loaded.tar "$3" ;;
    *) exit 2 ;;
esac
"""


def test_pub_018_pub_019_images_go_to_and_from_the_clients_tool(connected, folder):
    tools = folder / "bin"
    tools.mkdir()
    for name in ["docker", "nerdctl", "podman"]:
        (tools / name).write_text("#!/bin/sh\nexit 1\n" if name != "docker" else DOCKER.format(store=folder / "store"))
        (tools / name).chmod(0o755)
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir()
    export = '{ container { from(address: "busybox") { withNewFile(path: "/f", contents: "stored") { withEntrypoint(args: ["e"]) { exportImage(name: "%s") } } } } }'
    take = '{ host { containerImage(name: "%s") { entrypoint file(path: "/f") { contents } withExec(args: ["cat", "/f"]) { stdout } } } }'
    connected.query(export % "app:1", env=env).failed("client has no supported api for loading image")
    connected.query(take % "app:1", env=env).failed("client has no supported api for loading image")
    (folder / "store").mkdir()
    connected.data(export % "team/app:1", env=env)
    assert (folder / "store/names").read_text() == "team/app:1\n"
    assert leaf(connected.data(take % "team/app:1", env=env)) == {"entrypoint": ["e"], "file": {"contents": "stored"}, "withExec": {"stdout": "stored"}}
    connected.query(take % "other:1", env=env).failed("no such image: other:1")
    connected.query(export % "Not A Name", env=env).failed("invalid image reference")
    assert list((folder / "tmp").iterdir()) == []
