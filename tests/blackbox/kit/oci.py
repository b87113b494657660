"""OCI layouts built by tests, correct ones and damaged ones."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layout:
    """A layout folder under construction."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.entries = []
        self.flush()

    def flush(self) -> None:
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))

    def path(self, digest: str) -> Path:
        return self.folder / "blobs/sha256" / digest.removeprefix("sha256:")

    def put(self, content: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.path(digest).write_bytes(content)
        return digest

    def image(self, name: str, *layers: bytes, config: dict | None = None, packed: bool = True, history: list | None = None) -> list[str]:
        """Adds an image, and returns the digests of its layers."""
        descriptors = []
        diff_ids = []
        for layer in layers:
            blob = gzip.compress(layer, 1) if packed else layer
            digest = self.put(blob)
            diff_ids.append("sha256:" + hashlib.sha256(layer).hexdigest())
            descriptors.append({"mediaType": LAYER + ("+gzip" if packed else ""), "digest": digest, "size": len(blob)})
        document = {
            "architecture": machine(),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        if history is not None:
            document["history"] = history
        content = json.dumps(document).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.put(content),
                "size": len(content),
            },
            "layers": descriptors,
        }
        content = json.dumps(manifest).encode()
        self.entries.append(
            {
                "mediaType": manifest["mediaType"],
                "digest": self.put(content),
                "size": len(content),
                "annotations": {REF_NAME: name},
            }
        )
        self.flush()
        return [d["digest"] for d in descriptors]


def machine() -> str:
    import platform

    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def tar(*entries) -> bytes:
    """A tar of `(name, content)` files and ready-made `TarInfo`s."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                name, content = entry
                info = tarfile.TarInfo(name)
                info.size = len(content)
                info.mode = 0o755
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str, hard: bool = False) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
    info.linkname = target
    return info


def base_layer(images: Path) -> bytes:
    """The layer of the busybox image among the base images."""
    index = json.loads((images / "index.json").read_text())
    for entry in index["manifests"]:
        if entry["annotations"][REF_NAME].endswith("busybox:latest"):
            blob = lambda d: (images / "blobs/sha256" / d["digest"].removeprefix("sha256:")).read_bytes()
            return blob(json.loads(blob(entry))["layers"][0])
    raise AssertionError("there is no busybox among the base images")
