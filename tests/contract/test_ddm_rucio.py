"""RucioDDM keeps the contract of data management, against a real Rucio."""

from collections.abc import AsyncIterator

import pytest

from idds.testing.ddm_contract import DDMContract
from tests.contract.rucio_site import RucioSite
from tests.servers.rucio.server import RucioServer


@pytest.fixture
async def site(rucio: RucioServer) -> AsyncIterator[RucioSite]:
    site = RucioSite(rucio)
    yield site
    await site.aclose()


class TestRucioDDM(DDMContract):
    poll_s = 0.2
