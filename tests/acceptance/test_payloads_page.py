"""docs/payloads.md is typed into a shell, line by line, against a new service."""

from pathlib import Path

import pytest

from tests.acceptance.service import service
from tests.acceptance.shell import examples, shell

PAGE = Path(__file__).parents[2] / "docs" / "payloads.md"
DEADLINE_S = 60.0


@pytest.mark.timeout(300)
async def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    found = examples(PAGE)
    assert len(found) > 10
    async with service(tmp_path / "idds-state") as running, shell(tmp_path, {"IDDS_URL": running.url}) as typed:
        wrong = [
            f"$ {example.command}\n{said}\ninstead of\n{example.expected}"
            for example in found
            if (said := await typed.answers(example, DEADLINE_S)) is not None
        ]
    assert not wrong, "\n\n".join(wrong)
