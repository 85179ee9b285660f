"""What starting the command line costs, and commands that are imported when they are run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from idds import __version__
from idds.cli.later import add_later
from idds.cli.main import app

SERVICE = {
    "sqlalchemy",
    "sklearn",
    "optuna",
    "rucio",
    "aiohttp",
    "pydantic",
    "structlog",
    "amqtt",
    "numpy",
    "idds.cli.serve",
}


def test_help_loads_neither_service_nor_client() -> None:
    code = """
import json, sys
from idds.cli.main import app
try:
    app(["--help"])
except SystemExit as end:
    assert end.code in (0, None), end.code
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SERVICE & set(json.loads(done.stderr))
    for command in ("submit", "watch", "why", "serve", "demo"):
        assert command in done.stdout


def test_every_command_helps_itself() -> None:
    for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        if command not in ("serve", "demo"):
            result = CliRunner().invoke(app, [command, "--help"])
            assert result.exit_code == 0, command
            assert "Usage" in result.output


def test_version() -> None:
    result = CliRunner().invoke(app, ["version"])
    assert (result.exit_code, result.output.strip()) == (0, __version__)


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    (tmp_path / "late_module.py").write_text(
        """
from typing import Annotated
import typer

def greet(names: list[str], loud: bool = False, times: Annotated[int, typer.Option("--times", "-t")] = 1) -> None:
    "Greet somebody."
    typer.echo(f"{names} {loud} {times}")
    raise typer.Exit(3)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    late = typer.Typer()

    @late.callback()
    def target() -> None: ...

    add_later(late, "greet", "late_module", "Greet.")
    add_later(late, "absent", "late_module_that_is_not_there", "Not there.")
    return late


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["a", "--loud", "-t", "2", "b"], "['a', 'b'] True 2", 3),
        (["-t2", "a"], "['a'] False 2", 3),
        (["--", "-x"], "['-x'] False 1", 3),
        (["--help"], "Greet somebody.", 0),
        (["--help"], "greet [OPTIONS]", 0),
        (["a", "--quiet"], "No such option: --quiet", 2),
    ],
)
def test_a_command_that_is_imported_late(late: typer.Typer, arguments: list[str], said: str, code: int) -> None:
    result = CliRunner().invoke(late, ["greet", *arguments])
    assert said in result.output
    assert result.exit_code == code


def test_a_command_that_is_not_installed(late: typer.Typer) -> None:
    result = CliRunner().invoke(late, ["absent"])
    assert result.exit_code == 2
    assert "absent needs late_module_that_is_not_there" in result.output
