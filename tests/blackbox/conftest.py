"""Fixtures: an engine for the whole run, a fresh one for a test, and what must not be left behind."""

import shutil
import tempfile
from pathlib import Path

import pytest

from harness import BINARY, IMAGES, Rondel, mirror_of


def pytest_configure(config):
    if not BINARY.exists():
        pytest.exit(f"there is no binary `{BINARY}`; build it, or set RONDEL_BIN")
    if not (IMAGES / "index.json").exists():
        pytest.exit(f"there are no base images in `{IMAGES}`; run `cargo xtask base-images`, or set RONDEL_IMAGES")


def short_folder() -> Path:
    """A socket's path is at most 107 bytes long."""
    return Path(tempfile.mkdtemp(prefix="rb-", dir="/var/tmp"))


@pytest.fixture(scope="session")
def engine():
    """One engine for all tests that only add to it."""
    rondel = Rondel(short_folder())
    yield rondel
    rondel.remove()


@pytest.fixture(scope="session")
def connected():
    """An engine that may reach package indexes, for modules."""
    rondel = Rondel(short_folder(), mirror_of(IMAGES, offline=False))
    yield rondel
    rondel.remove()


@pytest.fixture
def fresh():
    """An engine for one test."""
    rondel = Rondel(short_folder())
    yield rondel
    rondel.remove()


@pytest.fixture
def make_engine():
    """Engines with a configuration of the test's own."""
    made = []

    def make(config: str = "") -> Rondel:
        made.append(Rondel(short_folder(), config))
        return made[-1]

    yield make
    for rondel in made:
        rondel.remove()


@pytest.fixture
def folder():
    """A folder on disk, with a short path."""
    path = short_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def place():
    """A folder for what the tests of one file share."""
    path = short_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)
