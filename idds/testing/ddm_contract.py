"""What every data management keeps to. Subclass `DDMContract` and give it a fixture `site`, a `SiteUnderTest`."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from idds.domain.errors import UnknownDid
from idds.domain.files import File, Upload
from idds.domain.identifiers import Did
from idds.ports.ddm import DDM, NotNow, Refused, Residency, Source, Staging, Where

DEADLINE_S = 120.0


class SiteUnderTest(Protocol):
    """A data management with a tape and a disk, of the test's own or shared: the suite makes names of its own.

    What it hands out is given back when the fixture ends.
    """

    @property
    def disk(self) -> str:
        """The name of the disk RSE."""
        ...

    @property
    def tape(self) -> str:
        """The name of the tape RSE that `write_tape` writes to, unless the file is slow."""
        ...

    @property
    def scope(self) -> str:
        """Where the suite may make names."""
        ...

    async def ddm(self) -> DDM:
        """A new adapter, started. Several may be in use at once."""
        ...

    async def create_dataset(self, dataset: Did, *, is_open: bool = False) -> None: ...

    async def close_dataset(self, dataset: Did) -> None: ...

    async def write_tape(self, dataset: Did, did: Did, content: bytes, *, slow: bool = False) -> File:
        """Put a file on tape and into the dataset. The recall of a `slow` one does not end while a test runs."""
        ...

    async def spoil(self, did: Did) -> None:
        """Change the bytes on tape, not their number."""
        ...

    async def lose(self, did: Did) -> None:
        """Take the file from the tape behind the data management's back."""
        ...

    async def mend(self, did: Did, content: bytes) -> None:
        """Put the bytes on tape right again."""
        ...

    async def place(self, did: Did, content: bytes) -> None:
        """Make a replica on the disk that belongs to somebody else, of a file that is in the catalogue."""
        ...

    async def stage_and_die(self, files: Sequence[File]) -> None:
        """Stage the files from another process, which is killed while their recalls are under way."""
        ...


def content_of(text: str, size: int = 4096) -> bytes:
    """Some bytes that no other text has."""
    return (text.encode() * (size // len(text) + 1))[:size]


def upload_of(did: Did, path: Path, content: bytes) -> Upload:
    """Writes `content` to `path` on the way."""
    path.write_bytes(content)
    return Upload(did, str(path), len(content), f"{zlib.adler32(content):08x}")


def bytes_at(path: str | None) -> bytes | None:
    """What a payload would read there; None when there is nothing."""
    return Path(path).read_bytes() if path is not None and Path(path).exists() else None


def rule_of(outcome: Staging | NotNow | Refused) -> str:
    """The rule that a file was staged under."""
    assert isinstance(outcome, Staging), outcome
    return outcome.rule_id


async def until(true: Callable[[], Awaitable[bool]], poll_s: float) -> None:
    """Raises TimeoutError when it does not become true."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await true():
                return
            await asyncio.sleep(poll_s)


class DDMContract:
    """Every promise of `idds.ports.ddm.DDM`."""

    poll_s = 0.01
    """How often the suite asks for residencies: more seldom where asking is dear."""

    @pytest.fixture
    def dataset(self, site: SiteUnderTest) -> Did:
        return Did(site.scope, f"dataset-{uuid4().hex}")

    @pytest.fixture
    async def ddm(self, site: SiteUnderTest) -> DDM:
        return await site.ddm()

    async def on_tape(self, site: SiteUnderTest, dataset: Did, count: int, *, slow: bool = False) -> list[File]:
        """A closed dataset of new files, in the order of writing; each holds its own name."""
        await site.create_dataset(dataset)
        dids = [Did(site.scope, f"{dataset.name}/file-{n:04}") for n in range(count)]
        return [await site.write_tape(dataset, did, content_of(did.name), slow=slow) for did in dids]

    async def reach(self, ddm: DDM, rse: str, dids: Sequence[Did], where: Where) -> dict[Did, Residency]:
        """Wait until all are there. Fails at once when one has failed instead."""
        found: dict[Did, Residency] = {}

        async def there() -> bool:
            found.update(await ddm.residency(rse, dids))
            failed = [f"{did}: {one.reason}" for did, one in found.items() if one.where is Where.FAILED]
            assert where is Where.FAILED or not failed, failed
            return all(one.where is where for one in found.values())

        await until(there, self.poll_s)
        return found

    async def stage(
        self, ddm: DDM, rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | Refused]:
        """Stage, again and again where it does not go now."""
        taken: list[Staging | Refused] = []

        async def are_taken() -> bool:
            outcomes = await ddm.stage(rse, files, source=source)
            taken[:] = [outcome for outcome in outcomes if not isinstance(outcome, NotNow)]
            return len(taken) == len(files)

        await until(are_taken, self.poll_s)
        return taken

    async def names(self, ddm: DDM, dataset: Did, limit: int) -> list[str]:
        """The whole listing, by pages."""
        page = await ddm.list_files(dataset, after=None, limit=limit)
        names = [file.did.name for file in page.files]
        while page.next is not None:
            page = await ddm.list_files(dataset, after=page.next, limit=limit)
            names += [file.did.name for file in page.files]
        return names

    # listing

    async def test_an_unknown_dataset_is_named(self, ddm: DDM, dataset: Did) -> None:
        with pytest.raises(UnknownDid, match=dataset.name):
            await ddm.list_files(dataset, after=None, limit=10)

    @pytest.mark.parametrize("limit", [1, 3, 6, 7, 100])
    async def test_pages_hold_every_file_once(self, site: SiteUnderTest, ddm: DDM, dataset: Did, limit: int) -> None:
        files = await self.on_tape(site, dataset, 6)
        page = await ddm.list_files(dataset, after=None, limit=limit)
        assert len(page.files) == min(limit, 6)
        names = await self.names(ddm, dataset, limit)
        assert sorted(names) == sorted(file.did.name for file in files)
        assert names == await self.names(ddm, dataset, 100)

    async def test_a_page_can_be_asked_for_again(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        await self.on_tape(site, dataset, 5)
        first = await ddm.list_files(dataset, after=None, limit=2)
        second = await ddm.list_files(dataset, after=first.next, limit=2)
        assert second == await (await site.ddm()).list_files(dataset, after=first.next, limit=2)

    async def test_a_listing_tells_size_and_checksum(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        page = await ddm.list_files(dataset, after=None, limit=10)
        assert page.files == (file,)
        assert (file.bytes, file.adler32) == (4096, f"{zlib.adler32(content_of(file.did.name)):08x}")

    async def test_an_empty_dataset(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        await site.create_dataset(dataset)
        page = await ddm.list_files(dataset, after=None, limit=10)
        assert (page.files, page.next, page.is_open) == ((), None, False)

    async def test_an_open_dataset_may_grow_behind_the_listing(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did
    ) -> None:
        await site.create_dataset(dataset, is_open=True)
        dids = [Did(site.scope, f"{dataset.name}-{n}") for n in range(5)]
        for did in dids[:3]:
            await site.write_tape(dataset, did, content_of(did.name))
        first = await ddm.list_files(dataset, after=None, limit=2)
        last = await ddm.list_files(dataset, after=first.next, limit=2)
        assert (last.next, last.is_open) == (None, True)
        for did in dids[3:]:
            await site.write_tape(dataset, did, content_of(did.name))
        await site.close_dataset(dataset)
        grown = await ddm.list_files(dataset, after=first.next, limit=10)
        assert (grown.next, grown.is_open) == (None, False)
        assert {file.did for file in first.files + grown.files} == set(dids)

    # staging

    async def test_staged_files_become_present(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 5)
        staged = await ddm.stage(site.disk, files)
        assert all(isinstance(one, Staging) and one.ours for one in staged)
        assert len({one.rule_id for one in staged if isinstance(one, Staging)}) in (1, 5)
        there = await self.reach(ddm, site.disk, [file.did for file in files], Where.PRESENT)
        for did, one in there.items():
            assert bytes_at(one.path) == content_of(did.name)

    async def test_staging_again_changes_nothing(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 2)
        first = await ddm.stage(site.disk, files)
        assert await ddm.stage(site.disk, files) == first
        await self.reach(ddm, site.disk, [file.did for file in files], Where.PRESENT)
        assert await ddm.stage(site.disk, files) == first
        assert await (await site.ddm()).stage(site.disk, files) == first

    async def test_a_recall_under_way_is_staging(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1, slow=True)
        first = await ddm.stage(site.disk, [file])
        assert await ddm.stage(site.disk, [file]) == first
        found = (await ddm.residency(site.disk, [file.did]))[file.did]
        assert (found.where, found.path, found.rule_id) == (Where.STAGING, None, rule_of(first[0]))

    async def test_a_rule_tells_where_it_brings_its_files_to(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1, slow=True)
        (outcome,) = await ddm.stage(site.disk, [file])
        assert await ddm.destination(rule_of(outcome)) == site.disk
        assert await ddm.destination("0123456789abcdef0123456789abcdef") is None

    async def test_outcomes_keep_the_order_of_the_files(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 2)
        stranger = File(Did(site.scope, uuid4().hex), 10, None)
        first, refused, second = await ddm.stage(site.disk, [files[1], stranger, files[0]])
        assert isinstance(refused, Refused)
        assert refused.reason
        assert [first, second] == await ddm.stage(site.disk, [files[1], files[0]])
        await self.reach(ddm, site.disk, [file.did for file in files], Where.PRESENT)
        assert (await ddm.residency(site.disk, [stranger.did]))[stranger.did] == Residency(Where.ABSENT)

    async def test_staging_and_asking_for_nothing(self, site: SiteUnderTest, ddm: DDM) -> None:
        assert await ddm.stage(site.disk, []) == []
        assert await ddm.residency(site.disk, []) == {}
        await ddm.release(site.disk, {})

    async def test_every_did_asked_has_a_residency(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        asked = [file.did, Did(site.scope, uuid4().hex)]
        assert await ddm.residency(site.disk, asked) == dict.fromkeys(asked, Residency(Where.ABSENT))

    @pytest.mark.parametrize("fault", ["spoil", "lose"])
    async def test_a_bad_source_fails_with_its_reason(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did, fault: str
    ) -> None:
        bad, good = await self.on_tape(site, dataset, 2)
        await getattr(site, fault)(bad.did)
        await ddm.stage(site.disk, [bad, good])
        await self.reach(ddm, site.disk, [good.did], Where.PRESENT)
        failed = (await self.reach(ddm, site.disk, [bad.did], Where.FAILED))[bad.did]
        assert failed.reason
        assert failed.path is None
        assert await ddm.residency(site.disk, [bad.did]) == {bad.did: failed}
        await ddm.release(site.disk, dict.fromkeys([bad.did]))
        await self.reach(ddm, site.disk, [bad.did], Where.ABSENT)

    async def test_what_failed_can_be_staged_again(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        await site.spoil(file.did)
        await ddm.stage(site.disk, [file])
        await self.reach(ddm, site.disk, [file.did], Where.FAILED)
        await site.mend(file.did, content_of(file.did.name))
        (again,) = await self.stage(ddm, site.disk, [file])
        assert isinstance(again, Staging)
        assert again.ours
        await self.reach(ddm, site.disk, [file.did], Where.PRESENT)

    async def test_two_adapters_see_the_same(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files, other = await self.on_tape(site, dataset, 3), await site.ddm()
        first, second = await asyncio.gather(ddm.stage(site.disk, files), other.stage(site.disk, files))
        assert first == second
        dids = [file.did for file in files]
        there = await self.reach(other, site.disk, dids, Where.PRESENT)
        assert await ddm.residency(site.disk, dids) == there
        await other.release(site.disk, dict.fromkeys(dids))
        await self.reach(ddm, site.disk, dids, Where.ABSENT)

    # releasing

    async def test_released_files_are_deleted(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        released, kept = await self.on_tape(site, dataset, 2)
        await ddm.stage(site.disk, [released, kept])
        there = await self.reach(ddm, site.disk, [released.did, kept.did], Where.PRESENT)
        await ddm.release(site.disk, dict.fromkeys([released.did]))
        await ddm.release(site.disk, dict.fromkeys([released.did]))
        await self.reach(ddm, site.disk, [released.did], Where.ABSENT)
        await ddm.release(site.disk, dict.fromkeys([released.did]))
        assert bytes_at(there[released.did].path) is None
        assert await ddm.residency(site.disk, [kept.did]) == {kept.did: there[kept.did]}

    async def test_a_released_recall_is_cancelled(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 3, slow=True)
        dids = [file.did for file in files]
        await ddm.stage(site.disk, files)
        await ddm.release(site.disk, dict.fromkeys(dids))
        await self.reach(ddm, site.disk, dids, Where.ABSENT)

    async def test_releasing_an_unknown_file_is_no_error(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        await ddm.release(site.disk, dict.fromkeys([file.did, Did(site.scope, uuid4().hex)]))
        assert await ddm.residency(site.disk, [file.did]) == {file.did: Residency(Where.ABSENT)}

    async def test_what_is_on_tape_stays_there(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        for _ in range(2):
            assert isinstance((await ddm.stage(site.disk, [file]))[0], Staging)
            await self.reach(ddm, site.disk, [file.did], Where.PRESENT)
            await ddm.release(site.disk, dict.fromkeys([file.did]))
            await self.reach(ddm, site.disk, [file.did], Where.ABSENT)

    async def test_a_file_staged_while_it_is_deleted_comes_back(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did
    ) -> None:
        files = await self.on_tape(site, dataset, 20)
        dids = [file.did for file in files]
        await ddm.stage(site.disk, files)
        await self.reach(ddm, site.disk, dids, Where.PRESENT)
        await ddm.release(site.disk, dict.fromkeys(dids))
        again = await self.stage(ddm, site.disk, files)
        assert all(isinstance(one, Staging) and one.ours for one in again)
        there = await self.reach(ddm, site.disk, dids, Where.PRESENT)
        assert all(bytes_at(one.path) == content_of(did.name) for did, one in there.items())
        assert await ddm.stage(site.disk, files) == again

    async def test_the_last_order_counts(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 10)
        dids = [file.did for file in files]
        for _ in range(5):
            await ddm.stage(site.disk, files)
            await ddm.release(site.disk, dict.fromkeys(dids))
        await self.reach(ddm, site.disk, dids, Where.ABSENT)
        for _ in range(5):
            await ddm.release(site.disk, dict.fromkeys(dids))
            await self.stage(ddm, site.disk, files)
        await self.reach(ddm, site.disk, dids, Where.PRESENT)

    async def test_the_replica_of_somebody_else_is_used_and_kept(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did
    ) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        await site.place(file.did, content_of(file.did.name))
        (first,) = await ddm.stage(site.disk, [file])
        assert isinstance(first, Staging)
        assert not first.ours
        assert await ddm.stage(site.disk, [file]) == [first]
        there = await self.reach(ddm, site.disk, [file.did], Where.PRESENT)
        await ddm.release(site.disk, dict.fromkeys([file.did]))
        assert await ddm.residency(site.disk, [file.did]) == there
        assert bytes_at(there[file.did].path) == content_of(file.did.name)

    async def test_only_the_rule_that_is_named_ends(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 2)
        former = dict(zip([f.did for f in files], map(rule_of, await ddm.stage(site.disk, files)), strict=True))
        await self.reach(ddm, site.disk, list(former), Where.PRESENT)
        await ddm.release(site.disk, former)
        await self.reach(ddm, site.disk, list(former), Where.ABSENT)
        again = dict(zip(former, map(rule_of, await self.stage(ddm, site.disk, files)), strict=True))
        assert not set(again.values()) & set(former.values())
        await ddm.release(site.disk, former)  # an order of a former time, which comes late
        await self.reach(ddm, site.disk, list(again), Where.PRESENT)
        await ddm.release(site.disk, former)
        found = await ddm.residency(site.disk, list(again))
        assert {did: one.rule_id for did, one in found.items()} == again
        assert {one.where for one in found.values()} == {Where.PRESENT}
        await ddm.release(site.disk, again)
        await self.reach(ddm, site.disk, list(again), Where.ABSENT)

    # rules

    async def test_rules_of_ours_are_told_until_they_are_ended(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did
    ) -> None:
        files = await self.on_tape(site, dataset, 3)
        await site.place(files[2].did, content_of(files[2].did.name))
        mine = [rule_of(outcome) for outcome in (await ddm.stage(site.disk, files))[:2]]

        async def told() -> dict[Did, tuple[str, str]]:
            wanted = {file.did for file in files}
            return {rule.did: (rule.rse, rule.rule_id) for rule in await ddm.rules() if rule.did in wanted}

        assert await told() == {file.did: (site.disk, rule) for file, rule in zip(files[:2], mine, strict=True)}
        await ddm.release(site.disk, {files[0].did: mine[0]})
        assert await told() == {files[1].did: (site.disk, mine[1])}

    async def test_rules_are_kept_and_those_that_ended_are_told(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did
    ) -> None:
        files = await self.on_tape(site, dataset, 3)
        dids = [file.did for file in files]
        first, second, third = map(rule_of, await ddm.stage(site.disk, files))
        await self.reach(ddm, site.disk, dids, Where.PRESENT)
        assert await ddm.keep(site.disk, [first, second, third]) == frozenset()
        await ddm.release(site.disk, {dids[1]: second})
        assert await ddm.keep(site.disk, [first, second, third]) == {second}
        assert await ddm.keep(site.disk, []) == frozenset()

    async def test_a_rule_whose_file_has_not_come_yet_holds_none(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did
    ) -> None:
        (file,) = await self.on_tape(site, dataset, 1, slow=True)
        (outcome,) = await ddm.stage(site.disk, [file])
        assert await ddm.keep(site.disk, [rule_of(outcome)]) == {rule_of(outcome)}
        assert [rule.rule_id for rule in await ddm.rules() if rule.did == file.did] == [rule_of(outcome)]

    async def test_boosting_changes_nothing_that_is_promised(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        first = await ddm.stage(site.disk, [file])
        await ddm.boost(site.disk, [rule_of(first[0])])
        await self.reach(ddm, site.disk, [file.did], Where.PRESENT)
        await ddm.boost(site.disk, [rule_of(first[0]), "0" * 32])
        assert await ddm.stage(site.disk, [file]) == first

    # sources

    async def test_sources_are_where_a_file_can_be_taken_from(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did
    ) -> None:
        here, staged = await self.on_tape(site, dataset, 2)
        stranger = Did(site.scope, uuid4().hex)
        await ddm.stage(site.disk, [staged])
        await self.reach(ddm, site.disk, [staged.did], Where.PRESENT)
        tape, disk = Source(site.tape, is_tape=True), Source(site.disk, is_tape=False)
        found = await ddm.sources([here.did, staged.did, stranger])
        assert found == {here.did: (tape,), staged.did: (tape, disk), stranger: ()}

    async def test_a_source_can_be_chosen(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        (file,) = await self.on_tape(site, dataset, 1)
        (staged,) = await ddm.stage(site.disk, [file], source=site.tape)
        found = (await self.reach(ddm, site.disk, [file.did], Where.PRESENT))[file.did]
        assert (found.rule_id, found.source) == (rule_of(staged), site.tape)

    # uploading

    async def test_an_upload_makes_the_dataset(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did, tmp_path: Path
    ) -> None:
        did = Did(site.scope, f"{dataset.name}/out.root")
        upload = upload_of(did, tmp_path / "out", b"result" * 1000)
        (path,) = await ddm.upload(site.disk, dataset, [upload])
        assert isinstance(path, str)
        assert bytes_at(path) == b"result" * 1000
        page = await ddm.list_files(dataset, after=None, limit=10)
        assert page.files == (File(did, upload.bytes, upload.adler32),)
        assert await ddm.residency(site.disk, [did]) == {did: Residency(Where.PRESENT, path)}

    async def test_uploading_again_is_success(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did, tmp_path: Path
    ) -> None:
        upload = upload_of(Did(site.scope, f"{dataset.name}/out"), tmp_path / "out", b"result")
        first = await ddm.upload(site.disk, dataset, [upload])
        assert await ddm.upload(site.disk, dataset, [upload]) == first
        assert await (await site.ddm()).upload(site.disk, dataset, [upload]) == first
        assert await self.names(ddm, dataset, 10) == [upload.did.name]

    async def test_other_bytes_under_the_same_name_are_refused(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did, tmp_path: Path
    ) -> None:
        did = Did(site.scope, f"{dataset.name}/out")
        (path,) = await ddm.upload(site.disk, dataset, [upload_of(did, tmp_path / "one", b"one")])
        (refused,) = await ddm.upload(site.disk, dataset, [upload_of(did, tmp_path / "two", b"two")])
        assert isinstance(refused, Refused)
        assert isinstance(path, str)
        assert bytes_at(path) == b"one"

    @pytest.mark.parametrize("fault", ["checksum", "size", "missing"])
    async def test_a_bad_upload_is_refused_and_leaves_nothing(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did, tmp_path: Path, fault: str
    ) -> None:
        good = upload_of(Did(site.scope, f"{dataset.name}/good"), tmp_path / "good", b"good")
        did, path = Did(site.scope, f"{dataset.name}/bad"), tmp_path / "bad"
        bad = {
            "checksum": Upload(did, str(path), 3, "00000001"),
            "size": Upload(did, str(path), 4, f"{zlib.adler32(b'bad'):08x}"),
            "missing": Upload(did, str(tmp_path / "nowhere"), 3, f"{zlib.adler32(b'bad'):08x}"),
        }[fault]
        path.write_bytes(b"bad")
        refused, taken = await ddm.upload(site.disk, dataset, [bad, good])
        assert isinstance(refused, Refused)
        assert isinstance(taken, str)
        assert await self.names(ddm, dataset, 10) == [good.did.name]
        assert await ddm.residency(site.disk, [did]) == {did: Residency(Where.ABSENT)}

    async def test_what_was_uploaded_is_not_released(
        self, site: SiteUnderTest, ddm: DDM, dataset: Did, tmp_path: Path
    ) -> None:
        upload = upload_of(Did(site.scope, f"{dataset.name}/out"), tmp_path / "out", b"result")
        (path,) = await ddm.upload(site.disk, dataset, [upload])
        (staged,) = await ddm.stage(site.disk, [File(upload.did, upload.bytes, upload.adler32)])
        assert isinstance(staged, Staging)
        assert not staged.ours
        await ddm.release(site.disk, dict.fromkeys([upload.did]))
        assert await ddm.residency(site.disk, [upload.did]) == {upload.did: Residency(Where.PRESENT, str(path))}

    # changes, and the end of processes

    async def test_changes_are_hinted_to_every_consumer(self, site: SiteUnderTest, ddm: DDM, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 5)
        dids = {file.did for file in files}
        consumers = [asyncio.create_task(_hinted(ddm.changes(), site.disk, set(dids))) for _ in range(2)]
        await asyncio.sleep(0)
        await ddm.stage(site.disk, files)
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*consumers)

    async def test_waiting_for_changes_can_be_cancelled(self, ddm: DDM) -> None:
        waiting = asyncio.ensure_future(anext(ddm.changes()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()

    async def test_recalls_survive_the_death_of_who_ordered_them(self, site: SiteUnderTest, dataset: Did) -> None:
        files = await self.on_tape(site, dataset, 4)
        dids = [file.did for file in files]
        await site.stage_and_die(files)
        ddm = await site.ddm()
        assert Where.ABSENT not in {one.where for one in (await ddm.residency(site.disk, dids)).values()}
        assert all(isinstance(one, Staging) and one.ours for one in await self.stage(ddm, site.disk, files))
        there = await self.reach(ddm, site.disk, dids, Where.PRESENT)
        assert all(bytes_at(one.path) == content_of(did.name) for did, one in there.items())


async def _hinted(changes: AsyncIterator[tuple[str, tuple[Did, ...]]], rse: str, dids: set[Did]) -> None:
    async for where, changed in changes:
        dids -= set(changed) if where == rse else set()
        if not dids:
            return
