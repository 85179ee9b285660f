"""Where the service is, and with which token: what goes before what."""

from pathlib import Path

import pytest

from idds.domain.errors import InvalidInput
from idds.sdk.client import Client
from idds.sdk.connection import DEFAULT_URL, Connection, find_connection


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDDS_URL", "IDDS_TOKEN", "IDDS_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def token_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(f"{name}\n")
    return path


def test_nothing_was_said() -> None:
    assert find_connection() == Connection(DEFAULT_URL, None)


def test_arguments_then_environment_then_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tmp_path / "client.toml"
    configuration.write_text(f'url = "http://c:1/"\ntoken_file = "{token_file(tmp_path, "of-configuration")}"\n')
    assert find_connection(configuration=configuration) == Connection("http://c:1", "of-configuration")

    monkeypatch.setenv("IDDS_URL", "http://e:1")
    monkeypatch.setenv("IDDS_TOKEN_FILE", str(token_file(tmp_path, "of-environment-file")))
    assert find_connection(configuration=configuration) == Connection("http://e:1", "of-environment-file")
    monkeypatch.setenv("IDDS_TOKEN", "of-environment")
    assert find_connection(configuration=configuration).token == "of-environment"

    given = token_file(tmp_path, "of-argument-file")
    assert find_connection("http://a:1", token_file=given) == Connection("http://a:1", "of-argument-file")
    assert find_connection(token="of-argument", token_file=given).token == "of-argument"


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://a", "http://", "http://a:x", "http://a/?q=1", "http://user:secret@a"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        find_connection(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "\xe9"])
def test_a_token_that_is_none_is_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        find_connection(token_file=path)
    assert not text or text not in str(caught.value)


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"token file .*nowhere cannot be read: No such file"):
        find_connection(token_file=tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["url = ", 'uri = "http://a"', "url = 5"])
def test_a_configuration_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "client.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"client\.toml"):
        find_connection(configuration=path)


def test_a_token_is_never_shown() -> None:
    connection = find_connection(token="a-secret")
    client = Client(token="a-secret")
    assert "a-secret" not in f"{connection} {connection!r} {client!r} {vars(client)}"
