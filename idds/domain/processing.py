"""A processing: one submission of a transform's contents to a provider."""

from dataclasses import dataclass

from idds.domain.identifiers import Handle, ProcessingId, RequestId, TransformId
from idds.domain.statuses import Intent, Status


@dataclass(frozen=True, slots=True)
class Processing:
    """Of the contents of one group. A retry is the same processing with the next `attempt`, from 1.

    Attempts of before a retry of the request are `spent`: they count no more against the attempts of the work.
    `exit_code` and `usage` are of its last ended attempt; `done` and `failed` count the contents that all of them
    brought to that end.
    """

    id: ProcessingId
    request_id: RequestId
    transform_id: TransformId
    group_no: int
    attempt: int
    status: Status
    intent: Intent
    provider: str
    handle: Handle | None
    exit_code: int | None
    usage: dict[str, float] | None
    reason: str | None
    submitted_at: int | None
    ended_at: int | None
    changed_at: int
    done: int = 0
    failed: int = 0
    spent: int = 0

    @property
    def tries(self) -> int:
        """Which attempt it is, since the last retry of the request if there was one."""
        return self.attempt - self.spent

    @property
    def key(self) -> str:
        """The idempotency key of this attempt, kept on the provider's side."""
        return job_key(self.id, self.attempt)


def job_key(processing: int, attempt: int) -> str:
    return f"p{processing}-a{attempt}"


def lessee_of(processing: int) -> str:
    """The name under which a processing leases its contents."""
    return f"processing:{processing}"
