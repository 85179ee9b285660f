"""Over HTTPS, as payloads come: with nothing but a URL, a token and, of a private authority, its file."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from idds.cli.exits import Exit
from idds.sdk import study as sdk
from tests.acceptance.service import PATIENCE_S, service
from tests.servers.front import Authority, Front, front

pytestmark = pytest.mark.timeout(180)
IDDS = str(Path(sys.executable).with_name("idds"))
SEARCH = {"space": {"x": {"type": "float", "low": 0, "high": 1}}, "sampler": "random", "count": 8}
EVALUATE = """
from study import Study
for sample in Study(patience=1).samples():
    with sample:
        sample.report(sample.parameters["x"])
"""
WHO = "from study import Study; Study(patience=0)"


@dataclass
class Site:
    """A service behind fronts, and a folder to type in."""

    folder: Path
    token: str
    authority: Path
    plain: str
    good: Front
    odd: Front
    """With a certificate of another name."""

    def environment(self, url: str, authority: Path | None) -> dict[str, str]:
        known = {} if authority is None else {"SSL_CERT_FILE": str(authority)}
        home = {name: str(self.folder) for name in ("HOME", "XDG_CONFIG_HOME")}
        return {"PATH": os.environ["PATH"], **home, "IDDS_URL": url, "IDDS_TOKEN": self.token, **known}

    async def start(self, *argv: str, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *argv, cwd=self.folder, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    async def run(self, *argv: str, environment: Mapping[str, str]) -> tuple[int | None, str, str]:
        process = await self.start(*argv, environment=environment)
        async with asyncio.timeout(PATIENCE_S):
            out, errors = await process.communicate()
        return process.returncode, out.decode(), errors.decode()

    async def run_all(self, url: str, authority: Path | None) -> dict[str, tuple[int | None, str]]:
        """How each of the doors fails: its exit code, and the last line of what it says."""
        environment = self.environment(url, authority)
        said = {}
        for name, argv in {
            "command": (IDDS, "whoami"),
            "payload": (IDDS, "payload", "--patience-s", "0", "--", "true"),
            "file": (sys.executable, "-S", "-c", WHO),
        }.items():
            code, out, errors = await self.run(*argv, environment=environment)
            assert self.token not in out + errors
            said[name] = (code, errors.strip().splitlines()[-1])
        return said


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    authority = Authority(tmp_path)
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "study.py").write_text(Path(sdk.__file__).read_text())
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(service(tmp_path / "state"))
        good = await stack.enter_async_context(front(running.url, authority.context("127.0.0.1")))
        odd = await stack.enter_async_context(front(running.url, authority.context("idds.example.org")))
        yield Site(folder, running.token, authority.file, running.url, good, odd)


async def test_a_study_is_created_watched_and_evaluated(site: Site) -> None:
    known = site.environment(site.good.url, site.authority)
    (site.folder / "search.json").write_text(json.dumps(SEARCH))
    create = (IDDS, "study", "create", "search.json", "--payload-token", "token")
    code, out, errors = await site.run(*create, environment=known)
    assert (code, errors) == (0, ""), out
    watching = await site.start(IDDS, "study", "watch", "1", "--json", environment=known)
    assert watching.stdout is not None
    first = json.loads(await watching.stdout.readline())
    assert first["status"] == "running"
    payloads = {name: value for name, value in known.items() if name != "IDDS_TOKEN"} | {"IDDS_TOKEN_FILE": "token"}
    command = """echo '{"loss": 1}' > output.json"""
    both = await asyncio.gather(
        site.run(IDDS, "payload", "--", "sh", "-c", command, environment=payloads),
        site.run(sys.executable, "-S", "-W", "error", "-c", EVALUATE, environment=payloads),
    )
    assert [(code, errors) for code, _, errors in both] == [(0, ""), (0, "")]
    async with asyncio.timeout(PATIENCE_S):
        out, errors = (each.decode() for each in await watching.communicate())
    assert (watching.returncode, errors) == (0, "")
    assert json.loads(out.splitlines()[-1])["status"] == "finished"


async def test_an_unknown_authority_is_told_and_what_to_do(site: Site) -> None:
    for code, said in (await site.run_all(site.good.url, None)).values():
        assert code in (1, Exit.BROKEN)
        assert f"no safe connection to {site.good.url}: unable to get local issuer certificate" in said
        assert said.endswith("let SSL_CERT_FILE name the file of the authority that its certificate is of")
    missing = site.folder / "nowhere.pem"
    for _, said in (await site.run_all(site.good.url, missing)).values():
        assert said.endswith(f"SSL_CERT_FILE names {missing}, and no such file is there")
    assert site.good.calls == [], "nobody has sent a token"


async def test_a_certificate_of_another_name_is_told(site: Site) -> None:
    for code, said in (await site.run_all(site.odd.url, site.authority)).values():
        assert code in (1, Exit.BROKEN)
        assert "certificate is not valid for '127.0.0.1'; call it by a name that its certificate has" in said
    assert site.odd.calls == []


async def test_where_there_is_no_tls_that_is_told_and_waited_for_by_nobody(site: Site) -> None:
    url = site.plain.replace("http:", "https:")
    environment = site.environment(url, site.authority)
    patient = (sys.executable, "-S", "-c", "from study import Study; Study(patience=3600)")
    code, _, errors = await site.run(*patient, environment=environment)
    assert code == 1
    assert "there is no TLS there" in errors
    for _, said in (await site.run_all(url, site.authority)).values():
        assert f"no safe connection to {url}: there is no TLS there" in said
