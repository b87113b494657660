"""The corpus of Dockerfiles in `tests/dockerfiles`, and images in a form that can be compared."""

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from pathlib import Path

from kit.graphql import set_secret
from kit.paths import REPO

CORPUS = REPO / "tests/dockerfiles"
EXPECTED = "expected.txt"
# Written with the date of the build.
DATED = ("etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-")


class Case:
    """One folder of the corpus: a Dockerfile, its context, and how it is built."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.name = folder.name
        path = folder / "case.json"
        self.meta = json.loads(path.read_text()) if path.exists() else {}
        self.args = self.meta.get("args", {})
        self.secrets = self.meta.get("secrets", {})
        self.target = self.meta.get("target", "")
        self.dockerfile = self.meta.get("dockerfile", "Dockerfile")
        # Why buildah cannot build it. `None` if it can.
        self.alone = self.meta.get("buildah")

    def stage(self, folder: Path) -> Path:
        """A copy of the context. Its owners and modes do not depend on this checkout."""
        modes = self.meta.get("modes", {})
        target = folder / self.name
        copy_tree(self.folder, target)
        for path, mode in modes.items():
            (target / path).chmod(int(mode, 8))
        return target

    def field(self, context: Path) -> str:
        """The field of the API that builds the case from `context`."""
        args = [f"dockerfile: {json.dumps(self.dockerfile)}"]
        if self.target:
            args.append(f"target: {json.dumps(self.target)}")
        pairs = ", ".join(f"{{name: {json.dumps(k)}, value: {json.dumps(v)}}}" for k, v in self.args.items())
        args.append(f"buildArgs: [{pairs}]")
        return f"host {{ directory(path: {json.dumps(str(context))}) {{ dockerBuild({', '.join(args)}%s) {{ %s }} }} }}"

    def build(self, session, context: Path, selection: str):
        """Builds the case, and returns the values of `selection` of the container."""
        ids = [set_secret(session, text, name) for name, text in self.secrets.items()]
        secrets = f", secrets: {json.dumps(ids)}" if ids else ""
        data = session.query("{ " + self.field(context) % (secrets, selection) + " }")
        return data["host"]["directory"]["dockerBuild"]


def cases() -> list[Case]:
    return [Case(folder) for folder in sorted(CORPUS.iterdir()) if folder.is_dir()]


def copy_tree(source: Path, target: Path) -> None:
    """Modes are those that a checkout keeps: whether something may be executed."""
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    for entry in sorted(source.iterdir()):
        if entry.name in (EXPECTED, "case.json"):
            continue
        place = target / entry.name
        if entry.is_symlink():
            place.symlink_to(os.readlink(entry))
        elif entry.is_dir():
            copy_tree(entry, place)
        else:
            place.write_bytes(entry.read_bytes())
            place.chmod(0o755 if entry.stat().st_mode & stat.S_IXUSR else 0o644)


class Image:
    """An image from a layout: its configuration, and its files as one line each."""

    def __init__(self, config: dict, layers: list[tuple[str, bytes]]):
        self.config = config
        self.diff_ids = [diff_id for diff_id, _ in layers]
        self.files: dict[str, str] = {}
        for _, blob in layers:
            self.apply(blob)

    def apply(self, blob: bytes) -> None:
        added: set[str] = set()
        with tarfile.open(fileobj=io.BytesIO(blob)) as layer:
            for entry in layer:
                path = "" if entry.name in (".", "./") else entry.name.removeprefix("./").strip("/")
                folder, _, name = path.rpartition("/")
                if name == ".wh..wh..opq":
                    self.forget(folder, keep=added)
                elif name.startswith(".wh."):
                    gone = f"{folder}/{name[4:]}".strip("/")
                    self.forget(gone)
                    self.files.pop(gone, None)
                elif path:
                    if not entry.isdir():
                        self.forget(path)
                    self.files[path] = self.line(layer, entry, path)
                    added.add(path)

    def forget(self, folder: str, keep: set[str] = frozenset()) -> None:
        for path in [path for path in self.files if path.startswith(f"{folder}/") and path not in keep]:
            del self.files[path]

    def line(self, layer: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> str:
        owner = f"{entry.mode & 0o7777:04o} {entry.uid}:{entry.gid}"
        if entry.isdir():
            return f"dir {owner}"
        if entry.issym():
            return f"link {entry.uid}:{entry.gid} -> {entry.linkname}"
        if entry.islnk():
            return self.files.get(entry.linkname.removeprefix("./").strip("/"), f"hard link {entry.linkname}")
        if entry.isfile():
            content = layer.extractfile(entry).read()
            known = "dated" if path in DATED else f"{len(content)} {hashlib.sha256(content).hexdigest()[:16]}"
            return f"file {owner} {known}"
        return f"special {entry.type.decode()} {owner}"


def read_layout(read, name: str | None = None) -> Image:
    """The image of an OCI layout. `read` returns a file of the layout by its path."""
    manifests = json.loads(read("index.json"))["manifests"]
    named = [m for m in manifests if m.get("annotations", {}).get("org.opencontainers.image.ref.name") == name]
    blob = lambda digest: read("blobs/" + digest.replace(":", "/"))
    manifest = json.loads(blob((named or manifests)[0]["digest"]))
    config = json.loads(blob(manifest["config"]["digest"]))
    layers = []
    for layer in manifest["layers"]:
        content = blob(layer["digest"])
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        layers.append(("sha256:" + hashlib.sha256(content).hexdigest(), content))
    return Image(config, layers)


def read_tarball(path: Path) -> Image:
    with tarfile.open(path) as archive:
        return read_layout(lambda name: archive.extractfile(name).read())


def read_docker_archive(path: Path) -> Image:
    """An image in Docker's archive format, which has the whole configuration."""
    with tarfile.open(path) as archive:
        read = lambda name: archive.extractfile(name).read()
        manifest = json.loads(read("manifest.json"))[0]
        layers = [read(name) for name in manifest["Layers"]]
        return Image(json.loads(read(manifest["Config"])), [(hashlib.sha256(l).hexdigest(), l) for l in layers])


def read_folder(path: Path, name: str | None = None) -> Image:
    return read_layout(lambda file: (path / file).read_bytes(), name)


class Bases:
    """The base images, to find the files that a build added."""

    def __init__(self, layout: Path):
        self.images = []
        for entry in json.loads((layout / "index.json").read_text())["manifests"]:
            name = entry["annotations"]["org.opencontainers.image.ref.name"]
            if not any(digest == entry["digest"] for digest, _ in self.images):
                self.images.append((entry["digest"], read_folder(layout, name)))

    def below(self, image: Image) -> dict[str, str]:
        fits = [base for _, base in self.images if image.diff_ids[: len(base.diff_ids)] == base.diff_ids]
        return max(fits, key=lambda base: len(base.diff_ids)).files if fits else {}

    def added(self, image: Image) -> list[str]:
        """Differences between the image and its base, one line each, then the image's
        configuration.
        """
        below = self.below(image)
        lines = [f"{line} {path!r}" for path, line in image.files.items() if below.get(path) != line]
        lines += [f"gone {path!r}" for path in below if path not in image.files]
        config = json.dumps(configuration(image.config), sort_keys=True, ensure_ascii=False, indent=1)
        return sorted(lines) + config.splitlines()


# Keys that describe the build, not the image.
OF_THE_BUILD = {"Hostname", "Domainname", "Image", "ArgsEscaped", "AttachStdin", "AttachStdout", "AttachStderr"}


def configuration(document: dict) -> dict:
    """The configuration without empty values."""
    config = {key: value for key, value in (document.get("config") or {}).items() if value and key not in OF_THE_BUILD}
    if config.get("WorkingDir") == "/":
        del config["WorkingDir"]
    if "Healthcheck" in config:
        config["Healthcheck"] = {key: value for key, value in config["Healthcheck"].items() if value}
    return config
