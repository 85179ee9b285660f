"""The service does what its OpenAPI document says, and refuses what that calls invalid: Schemathesis tries it.

The same calls are made each time, for less than a minute; `IDDS_HOSTILE_S=600 pytest tests/hostile` looks for ten
minutes on each database, and elsewhere each time.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.hostile.world import world

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
ENDLESS = "events"
HOOKS = "tests.hostile.hooks"
LONGER_S = int(os.environ.get("IDDS_HOSTILE_S", "0"))
DEADLINE_S = 240 + LONGER_S
AMOUNT = (
    ("--max-time", f"{LONGER_S}", "--max-examples", "500")
    if LONGER_S
    else ("--max-examples", "8", "--generation-deterministic")
)
LONGEST_LINE = 600


@pytest.mark.timeout(DEADLINE_S + 30)
async def test_the_service_does_what_its_document_says(database_url: str, tmp_path: Path) -> None:
    async with world(database_url) as found:
        document = await found.api.get("/v1/openapi.json", token="")
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        [mine] = (await found.api.get("/v1/tokens?owner=operator", token=found.operator))["tokens"]
        environment = {"IDDS_HOSTILE_TOKEN": found.operator, "IDDS_HOSTILE_TOKEN_ID": str(mine["id"])}
        # What is invalid does not come as far as the database: that is tried with one of them.
        mode = "all" if found.api.database.is_sqlite else "positive"
        said = await _schemathesis(tmp_path, str(found.api.client.make_url("/")), mode, environment)
        operations = [each for methods in document["paths"].values() for each in methods.values()]
        tried = [each for each in operations if each["tags"] != [ENDLESS]]
        assert f"Tested: {len(tried)}\n" in said, said
        assert (await found.api.call("GET", "/v1/requests/1", token=found.operator)).status == 200


async def _schemathesis(folder: Path, url: str, mode: str, environment: Mapping[str, str]) -> str:
    """What it says in the end; a failure of the test if it found something."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", "openapi.json", "--url", url, "--mode", mode, "--exclude-tag", ENDLESS, *AMOUNT),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, **environment, "SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(CONFIGURATION.parents[2])},
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
    print(said)
    return said
