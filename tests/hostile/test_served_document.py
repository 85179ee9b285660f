"""The service does what its OpenAPI document says, and refuses what that calls invalid: Schemathesis tries it.

The same calls are made each time, for less than a minute; `IDDS_HOSTILE_S=600 pytest tests/hostile` looks for ten
minutes on each database, and elsewhere each time.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.hostile.world import world

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
LONGER_S = int(os.environ.get("IDDS_HOSTILE_S", "0"))
DEADLINE_S = 240 + LONGER_S
AMOUNT = ("--max-time", f"{LONGER_S}", "--max-examples", "500") if LONGER_S else ("--max-examples", "15")
LONGEST_LINE = 600


@pytest.mark.timeout(DEADLINE_S + 30)
async def test_the_service_does_what_its_document_says(database_url: str, tmp_path: Path) -> None:
    async with world(database_url) as found:
        document = await found.api.get("/v1/openapi.json", token="")
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        said = await _schemathesis(tmp_path, str(found.api.client.make_url("/")), found.operator)
        assert f"Tested: {sum(map(len, document['paths'].values()))}\n" in said, said
        assert (await found.api.call("GET", "/v1/requests/1", token=found.operator)).status == 200


async def _schemathesis(folder: Path, url: str, token: str) -> str:
    """What it says in the end; a failure of the test if it found something."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli"),
        *("--config-file", str(CONFIGURATION), "run", "openapi.json", "--url", url, "--warnings", "off", *AMOUNT),
        *(() if LONGER_S else ("--generation-deterministic",)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "IDDS_HOSTILE_TOKEN": token, "COLUMNS": "120"},
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = "\n".join(line[:LONGEST_LINE] for line in out.decode(errors="replace").splitlines())
    if process.returncode != 0:
        pytest.fail(said, pytrace=False)
    return said
