"""docs/api.md does what it says: its examples are run in order, and print what stands below them."""

import asyncio
import os
import re
from pathlib import Path

from tests.acceptance.service import service

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"```bash\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)
BORDER = "---- 8< ----"


async def test_its_examples(tmp_path: Path) -> None:
    blocks = BLOCK.findall(GUIDE.read_text())
    assert len(blocks) > 10
    async with service(tmp_path / "state") as running:
        script = f"\nprintf '\\n{BORDER}\\n'\n".join(commands for commands, _ in blocks)
        script = script.replace("http://127.0.0.1:8080", running.url).replace("idds-state", str(tmp_path / "state"))
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
            cwd=tmp_path,
        )
        try:
            async with asyncio.timeout(60):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    said = out.decode().split(f"\n{BORDER}\n")
    for (commands, expected), printed in zip(blocks, said, strict=False):
        assert not expected or printed.strip() == expected.strip(), (commands, printed)
        assert '"status":4' not in printed or expected, (commands, printed)
    assert process.returncode == 0, said[-1]
    assert len(said) == len(blocks)
