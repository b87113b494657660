"""Fixtures: engines for the whole run or for one test, sessions, folders, and git repositories."""

import shutil

import pytest

from kit import BINARY, IMAGES, Rondel, mirror_of, short_folder
from kit.git_server import Sample, Web, daemon
from kit.module_commands import plain


def pytest_configure(config):
    if not BINARY.exists():
        pytest.exit(f"there is no binary `{BINARY}`; build it, or set RONDEL_BIN")
    if not (IMAGES / "index.json").exists():
        pytest.exit(f"there are no base images in `{IMAGES}`; run `cargo xtask base-images`, or set RONDEL_IMAGES")


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


@pytest.fixture(scope="module")
def session(engine):
    """A session that the tests of one file share."""
    with engine.session() as session:
        yield session


@pytest.fixture
def own_session(engine):
    """A session for one test."""
    with engine.session() as session:
        yield session


@pytest.fixture
def make_engine():
    """Makes engines, each with a configuration of its own."""
    made = []

    def make(config: str = "") -> Rondel:
        made.append(Rondel(short_folder(), config))
        return made[-1]

    yield make
    for rondel in made:
        rondel.remove()


@pytest.fixture
def folder():
    """A folder for one test, with a short path."""
    path = short_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def place():
    """A folder that the tests of one file share."""
    path = short_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def repository(folder):
    """A folder that is the root of a repository: modules in it may depend on each other."""
    (folder / ".git").mkdir()
    return folder


@pytest.fixture
def two(repository):
    """A repository with a module and another one, both without code."""
    plain(repository / "app")
    plain(repository / "lib/dep")
    return repository


@pytest.fixture(scope="module")
def sample(place):
    """A repository that the tests of one file share."""
    return Sample(place / "repos")


@pytest.fixture(scope="module")
def web(sample):
    """Smart HTTP for the sample, with credentials of every kind."""
    with Web(sample.bare.parent) as server:
        server.accept("x-access-token", "right")
        server.accept("me", "helper")
        server.accepted.add("Bearer header")
        yield server


@pytest.fixture(scope="module")
def git_address(sample):
    """The address of a git daemon that serves the sample."""
    with daemon(sample.bare.parent) as address:
        yield address
