"""`why`: what a request waits for at each of its stations, and why it ended as it did."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import update

from idds.domain.errors import Unavailable
from idds.domain.files import File, FilePage
from idds.domain.identifiers import Did, Handle
from idds.domain.job import Capabilities, JobSpec, JobState, Submission, Submitted
from idds.domain.statuses import Blame, JobStatus
from idds.ports.ddm import NotNow, Refused, Residency, Source, Staging, Where
from idds.services.collecting import Collecting
from idds.services.execution import Execution
from idds.services.listing import Listing
from idds.services.staging import Residencies
from idds.store.schema import effects
from tests.integration.api import STUDY, Api, api_on
from tests.integration.surveys import survey


class Tape:
    """Data management with one dataset of ten files of 100 bytes, where files land when the test says so."""

    def __init__(self) -> None:
        self.is_away = False
        self.landed: set[str] = set()

    def check(self) -> None:
        if self.is_away:
            raise Unavailable("the data management is away")

    async def list_files(self, dataset: Did, *, after: str | None, limit: int) -> FilePage:
        self.check()
        return FilePage(tuple(File(Did("s", f"f{n}"), 100) for n in range(10)), None)

    async def sources(self, dids: Sequence[Did]) -> dict[Did, tuple[Source, ...]]:
        self.check()
        return {did: (Source("TAPE", is_tape=True),) for did in dids}

    async def stage(
        self, rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        self.check()
        return [Refused("no copy left") if file.did.name == "f0" else Staging("rule", True) for file in files]

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        return {did: Residency(Where.PRESENT if did.name in self.landed else Where.STAGING, did.name) for did in dids}

    async def release(self, rse: str, released: Mapping[Did, str | None]) -> None: ...


class Machine:
    """A provider whose jobs are as the test says."""

    capabilities = Capabilities(0, 100, True, True, True)

    def __init__(self) -> None:
        self.is_away = False
        self.state = JobState(JobStatus.RUNNING, 0, "R")

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        if self.is_away:
            raise Unavailable("the batch system is away")
        return [Submitted(Handle(spec.key)) for spec in specs]

    async def poll(self, handles: Sequence[Handle]) -> Mapping[Handle, JobState]:
        return dict.fromkeys(handles, self.state)

    async def result(self, handle: Handle) -> bytes | None:
        return None


class Outside:
    """The carrier's duties, done when a test says so."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.tape, self.machine = Tape(), Machine()
        tape: Any = self.tape
        providers: Any = {"local": self.machine}
        self.listing = Listing(api.database, tape, "test")
        self.residencies = Residencies(api.database, tape, api.wakeups, "test")
        self.execution = Execution(api.database, providers, Collecting(api.database, tape), "test")

    async def why(self, request: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.api.get(f"/v1/requests/{request}/why")
        return found

    async def of(self, request: int, work: str) -> list[dict[str, Any]]:
        """What is said of a work."""
        [told] = [each for each in (await self.why(request))["transforms"] if each["work"] == work]
        sentences: list[dict[str, Any]] = told["sentences"]
        return sentences


@pytest.fixture
async def outside(database_url: str) -> AsyncIterator[Outside]:
    async with api_on(database_url) as api:
        yield Outside(api)


def says(sentences: Sequence[Mapping[str, Any]], text: str, following: str = "") -> Mapping[str, Any]:
    """The sentence that says this, and that comes next."""
    found = [s for s in sentences if text in s["text"] and following in (s["next"] or "")]
    assert len(found) == 1, (text, following, sentences)
    return found[0]


async def test_a_study_from_submission_to_its_end(outside: Outside) -> None:
    api = outside.api
    request = (await api.post("/v1/requests", {"workflow": STUDY}))["id"]
    new = await outside.why(request)
    assert (new["request"], new["status"], new["intent"], new["transforms"]) == (request, "new", "run", [])
    assert says(new["sentences"], "just submitted", "transformer")["since"] <= new["at"]
    await api.advance()
    collection = f"/v1/collections/{await api.input_of(request)}"
    says((await outside.why(request))["sentences"], "0 of 1 work ended; running: scan")
    said = await outside.of(request, "scan")
    says(said, "nobody has leased the 4 available contents")
    says(said, "4 of 6 samples are drawn; 4 of 4 are in flight", "as results come")
    leased = (await api.post(f"{collection}/contents:lease", {"lessee": "a", "count": 3, "ttl_s": 60}))["contents"]
    assert says(await outside.of(request, "scan"), "3 contents leased, the first lease ends in", "again")["since"]
    says(await outside.of(request, "scan"), "nobody has leased the 1 available content")
    await api.call("POST", f"/v1/requests/{request}:suspend")
    await api.advance()
    says((await outside.why(request))["sentences"], "suspended by order", "resumed")
    says(await outside.of(request, "scan"), "nobody has leased", "by order to suspend")
    reports = [
        {"id": each["id"], "attempt": 1, "status": "failed", "retry": False, "reason": reason}
        for each, reason in zip(leased, ["diverged", "diverged", "crashed"], strict=True)
    ]
    await api.post(f"{collection}/contents:report", {"reports": reports})
    await api.call("POST", f"/v1/requests/{request}:finish")
    await api.advance()
    ended = await outside.why(request)
    assert ended["status"] == "failed"
    says(ended["sentences"], "the request ended failed")
    said = await outside.of(request, "scan")
    assert [s["text"] for s in said[1:]] == ["2 contents failed: diverged", "1 content failed: crashed"]


CAROUSEL = {
    "name": "carousel",
    "works": [
        {
            "name": "count",
            "input": {"dataset": "s:d", "window": {"bytes": 350}},
            "payload": {"argv": ["/bin/true"]},
            "attempts": 2,
        },
        {"name": "merge", "after": ["count"], "payload": {"argv": ["/bin/true"]}},
    ],
}


async def test_files_from_tape_to_their_processings(outside: Outside) -> None:
    api = outside.api
    request = await api.submit(CAROUSEL)
    says(await outside.of(request, "merge"), "waits for work 'count' to end", "that is running")
    says(await outside.of(request, "count"), "dataset s:d is being listed: 0 contents so far", "takes it up")
    outside.tape.is_away = True
    await outside.listing.step()
    says(await outside.of(request, "count"), "is being listed", "tried once, last: the data management is away")
    outside.tape.is_away = False
    await _due_now(api)
    await outside.listing.step()
    await api.advance()
    said = await outside.of(request, "count")
    says(said, "waits for 3 files to land on DISK: their recall is to be ordered", "a carrier takes it up")
    says(
        said,
        "7 files waiting for admission: the window of this input has 300 of 350 bytes reserved, the next takes 100",
    )
    outside.tape.is_away = True
    await outside.residencies.recalling.step()
    says(await outside.of(request, "count"), "recall is to be ordered", "tried once, last: the data management")
    outside.tape.is_away = False
    await _due_now(api)
    await outside.residencies.recalling.step()
    await api.advance()
    text = "waits for 2 files to land on DISK: 2 recalls under way; the window of this input has 300 of 350 bytes"
    assert says(await outside.of(request, "count"), text, "as they land")["since"]
    outside.tape.landed = {"f1", "f2"}
    await survey(outside.residencies, everything=True)
    await api.advance()
    says(await outside.of(request, "count"), "2 processings to be submitted to local", "a carrier takes it up")
    await _fail_twice(outside, request)


async def _fail_twice(outside: Outside, request: int) -> None:
    outside.machine.is_away = True
    await outside.execution.submit()
    says(await outside.of(request, "count"), "to be submitted", "tried once, last: the batch system is away")
    outside.machine.is_away = False
    await _due_now(outside.api)
    await outside.execution.submit()
    says(await outside.of(request, "count"), "2 processings queued on local")
    await outside.execution.poll("local", [])
    says(await outside.of(request, "count"), "2 processings running on local")
    outside.machine.state = JobState(JobStatus.FAILED, 0, "F", 1, Blame.USER, "exit code 1")
    await outside.execution.poll("local", [])
    says(
        await outside.of(request, "count"), "2 processings to be submitted to local; attempt 2 of 2, after: exit code 1"
    )
    await _due_now(outside.api)
    await outside.execution.submit()
    await outside.execution.poll("local", [])
    await outside.api.call("POST", f"/v1/requests/{request}:cancel")
    says((await outside.why(request))["sentences"], "a cancel was ordered")
    await outside.api.advance()
    says((await outside.why(request))["sentences"], "the request ended cancelled")
    said = await outside.of(request, "count")
    says(said, "2 contents failed: exit code 1")
    says(said, "1 content failed: no copy left")
    says(await outside.of(request, "merge"), "work 'merge' ended cancelled: the request was cancelled")


async def _due_now(api: Api) -> None:
    """What was postponed is due at once."""
    async with api.database.transaction("test") as tx:
        await tx.connection.execute(update(effects).values(due_at=tx.now))


async def test_a_work_without_an_input_tells_why_its_processing_failed(outside: Outside) -> None:
    works = [{"name": "one", "payload": {"argv": ["/bin/false"]}, "attempts": 1}]
    request = await outside.api.submit({"name": "alone", "works": works})
    await outside.execution.submit()
    outside.machine.state = JobState(JobStatus.FAILED, 0, "F", 1, Blame.USER, "exit code 1")
    await outside.execution.poll("local", [])
    await outside.api.advance()
    says(await outside.of(request, "one"), "work 'one' ended failed: exit code 1")


async def test_works_that_ended_well_are_not_talked_about(outside: Outside) -> None:
    works = [{"name": "one", "payload": {"argv": ["/bin/true"]}}]
    request = await outside.api.submit({"name": "alone", "works": works})
    outside.machine.state = JobState(JobStatus.SUCCEEDED, 0, "F", 0)
    await outside.execution.submit()
    await outside.execution.poll("local", [])
    await outside.api.advance()
    found = await outside.why(request)
    assert (found["status"], found["transforms"]) == ("finished", [])
    assert [s["text"] for s in found["sentences"]] == ["the request ended finished"]
