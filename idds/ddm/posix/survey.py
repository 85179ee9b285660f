"""The survey: what is on a disk, against what the catalogue says of it. The disk wins."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from idds.ddm.posix import rules
from idds.ddm.posix.catalogue import Catalogue
from idds.ddm.posix.copying import Expected, Unreadable, fingerprint, read_checked
from idds.ddm.posix.paths import Layout
from idds.ddm.posix.rules import Entry
from idds.domain.errors import Unavailable
from idds.domain.identifiers import Did
from idds.ports.ddm import Where


@dataclass(frozen=True, slots=True)
class Found:
    """A complete, right file that the catalogue did not know in this shape."""

    did: Did
    seen: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A rule says that the file is present, and it is not."""

    rule_id: str
    reason: str


async def survey(
    catalogue: Catalogue, layout: Layout, threads: Executor, rse: str, dids: Sequence[Did]
) -> dict[Did, Entry]:
    """The catalogue's entry for every DID asked, put right where the disk says otherwise. Raises Unavailable.

    A file is read only when its fingerprint is not the one that was seen before.
    """
    entries = await catalogue.read(rules.look, rse, dids)
    try:
        differences = await asyncio.get_running_loop().run_in_executor(threads, _compare, layout, rse, entries)
    except OSError as error:
        raise Unavailable(f"{rse} cannot be read: {error.strerror}") from error
    if not differences:
        return entries
    await catalogue.write(_correct, rse, differences)
    return await catalogue.read(rules.look, rse, dids)


def _correct(db: sqlite3.Connection, rse: str, differences: Sequence[Found | Lost]) -> None:
    for difference in differences:
        match difference:
            case Found(did, seen):
                rules.record_found(db, rse, did, seen)
            case Lost(rule_id, reason):
                rules.record_lost(db, rule_id, reason)


def _compare(layout: Layout, rse: str, entries: Mapping[Did, Entry]) -> list[Found | Lost]:
    differences: list[Found | Lost] = []
    for did, entry in entries.items():
        if entry.file is None or (entry.rule is not None and entry.rule.state is not Where.PRESENT):
            continue
        path = layout.path(rse, did)
        try:
            seen = fingerprint(path.stat())
            if entry.rule is None or seen != entry.rule.seen:
                differences.append(Found(did, read_checked(path, Expected(entry.file.bytes, entry.file.adler32))))
        except (FileNotFoundError, Unreadable) as error:
            if entry.rule is not None:
                reason = error if isinstance(error, Unreadable) else "it is gone"
                differences.append(Lost(entry.rule.rule_id, f"the replica on {rse} was spoilt: {reason}"))
    return differences
