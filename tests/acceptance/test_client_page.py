"""docs/client.md does what it says: each example is run, and prints what stands below it."""

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.acceptance.service import service

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```\n", re.DOTALL)


async def test_its_examples(tmp_path: Path) -> None:
    text = PAGE.read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python") > 5
    async with service(tmp_path / "idds-state") as running:
        environment = {"PATH": os.environ["PATH"], "IDDS_URL": running.url, "IDDS_TOKEN": running.token}
        for program, expected in blocks:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-c", program.replace("http://127.0.0.1:8080", running.url)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                cwd=tmp_path,
            )
            try:
                async with asyncio.timeout(120):
                    out, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert out.decode() == expected, program
