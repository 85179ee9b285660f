from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from idds.testing.ddm_contract import DDMContract
from tests.contract.posix_site import PosixSite


class TestPosixDDM(DDMContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[PosixSite]:
        site = PosixSite(tmp_path / "ddm")
        yield site
        await site.stop()
