"""The README's first request does what the README says: its own text is run."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from tests.acceptance.service import Running, service

README = Path(__file__).parents[2] / "README.md"


def _block(language: str, having: str) -> str:
    """The one code block of this language with these words in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)
    [found] = [block for block in blocks if having in block]
    return str(found)


async def _run(running: Running, state: Path, program: str, text: str) -> str:
    """Run a block against this service instead of the one on port 8080; what it printed."""
    text = text.replace("http://127.0.0.1:8080", running.url).replace("idds-state", str(state))
    process = await asyncio.create_subprocess_exec(
        program, "-c", text, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_with_curl(tmp_path: Path) -> None:
    async with service(tmp_path) as running, running.client() as client:
        out = await _run(running, tmp_path, "bash", _block("bash", "api requests"))
        decoder, documents = json.JSONDecoder(), []
        while out := out.strip():
            document, end = decoder.raw_decode(out)
            documents.append(document)
            out = out[end:]
        submitted, shown, why = documents
        assert submitted["id"] == shown["id"] == 1
        assert why["sentences"]
        assert (await client.wait(1)).status == "finished"


async def test_in_python(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        assert await _run(running, tmp_path, sys.executable, _block("python", "Samples(")) == "finished\n"


async def test_the_document_is_one(tmp_path: Path) -> None:
    document = json.loads(_block("json", "carousel"))
    async with service(tmp_path) as running, running.client() as client:
        request = await client.submit(document)
        # Data management does not know the dataset: that is said, at its place.
        ended = await client.wait(request.id)
    assert ended.status == "failed"
    assert "/works/0/input/dataset" in (ended.transform("count").reason or "")
    assert [work["name"] for work in document["works"]] == ["count", "merge"]
