"""Scenarios in TOML: what is wrong is told at its place."""

from pathlib import Path

import pytest

from idds.domain.errors import InvalidInput
from idds.simulation.scenario import parse_scenario, read_scenario

FOLDER = Path(__file__).parents[3] / "config" / "scenarios"
SOUND = """
name = "small"
[disk]
window_bytes = 1_000_000_000_000
[libraries.LTO]
drives = 2
[[requests]]
name = "some"
library = "LTO"
"""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_those_that_come_along(path: Path) -> None:
    assert read_scenario(path).requests


def test_a_sound_one() -> None:
    assert parse_scenario(SOUND).libraries["LTO"].drives == 2


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        (SOUND.replace("drives = 2", "drives = 0"), "/libraries/LTO/drives"),
        (SOUND.replace("drives = 2", 'drives = "2"'), "/libraries/LTO/drives"),
        (SOUND.replace("drives = 2", "drives = 2\ndoors = 1"), "/libraries/LTO/doors"),
        (SOUND.replace("drives = 2", "drives = 2\nload_s = nan"), "/libraries/LTO/load_s"),
        (SOUND.replace("drives = 2", "drives = 2\nload_s = 2026-01-01"), "/libraries/LTO/load_s"),
        (SOUND.replace('library = "LTO"', 'library = "LOT"'), "/requests/0/library"),
        (SOUND.replace('library = "LTO"', ""), "/requests/0"),
        (SOUND.replace('library = "LTO"', 'of = "some"'), "/requests/0/of"),
        (SOUND + 'share = "high"\n', "/requests/0/share"),
        (SOUND + '[[requests]]\nname = "some"\nlibrary = "LTO"\n', "/requests/1/name"),
        (SOUND.replace("window_bytes", "windows"), "/disk/window_bytes"),
        ("name = ", ""),
    ],
)
def test_what_is_wrong(wrong: str, pointer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_scenario(wrong)
    assert pointer in [problem.pointer for problem in caught.value.problems]
