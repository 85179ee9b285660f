"""Files that `idds study import` and `export` are given; none of this asks a service."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from idds.cli.exits import Exit
from idds.cli.main import app
from idds.cli.study_importing import read_table


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    search, there = tmp_path / "search.json", tmp_path / "there"
    search.write_text('{"space": {"x": {"type": "float", "low": 0, "high": 1}}, "count": 3}')
    there.write_text("dear")
    for arguments, said in (
        (["create", str(search), "--payload-token"], f"--payload-token: {there} cannot be made: File exists"),
        (["export", "1", "--csv"], f"--csv: {there} is there already"),
    ):
        found = CliRunner().invoke(app, ["study", *arguments, str(there)])
        assert (found.exit_code, said in found.output) == (Exit.REFUSED, True), found.output
    assert there.read_text() == "dear"


@pytest.mark.parametrize("name", ["absent.db", "absent.journal", "absent.csv"])
def test_a_source_that_is_not_there_is_told_and_not_made(tmp_path: Path, name: str) -> None:
    found = CliRunner().invoke(app, ["study", "import", str(tmp_path / name)])
    assert found.exit_code == Exit.REFUSED
    assert f"{name} cannot be read: No such file or directory" in found.output
    assert list(tmp_path.iterdir()) == []


def test_a_table_may_begin_with_the_mark_that_spreadsheets_write(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(b"\xef\xbb\xbfvalue,params_x\r\n1,2\r\n2,3.5\r\n")
    found = [(each.parameters, each.values) for each in read_table(table).found]
    assert found == [({"x": 2.0}, (1.0,)), ({"x": 3.5}, (2.0,))]


def test_a_table_takes_no_values_on_the_way(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["study", "export", "1", "--csv", str(tmp_path / "table.csv"), "--steps"])
    assert found.exit_code == Exit.REFUSED
    assert "--steps: a table has no values on the way" in found.output
    assert list(tmp_path.iterdir()) == []
