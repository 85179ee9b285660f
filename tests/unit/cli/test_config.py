"""Settings checked and shown: what a service would meet, before it is started."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from idds.cli.exits import Exit
from idds.cli.main import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IDDS_API__PORT", "0")
    return tmp_path


def idds(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["config", *arguments])
    assert "Traceback" not in result.output
    return result


def checked(text: str, *arguments: str) -> Any:
    Path("idds.toml").write_text(text)
    result = idds("check", "idds.toml", *arguments, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == (Exit.REFUSED if found["problems"] else Exit.DONE)
    return found


def test_the_defaults_are_good() -> None:
    assert idds("check").exit_code == Exit.DONE
    assert checked("")["problems"] == []


def test_the_example_is_good() -> None:
    example = Path(__file__).parents[3] / "config" / "idds.toml"
    result = idds("check", str(example), "--connect")
    assert result.exit_code == Exit.DONE, result.output
    assert "the first start makes it" in result.stdout
    assert list(Path().iterdir()) == [], "a check leaves nothing"


@pytest.mark.parametrize(
    ("text", "pointer", "said"),
    [
        ("[api]\nprot = 1", "/api/prot", "there is no such setting (idds.toml line 2)"),
        ("[ddm]\nplugin = 'clay'", "/ddm/plugin", "'clay' is not installed; there are: "),
        ("[providers.a]\nplugin = 'b'", "/providers/a/plugin", "'b' is not installed"),
        (
            "[ddm]\nplugin = 'posix'\noptions.rses.X.kind = 'clay'",
            "/ddm/options/rses/X",
            "'disk', 'tape' (idds.toml line 3)",
        ),
        ("[placement]\nprovider = 'slurm'", "/placement/provider", "there is no provider 'slurm'"),
        ("[bus]\nkind = 'mqtt'\noptions.colour = 1", "/bus/options/colour", "no such option"),
        (
            "[bus]\nkind = 'mqtt'\noptions.url = 'mqtt://b'\noptions.password_file = 'none'",
            "/bus/options/password_file",
            "none cannot be read: No such file or directory (idds.toml line 4)",
        ),
    ],
)
def test_every_problem_is_told_at_its_place(text: str, pointer: str, said: str) -> None:
    found = checked(text)["problems"]
    assert any(problem["pointer"].startswith(pointer) and said in problem["message"] for problem in found), found


def test_two_problems_are_told_together() -> None:
    Path("idds.toml").write_text("[api]\nhost = 5\n[log]\nlevel = 'loud'\n")
    result = idds("check", "idds.toml")
    assert result.exit_code == Exit.REFUSED
    assert "2 problems" in result.stdout
    assert "/log/level" in result.stdout


def test_what_one_should_know(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Path("secret")
    secret.write_text("x")
    secret.chmod(0o644)
    monkeypatch.setenv("IDDS_APPI__PORT", "9")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("IDDS_API__PORT", str(port))
        found = checked("[bus]\nkind = 'mqtt'\noptions = { url = 'mqtt://b', password_file = 'secret' }")
    notes = [note["message"] for note in found["notes"]]
    assert found["problems"] == []
    assert "others than its owner can read secret" in notes
    assert "the environment variable IDDS_APPI__PORT is no setting" in notes
    assert any(f"port {port} of 127.0.0.1 already" in note and "(IDDS_API__PORT)" in note for note in notes)


def test_an_address_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_API__HOST", "192.0.2.1")
    assert [problem["pointer"] for problem in checked("")["problems"]] == ["/api/host"]


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_STORE__URL", "postgresql+asyncpg://me:a-hidden-word@127.0.0.1:1/idds")
    assert checked("")["problems"] == []
    result = idds("check", "--connect")
    assert result.exit_code == Exit.REFUSED
    assert "/store/url: the database cannot be reached for now (IDDS_STORE__URL)" in result.stdout
    assert "a-hidden-word" not in result.output


def test_effective_settings_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_STORE__URL", "postgresql+asyncpg://me:a-hidden-word@db/idds")
    Path("idds.toml").write_text(
        "[log]\nlevel = 'debug'\n"
        "[bus.options]\npassword = 'b-hidden-word'\npassword_file = 'c'\ndeep = [{ token = 'd-hidden-word' }]"
    )
    result = idds("show", "idds.toml", "--json")
    assert result.exit_code == Exit.DONE, result.output
    settings = {each["name"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert settings["log.level"] == {"name": "log.level", "value": "debug", "source": "idds.toml line 2"}
    assert settings["store.url"]["value"] == "postgresql+asyncpg://me:***@db/idds"
    assert settings["store.url"]["source"] == "IDDS_STORE__URL"
    assert settings["api.host"]["source"] == "default"
    assert settings["bus.options.password_file"]["value"] == "c"
    assert "hidden-word" not in result.stdout
    assert "hidden-word" not in idds("show", "idds.toml").stdout
    assert idds("show", "nowhere.toml").exit_code == Exit.REFUSED
