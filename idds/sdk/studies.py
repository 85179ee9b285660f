"""Calls about studies: what they are, what they found, and how they are redefined."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from idds.domain.redefinition import Change, StudyVersion
from idds.domain.statuses import ContentStatus
from idds.domain.study import Sample, SampleStory, Study, StudySummary
from idds.domain.study_series import StudyCurves, StudyDelivery, StudyImportance, StudyPoints, StudySeries
from idds.sdk.calls import Calls
from idds.sdk.documents import to_plain
from idds.sdk.exchange import Again, Call


class StudyCalls(Calls):
    """Studies. The id of one is that of the collection of its samples: lease and report with that."""

    def studies(self, request: int | None = None, limit: int | None = None) -> AsyncGenerator[StudySummary]:
        """Studies that we may see, newest first, `limit` at most; of a request, or all."""
        return self._pages(StudySummary, "/v1/studies", "studies", {"request": request}, limit, "before")

    async def study(self, study: int) -> Study:
        """A study with its present definition and the best that it found."""
        return await self._ask(Study, Call("GET", f"/v1/studies/{study}"))

    async def best(self, study: int, limit: int = 10) -> tuple[Sample, ...]:
        """The samples with the best values; of several objectives the Pareto front, in the order of the first."""
        call = Call("GET", f"/v1/studies/{study}/best", {"limit": limit})
        return await self._ask(tuple[Sample, ...], call, "samples")

    def samples(
        self, study: int, status: ContentStatus | str | None = None, *, version: int | None = None
    ) -> AsyncGenerator[Sample]:
        """All samples by their numbers, or those of a status or version; a stream that breaks is gone on with."""
        query = {"status": status, "version": version}
        return self._lines(
            Sample, f"/v1/studies/{study}/samples", query, after=-1, place=lambda sample: int(sample.number)
        )

    async def sample(self, study: int, number: int) -> SampleStory:
        """A sample, and what was said of it on its way."""
        return await self._ask(SampleStory, Call("GET", f"/v1/studies/{study}/samples/{number}"))

    def versions(self, study: int) -> AsyncGenerator[StudyVersion]:
        """The definitions of a study's space, the first one first."""
        return self._pages(StudyVersion, f"/v1/studies/{study}/versions", "versions", {})

    async def best_over_time(self, study: int) -> StudySeries:
        """The best value of each objective, until each time."""
        return await self._ask(StudySeries, Call("GET", f"/v1/studies/{study}/series"))

    async def points(self, study: int) -> StudyPoints:
        """The best samples, and an even choice of the others."""
        return await self._ask(StudyPoints, Call("GET", f"/v1/studies/{study}/points"))

    async def importance(self, study: int) -> StudyImportance:
        """How much each parameter had to do with the best results."""
        return await self._ask(StudyImportance, Call("GET", f"/v1/studies/{study}/importance"))

    async def curves(self, study: int) -> StudyCurves:
        """What was said of the newest samples on their way."""
        return await self._ask(StudyCurves, Call("GET", f"/v1/studies/{study}/curves"))

    async def delivery(self, study: int) -> StudyDelivery:
        """What is being evaluated, and what came back without a result of late."""
        return await self._ask(StudyDelivery, Call("GET", f"/v1/studies/{study}/delivery"))

    async def redefine(
        self,
        study: int,
        changes: Sequence[Change | Mapping[str, Any]],
        reason: str,
        *,
        if_version: int | None = None,
    ) -> StudyVersion:
        """Change the space of a study while it is searched; what was found counts on where it fits.

        Raises InvalidInput with pointers into the changes; and Conflict when the study has ended, or is not of
        `if_version` any more.
        """
        body: dict[str, Any] = {"changes": [_change(change) for change in changes], "reason": reason}
        if if_version is not None:
            body["if_version"] = if_version
        call = Call("POST", f"/v1/studies/{study}:redefine", body=body, again=Again.UNSENT)
        return await self._ask(StudyVersion, call)


def _change(change: Change | Mapping[str, Any]) -> dict[str, Any]:
    """What stands at its default is left out, but for what tells of which kind it is."""
    return dict(change) if isinstance(change, Mapping) else {"change": change.change, **to_plain(change)}
