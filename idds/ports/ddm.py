"""Data management: what is in a dataset, where its files are, bringing them to disk and taking them away again."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from idds.domain.files import File, FilePage, Upload
from idds.domain.identifiers import Did


@dataclass(frozen=True, slots=True)
class Staging:
    """The recall is on its way under `rule_id`. `ours` is False where somebody else's rule already does it."""

    rule_id: str
    ours: bool


@dataclass(frozen=True, slots=True)
class NotNow:
    """Nothing of this file is ordered, and asking again later makes sense; the reason is the data management's own."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This file cannot be had, now or later; the reason is the data management's own."""

    reason: str


class Where(StrEnum):
    STAGING = "staging"
    PRESENT = "present"
    FAILED = "failed"
    DELETING = "deleting"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Residency:
    """Where a file stands on one RSE. `path` is how a payload opens it, once present.

    `rule_id` is of the rule of ours that it is there under, or comes under; `source` the RSE it is taken from, where
    that was ordered.
    """

    where: Where
    path: str | None = None
    reason: str | None = None
    rule_id: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """An RSE that holds a complete replica of a file."""

    rse: str
    is_tape: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of ours on one file."""

    rule_id: str
    rse: str
    did: Did


class DDM(Protocol):
    """All methods may raise `errors.Unavailable`: nothing is known then, and calling again is safe.

    Every method that changes something is idempotent: calling it again with the same arguments, also after a crash
    in the middle of the first call, ends in the same state.
    """

    async def list_files(self, dataset: Did, *, after: str | None, limit: int) -> FilePage:
        """A page of the dataset in a stable order, which is tape order where it is known. Raises UnknownDid.

        The last page has no `next`, of an open dataset neither: asking again from the `after` that gave the last page
        finds what was attached since, among what was told before.
        """
        ...

    async def sources(self, dids: Sequence[Did]) -> dict[Did, tuple[Source, ...]]:
        """Where each file can be taken from, tapes first: an entry for every DID asked, empty when there is nothing."""
        ...

    async def stage(
        self, rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        """Ask for replicas on the disk `rse`, an outcome per file in order. Returns before they are there.

        With a `source` they are taken from that RSE and no other. What is on its way from elsewhere by our order is
        ordered anew; that may take until a later call.
        """
        ...

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        """Where each file stands on `rse`: an entry for every DID asked, `absent` when there is nothing.

        `present` is said only of a complete file with the right checksum; a recall that ended badly is `failed`
        with its reason until it is released or staged again. One that was staged anew while it is being deleted is
        `staging`.
        """
        ...

    async def release(self, rse: str, released: Mapping[Did, str | None]) -> None:
        """End our rules on these files and delete the replicas; a recall under way is cancelled.

        `released` says under which rule each was staged, and no other is ended: not the one of a file that was staged
        anew since. None stands for any of ours. Returns when it is ordered; `residency` says `absent` when the bytes
        are gone, and `present` from now on only of what somebody else keeps. What is unknown is no error.
        """
        ...

    async def keep(self, rse: str, rule_ids: Sequence[str]) -> frozenset[str]:
        """Have these rules of ours hold on beyond their lifetime, where they have one.

        Those that hold no file now: what they recall has not come yet, or is there no more, or they have ended.
        """
        ...

    async def boost(self, rse: str, rule_ids: Sequence[str]) -> None:
        """Have the recalls under these rules go before others, and those that are stuck tried again, where it can."""
        ...

    async def destination(self, rule_id: str) -> str | None:
        """The disk RSE that this rule, whosever it is, brings its files to; None for one that brings none anywhere.

        Raises Unavailable also while that is not decided yet.
        """
        ...

    async def rules(self) -> list[Rule]:
        """All rules of ours that nobody has ended, made by whatever process of this service."""
        ...

    async def upload(self, rse: str, dataset: Did, files: Sequence[Upload]) -> list[str | Refused]:
        """Copy files to `rse` and attach them to `dataset` (made when missing); the paths of the replicas, in order.

        A file that is there already with the same checksum is success; with another one it is refused.
        """
        ...

    def changes(self) -> AsyncIterator[tuple[str, tuple[Did, ...]]]:
        """Hints that these files changed on that RSE; some may be lost. Ends never; closing it is cancelling it."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...
