"""What docs/carousel-operations.md shows is typed into a shell, line by line, against a new service."""

from pathlib import Path

import pytest

from tests.acceptance.service import service
from tests.acceptance.shell import examples, shell

PAGE = Path(__file__).parents[2] / "docs" / "carousel-operations.md"
DEADLINE_S = 30.0
pytestmark = pytest.mark.timeout(600)


async def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    found = examples(PAGE)
    assert len(found) > 15
    async with service(tmp_path / "idds-state") as running, shell(tmp_path, {"IDDS_URL": running.url}) as typed:
        wrong = [
            f"$ {example.command}\n{said}\ninstead of\n{example.expected}"
            for example in found
            if (said := await typed.answers(example, DEADLINE_S)) is not None
        ]
    assert not wrong, "\n\n".join(wrong)
