"""What a report on a content is worth: the rule of fencing, and what makes a result of a sample."""

from math import isfinite

from idds.domain.content import Content, Outcome, Verdict
from idds.domain.statuses import ContentStatus, SourceKind
from idds.domain.workflow import Samples
from idds.engine.spaces import values_wanted


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


def misreported(samples: Samples, outcome: Outcome) -> tuple[str, str] | None:
    """Of what an outcome says too much or too little for a sample that is done, if so: the field, and why."""
    if not outcome.done:
        return None
    objectives, constraints = len(outcome.objective_values), len(outcome.constraint_values)
    if outcome.is_pruned:
        if len(samples.directions) > 1:
            return "pruned", "a sample of several objectives is not pruned: there is no one value on the way"
        if objectives:
            return "objective_values", "a sample that was pruned has none: they are told on the way"
    elif why := values_wanted(samples, objectives):
        return "objective_values", why
    wanted = samples.result_constraints
    if constraints == wanted or (constraints == 0 and objectives == 0):
        return None
    named = f"{wanted} constraint value{'s' if wanted != 1 else ''}" if wanted else "no constraint values"
    return "constraint_values", f"this study wants {named} of each sample; there {_are(constraints)}"


def _are(n: int) -> str:
    return "is 1" if n == 1 else f"are {n}"


def settled(samples: Samples, outcome: Outcome) -> Outcome:
    """What an outcome is worth for a study: as failed, and not to be tried again, where no result can be made of it."""
    why = misreported(samples, outcome)
    values = (*outcome.objective_values, *outcome.constraint_values)
    if why is not None:
        reason = why[1]
    elif not outcome.done or all(map(isfinite, values)):
        return outcome
    else:
        reason = f"a value that was reported is {next(value for value in values if not isfinite(value))}"
    return Outcome(outcome.content_id, outcome.attempt, done=False, reason=reason, retry=False)
