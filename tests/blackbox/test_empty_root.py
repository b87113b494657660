"""The binary in a file system that has nothing else. `scripts/release --check` tries the shipped binary in the same way."""

import pytest

from kit import ROOT, run_in
from kit.root_tree import RootTree, libraries

pytestmark = [pytest.mark.once, pytest.mark.skipif(not ROOT, reason="only root changes its root")]


@pytest.fixture
def empty(folder):
    tree = RootTree(folder / "root")
    yield tree
    tree.stop()


def test_an_empty_root_is_enough(empty):
    files = [str(path.relative_to(empty.folder)) for path in empty.folder.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(["rondel", "config.toml", *(library[1:] for library in libraries())])
    assert empty.run("version", kernel=False).startswith("rondel v")
    assert "from a container" in empty.run("query", stdin=run_in("busybox", "echo from a container"))
    network = run_in("busybox", "ip route | grep -c default")
    assert '"1\\n"' in empty.run("query", stdin=network)
