"""Servers and databases that tests ask for by name, and the watch over what they leave behind."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import make_url

from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer
from tests.servers.rucio.server import Rse, RucioServer

# As in the service: what is of level debug is written nowhere, and least of all between a command's own words.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
pytest_plugins = ["tests.leaks", "tests.hypotheses", "pytester"]
# A shell without job control has what it runs in the background ignore this, and all that is started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One cluster for all tests: don't kill it. A test that wants to kills a `PostgresServer` of its own."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.remove()


@pytest.fixture(scope="module")
def rucio(postgres: PostgresServer) -> Iterator[RucioServer]:
    """A whole Rucio for the tests of a file, with the RSEs TAPE, SLOW (a tape whose drives never end) and DISK."""
    yield from _rucio(postgres)


@pytest.fixture
def own_rucio(postgres: PostgresServer) -> Iterator[RucioServer]:
    """The same for one test, to be killed and started at will."""
    yield from _rucio(postgres)


def _rucio(postgres: PostgresServer) -> Iterator[RucioServer]:
    name = f"rucio_{uuid4().hex}"
    asyncio.run(postgres.execute(f"CREATE DATABASE {name}"))
    server = RucioServer(postgres.url(name), {"TAPE": Rse(is_tape=True), "SLOW": Rse(is_tape=True), "DISK": Rse()})
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.remove()


@pytest.fixture
async def postgres_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A fresh database."""
    name = f"test_{uuid4().hex}"
    await postgres.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY")
    yield postgres.url(name)
    await postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def bare_postgres_url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same for a settings file, where no password belongs: that is in the environment."""
    url = make_url(postgres_url)
    monkeypatch.setenv("PGPASSWORD", str(url.password))
    return url._replace(password=None).render_as_string()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Where a fresh database will be."""
    return f"sqlite:///{tmp_path}/idds.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database of each kind in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def mosquitto() -> Iterator[MosquittoServer]:
    """A broker of this test's own, to be killed and started at will."""
    server = MosquittoServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()
