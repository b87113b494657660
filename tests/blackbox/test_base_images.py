"""The base images of `cargo xtask base-images` contain what their names say."""

import json

import pytest

from kit import IMAGES, container, document, leaf, run_in, sh

GOLANG = "docker.io/library/golang:"
# It imports nothing, so that little of the standard library is compiled.
PROGRAM = 'package main\n\nfunc main() { println("compiled") }\n'


def tags() -> list[str]:
    """The tags of the Go image."""
    manifests = json.loads((IMAGES / "index.json").read_text())["manifests"]
    names = [manifest["annotations"]["org.opencontainers.image.ref.name"] for manifest in manifests]
    return sorted(name.removeprefix(GOLANG) for name in names if name.startswith(GOLANG))


def test_the_go_image_has_the_version_of_its_names(engine):
    release, version = tags()
    script = "go version | cut -d' ' -f3; go env GOROOT GOPATH GOTOOLCHAIN; pwd; . /etc/os-release; echo $VERSION_CODENAME"
    found = leaf(engine.data(run_in(f"golang:{release}", f"{script}; git --version"))).split("\n")
    assert found[:6] == ["go" + version.removesuffix("-bookworm"), "/usr/local/go", "/go", "local", "/go", "bookworm"]
    assert found[6].startswith("git version ")
    assert version.startswith(release.removesuffix("-bookworm"))


@pytest.mark.once
def test_the_go_image_compiles_and_vets_offline(engine):
    files = {"go.mod": "module m\n\ngo 1.21\n", "main.go": PROGRAM}
    written = [f"withNewFile(path: {json.dumps('/m/' + name)}, contents: {json.dumps(text)})" for name, text in files.items()]
    script = sh('test -z "$(gofmt -l .)" && go vet . && go build -o /tmp/m . && /tmp/m 2>&1')
    done = leaf(engine.data(document(*container("golang:1.26-bookworm"), *written, 'withWorkdir(path: "/m")', script, "stdout")))
    assert done == "compiled\n"
