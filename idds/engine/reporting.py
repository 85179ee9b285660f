"""What a report on a content is worth: the rule of fencing."""

from idds.domain.content import Content, Outcome, Verdict
from idds.domain.statuses import ContentStatus, SourceKind


def judge(content: Content, outcome: Outcome, source: SourceKind | None, attempts: int) -> Verdict:
    """Whether an outcome counts.

    Files and ranges: only the attempt that holds the content may report. Samples: the first valid result closes the
    content, also one whose lease has ended, for knowledge is not thrown away; a failure counts only from its holder.
    An attempt of 0 is an acknowledgement of what was announced, and not leased.
    """
    if content.status.is_terminal:
        same = outcome.attempt in (0, content.attempt) and outcome.done == (content.status is ContentStatus.DONE)
        return Verdict.DUPLICATE if same else Verdict.STALE
    if content.status is ContentStatus.NEW:
        return Verdict.STALE
    holds = outcome.attempt == content.attempt if content.status is ContentStatus.LEASED else outcome.attempt == 0
    knows = source is SourceKind.SAMPLES and outcome.done and 0 < outcome.attempt <= content.attempt
    if not (holds or knows):
        return Verdict.STALE
    if not outcome.done and outcome.retry and content.tries < attempts and content.status is ContentStatus.LEASED:
        return Verdict.AGAIN
    return Verdict.ACCEPTED
