"""What came of a job, told from its traces."""

import signal
from collections.abc import Mapping

from idds.domain.job import JobState
from idds.domain.statuses import Blame, JobStatus
from idds.providers.local.artifacts import MAX_REASON
from idds.providers.local.folder import Cause, Order, Traces

SIGNALLED = 128
"""A shell says 128 + n of a command that signal n ended."""


def outcome(traces: Traces, last_words: str, usage: Mapping[str, float], at: int) -> JobState:
    """The final state. What was ordered goes before how the command then ended; `at` is microseconds UTC."""
    code = traces.exit.code if traces.exit else None
    if traces.order is not None:
        return _ordered(traces.order, code, last_words, usage, at)
    if code is None:
        reason = "its process ended without leaving an exit code" if traces.claim else "it could not be started"
        return JobState(JobStatus.LOST, at, "vanished", blame=Blame.SITE, reason=reason, usage=usage)
    if code == 0:
        return JobState(JobStatus.SUCCEEDED, at, "exit 0", exit_code=0, usage=usage)
    reason = _with_last_words(_exit_reason(code), last_words)
    # Somebody's SIGKILL that the provider did not send is mostly the kernel's, out of memory.
    blame = Blame.RESOURCE if code == SIGNALLED + signal.SIGKILL else Blame.USER
    return JobState(JobStatus.FAILED, at, f"exit {code}", exit_code=code, blame=blame, reason=reason, usage=usage)


def _ordered(order: Order, code: int | None, last_words: str, usage: Mapping[str, float], at: int) -> JobState:
    native = order.cause.value
    if order.cause is Cause.CANCEL:
        return JobState(JobStatus.CANCELLED, at, native, exit_code=code, reason=order.reason, usage=usage)
    reason = _with_last_words(order.reason, last_words)
    return JobState(JobStatus.FAILED, at, native, exit_code=code, blame=Blame.RESOURCE, reason=reason, usage=usage)


def _exit_reason(code: int) -> str:
    try:
        return f"killed by signal {code - SIGNALLED} ({signal.Signals(code - SIGNALLED).name})"
    except ValueError:
        return f"exit code {code}"


def _with_last_words(reason: str, last_words: str) -> str:
    if not last_words:
        return reason
    room = MAX_REASON - len(reason) - 2
    return f"{reason}: {last_words[-room:]}"
