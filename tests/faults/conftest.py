"""A service on a real Rucio, as an operator starts it, and what is on that Rucio's tape and disk."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.acceptance.service import service
from tests.faults.carousel import Tape, Told, settings
from tests.servers.rucio.server import RucioServer


@pytest.fixture
def tape(rucio: RucioServer) -> Iterator[Tape]:
    with closing(Tape(rucio)) as tape:
        yield tape


@pytest.fixture
def own_tape(own_rucio: RucioServer) -> Iterator[Tape]:
    with closing(Tape(own_rucio)) as tape:
        yield tape


@pytest.fixture
async def told(rucio: RucioServer, tape: Tape, tmp_path: Path) -> AsyncIterator[Told]:
    async with _told(rucio, tape, tmp_path) as told:
        yield told


@pytest.fixture
async def own_told(own_rucio: RucioServer, own_tape: Tape, tmp_path: Path) -> AsyncIterator[Told]:
    """On a Rucio that may be killed."""
    async with _told(own_rucio, own_tape, tmp_path) as told:
        yield told


@pytest.fixture
async def impatient(rucio: RucioServer, tape: Tape, tmp_path: Path) -> AsyncIterator[Told]:
    """For whom a recall has stalled after eight seconds, and is over after twenty."""
    stalls = "stalls = {floor_s = 4.0, unknown_s = 8.0, longest_s = 20.0}"
    async with _told(rucio, tape, tmp_path, stalls) as told:
        yield told


@asynccontextmanager
async def _told(server: RucioServer, tape: Tape, folder: Path, more: str = "") -> AsyncIterator[Told]:
    path = settings(server, folder, more=more)
    async with service(folder / "state", "--settings", str(path)) as running, running.client() as client:
        yield Told(client, tape, running.url)
