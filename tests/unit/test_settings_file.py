"""Where settings come from, and what is said of those that are no good."""

from pathlib import Path

import pytest

from idds.domain.errors import InvalidInput
from idds.runtime.settings import read_settings
from idds.runtime.settings_file import Sources, find_lines

TEXT = """\
state = "here"

[api]   # the door
port = 9000
"host" = "127.0.0.1"
[rses.DISK]
window_bytes = 5
[rses]
OUT = { window_files = 7 }
[ddm]
options.root = "a"
plugin = "posix"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("IDDS_API__PORT", "IDDS_LOG", "IDDS_LOG__LEVEL"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "idds.toml"
    path.write_text(TEXT)
    return path


def test_lines_of_keys_and_tables() -> None:
    assert find_lines(TEXT) == {
        ("state",): 1,
        ("api",): 3,
        ("api", "port"): 4,
        ("api", "host"): 5,
        ("rses", "DISK"): 6,
        ("rses", "DISK", "window_bytes"): 7,
        ("rses",): 8,
        ("rses", "OUT"): 9,
        ("ddm",): 10,
        ("ddm", "options"): 11,
        ("ddm", "options", "root"): 11,
        ("ddm", "plugin"): 12,
    }


def test_the_environment_goes_before_the_file_and_that_before_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Sources(file)
    assert sources.of(("api", "port")) == f"{file} line 4"
    assert sources.of(("rses", "OUT", "window_files")) == f"{file} line 9"
    assert sources.of(("rses", "OUT", "window_bytes")) == "default"
    assert sources.of(("api", "max_body_bytes")) == "default"
    monkeypatch.setenv("idds_api__port", "1")
    monkeypatch.setenv("IDDS_LOG", '{"level": "info"}')
    assert sources.of(("api", "port")) == "idds_api__port"
    assert sources.of(("log", "level")) == "IDDS_LOG"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("port = 90000", r"/api/port: input should be less than or equal to 65535 \(.*idds.toml line 4\)"),
        ("prot = 9000", r"/api/prot: there is no such setting \(.*idds.toml line 4\)"),
        ("port = ", r"idds.toml is not TOML: .*line 4"),
        ("port = 1\n[providers.slow]", r"/providers/slow/plugin: this setting is missing \(.*idds.toml line 5\)"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(file: Path, wrong: str, said: str) -> None:
    file.write_text(TEXT.replace("port = 9000", wrong))
    with pytest.raises(InvalidInput, match=said):
        read_settings(file)


def test_what_is_wrong_in_the_environment_is_told_with_its_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_LOG__LEVEL", "a-secret")
    monkeypatch.setenv("IDDS_API__PORT", "x")
    with pytest.raises(InvalidInput, match=r"/api/port: .* \(IDDS_API__PORT\).*\(IDDS_LOG__LEVEL\)") as raised:
        read_settings(file)
    assert "a-secret" not in str(raised.value)
    monkeypatch.setenv("IDDS_LOG", "{a-secret")
    with pytest.raises(InvalidInput, match="the environment: ") as raised:
        read_settings(file)
    assert "a-secret" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no settings file"):
        read_settings(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="is not TOML"):
        read_settings(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    "url", ["postgresql+asyncpg://idds:hunter2@here/idds", "postgresql+asyncpg://idds@here/idds?password=hunter2"]
)
def test_no_password_is_taken_from_the_file(file: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.delenv("IDDS_STORE__URL", raising=False)
    file.write_text(f'[store]\nurl = "{url}"\n')
    with pytest.raises(InvalidInput, match="PGPASSWORD") as refused:
        read_settings(file)
    assert [problem.pointer for problem in refused.value.problems] == ["/store/url"]
    assert "line 2" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    file.write_text('[store]\nurl = "postgresql+asyncpg://idds@here/idds"\n')
    assert read_settings(file).store.url.endswith("here/idds")


ISSUERS = """
[access.issuers.iam]
url = "https://iam.example.org/"
audiences = ["https://idds.example.org"]
vo = "atlas"

[[access.issuers.iam.grants]]
group = "/atlas/production"
role = "wfms"
shares = ["production"]
"""


def test_issuers_are_read(file: Path) -> None:
    file.write_text(ISSUERS)
    issuer = read_settings(file).access.issuers["iam"]
    assert (issuer.url, issuer.profile, issuer.any_audience) == ("https://iam.example.org/", "wlcg", False)
    [grant] = issuer.grants
    assert (grant.group, grant.role, grant.shares) == ("/atlas/production", "wfms", {"production"})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (ISSUERS.replace("https://iam", "http://iam"), "/access/issuers/iam/url"),
        (ISSUERS.replace('"wfms"', '"king"'), "/access/issuers/iam/grants/0/role"),
        (ISSUERS + ISSUERS.replace("issuers.iam", "issuers.other"), "/access/issuers"),
        ("[access.proxy]\nnetworks = ['10.0.0.1']", "/access/proxy"),
        ("[access]\nsecret = 'x'", "/access/secret"),
    ],
)
def test_whom_to_trust_is_told_without_mistakes(file: Path, text: str, place: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        read_settings(file)
    assert [problem.pointer for problem in refused.value.problems] == [place]
