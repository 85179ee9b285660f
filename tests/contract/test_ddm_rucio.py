"""RucioDDM keeps the contract of data management, against a real Rucio; and what only a Rucio can do to it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rucio.client import Client

from idds.domain.identifiers import Did
from idds.ports.ddm import DDM, NotNow, Staging, Where
from idds.testing.ddm_contract import DDMContract, content_of, rule_of, until
from tests.contract.rucio_site import RucioSite
from tests.servers.rucio.server import SERVICE, RucioServer


@pytest.fixture
async def site(rucio: RucioServer) -> AsyncIterator[RucioSite]:
    site = RucioSite(rucio)
    yield site
    await site.aclose()


class TestRucioDDM(DDMContract):
    poll_s = 0.2

    async def test_a_rule_that_nears_its_end_is_prolonged(self, site: RucioSite, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 2, slow=True)
        short = await site.ddm(lifetime_s=3600)
        near, far = map(rule_of, await short.stage(site.disk, files))
        long = await site.ddm(lifetime_s=86400)
        await long.keep(site.disk, [near])
        ends = {rule: (await site.run(Client.get_replication_rule, rule))["expires_at"] for rule in (near, far)}
        left = {rule: at.replace(tzinfo=UTC) - datetime.now(UTC) for rule, at in ends.items()}
        assert left[far] <= timedelta(hours=1)
        assert left[near] > timedelta(hours=23)
        await long.keep(site.disk, [near])
        assert (await site.run(Client.get_replication_rule, near))["expires_at"] == ends[near]

    async def test_what_another_service_on_our_account_has_staged_is_used_and_kept(
        self, site: RucioSite, ddm: DDM, dataset: Did
    ) -> None:
        files = await self.on_tape(site, dataset, 3, slow=True)
        other = await site.ddm(instance="another service")
        (theirs,) = await other.stage(site.disk, files[1:2])
        first, second, third = await ddm.stage(site.disk, files)
        assert second == Staging(rule_of(theirs), ours=False)
        assert isinstance(first, Staging)
        assert isinstance(third, Staging)
        assert first.ours
        assert third.ours
        mine = {rule.rule_id for rule in await ddm.rules()}
        assert mine >= {rule_of(first), rule_of(third)}
        assert rule_of(theirs) not in mine
        await ddm.release(site.disk, {file.did: None for file in files})
        assert rule_of(theirs) in {rule.rule_id for rule in await other.rules()}
        assert await ddm.keep(site.disk, [rule_of(theirs)]) == {rule_of(theirs)}

    async def test_what_there_is_no_quota_for_waits_and_hinders_nothing(
        self, site: RucioSite, ddm: DDM, dataset: Did
    ) -> None:
        """What was ordered just now does not count yet: the daemon that counts it does not run here."""
        await site.create_dataset(dataset)
        sizes = {"a": 100, "b": 100, "c": 9000, "d": 100}
        dids = {Did(site.scope, f"{dataset.name}/{name}"): size for name, size in sizes.items()}
        files = [
            await site.write_tape(dataset, did, content_of(did.name, size), slow=True) for did, size in dids.items()
        ]
        usage = {row["rse"]: row for row in await site.run(_usage)}
        room = int(usage.get(site.disk, {}).get("bytes", 0)) + 5000
        # Rucio holds no account to a quota that has this attribute.
        await site.run(Client.delete_account_attribute, SERVICE, "admin")
        await site.run(Client.set_local_account_limit, SERVICE, site.disk, room)
        try:
            outcomes = await ddm.stage(site.disk, files)
        finally:
            await site.run(Client.set_local_account_limit, SERVICE, site.disk, -1)
            await site.run(Client.add_account_attribute, SERVICE, "admin", "true")
        assert [type(outcome) for outcome in outcomes] == [Staging, Staging, NotNow, NotNow]
        assert isinstance(outcomes[-1], NotNow)
        assert "quota" in outcomes[-1].reason
        again = await ddm.stage(site.disk, files)
        assert again[:2] == outcomes[:2]
        assert all(isinstance(outcome, Staging) for outcome in again)

    async def test_a_file_that_somebody_takes_from_us_is_missed(self, site: RucioSite, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        (staged,) = await ddm.stage(site.disk, [file])
        await self.reach(ddm, site.disk, [file.did], Where.PRESENT)
        assert await ddm.keep(site.disk, [rule_of(staged)]) == frozenset()
        await site.run(Client.update_replication_rule, rule_of(staged), {"lifetime": -10, "purge_replicas": True})
        assert await ddm.keep(site.disk, [rule_of(staged)]) == {rule_of(staged)}

        async def is_gone() -> bool:
            return (await ddm.residency(site.disk, [file.did]))[file.did].where is Where.ABSENT

        await until(is_gone, self.poll_s)
        (again,) = await self.stage(ddm, site.disk, [file])
        assert rule_of(again) != rule_of(staged)
        await self.reach(ddm, site.disk, [file.did], Where.PRESENT)


def _usage(client: Client) -> list[dict[str, Any]]:
    return list(client.get_local_account_usage(SERVICE))
