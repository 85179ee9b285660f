"""`idds simulate`, as a user types it."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from idds.cli.main import app

SCENARIO = """
name = "a <small> one"
[disk]
window_bytes = 200_000_000_000
[libraries.LTO]
drives = 2
[[requests]]
name = "some"
library = "LTO"
count = 2
files = 200
batch = 2
process_s = 60.0
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return path


def test_a_table_and_a_picture(scenario: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    result = CliRunner().invoke(app, ["simulate", str(scenario), "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    head, titles, *rows = result.output.splitlines()
    assert head.startswith("a <small> one: 400 files")
    assert "mounts/1000 files" in titles
    assert [row.split()[0] for row in rows] == ["whole", "fixed", "planned"]
    texts = [element.text for element in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert {"a <small> one", "whole", "fixed", "planned", "the window"} <= set(texts)


def test_for_programs(scenario: Path) -> None:
    arguments = ["--strategy", "planned", "--window", "150000000000", "--smallest", "--json"]
    result = CliRunner().invoke(app, ["simulate", str(scenario), *arguments])
    outcome, of_bound, of_endless = map(json.loads, result.output.splitlines())
    assert outcome["peak_bytes"] <= outcome["reserved_bytes"] <= outcome["window_bytes"] == 150_000_000_000
    assert (of_bound["of"], of_endless["of"]) == ("bound", "makespan of an endless window")
    assert 0 < of_endless["window_bytes"] <= outcome["bytes"]


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        (SCENARIO, ["--strategy", "mine"], "there are whole, fixed, planned"),
        (SCENARIO.replace("drives = 2", "drives = 0"), [], "/libraries/LTO/drives"),
        ("[", [], "this is not TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, arguments: list[str], words: str) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    result = CliRunner().invoke(app, ["simulate", str(path), *arguments])
    assert result.exit_code == 2
    assert words in result.output


def test_a_file_that_is_not_there() -> None:
    assert CliRunner().invoke(app, ["simulate", "nowhere.toml"]).exit_code == 2
