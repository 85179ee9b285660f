"""PosixDDM keeps the contract, and what it promises beyond it."""

import asyncio
import os
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from idds.ddm.posix import PosixDDM, TapeStatistics, rules
from idds.ddm.posix.catalogue import Catalogue
from idds.domain.errors import Conflict, InvalidInput, NotFound, Unavailable, UnknownDid
from idds.domain.files import File
from idds.domain.identifiers import Did
from idds.ports.ddm import Refused, Residency, Staging, Where
from idds.testing.ddm_contract import DDMContract, content_of, until, upload_of
from tests.contract.posix_site import PosixSite

DATASET = Did("user.test", "dataset")
FILE = Did("user.test", "file")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[PosixSite]:
    site = PosixSite(tmp_path / "ddm")
    yield site
    await site.stop()


class TestPosixDDM(DDMContract):
    pass


@pytest.fixture
async def ddm(site: PosixSite) -> PosixDDM:
    ddm = await site.ddm()
    await ddm.create_dataset(DATASET)
    return ddm


async def reach(ddm: PosixDDM, rse: str, dids: list[Did], where: Where) -> dict[Did, Residency]:
    async def there() -> bool:
        return all(one.where is where for one in (await ddm.residency(rse, dids)).values())

    await until(there, 0.01)
    return await ddm.residency(rse, dids)


def parts(site: PosixSite) -> list[Path]:
    return list(site.root.rglob("*.part"))


async def exists(look: Callable[[], object]) -> None:
    async def true() -> bool:
        return bool(look())

    await until(true, 0.01)


# tapes


async def test_a_listing_is_in_tape_order_and_what_is_on_no_tape_comes_last(ddm: PosixDDM, tmp_path: Path) -> None:
    await ddm.create_dataset(Did("s", "open"), is_open=True)
    await ddm.upload("DISK", Did("s", "open"), [upload_of(Did("s", "on disk"), tmp_path / "f", b"x")])
    for name, cartridge in [("b0", "B"), ("a0", "A"), ("b1", "B"), ("a1", "A")]:
        await ddm.write_tape("TAPE", Did("s", "open"), Did("s", name), b"x", cartridge)
    page = await ddm.list_files(Did("s", "open"), after=None, limit=10)
    assert [file.did.name for file in page.files] == ["a0", "a1", "b0", "b1", "on disk"]


async def test_recalls_cost_one_mount_a_cartridge_and_no_seek_in_order(ddm: PosixDDM, site: PosixSite) -> None:
    files = [
        await ddm.write_tape("TAPE", DATASET, Did("s", str(n)), content_of(str(n)), f"T{n % 3}") for n in range(30)
    ]
    await ddm.stage("DISK", files[::-1])
    await reach(ddm, "DISK", [file.did for file in files], Where.PRESENT)
    assert ddm.tape_statistics("TAPE") == TapeStatistics(mounts=3, seeks=0, files=30)
    assert await ddm.bytes_on_disk("DISK") == 30 * 4096
    await ddm.release("DISK", dict.fromkeys([file.did for file in files]))
    await reach(ddm, "DISK", [file.did for file in files], Where.ABSENT)
    assert await ddm.bytes_on_disk("DISK") == 0


@pytest.mark.parametrize("slow", ["mount_s", "seek_s", "bytes_per_s"])
async def test_a_recall_is_cancelled_while_the_tape_moves(tmp_path: Path, slow: str) -> None:
    tape = {"kind": "tape", slow: 1 if slow == "bytes_per_s" else 3600}
    ddm = PosixDDM.from_options({"root": str(tmp_path / "ddm"), "rses": {"D": {"kind": "disk"}, "T": tape}})
    await ddm.start()
    await ddm.create_dataset(DATASET)
    files = [await ddm.write_tape("T", DATASET, Did("s", name), content_of(name), "T1") for name in "ab"]
    await ddm.stage("D", files[1:])
    busy = TapeStatistics(1, 0, 0) if slow == "mount_s" else TapeStatistics(1, 1, 1)
    await exists(lambda: ddm.tape_statistics("T") == busy)
    await ddm.release("D", {files[1].did: None})
    await reach(ddm, "D", [files[1].did], Where.ABSENT)
    assert await ddm.bytes_on_disk("D") == 0
    await ddm.stop()


async def test_a_second_tape_is_tried_when_the_first_cannot_be_read(ddm: PosixDDM, site: PosixSite) -> None:
    site.options["rses"]["ZTAPE"] = {"kind": "tape"}
    await site.stop()
    ddm = await site.ddm()
    for rse in ("TAPE", "ZTAPE"):
        file = await ddm.write_tape(rse, DATASET, FILE, b"content", "T1")
    await site.spoil(FILE)
    await ddm.stage("DISK", [file])
    await reach(ddm, "DISK", [FILE], Where.PRESENT)
    ddm.tape_path("ZTAPE", FILE).unlink()
    await ddm.stage("OTHER", [file])
    await reach(ddm, "OTHER", [FILE], Where.PRESENT)
    await ddm.release("DISK", dict.fromkeys([FILE]))
    await ddm.release("OTHER", dict.fromkeys([FILE]))
    await reach(ddm, "DISK", [FILE], Where.ABSENT)
    await reach(ddm, "OTHER", [FILE], Where.ABSENT)
    await ddm.stage("DISK", [file])
    failed = await reach(ddm, "DISK", [FILE], Where.FAILED)
    assert failed[FILE].reason is not None
    assert "TAPE cartridge T1 position 0: its adler32 is" in failed[FILE].reason
    assert "ZTAPE cartridge T1 position 0: No such file or directory" in failed[FILE].reason
    assert parts(site) == []


async def test_a_file_on_no_tape_is_copied_from_another_disk(ddm: PosixDDM, tmp_path: Path) -> None:
    upload = upload_of(FILE, tmp_path / "out", b"content")
    await ddm.upload("OTHER", Did("s", "out"), [upload])
    file = File(FILE, upload.bytes, upload.adler32)
    assert isinstance((await ddm.stage("DISK", [file]))[0], Staging)
    path = (await reach(ddm, "DISK", [FILE], Where.PRESENT))[FILE].path
    assert Path(path or "").read_bytes() == b"content"


async def test_a_file_with_a_replica_nowhere_is_refused(ddm: PosixDDM, site: PosixSite, tmp_path: Path) -> None:
    upload = upload_of(FILE, tmp_path / "out", b"content")
    (path,) = await ddm.upload("OTHER", Did("s", "out"), [upload])
    Path(str(path)).unlink()
    (refused,) = await ddm.stage("DISK", [File(FILE, upload.bytes, upload.adler32)])
    assert refused == Refused("user.test:file has a replica nowhere")
    assert (await ddm.residency("OTHER", [FILE]))[FILE].where is Where.ABSENT


async def test_bytes_that_still_move_are_not_called_gone(ddm: PosixDDM, site: PosixSite) -> None:
    stuck = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    other = await ddm.write_tape("TAPE", DATASET, Did("s", "other"), b"content", "T2")
    ddm.tape_path("TAPE", FILE).unlink()
    os.mkfifo(ddm.tape_path("TAPE", FILE))
    await ddm.stage("DISK", [stuck, other])
    await reach(ddm, "DISK", [other.did], Where.PRESENT)
    tape = await asyncio.to_thread(ddm.tape_path("TAPE", FILE).open, "wb", buffering=0)
    with tape:
        tape.write(b"con")
        await exists(lambda: [part for part in parts(site) if part.stat().st_size == 3])
        await ddm.release("DISK", dict.fromkeys([FILE, other.did]))
        await reach(ddm, "DISK", [other.did], Where.ABSENT)
        assert (await ddm.residency("DISK", [FILE]))[FILE].where is Where.DELETING
        assert await ddm.bytes_on_disk("DISK") == 3
    await reach(ddm, "DISK", [FILE], Where.ABSENT)
    assert await ddm.bytes_on_disk("DISK") == 0


# a disk that is not what it was


async def test_a_replica_that_was_deleted_behind_our_back_failed_and_can_be_staged_again(ddm: PosixDDM) -> None:
    file = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    await ddm.stage("DISK", [file])
    path = Path((await reach(ddm, "DISK", [FILE], Where.PRESENT))[FILE].path or "")
    path.unlink()
    found = (await ddm.residency("DISK", [FILE]))[FILE]
    assert (found.where, found.reason) == (Where.FAILED, "the replica on DISK was spoilt: it is gone")
    assert found.rule_id is not None
    assert await ddm.keep("DISK", [found.rule_id]) == {found.rule_id}
    await ddm.stage("DISK", [file])
    await reach(ddm, "DISK", [FILE], Where.PRESENT)
    path.write_bytes(b"CONTENT")
    assert (await ddm.residency("DISK", [FILE]))[FILE].where is Where.FAILED
    await ddm.stage("DISK", [file])
    await reach(ddm, "DISK", [FILE], Where.PRESENT)
    assert path.read_bytes() == b"content"


async def test_the_bad_replica_of_somebody_else_is_none(ddm: PosixDDM, site: PosixSite) -> None:
    file = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    await site.place(FILE, b"CONTENT")
    assert (await ddm.residency("DISK", [FILE]))[FILE].where is Where.ABSENT
    (staged,) = await ddm.stage("DISK", [file])
    assert isinstance(staged, Staging)
    assert staged.ours
    await reach(ddm, "DISK", [FILE], Where.PRESENT)


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond 8 MiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_takes_no_more(
    ddm: PosixDDM, site: PosixSite, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    content = bytes(9 << 20)
    upload = upload_of(Did("s", "out"), tmp_path / "out", content)
    file = await ddm.write_tape("TAPE", DATASET, FILE, content, "T1")
    request.getfixturevalue("small_files")
    with pytest.raises(Unavailable, match="DISK takes no file: File too large"):
        await ddm.upload("DISK", Did("s", "out"), [upload])
    await ddm.stage("DISK", [file])
    failed = await reach(ddm, "DISK", [FILE], Where.FAILED)
    assert failed[FILE].reason == "DISK: File too large"
    assert parts(site) == []
    assert await ddm.bytes_on_disk("DISK") == 0


# uploads and the administration side


async def test_a_closed_dataset_takes_no_upload(ddm: PosixDDM, tmp_path: Path) -> None:
    upload = upload_of(FILE, tmp_path / "out", b"content")
    (refused,) = await ddm.upload("DISK", DATASET, [upload])
    assert refused == Refused("user.test:file: the dataset user.test:dataset is closed")
    assert await ddm.bytes_on_disk("DISK") == 0
    out = Did("s", "out")
    first = await ddm.upload("DISK", out, [upload])
    await ddm.close_dataset(out)
    assert await ddm.upload("DISK", out, [upload]) == first


async def test_an_upload_over_a_staged_replica_makes_it_stay(ddm: PosixDDM, tmp_path: Path) -> None:
    file = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    await ddm.stage("DISK", [file])
    await reach(ddm, "DISK", [FILE], Where.PRESENT)
    await ddm.upload("DISK", Did("s", "out"), [upload_of(FILE, tmp_path / "out", b"content")])
    await ddm.release("DISK", dict.fromkeys([FILE]))
    assert (await ddm.residency("DISK", [FILE]))[FILE].where is Where.PRESENT


async def test_a_cancelled_upload_leaves_nothing(ddm: PosixDDM, site: PosixSite, tmp_path: Path) -> None:
    # Enough of them that one is caught half-way, on a busy machine too.
    uploads = [upload_of(Did("s", str(n)), tmp_path / str(n), bytes(4 << 20)) for n in range(40)]
    uploading = asyncio.create_task(ddm.upload("DISK", Did("s", "out"), uploads))
    await exists(lambda: parts(site))
    uploading.cancel()
    await asyncio.gather(uploading, return_exceptions=True)
    assert uploading.cancelled()
    await exists(lambda: not parts(site))


async def test_writing_to_tape(ddm: PosixDDM, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    file = await ddm.write_tape("TAPE", DATASET, FILE, tmp_path / "file", "T1")
    assert await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T2") == file
    with pytest.raises(Conflict):
        await ddm.write_tape("TAPE", DATASET, FILE, b"other", "T1")
    with pytest.raises(UnknownDid):
        await ddm.write_tape("TAPE", Did("s", "none"), FILE, b"content", "T1")
    with pytest.raises(NotFound):
        await ddm.write_tape("DISK", DATASET, FILE, b"content", "T1")
    with pytest.raises(InvalidInput):
        await ddm.write_tape("TAPE", DATASET, FILE, tmp_path / "nowhere", "T1")
    assert ddm.tape_path("TAPE", FILE).read_bytes() == b"content"
    assert len((await ddm.list_files(DATASET, after=None, limit=10)).files) == 1


async def test_a_listing_tells_how_many_events_a_file_has(ddm: PosixDDM) -> None:
    assert (await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1", events=7)).events == 7
    other = Did("s", "other")
    await ddm.write_tape("TAPE", DATASET, other, b"content", "T1")
    events = {file.did: file.events for file in (await ddm.list_files(DATASET, after=None, limit=10)).files}
    assert events == {FILE: 7, other: None}
    await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    await ddm.write_tape("TAPE", DATASET, other, b"content", "T1", events=0)
    events = {file.did: file.events for file in (await ddm.list_files(DATASET, after=None, limit=10)).files}
    assert events == {FILE: 7, other: 0}, "what is not said again stays; what was not known can be told"


async def test_a_catalogue_of_before_files_had_events_is_gone_on_with(ddm: PosixDDM, site: PosixSite) -> None:
    file = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1", events=7)
    await site.stop()
    with closing(sqlite3.connect(next(site.root.rglob("*.sqlite*")))) as db:
        db.execute("ALTER TABLE files DROP COLUMN events")
    ddm = await site.ddm()
    assert (await ddm.list_files(DATASET, after=None, limit=10)).files == (replace(file, events=None),)


@pytest.mark.parametrize("cursor", ["", "x", "[1]", "null", "[0, 0, 0, 0, null, 0]"])
async def test_a_cursor_of_something_else_is_refused(ddm: PosixDDM, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        await ddm.list_files(DATASET, after=cursor, limit=10)


async def test_an_rse_that_is_no_disk(ddm: PosixDDM, tmp_path: Path) -> None:
    file = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    for rse in ("TAPE", "NOWHERE"):
        assert isinstance((await ddm.stage(rse, [file]))[0], Refused)
        upload = upload_of(Did("s", "out"), tmp_path / "out", b"x")
        assert isinstance((await ddm.upload(rse, Did("s", "out"), [upload]))[0], Refused)
        assert await ddm.residency(rse, [FILE]) == {FILE: Residency(Where.ABSENT)}
        await ddm.release(rse, dict.fromkeys([FILE]))
    assert ddm.tape_path("TAPE", FILE).exists()


# processes


async def test_parts_of_a_killed_process_are_removed(ddm: PosixDDM, site: PosixSite) -> None:
    files = [await ddm.write_tape("TAPE", DATASET, Did("s", str(n)), content_of(str(n)), "T1") for n in range(4)]
    await site.stage_and_die(files)
    assert parts(site)
    ddm = await site.ddm()
    await reach(ddm, "DISK", [file.did for file in files], Where.PRESENT)
    assert parts(site) == []


async def test_a_deletion_that_was_ordered_goes_on_at_the_next_start(ddm: PosixDDM, site: PosixSite) -> None:
    file = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    await ddm.stage("DISK", [file])
    await reach(ddm, "DISK", [FILE], Where.PRESENT)
    await site.stop()
    catalogue = Catalogue(site.root / "catalogue.sqlite", lambda: None)
    await catalogue.start()
    await catalogue.write(rules.release, "DISK", {FILE: None})
    await catalogue.stop()
    ddm = await site.ddm()
    await reach(ddm, "DISK", [FILE], Where.ABSENT)
    assert await ddm.bytes_on_disk("DISK") == 0


async def test_another_process_takes_over_what_the_first_leaves(ddm: PosixDDM, site: PosixSite) -> None:
    file = await site.write_tape(DATASET, FILE, b"content", slow=True)
    second = await site.ddm()
    await second.stage("DISK", [file])
    await exists(lambda: parts(site))
    assert second.tape_statistics("SLOW") == TapeStatistics()
    await ddm.stop()
    assert parts(site) == []
    await exists(lambda: second.tape_statistics("SLOW").files)
    await second.release("DISK", dict.fromkeys([FILE]))
    await reach(second, "DISK", [FILE], Where.ABSENT)


async def test_what_is_not_started_is_unavailable(site: PosixSite) -> None:
    ddm = PosixDDM.from_options(site.options)
    with pytest.raises(Unavailable):
        await ddm.residency("DISK", [FILE])
    await ddm.stop()


async def test_a_catalogue_that_is_none_is_said_so(site: PosixSite) -> None:
    site.root.mkdir()
    (site.root / "catalogue.sqlite").write_bytes(b"no catalogue" * 1000)
    ddm = PosixDDM.from_options(site.options)
    with pytest.raises(Unavailable, match="not a database"):
        await ddm.start()


async def test_hints_are_coalesced_for_who_reads_late(ddm: PosixDDM) -> None:
    changes = ddm.changes()
    file = await ddm.write_tape("TAPE", DATASET, FILE, b"content", "T1")
    for _ in range(3):
        await ddm.stage("DISK", [file])
        await reach(ddm, "DISK", [FILE], Where.PRESENT)
        await ddm.release("DISK", dict.fromkeys([FILE]))
        await reach(ddm, "DISK", [FILE], Where.ABSENT)
    assert await anext(changes) == ("DISK", (FILE,))
