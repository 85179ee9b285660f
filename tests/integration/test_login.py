"""Logging in by device flow, keeping the login, and tokens on the command line: against the tests' own issuer."""

import asyncio
import json
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from idds.domain.errors import Forbidden, InvalidInput, Unauthenticated, Unavailable
from idds.domain.request import Role
from idds.identity.oidc import OidcIssuers
from idds.identity.options import GrantOptions, IssuerOptions
from idds.sdk.errors import Broken
from idds.sdk.login import Login, Prompt, log_in, refresh
from idds.sdk.logins import Logins
from idds.sdk.views import Issuer as IssuerView
from tests.integration.api import Api, api_on
from tests.servers.issuer import AUDIENCE, CLIENT, Issuer

DEADLINE_S = 60.0
SCOPES = ("openid", "offline_access")
GRANTS = (GrantOptions(group="/atlas/production", role=Role.WFMS), GrantOptions(group="/atlas", role=Role.USER))


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer().running() as issuer:
        yield issuer


def view(issuer: Issuer, /, **changes: Any) -> IssuerView:
    return replace(IssuerView("iam", issuer.url, CLIENT, SCOPES, AUDIENCE), **changes)


class Person:
    """Does what the prompt says after so many pauses, each of which ends at once and is written down."""

    def __init__(self, issuer: Issuer, after: int = 2, *, is_allowed: bool = True) -> None:
        self.prompt: Prompt | None = None
        self.pauses: list[float] = []
        self._issuer = issuer
        self._after = after
        self._is_allowed = is_allowed

    def tell(self, prompt: Prompt) -> None:
        self.prompt = prompt

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == self._after:
            assert self.prompt is not None
            self._issuer.allow(self.prompt.code, is_allowed=self._is_allowed)


async def test_a_person_is_told_what_to_do_and_waited_for(issuer: Issuer) -> None:
    issuer.interval_s = 7
    person = Person(issuer, after=3)
    login = await log_in(view(issuer), person.tell, person.pause)
    assert person.pauses == [7, 7, 7]
    assert person.prompt == Prompt(f"{issuer.url}/enter", "0000-WXYZ", f"{issuer.url}/enter?user_code=0000-WXYZ", 600)
    [device] = issuer.devices.values()
    assert (device.scopes, device.audience) == ("openid offline_access", AUDIENCE)
    assert login.expires_at is not None
    assert 3500 < login.expires_at - time.time() <= 3600
    assert login.refresh_token in issuer.refresh_tokens
    assert login.access_token not in repr(login)
    assert str(login.refresh_token) not in repr(login)


async def test_who_asks_too_often_asks_more_seldom(issuer: Issuer) -> None:
    issuer.refusals = ["slow_down", "authorization_pending", "slow_down"]
    person = Person(issuer, after=4)
    await log_in(view(issuer), person.tell, person.pause)
    assert person.pauses == [1, 6, 6, 11]


async def test_a_login_that_is_denied(issuer: Issuer) -> None:
    person = Person(issuer, is_allowed=False)
    with pytest.raises(Forbidden, match="was denied"):
        await log_in(view(issuer), person.tell, person.pause)


async def test_a_code_that_nobody_enters_in_time(issuer: Issuer) -> None:
    issuer.refusals = ["expired_token"]
    person = Person(issuer, after=100)
    with pytest.raises(Unauthenticated, match="has ended before"):
        await log_in(view(issuer), person.tell, person.pause)
    issuer.interval_s, issuer.codes_last_s = 5, 20
    person = Person(issuer, after=100)
    with pytest.raises(Unauthenticated, match="has ended before"):
        await log_in(view(issuer), person.tell, person.pause)
    assert person.pauses == [5, 5, 5, 5]


async def test_an_issuer_that_asks_for_no_pause_is_not_asked_for_ever(issuer: Issuer) -> None:
    issuer.interval_s, issuer.codes_last_s = 0, 3
    person = Person(issuer, after=10)
    with pytest.raises(Unauthenticated, match="has ended before"):
        await log_in(view(issuer), person.tell, person.pause)
    assert person.pauses == [1, 1, 1]


async def test_another_error_of_the_issuer_is_told(issuer: Issuer) -> None:
    issuer.refusals = ["invalid_client"]
    person = Person(issuer, after=100)
    with pytest.raises(Broken, match="invalid_client"):
        await log_in(view(issuer), person.tell, person.pause)
    with pytest.raises(Forbidden, match="invalid_client"):
        await log_in(view(issuer, client_id="unknown"), person.tell, person.pause)


async def test_an_issuer_that_is_not_there_or_lies(issuer: Issuer) -> None:
    person = Person(issuer)
    with pytest.raises(Broken, match="neither https"):
        await log_in(view(issuer, issuer="http://iam.example.org"), person.tell, person.pause)
    issuer.named = "https://elsewhere.example.org"
    with pytest.raises(Broken, match="describes another"):
        await log_in(view(issuer), person.tell, person.pause)
    issuer.is_down = True
    with pytest.raises(Unavailable, match="503"):
        await log_in(view(issuer), person.tell, person.pause)
    assert person.prompt is None


async def logged_in(issuer: Issuer) -> Login:
    person = Person(issuer, after=1)
    return await log_in(view(issuer), person.tell, person.pause)


async def test_a_login_is_kept_for_its_owner_alone(issuer: Issuer, tmp_path: Path) -> None:
    logins = Logins(tmp_path / "config" / "logins")
    assert await logins.token("https://idds.example.org") is None
    login = await logged_in(issuer)
    old = os.umask(0)
    try:
        logins.keep("https://idds.example.org", login)
    finally:
        os.umask(old)
    path = logins.path("https://idds.example.org")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert await logins.token("https://idds.example.org") == login.access_token
    assert await logins.token("https://idds.example.com") is None


async def test_a_token_that_ends_is_refreshed_once(issuer: Issuer, tmp_path: Path) -> None:
    logins, url = Logins(tmp_path), "https://idds.example.org"
    issuer.token_lifetime_s = 30
    login = await logged_in(issuer)
    logins.keep(url, login)
    issuer.token_lifetime_s = 3600
    tokens = await asyncio.gather(*(Logins(tmp_path).token(url) for _ in range(5)))
    assert len(set(tokens)) == 1
    assert login.access_token not in tokens
    assert len(issuer.refresh_tokens) == 1, "each is good for once, and was used once"
    assert stat.S_IMODE(logins.path(url).stat().st_mode) == 0o600


async def test_a_login_that_cannot_be_refreshed_is_used_to_its_end(issuer: Issuer, tmp_path: Path) -> None:
    logins, url = Logins(tmp_path), "https://idds.example.org"
    login = replace(await logged_in(issuer), expires_at=time.time() + 30)
    unreachable = replace(login, token_endpoint="http://127.0.0.1:1/token")
    for kept in (unreachable, replace(login, refresh_token=None)):
        logins.keep(url, kept)
        assert await logins.token(url) == login.access_token
    logins.keep(url, replace(unreachable, expires_at=time.time() - 1))
    with pytest.raises(Unavailable):
        await logins.token(url)
    for ended in (replace(login, refresh_token=None), replace(login, refresh_token="unknown")):
        logins.keep(url, replace(ended, expires_at=time.time() - 1))
        with pytest.raises(Unauthenticated, match="log in anew with: idds login"):
            await logins.token(url)


async def test_a_refresh_token_stays_where_no_new_one_comes(issuer: Issuer) -> None:
    login = await logged_in(issuer)
    issuer.refresh_tokens = {str(login.refresh_token): "openid"}
    assert (await refresh(login)).refresh_token == login.refresh_token


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "https://idds.example.org", "x": 1}', "\udce4"])
async def test_a_file_that_is_no_login(tmp_path: Path, text: str) -> None:
    logins = Logins(tmp_path)
    logins.path("https://idds.example.org").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidInput, match="log in anew"):
        await logins.token("https://idds.example.org")


@dataclass(frozen=True)
class Ended:
    code: int
    said: str
    complaint: str


@dataclass
class CommandLine:
    """The command, as a process of its own; its logins are kept in a folder of its own."""

    api: Api
    issuer: Issuer
    home: Path

    @property
    def url(self) -> str:
        return str(self.api.client.make_url("")).rstrip("/")

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("IDDS_")}
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("idds")),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**inherited, "XDG_CONFIG_HOME": str(self.home), "IDDS_URL": self.url},
        )

    async def run(self, *arguments: str) -> Ended:
        process = await self.start(*arguments)
        said, complaint = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode is not None
        return Ended(process.returncode, said.decode(), complaint.decode())

    async def log_in(self, *arguments: str, is_allowed: bool = True) -> Ended:
        """What a person does: run it, go to the URL, enter the code."""
        process = await self.start("login", *arguments)
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            told = [(await process.stdout.readline()).decode() for _ in range(2)]
            assert self.issuer.url in told[0]
            code = told[1].split("the code ")[1].split(",")[0]
            self.issuer.allow(code, is_allowed=is_allowed)
            said, complaint = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, "".join(told) + said.decode(), complaint.decode())


@asynccontextmanager
async def command_line(
    url: str, issuer: Issuer, home: Path, names: Sequence[str] = ("iam",)
) -> AsyncIterator[CommandLine]:
    options = IssuerOptions(
        url=issuer.url, audiences=frozenset({AUDIENCE}), vo="atlas", client_id=CLIENT, scopes=SCOPES, grants=GRANTS
    )
    others = {name: options.model_copy(update={"url": f"https://{name}.example.org"}) for name in names[1:]}
    issuers = OidcIssuers({names[0]: options, **others})
    try:
        async with api_on(url, issuers=issuers) as api:
            yield CommandLine(api, issuer, home)
    finally:
        await issuers.close()


async def test_a_stranger_logs_in_and_goes_on(sqlite_url: str, issuer: Issuer, tmp_path: Path) -> None:
    async with command_line(sqlite_url, issuer, tmp_path) as line:
        before = await line.run("whoami")
        assert before.code == 4
        ended = await line.log_in()
        assert ended.code == 0, ended.complaint
        assert "logged in as alice of atlas, with the role wfms" in ended.said
        [kept] = (tmp_path / "idds" / "logins").glob("*.json")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        told = json.loads((await line.run("whoami", "--json")).said)
        assert (told["owner"], told["vo"], told["role"], told["by"]) == ("alice", "atlas", "wfms", "oidc")
        assert "alice of atlas, with the role wfms, until 20" in (await line.run("whoami")).said
        access = json.loads(kept.read_text())["access_token"]
        for each in (before, ended):
            assert access not in each.said + each.complaint


async def test_a_login_that_ends_is_refreshed_by_the_next_command(
    sqlite_url: str, issuer: Issuer, tmp_path: Path
) -> None:
    issuer.token_lifetime_s = 40
    async with command_line(sqlite_url, issuer, tmp_path) as line:
        assert (await line.log_in()).code == 0
        [kept] = (tmp_path / "idds" / "logins").glob("*.json")
        first = json.loads(kept.read_text())
        assert (await line.run("whoami")).code == 0
        second = json.loads(kept.read_text())
        assert first["access_token"] != second["access_token"]
        assert first["refresh_token"] != second["refresh_token"]


@pytest.mark.parametrize("revokes", [True, False])
async def test_who_logs_out_is_known_no_more(sqlite_url: str, issuer: Issuer, tmp_path: Path, *, revokes: bool) -> None:
    issuer.revokes = revokes
    async with command_line(sqlite_url, issuer, tmp_path) as line:
        assert "nobody was logged in" in (await line.run("logout")).said
        await line.log_in()
        ended = await line.run("logout")
        assert (ended.code, ended.complaint) == (0, "")
        assert ("takes nothing back, and the token ends 20" in ended.said) is not revokes
        assert bool(issuer.refresh_tokens) is not revokes
        assert not list((tmp_path / "idds" / "logins").glob("*.json"))
        assert (await line.run("whoami")).code == 4


async def test_a_login_that_fails_leaves_nothing(sqlite_url: str, issuer: Issuer, tmp_path: Path) -> None:
    async with command_line(sqlite_url, issuer, tmp_path) as line:
        denied = await line.log_in(is_allowed=False)
        assert (denied.code, "the login was denied" in denied.complaint) == (4, True)
        issuer.groups = ["/cms"]
        useless = await line.log_in()
        assert useless.code == 4
        assert "none of its groups and scopes gives a role here" in useless.complaint
        assert list(tmp_path.rglob("*.json")) == []


async def test_where_there_are_several_issuers_one_is_named(sqlite_url: str, issuer: Issuer, tmp_path: Path) -> None:
    async with command_line(sqlite_url, issuer, tmp_path, ("iam", "other")) as line:
        asked = await line.run("login")
        assert (asked.code, "choose one of: iam, other" in asked.complaint) == (2, True)
        unknown = await line.run("login", "--issuer", "third")
        assert (unknown.code, "there are: iam, other" in unknown.complaint) == (2, True)
        assert (await line.log_in("--issuer", "iam")).code == 0
    async with api_on(sqlite_url) as api:
        nowhere = await CommandLine(api, issuer, tmp_path).run("login")
        assert nowhere.code == 6
        assert "knows no issuer" in nowhere.complaint


async def test_tokens_are_made_listed_and_revoked(sqlite_url: str, issuer: Issuer, tmp_path: Path) -> None:
    async with command_line(sqlite_url, issuer, tmp_path) as line:
        await line.log_in()
        file = tmp_path / "robot"
        limits = ("--role", "user", "--share", "a", "--share", "b", "--lifetime", "600", "--note", "a robot's")
        made = await line.run("token", "new", *limits, "--owner", "robot", "--file", str(file))
        assert made.code == 0, made.complaint
        secret = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert secret not in made.said + made.complaint
        told = json.loads((await line.run("--token-file", str(file), "whoami", "--json")).said)
        assert (told["owner"], told["role"], told["shares"]) == ("robot", "user", ["a", "b"])
        again = await line.run("token", "new", "--file", str(file))
        assert (again.code, file.read_text().strip()) == (2, secret)
        listed = [json.loads(text) for text in (await line.run("token", "list", "--json")).said.splitlines()]
        assert [(token["owner"], token["note"]) for token in listed] == [("robot", "a robot's")]
        assert "robot/atlas" in (await line.run("token", "list", "--owner", "robot")).said
        revoked = await line.run("token", "revoke", str(listed[0]["id"]))
        assert (revoked.code, "was revoked" in revoked.said) == (0, True)
        ended = await line.run("--token-file", str(file), "whoami")
        assert ended.code == 4
        printed = json.loads((await line.run("token", "new", "--json")).said)
        assert printed["token"].startswith("idds_")
        plain = (await line.run("token", "new", "--role", "reader")).said.strip()
        assert plain.startswith("idds_")


async def test_a_token_that_is_refused_leaves_no_file(sqlite_url: str, issuer: Issuer, tmp_path: Path) -> None:
    async with command_line(sqlite_url, issuer, tmp_path) as line:
        await line.log_in()
        file = tmp_path / "operator"
        refused = await line.run("token", "new", "--role", "operator", "--file", str(file))
        assert (refused.code, "/role" in refused.complaint, file.exists()) == (4, True, False)
        nowhere = await line.run("token", "new", "--file", str(tmp_path / "none" / "x"))
        assert nowhere.code == 2
        assert "cannot be made" in nowhere.complaint
