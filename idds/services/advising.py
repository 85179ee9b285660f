"""What payloads say of samples on their way is noted, and they are told whether to stop."""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from idds.domain.content import Advice, Content, Intermediate
from idds.domain.identifiers import ContentId
from idds.domain.statuses import ContentStatus, Intent
from idds.domain.workflow import Samples
from idds.engine.pruning import Halving, Percentile, Plateau, Progress, Rule, advanced, rule_of
from idds.store.collections import Place
from idds.store.database import Transaction
from idds.store.intermediates import OnRung

CANCELLED = "its request was cancelled"
_OPEN = (ContentStatus.AVAILABLE, ContentStatus.LEASED)


async def advise(
    tx: Transaction, place: Place, samples: Samples, told: Sequence[Sequence[Intermediate]]
) -> list[list[Advice]]:
    """Note what several payloads say, and advise each of them on its samples, one after the other.

    As with results, what is said under an attempt that has ended is knowledge as long as the sample is open.
    """
    every = [said for each in told for said in each]
    contents = {content.id: content for content in await tx.contents.get(list({said.content_id for said in every}))}
    refused = {said: why for said in every if (why := _against(place, contents.get(said.content_id), said))}
    taken = [said for said in every if said not in refused]
    kept = await tx.intermediates.note([said for said in taken if isfinite(said.value)])
    reasons: dict[ContentId, str | None] = {}
    if rule := rule_of(samples):
        in_steps = [said for each in told for said in sorted(each, key=lambda said: said.step) if said not in refused]
        reasons = await _Judging(tx, place, rule, kept).judge(in_steps)
    return [
        [_advice(said.content_id, refused.get(said) or reasons.get(said.content_id)) for said in _last(each)]
        for each in told
    ]


async def stopping(tx: Transaction, place: Place, held: Sequence[int]) -> dict[ContentId, str]:
    """Of samples that payloads hold those that are to stop, and why."""
    if place.intent is Intent.CANCEL:
        return dict.fromkeys(map(ContentId, held), CANCELLED)
    source = place.work.input
    if source is None or source.samples is None or source.samples.pruner is None:
        return {}
    return await tx.intermediates.stopped(held)


def _advice(content: ContentId, reason: str | None) -> Advice:
    return Advice(content, reason is not None, reason)


def _last(told: Sequence[Intermediate]) -> Iterable[Intermediate]:
    """What was said last of each sample."""
    return {said.content_id: said for said in told}.values()


def _against(place: Place, content: Content | None, said: Intermediate) -> str | None:
    """Why a sample is not to be evaluated any more by who says this, if so."""
    if content is None or content.collection_id != place.collection.id:
        return "there is no such sample in this study"
    if content.status not in _OPEN:
        return f"the sample is {content.status}"
    if not 0 < said.attempt <= content.attempt:
        return f"the sample was not delivered under attempt {said.attempt}"
    return CANCELLED if place.intent is Intent.CANCEL else None


@dataclass(slots=True)
class _Judging:
    tx: Transaction
    place: Place
    rule: Rule
    kept: frozenset[tuple[ContentId, int]]

    async def judge(self, said: Sequence[Intermediate]) -> dict[ContentId, str | None]:
        """Why each of these samples is to stop, None where it is not, judged at the last that is said of it."""
        if not said:
            return {}
        ids = list({each.content_id for each in said})
        numbered = await self.tx.intermediates.progress(ids)
        before = {content: each.progress for content, each in numbered.items()}
        after = dict(before)
        fresh: dict[ContentId, Intermediate] = {}
        for each in said:
            progress = after[each.content_id]
            if progress.stop_reason is not None:
                continue
            if isfinite(each.value):
                after[each.content_id] = advanced(self.rule, progress, each.step, each.value)
                # With others it is compared at a step of which their values were kept, too.
                if not isinstance(self.rule, Percentile) or (each.content_id, each.step) in self.kept:
                    fresh[each.content_id] = each
            else:
                reason = f"its value at step {each.step} is {each.value}"
                after[each.content_id] = replace(progress, stop_reason=reason)
        match self.rule:
            case Percentile():
                reasons = await self._by_percentile(self.rule, fresh.values(), before, after)
            case Halving():
                numbers = {content: each.number for content, each in numbered.items()}
                reasons = await self._by_halving(self.rule, fresh.values(), numbers, after)
            case Plateau():
                reasons = {each.content_id: self.rule.against(after[each.content_id]) for each in fresh.values()}
        after.update(
            (content, replace(after[content], stop_reason=reason)) for content, reason in reasons.items() if reason
        )
        await self.tx.intermediates.save({c: progress for c, progress in after.items() if progress != before[c]})
        return {content: progress.stop_reason for content, progress in after.items()}

    async def _by_percentile(
        self,
        rule: Percentile,
        said: Iterable[Intermediate],
        before: Mapping[ContentId, Progress],
        after: Mapping[ContentId, Progress],
    ) -> dict[ContentId, str | None]:
        looked_at = {
            each.content_id: each.step for each in said if rule.looks(before[each.content_id].last_step, each.step)
        }
        study = self.place.collection.id
        complete = await self.tx.intermediates.complete(study) if looked_at else 0
        if complete < max(rule.startup, 1):
            return {}
        standings = await self.tx.intermediates.standings(study, list(looked_at.values()), rule.share)
        reasons: dict[ContentId, str | None] = {}
        for content, step in looked_at.items():
            best = after[content].best
            assert best is not None
            reasons[content] = rule.against(best, step, complete, standings.get(step))
        return reasons

    async def _by_halving(
        self,
        rule: Halving,
        said: Iterable[Intermediate],
        numbers: Mapping[ContentId, int],
        after: dict[ContentId, Progress],
    ) -> dict[ContentId, str | None]:
        """Rung by rung, as far as each sample has come."""
        study = self.place.collection.id
        reasons: dict[ContentId, str | None] = {}
        arrived: list[OnRung] = []
        beside: dict[tuple[int, int], list[float]] = defaultdict(list)
        rising = list(said)
        while on_rungs := [
            OnRung(each.content_id, bracket, after[each.content_id].rung, each.value)
            for each in rising
            if rule.is_at(bracket := rule.bracket(numbers[each.content_id]), after[each.content_id].rung, each.step)
        ]:
            known = await self.tx.intermediates.others(study, on_rungs, maximize=rule.maximize)
            for each in on_rungs:
                others, better = known.get(each.content, (0, 0))
                now = beside[each.bracket, each.rung]
                better += len(now) - bisect_right(now, each.value) if rule.maximize else bisect_left(now, each.value)
                reasons[each.content] = rule.against(each.value, each.rung, others + len(now), better)
                insort(now, each.value)
                after[each.content] = replace(after[each.content], rung=each.rung + 1)
                arrived.append(each)
            rising = [each for each in rising if reasons.get(each.content_id, "below") is None]
        await self.tx.intermediates.note_rungs(study, arrived)
        return reasons
