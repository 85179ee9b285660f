import pytest

from idds.domain.statuses import Blame, JobStatus
from idds.providers.local.folder import Cause, Claim, Exit, Order, Traces
from idds.providers.local.outcome import outcome

CLAIM = Claim(None, 1)


def traces(*, code: int | None = None, cause: Cause | None = None, claim: Claim | None = CLAIM) -> Traces:
    order = Order(cause, f"because of {cause}") if cause else None
    return Traces(claim, order, None if code is None else Exit(code, None, 2), None)


@pytest.mark.parametrize(
    ("found", "status", "exit_code", "blame", "reason"),
    [
        (traces(code=0), JobStatus.SUCCEEDED, 0, None, None),
        (traces(code=3), JobStatus.FAILED, 3, Blame.USER, "exit code 3: last words"),
        (traces(code=139), JobStatus.FAILED, 139, Blame.USER, "killed by signal 11 (SIGSEGV): last words"),
        (traces(code=137), JobStatus.FAILED, 137, Blame.RESOURCE, "killed by signal 9 (SIGKILL): last words"),
        (traces(code=255), JobStatus.FAILED, 255, Blame.USER, "exit code 255: last words"),
        (traces(), JobStatus.LOST, None, Blame.SITE, "its process ended without leaving an exit code"),
        (traces(claim=None), JobStatus.LOST, None, Blame.SITE, "it could not be started"),
        (traces(cause=Cause.CANCEL), JobStatus.CANCELLED, None, None, "because of cancel"),
        (traces(cause=Cause.CANCEL, code=143), JobStatus.CANCELLED, 143, None, "because of cancel"),
        (traces(cause=Cause.WALLTIME, code=0), JobStatus.FAILED, 0, Blame.RESOURCE, "because of walltime: last words"),
        (traces(cause=Cause.MEMORY), JobStatus.FAILED, None, Blame.RESOURCE, "because of memory: last words"),
    ],
)
def test_what_came_of_it(
    found: Traces, status: JobStatus, exit_code: int | None, blame: Blame | None, reason: str | None
) -> None:
    state = outcome(found, "last words", {"wall_s": 1.0}, 7)
    assert (state.status, state.exit_code, state.blame, state.reason) == (status, exit_code, blame, reason)
    assert (state.observed_at, state.usage) == (7, {"wall_s": 1.0})


def test_a_reason_is_short() -> None:
    reason = outcome(traces(code=3), "x" * 499 + "!", {}, 7).reason or ""
    assert len(reason) == 500
    assert reason.startswith("exit code 3: ")
    assert reason.endswith("!")
