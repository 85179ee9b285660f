"""What is said of errors, and the exit codes."""

import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from idds.cli.exits import Exit, explain
from idds.cli.main import app
from idds.domain import errors
from idds.sdk.errors import Broken, Stale, Unreachable

PROBLEMS = [errors.Problem("/works/0", "no"), errors.Problem("", "neither")]


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (errors.InvalidInput(PROBLEMS), "the input is refused:\n  /works/0: no\n  neither", Exit.REFUSED),
        (errors.InvalidInput(PROBLEMS[1:]), "neither", Exit.REFUSED),
        (Unreachable("cannot connect"), "idds serve", Exit.UNAVAILABLE),
        (errors.Unavailable("busy."), "busy. Try again later", Exit.UNAVAILABLE),
        (errors.Unauthenticated("who"), "--token-file", Exit.NOT_ALLOWED),
        (errors.Forbidden("no"), "idds whoami", Exit.NOT_ALLOWED),
        (errors.NotFound("there is no request 5"), "5. See what there is with: idds list", Exit.NOT_FOUND),
        (errors.NotFound("there is no study 5"), "5. See what there is with: idds study list", Exit.NOT_FOUND),
        (errors.NotFound("study 5 has no sample 7"), "with: idds study samples 5", Exit.NOT_FOUND),
        (Stale("late"), "late", Exit.CONFLICT),
        (Broken("the answer was 500"), "the answer was 500", Exit.BROKEN),
    ],
)
def test_errors_are_explained(error: errors.IddsError, said: str, code: Exit) -> None:
    text, found = explain(error)
    assert said in text
    assert found is code


def test_of_what_no_service_has_no_list_is_told() -> None:
    said = "this storage has no study 'x'; it has: 'y'"
    assert explain(errors.NotFound(said)) == (said, Exit.NOT_FOUND)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    return {"IDDS_URL": "http://127.0.0.1:1", "XDG_CONFIG_HOME": str(tmp_path), "IDDS_TOKEN": "a-secret"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "nowhere.json"], "nowhere.json cannot be read: No such file"),
        (["--url", "localhost", "list"], "the URL of the service is to be as in"),
        (["--token-file", "nowhere", "list"], "the token file nowhere cannot be read"),
        (["list", "--status", "odd"], "odd"),
        (["show", "0"], "REQUEST"),
    ],
)
def test_input_that_is_no_good(nobody: dict[str, str], arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments, env=nobody)
    assert result.exit_code == Exit.REFUSED
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_settings_of_the_user_are_read(nobody: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "idds").mkdir()
    (tmp_path / "idds" / "client.toml").write_text("url = 5\n")
    result = CliRunner().invoke(app, ["list"], env=nobody)
    assert result.exit_code == Exit.REFUSED
    assert os.path.join("idds", "client.toml") in result.stderr


def test_the_page_names_every_code_and_every_command() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    assert [code for code in Exit if f"| {code.value} |" not in page] == []
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name in commands if f"`{name}" not in page and f"`idds {name}" not in page] == []
