"""What comes back from consumers: judged one by one, and moved in sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from idds.domain.content import Content, Move, Outcome, Verdict
from idds.domain.identifiers import ContentId
from idds.domain.statuses import ContentStatus, Intent, SourceKind, Status
from idds.engine.reporting import judge, settled
from idds.engine.transform import flows_on
from idds.engine.transitions import ContentEvent
from idds.services.announcing import Known, follow
from idds.store.collections import Place
from idds.store.contents import NOT_TRIED, of_ids
from idds.store.database import Transaction

FREE: Mapping[str, Any] = {"lessee": None, "lease_until": None}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the report on one content."""

    content_id: ContentId
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Change:
    """What the last outcome that counted does to a content."""

    source: ContentStatus
    target: ContentStatus
    outcome: Outcome

    @property
    def reason(self) -> str | None:
        """Of its failure; one that is delivered again keeps what is said of it."""
        is_failure = self.target is ContentStatus.FAILED
        return (self.outcome.reason or "reported without a reason") if is_failure else None


async def take_in(tx: Transaction, place: Place, outcomes: Sequence[Outcome]) -> Sequence[Receipt]:
    """Take in outcomes as if they came one after the other, though all of a kind move together; a receipt each.

    The caller sees to more samples.
    """
    if (samples := place.work.samples) is not None:
        outcomes = [settled(samples, outcome) for outcome in outcomes]
    contents = {content.id: content for content in await tx.contents.get([outcome.content_id for outcome in outcomes])}
    receipts: list[Receipt] = []
    changes: dict[ContentId, _Change] = {}
    for outcome in outcomes:
        content = contents.get(outcome.content_id)
        if content is None or content.collection_id != place.collection.id:
            receipts.append(Receipt(outcome.content_id, Verdict.UNKNOWN))
            continue
        before = changes.get(content.id)
        current = content if before is None else replace(content, status=before.target)
        verdict = judge(current, outcome, place.collection.source, place.work.attempts)
        is_last = verdict is Verdict.AGAIN and not place.delivers_again
        receipts.append(Receipt(outcome.content_id, Verdict.ACCEPTED if is_last else verdict))
        if verdict in (Verdict.ACCEPTED, Verdict.AGAIN):
            changes[content.id] = _Change(content.status, _target(place, outcome, verdict), outcome)
    moves = await _move(tx, changes)
    moved = {content: _moved(tx, place, contents[content], change) for content, change in changes.items()}
    done = [change.outcome for change in changes.values() if change.target is ContentStatus.DONE]
    await tx.contents.note_events({o.content_id: o.events for o in done if o.events is not None})
    if place.collection.source is SourceKind.SAMPLES:
        tx.samples.note_results(done)
    await _follow(tx, place, moves, moved)
    return receipts


def _target(place: Place, outcome: Outcome, verdict: Verdict) -> ContentStatus:
    if verdict is Verdict.AGAIN:
        return ContentStatus.AVAILABLE if place.delivers_again else ContentStatus.CANCELLED
    return ContentStatus.DONE if outcome.done else ContentStatus.FAILED


def _moved(tx: Transaction, place: Place, content: Content, change: _Change) -> Content:
    """As it stands afterwards in the database, where anybody looks at what has changed of it."""
    if change.reason is None and not place.address.is_counted:
        return content
    values = dict(_EVENTS[change.target][1])
    if change.reason is not None:
        values["reason"] = change.reason
    if change.target is ContentStatus.DONE and change.outcome.events is not None:
        values["events"] = change.outcome.events
    return replace(content, status=change.target, changed_at=tx.now, **values)


async def _move(tx: Transaction, changes: Mapping[ContentId, _Change]) -> list[Move]:
    sets: dict[tuple[ContentStatus, ContentStatus, str], list[ContentId]] = {}
    for content, change in changes.items():
        sets.setdefault((change.target, change.source, change.reason or ""), []).append(content)
    moves: list[Move] = []
    for (target, source, reason), ids in sorted(sets.items()):
        event, values = _EVENTS[target]
        moves += await tx.contents.move_these(event, source, ids, values=values, reason=reason or None)
    return moves


_EVENTS: Mapping[ContentStatus, tuple[ContentEvent, Mapping[str, Any]]] = {
    ContentStatus.DONE: (ContentEvent.PROCESSED, {"lease_until": None}),
    ContentStatus.FAILED: (ContentEvent.FAILED, FREE),
    ContentStatus.AVAILABLE: (ContentEvent.RETURNED, FREE),
    ContentStatus.CANCELLED: (ContentEvent.CANCELLED, FREE),
}


async def give_again(tx: Transaction, place: Place, ids: Sequence[int], *, tried: bool = True) -> None:
    """Deliver them again; or cancel them, where nobody would take them any more."""
    if ids:
        event = ContentEvent.RETURNED if place.delivers_again else ContentEvent.CANCELLED
        values = FREE if tried else {**FREE, **NOT_TRIED}
        moves = await tx.contents.move(event, of_ids(ids), values=values, sources=(ContentStatus.LEASED,))
        moved = {content.id: content for content in await tx.contents.get(ids)}
        await _follow(tx, place, moves, moved)


async def _follow(tx: Transaction, place: Place, moves: Sequence[Move], moved: Mapping[ContentId, Content]) -> None:
    """As always; but a request is advanced only where something may come of it, not for each of a million reports."""
    moves = await _without_absent(tx, moves, moved)
    is_running = place.intent is Intent.RUN and place.status is Status.RUNNING
    advance = not (is_running and flows_on(place.work, tx.collections.as_counted(place.collection)))
    await follow(tx, moves, advance=advance, known=Known(place.address, moved))


async def _without_absent(tx: Transaction, moves: Sequence[Move], moved: Mapping[ContentId, Content]) -> list[Move]:
    """What came back while its file was away waits until that is there again: nobody is told to take it."""
    again = [ContentId(each) for move in moves if move.to_status == ContentStatus.AVAILABLE for each in move.ids]
    absent = await tx.contents.withdraw_absent([each for each in again if moved[each].replica_id is not None])
    if not absent:
        return list(moves)
    left = [(move, tuple(each for each in move.ids if each not in absent)) for move in moves]
    return [replace(move, n=len(ids), ids=ids) for move, ids in left if ids]
