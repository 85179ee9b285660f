"""config/idds.toml: a service can start with it, and its comments say what is so without it."""

import re
from pathlib import Path

import pytest

from idds.runtime.settings import Settings, read_settings
from tests.docs import FOLDER
from tests.docs.example import EXAMPLE

FILE = FOLDER.parent / "config" / "idds.toml"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDDS_API__PORT", "IDDS_STORE__URL"):
        monkeypatch.delenv(name, raising=False)


def test_it_is_what_it_was_made_of() -> None:
    assert read_settings(FILE) == Settings(**EXAMPLE)


def test_what_is_commented_out_is_so_anyway(tmp_path: Path) -> None:
    lines, is_real, number = [], True, 0
    for line in FILE.read_text().splitlines():
        if re.match(r"(# )?\[", line):
            is_real = line.startswith("[")
        if is_real and re.match(r"# \w+ = ", line):
            line, number = line.removeprefix("# "), number + 1
        lines.append(line)
    assert number > 30
    (tmp_path / "idds.toml").write_text("\n".join(lines))
    assert read_settings(tmp_path / "idds.toml") == read_settings(FILE)
