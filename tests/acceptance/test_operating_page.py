"""What docs/operating.md says is so: its call is made, its alerts name what is served, its settings exist."""

import asyncio
import os
import re
from pathlib import Path

from idds.runtime.settings import ApiSettings
from tests.acceptance.service import PATIENCE_S, Running, service

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operating.md").read_text(encoding="utf-8")
STUDY = {
    "name": "study",
    "works": [
        {
            "name": "scan",
            "input": {
                "samples": {"count": 1, "sampler": "random", "space": {"x": {"type": "float", "low": 0, "high": 1}}}
            },
        }
    ],
}


async def curl(command: str, running: Running, folder: Path) -> str:
    """What the page's call prints until its stream ends."""
    header = folder / "header"
    header.write_text(f"Authorization: Bearer {running.token}\n")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", command),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "IDDS": running.url, "TOKEN_HEADER": str(header)},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return said.decode()


async def test_its_call_for_events_tells_until_the_request_ends(tmp_path: Path) -> None:
    [command] = re.findall(r"```bash\n(curl .*?)```", PAGE, flags=re.DOTALL)
    async with service(tmp_path / "state") as running:
        async with running.client() as client:
            request = await client.submit(STUDY)
            assert request.id == 1
            listening = asyncio.create_task(curl(command, running, tmp_path))
            await client.cancel(1)
        said = await listening
    assert re.match(r"retry: 2000\n\n: ?\nid: \d+\n\n", said)
    assert said.endswith("event: end\ndata: {}\n\n")


def test_what_is_to_be_woken_for_can_be_counted() -> None:
    served = dict(
        re.findall(r"^\| `(idds_\w+)` \| \w+ \| (.*?) \|", (DOCS / "metrics.md").read_text(), flags=re.MULTILINE)
    )
    table = PAGE[PAGE.index("### What to be woken for") : PAGE.index("Ages are those")]
    named = re.findall(r"(idds_\w+?)(?:_bucket|_count)?(?:\{(\w+)|\b)", table)
    assert len(named) > 10
    for name, label in named:
        assert name in served, name
        assert not label or f"`{label}`" in served[name], (name, label)


def test_its_settings_exist_and_fit_the_proxy() -> None:
    settings = ApiSettings()
    named = set(re.findall(r"`api\.(\w+)`", PAGE))
    assert len(named) > 5
    assert named <= settings.model_dump().keys()
    waits = {name: float(value) for name, value in re.findall(r"(proxy_read|keepalive)_timeout (\d+)s;", PAGE)}
    assert waits["proxy_read"] > max(settings.max_wait_s, settings.event_beat_s)
    assert waits["keepalive"] < settings.idle_s
