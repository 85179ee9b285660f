"""What docs/access.md says is so: its commands are run, and its settings are read."""

import asyncio
import os
import re
import stat
import sys
from pathlib import Path

import aiohttp

from idds.domain.request import Role
from idds.identity.proxy import CertificateProxy
from idds.runtime.settings import read_settings
from tests.acceptance.service import PATIENCE_S, service
from tests.servers.issuer import AUDIENCE, CLIENT, Issuer

PAGE = (Path(__file__).parents[2] / "docs" / "access.md").read_text(encoding="utf-8")


def block(language: str, having: str) -> str:
    """The one code block of this language with these words in it."""
    [found] = [each for each in re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL) if having in each]
    return str(found)


async def run(script: str, folder: Path, url: str) -> str:
    """Run commands where the service's state is, as a user does who has logged in nowhere; what they printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        *("-euc", script),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": path, "IDDS_URL": url, "XDG_CONFIG_HOME": str(folder / "config")},
    )
    async with asyncio.timeout(PATIENCE_S):
        said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


async def test_its_commands(tmp_path: Path) -> None:
    async with service(tmp_path / "idds-state") as running:
        said = await run(block("bash", "token new"), tmp_path, running.url)
        assert "alice of atlas, with the role user, until 20" in said
        assert "token 2 of alice was revoked" in said
        for file in (tmp_path / "alice.token", tmp_path / "idds-state" / "token"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert file.read_text().strip() not in said
        as_operator = "export IDDS_TOKEN_FILE=idds-state/token\n"
        said = await run(as_operator + block("bash", "idds audit"), tmp_path, running.url)
        assert '"action":"revoke"' in said


async def test_the_first_start_says_what_token_it_made_and_no_other_does(tmp_path: Path) -> None:
    said = []
    for _ in range(2):
        async with service(tmp_path) as running:
            said.append(running.said["token"])
            token = running.token
    assert [", made just now" in each for each in said] == [True, False]
    assert not any(token in each for each in said)


def test_its_settings(tmp_path: Path) -> None:
    text = block("toml", "[access.issuers.atlas]") + block("toml", "[access.proxy]")
    (tmp_path / "idds.toml").write_text(text)
    access = read_settings(tmp_path / "idds.toml").access
    assert [(it.group or it.scope, it.role) for it in access.issuers["atlas"].grants] == [
        ("/atlas", Role.USER),
        ("/atlas/production", Role.WFMS),
        ("idds.operate", Role.OPERATOR),
    ]
    (tmp_path / "names.toml").write_text(block("toml", "names.toml, read"))
    proxy = CertificateProxy(access.proxy.model_copy(update={"names": tmp_path / "names.toml"}))
    grant = proxy.identify("10.0.0.5", ["CN=Robot: production,DC=example,DC=org"])
    assert grant is not None
    assert grant.principal.owner == "production"
    assert grant.principal.shares == {"production"}


SETTINGS = """
[access.issuers.iam]
url = "{url}"
audiences = ["{audience}"]
vo = "atlas"
client_id = "{client}"
scopes = ["openid", "offline_access"]
[[access.issuers.iam.grants]]
group = "/atlas"
role = "user"

[access.proxy]
networks = ["127.0.0.0/8"]
names = "{names}"
"""


async def test_a_stranger_logs_in_at_a_service_that_trusts_an_issuer(tmp_path: Path) -> None:
    names, settings = tmp_path / "names.toml", tmp_path / "idds.toml"
    names.write_text(block("toml", "names.toml, read"))
    async with Issuer().running() as issuer:
        settings.write_text(SETTINGS.format(url=issuer.url, audience=AUDIENCE, client=CLIENT, names=names))
        async with service(tmp_path / "state", "--settings", str(settings)) as running:
            person = asyncio.create_task(_enter_the_code(issuer))
            said = await run("idds login; idds whoami; idds list", tmp_path, running.url)
            await person
            assert said.count("alice of atlas, with the role user") == 2
            headers = {"X-SSL-Client-S-DN": "CN=Robot: production,DC=example,DC=org"}
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{running.url}/v1/whoami", headers=headers) as response,
            ):
                told = await response.json()
            assert (told["owner"], told["role"], told["shares"], told["by"]) == (
                "production",
                "wfms",
                ["production"],
                "proxy",
            )


async def _enter_the_code(issuer: Issuer) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not issuer.devices:
            await asyncio.sleep(0.01)
    issuer.allow(next(iter(issuer.devices.values())).user_code)
