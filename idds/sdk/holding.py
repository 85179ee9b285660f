"""Leased contents in the hands of a pilot: kept while they are processed, reported as soon as each is known."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

from idds.domain.content import Intermediate, Outcome, Verdict
from idds.domain.errors import Conflict, InvalidInput, Unavailable
from idds.sdk.client import Client
from idds.sdk.dialects import Along, Told
from idds.sdk.views import Lease, LeasedContent, Receipt

REPORTED_AT_ONCE = 1000
VALUES_AT_ONCE = 1000
LAST_STEP = 2**53
_REPORT = re.compile(r"/reports/(\d+)(?:/|$)")


def _nothing() -> int:
    return 0


@dataclass(slots=True)
class Tally:
    """What became of all that was leased. `lost` is what was somebody else's by the time of its report."""

    done: int = 0
    failed: int = 0
    given_back: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return f"done {self.done}, failed {self.failed}, given back {self.given_back}, lost {self.lost}"


class Holding:
    """What one lease brought. `keep` and `report` are to run beside the processing of it, until `conclude`."""

    def __init__(self, client: Client, collection: int, lease: Lease, ttl_s: float, tally: Tally) -> None:
        self._client = client
        self._collection = collection
        self._ttl_s = ttl_s
        self._tally = tally
        self._open = {content.id: content for content in lease.contents}
        self._ready: dict[int, tuple[LeasedContent, Outcome]] = {}
        self._values: list[Intermediate] = []
        self._unwanted: set[int] = set()
        self._changed = asyncio.Event()
        self._closing = False
        self._wanted = _nothing
        self._has_lost = False
        self.following: Lease | None = None
        """What was leased with the last report; None where nothing was asked for."""
        self.finished: set[int] = set()
        """What has come to its end, by whatever report: nobody will be given it again."""

    @property
    def is_lost(self) -> bool:
        """Some of it is somebody else's by now, and of the rest nothing is left to be done."""
        return self._has_lost and not (self._open or self._ready)

    @property
    def is_unwanted(self) -> bool:
        """All of it that is not finished is to stop."""
        return bool(self._unwanted) and self._open.keys() <= self._unwanted

    def hear(self, told: Told | Along) -> None:
        """Pass on what a payload says: an outcome, or a value on the way there."""
        if isinstance(told, Told):
            self.settle(told)
        elif (content := self._open.get(told.id)) is not None and 0 <= told.step <= LAST_STEP:
            # What the service takes for no step is passed over: others' values go along with it.
            self._values.append(content.at(told.step, told.value))
            self._changed.set()

    def settle(self, told: Told) -> None:
        """Have an outcome reported; the first one that is told of a content counts."""
        self._settle(told.id, told.outcome)

    def settle_unwanted(self) -> None:
        """Samples that were to stop, and brought nothing else, are reported as pruned."""
        for number in list(self._open.keys() & self._unwanted):
            if self._open[number].parameters is not None:
                self._settle(number, LeasedContent.pruned)

    def _settle(self, number: int, outcome: Callable[[LeasedContent], Outcome]) -> None:
        content = self._open.pop(number, None)
        if content is not None:
            self._ready[content.id] = (content, outcome(content))
            self._changed.set()

    def settle_rest(self, outcome: Callable[[int], Told]) -> None:
        """The same of all that nothing was told of."""
        for content in list(self._open):
            self.settle(outcome(content))

    def fail_first(self, reason: str) -> None:
        """What was under way, in the order of the lease, failed; it may be tried again."""
        for content in list(self._open)[:1]:
            self.settle(Told(content, "failed", reason))

    async def keep(self) -> None:
        """Hold the leases, for ever. What turns out to be somebody else's is let go, but for samples: of these the
        first result counts, whoever brings it.
        """
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            held = [*self._open.values(), *(content for content, _ in self._ready.values())]
            try:
                kept = await self._client.heartbeat(self._collection, held, ttl_s=self._ttl_s)
            except Unavailable:
                continue
            self._unwanted |= {stopped.id for stopped in kept.stop}
            for content in held:
                is_lost = content.id not in kept.held and content.parameters is None
                if is_lost and self._open.pop(content.id, None) is not None:
                    self._has_lost = True
                    self._tally.lost += 1

    async def report(self) -> None:
        """Report what is ready as it comes; returns when all is reported after `conclude`. Raises IddsError."""
        while self._ready or self._values or not self._closing:
            if not (self._ready or self._values):
                self._changed.clear()
                await self._changed.wait()
                continue
            await self._pass_on()
            if not self._ready:
                continue
            outcomes = [outcome for _, outcome in self._ready.values()][:REPORTED_AT_ONCE]
            try:
                receipts = await self._bring(outcomes)
            except InvalidInput as error:
                self._refuse(outcomes, error)
                continue
            for outcome, receipt in zip(outcomes, receipts, strict=True):
                del self._ready[outcome.content_id]
                self._count(outcome, receipt.verdict)

    async def _bring(self, outcomes: Sequence[Outcome]) -> Sequence[Receipt]:
        is_last = self._closing and not self._open and len(outcomes) == len(self._ready)
        count = self._wanted() if is_last else 0
        if not count:
            return await self._client.report(self._collection, outcomes)
        reported = await self._client.report_and_lease(self._collection, outcomes, count=count, ttl_s=self._ttl_s)
        self.following = reported
        return reported.receipts

    async def _pass_on(self) -> None:
        """Say what samples are on their way, and heed the advice."""
        these, self._values = self._values[:VALUES_AT_ONCE], self._values[VALUES_AT_ONCE:]
        try:
            advice = await self._client.intermediate(self._collection, these)
        except (Conflict, InvalidInput):
            # It is no study, or one in which no single value tells anything: nobody wants to hear it.
            return
        self._unwanted |= {each.id for each in advice if each.stop}

    def _refuse(self, outcomes: Sequence[Outcome], error: InvalidInput) -> None:
        """What the service does not take as a result is a failure of that content, and of no other."""
        said = [(_REPORT.match(problem.pointer), problem.message) for problem in error.problems]
        reasons = {int(place[1]): message for place, message in said if place is not None}
        if not any(number < len(outcomes) and outcomes[number].done for number in reasons):
            raise error
        for number, outcome in enumerate(outcomes):
            if number in reasons:
                content, _ = self._ready[outcome.content_id]
                self._ready[content.id] = (content, content.failed(reasons[number], retry=False))

    def _count(self, outcome: Outcome, verdict: Verdict) -> None:
        if verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE):
            self.finished.add(outcome.content_id)
        if verdict in (Verdict.STALE, Verdict.UNKNOWN):
            self._tally.lost += 1
        elif outcome.done and all(map(isfinite, (*outcome.objective_values, *outcome.constraint_values))):
            self._tally.done += 1
        else:
            self._tally.failed += 1

    async def conclude(self, reporting: "asyncio.Task[None]", wanted: Callable[[], int] = _nothing) -> None:
        """Wait until all that is known is reported, and give back the rest. Raises what `reporting` does.

        With the last report so many contents are leased as are `wanted` then, if there is no rest.
        """
        self._closing, self._wanted = True, wanted
        self._changed.set()
        await reporting
        rest = list(self._open.values())
        held = await self._client.give_back(self._collection, rest)
        self._open.clear()
        self._tally.given_back += len(held)
        self._tally.lost += len(rest) - len(held)
