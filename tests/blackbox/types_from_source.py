"""Compares the types of modules read from their source with those that a process registers.
`scripts/types-from-source` runs this.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from kit import IMAGES, REPO, Rondel, mirror_of, short_folder
from kit.definitions import RUNNING, configure, copied, origin, question

VERSIONS = ["v0.9.9", "v0.11.9", "v0.12.7", "v0.15.4", "v0.18.10", "v0.18.11", "v0.19.11", "v0.21.8"]
# How many differences of a module are printed.
SHOWN = 12

# An SDK whose types of modules in Go are registered by the code generator of the original.
REGISTRAR = '''import dagger
from dagger import dag, function, object_type


@object_type
class Registrar:
    @function
    def module_runtime(self, mod_source: dagger.ModuleSource, introspection_json: dagger.File) -> dagger.Container:
        return dag.container()

    @function
    async def module_types(
        self, mod_source: dagger.ModuleSource, introspection_json: dagger.File, output_file_path: str
    ) -> dagger.Container:
        name = await mod_source.module_original_name()
        place = "/src/" + await mod_source.source_subpath()
        own = dag.current_module().source()
        words = ["generate-typedefs", "--module-source-path", place, "--module-name", name, "--lib-version", "v0.21.8"]
        words += ["--introspection-json-path", "/schema.json", "--output", "typedefs.json"]
        return (
            dag.container()
            .from_("golang:1.26-bookworm")
            .with_file("/usr/local/bin/registrar", own.file("registrar"))
            .with_directory("/proxy", own.directory("proxy"))
            .with_env_variable("GOPROXY", "file:///proxy,https://proxy.golang.org")
            .with_env_variable("GOSUMDB", "off")
            .with_env_variable("GOTOOLCHAIN", "local")
            .with_env_variable("GOFLAGS", "-buildvcs=false")
            .with_mounted_cache("/go/pkg/mod", dag.cache_volume("gomod"))
            .with_mounted_cache("/root/.cache/go-build", dag.cache_volume("gobuild"))
            .with_directory("/src", mod_source.context_directory())
            .without_file(place + "/dagger.gen.go")
            .without_directory(place + "/internal")
            .with_file("/schema.json", introspection_json)
            .with_workdir(place)
            .with_entrypoint([])
            .with_default_args(["sh", "-c", 'registrar "$@" && cp typedefs.json ' + output_file_path, "sh", *words])
        )
'''


class Comparison:
    """Reads types with one engine, and has them registered by another."""

    def __init__(self, generator: Path | None, proxy: Path | None):
        self.generator, self.proxy = generator, proxy
        self.reading, self.running = (Rondel(short_folder(), text + mirror_of(IMAGES, offline=False)) for text in ("", RUNNING))
        self.counts = dict.fromkeys(["same", "differs", "only read", "only registered", "fails both ways"], 0)

    def close(self):
        for engine in (self.reading, self.running):
            engine.remove()

    def repository(self, folder: Path, versions: list) -> None:
        """Compares all modules below a folder, which is taken for a repository."""
        for path in sorted(folder.rglob("dagger.json")):
            config = json.loads(path.read_text())
            sdk = config.get("sdk")
            sdk = sdk.get("source") if isinstance(sdk, dict) else sdk
            if sdk == "python" or (sdk == "go" and self.generator):
                for version in versions or [config.get("engineVersion")]:
                    self.module(folder, path.parent.relative_to(folder), sdk, version)

    def module(self, repository: Path, module: Path, sdk: str, version: str | None) -> None:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            changes = {"engineVersion": version} if version else {}
            copy = copied(repository, Path(folder) / "repository", module, **changes)
            began = time.monotonic()
            listed = self.reading.run("functions", "-m", copy, "--explain")
            took = time.monotonic() - began
            way = origin(listed) if listed.code == 0 else ""
            read = self.reading.query(question(copy))
            if sdk == "go":
                registrar = self.registrar(Path(folder) / "repository")
                configure(copy, sdk={"source": os.path.relpath(registrar, copy)})
            registered = self.running.query(question(copy))
        codes = (read.code == 0, registered.code == 0)
        found = {(True, False): "only read", (False, True): "only registered", (False, False): "fails both ways"}.get(codes)
        differences = [] if found else list(differing(read.json(), registered.json()))
        found = found or ("differs" if differences else "same")
        self.counts[found] += 1
        print(f"{found:15} {version or 'none':9} {took * 1000:5.0f} ms  {sdk:6}  {repository.name}/{module}  {way}", flush=True)
        for line in differences[:SHOWN] + [f"{done.err.strip()[-300:]!r}" for done in (read, registered) if done.code]:
            print(f"    {line}", flush=True)

    def registrar(self, repository: Path) -> Path:
        """The SDK for modules in Go, in the copy of a repository."""
        folder = repository / "rondel-registrar"
        (folder / "src/registrar").mkdir(parents=True)
        (folder / "src/registrar/__init__.py").write_text(REGISTRAR)
        (folder / "pyproject.toml").write_text('[project]\nname = "registrar"\nversion = "0.1.0"\ndependencies = ["dagger-io"]\n')
        (folder / "dagger.json").write_text(json.dumps({"name": "registrar", "sdk": "python", "engineVersion": "v0.21.8"}))
        # Rules of the repository do not leave these out.
        (folder / ".gitignore").write_text("!*\n")
        shutil.copy(self.generator, folder / "registrar")
        (folder / "proxy").mkdir()
        if self.proxy:
            shutil.copytree(self.proxy, folder / "proxy", dirs_exist_ok=True)
        return folder


def differing(read, registered, path: str = ""):
    """The places at which two answers differ, as text."""
    if isinstance(read, dict) and isinstance(registered, dict):
        for key in read | registered:
            yield from differing(read.get(key), registered.get(key), f"{path}.{key}")
    elif isinstance(read, list) and isinstance(registered, list) and len(read) == len(registered):
        for at, both in enumerate(zip(read, registered)):
            yield from differing(*both, f"{path}[{at}]")
    elif read != registered:
        yield f"{path}: {str(read)[:200]!r} != {str(registered)[:200]!r}"


def main() -> int:
    words = argparse.ArgumentParser()
    words.add_argument("--generator", type=Path)
    words.add_argument("--proxy", type=Path)
    words.add_argument("--all-versions", action="store_true")
    words.add_argument("folder", nargs="*", type=Path, default=[REPO / "examples", REPO / "tests/modules"])
    asked = words.parse_args()
    comparison = Comparison(asked.generator, asked.proxy)
    try:
        for folder in asked.folder:
            comparison.repository(folder.resolve(), VERSIONS if asked.all_versions else [])
    finally:
        comparison.close()
    print(", ".join(f"{count} {found}" for found, count in comparison.counts.items()))
    return 1 if comparison.counts["differs"] or comparison.counts["only registered"] else 0


if __name__ == "__main__":
    sys.exit(main())
