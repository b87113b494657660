"""Registries on loopback: push, pull, credentials."""

import base64
import json
import urllib.request

import pytest

from kit import IMAGES, eventually, mirror_of, set_secret
from kit.registries import Registry, password_file


@pytest.fixture
def registry(folder):
    made = Registry(folder)
    yield made
    made.stop()


def publish(rondel, address: str, more: str = ""):
    document = '{ container { from(address: "busybox") { withNewFile(path: "/inside", contents: "pushed") { publish(address: "%s"%s) } } } }'
    return rondel.query(document % (address, more))


@pytest.fixture
def online(make_engine):
    """An engine that may speak to registries."""
    return make_engine(mirror_of(IMAGES, offline=False))


def test_pub_001_a_published_image_is_pulled(online, make_engine, registry):
    name = f"{registry.address}/team/app:1"
    published = publish(online, name).json()
    reference = published["container"]["from"]["withNewFile"]["publish"]
    assert reference.startswith(f"{registry.address}/team/app") and "@sha256:" in reference
    other = make_engine("offline = false\n")
    for address in [name, reference]:
        document = '{ container { from(address: "%s") { file(path: "/inside") { contents } imageRef withExec(args: ["cat", "/inside"]) { stdout } } } }'
        seen = other.data(document % address)["container"]["from"]
        assert seen["file"]["contents"] == seen["withExec"]["stdout"] == "pushed"
        assert reference.split("@")[1] in seen["imageRef"]


@pytest.mark.parametrize("compression", ["Gzip", "Zstd", "Uncompressed"])
def test_pub_007_images_have_the_compression_and_media_type_asked_for(online, registry, compression):
    for media in ["OCIMediaTypes", "DockerMediaTypes"]:
        name = f"{registry.address}/c:{compression.lower()}-{media.lower()}"
        if media == "DockerMediaTypes" and compression == "Zstd":
            continue
        publish(online, name, f", forcedCompression: {compression}, mediaTypes: {media}").ok()
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"}
        url = f"http://{registry.address}/v2/c/manifests/{name.rsplit(':', 1)[1]}"
        manifest = json.load(urllib.request.urlopen(urllib.request.Request(url, headers=accept)))
        assert ("docker" in manifest["mediaType"]) == (media == "DockerMediaTypes")
        assert manifest["layers"]


def test_pub_011_content_is_fetched_again_with_credentials_of_the_client(online, make_engine, folder):
    registry = Registry(folder, password_file("user", "pass"))
    try:
        name = f"{registry.address}/private:1"
        logins = {"auths": {registry.address: {"auth": base64.b64encode(b"user:pass").decode()}}}
        for rondel in [online, client := make_engine("offline = false\n")]:
            (rondel.home / ".docker").mkdir()
            (rondel.home / ".docker/config.json").write_text(json.dumps(logins))
        publish(online, name).ok()
        made = client.data('{ container { from(address: "%s") { rootfs { id } } } }' % name)
        id = json.dumps(made["container"]["from"]["rootfs"]["id"])

        def read(leaf: str):
            return client.query("{ loadDirectoryFromID(id: %s) { %s } }" % (id, leaf))

        def prune():
            client.wait_for_clients_to_go()
            eventually(lambda: client.run("cache", "prune", "--json").json()["records"], what="something to prune")

        assert "inside" in str(read("entries").json())
        prune()
        assert "pushed" in str(read('file(path: "/inside") { contents }').json())
        prune()
        assert "inside" in str(read('glob(pattern: "in*")').json())
        prune()
        (client.home / ".docker/config.json").unlink()
        client.stop()
        read('glob(pattern: "i*e")').failed("cannot pull", code=1)
    finally:
        registry.stop()


def test_pub_008_a_private_registry_needs_credentials(online, make_engine, folder):
    registry = Registry(folder, password_file("user", "pass"))
    try:
        name = f"{registry.address}/private:1"
        publish(online, name).failed(code=1)
        with online.session() as session:
            secret = set_secret(session, "pass", "p")
            document = '{ container { from(address: "busybox") { withRegistryAuth(address: "%s", username: "user", secret: %s) { publish(address: "%s") } } } }'
            assert session.query(document % (registry.address, json.dumps(secret), name))
        client = make_engine("offline = false\n")
        folder_of_client = client.home / ".docker"
        folder_of_client.mkdir()
        token = base64.b64encode(b"user:pass").decode()
        (folder_of_client / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": token}}}))
        assert client.data('{ container { from(address: "%s") { imageRef } } }' % name)
        wrong = base64.b64encode(b"user:wrong").decode()
        (folder_of_client / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": wrong}}}))
        other = make_engine("offline = false\n")
        other.home = client.home
        other.query('{ container { from(address: "%s") { imageRef } } }' % name).failed(code=1)
    finally:
        registry.stop()
