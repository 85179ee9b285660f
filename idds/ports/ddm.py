"""Data management: what is in a dataset, where its files are, bringing them to disk and taking them away again."""

from collections.abc import AsyncIterator, Sequence
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
    """Where a file stands on one RSE. `path` is how a payload opens it, once present."""

    where: Where
    path: str | None = None
    reason: str | None = None


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

    async def stage(self, rse: str, files: Sequence[File]) -> list[Staging | Refused]:
        """Ask for replicas on the disk `rse`, an outcome per file in order. Returns before they are there."""
        ...

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        """Where each file stands on `rse`: an entry for every DID asked, `absent` when there is nothing.

        `present` is said only of a complete file with the right checksum; a recall that ended badly is `failed`
        with its reason until it is released or staged again. One that was staged anew while it is being deleted is
        `staging`.
        """
        ...

    async def release(self, rse: str, dids: Sequence[Did]) -> None:
        """End our rules on these files and delete the replicas; a recall under way is cancelled.

        Returns when it is ordered; `residency` says `absent` when the bytes are gone, and `present` from now on only
        of what somebody else keeps. Unknown files are no error.
        """
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
