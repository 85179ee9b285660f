"""Requests in the words of workload managers: found by the number of a task, and ended by what is said of that."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import structlog

from idds.domain.collection import Collection
from idds.domain.content import Content
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import ContentId, RequestId
from idds.domain.request import Principal, Request
from idds.domain.statuses import Intent
from idds.domain.task import Task
from idds.domain.transform import Transform
from idds.services.announcing import follow
from idds.services.grouping import Grouping
from idds.services.submission import Submission
from idds.services.telling import topic_of
from idds.store.database import Database
from idds.store.tasks import Drawn, TaskInput
from idds.store.visibility import sees

AGENT = "conductor"
MOST_REQUESTS = 1000
"""So many requests of one task are looked at, the newest."""
MESSAGES_AT_ONCE = 20
"""One of them may name thousands of files."""
PROCESSED_AT_ONCE = 10_000
SAMPLES_AT_ONCE = 500
MOST_INPUTS = 100_000
# What no database takes would come again for ever.
LARGEST = 2**63 - 1
STORABLE = r"^[^\x00]*$"

_WELL = frozenset({"done", "finished"})
_BADLY = frozenset({"failed", "broken", "aborted"})

log = structlog.get_logger()


_Number = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_FileName = Annotated[str, msgspec.Meta(max_length=1024, pattern=STORABLE)]


class JobStatus(msgspec.Struct, tag_field="msg_type", tag="job_status"):
    """What PanDA says of a job (`push_job_status_message`): `inputs` are the names of its files, without scopes."""

    status: Annotated[str, msgspec.Meta(max_length=64)]
    taskid: _Number | None = None
    inputs: Annotated[list[_FileName], msgspec.Meta(max_length=MOST_INPUTS)] | None = None


class TaskStatus(msgspec.Struct, tag_field="msg_type", tag="task_status"):
    """What JEDI says of a task (`push_task_status_message`)."""

    status: Annotated[str, msgspec.Meta(max_length=64)]
    taskid: _Number


_KNOWN = frozenset({"job_status", "task_status"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, the task that asked for it if one did, and what belongs to it."""

    request: Request
    task: Task | None
    transforms: Sequence[Transform]
    collections: Sequence[Collection]


@dataclass(frozen=True, slots=True)
class TaskSample:
    """A sample, the task that it was drawn for (None: nobody's), and what came of it so far."""

    content: Content
    task: Task | None
    objective_values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A sample that somebody asks for, who says of which request it is, of which task, or both."""

    principal: Principal
    content: ContentId
    request: RequestId | None
    workload_id: int | None

    def means(self, sample: Drawn, task: Task | None) -> bool:
        """Whether it is that, and the principal may see it."""
        if self.request not in (None, sample.content.request_id):
            return False
        if self.workload_id is not None and (task is None or task.workload_id != self.workload_id):
            return False
        return sees(self.principal, owner=sample.owner, vo=sample.vo, share=sample.share)


class Tasks:
    """What the API does for workload managers, and the conductor with what they say of their jobs and tasks."""

    def __init__(self, database: Database, submission: Submission) -> None:
        self._database = database
        self._submission = submission
        self._samples: Grouping[None, _Wanted, TaskSample] = Grouping(self._read_samples, SAMPLES_AT_ONCE, lambda _: 1)

    async def asked(
        self, principal: Principal, *, request: RequestId | None = None, workload_id: int | None = None
    ) -> list[Asked]:
        """Requests that the principal may see: this one, those of this task, newest first; both: if it is of that task.

        Raises InvalidInput when neither is given.
        """
        if request is None and workload_id is None:
            raise InvalidInput([Problem("", "give the number of the request or that of the task")])
        async with self._database.snapshot(timeless=True) as tx:
            ids: Sequence[RequestId] = [] if request is None else [request]
            if workload_id is not None:
                of_task = await tx.tasks.requests_of(workload_id, principal, before=None, limit=MOST_REQUESTS)
                ids = of_task if request is None else [each for each in ids if each in of_task]
            found = await tx.requests.get_all(ids)
            tasks = await tx.tasks.of_requests(ids)
            transforms = await tx.transforms.of_requests(ids)
            collections = await tx.collections.of_requests(ids)
        there = [(each, found[each]) for each in ids if each in found]
        return [
            Asked(its, tasks.get(each), transforms[each], collections[each])
            for each, its in there
            if sees(principal, owner=its.owner, vo=its.vo, share=its.share)
        ]

    async def messages(self, principal: Principal, request: RequestId) -> AsyncGenerator[list[bytes]]:
        """What was told of a request in the words of its workload manager, in order, page by page: JSON documents.

        Raises NotFound.
        """
        after = 0
        while True:
            async with self._database.snapshot(timeless=True) as tx:
                found = await tx.requests.get(request, principal)
                if found is None:
                    raise NotFound(f"there is no request {request}")
                recorded = await tx.messages.of_request(request, after=after, limit=MESSAGES_AT_ONCE)
            yield [message.body.encode() for message in recorded if message.topic == topic_of(found.vo)]
            if len(recorded) < MESSAGES_AT_ONCE:
                return
            after = recorded[-1].seq

    async def sample(
        self,
        principal: Principal,
        content: ContentId,
        *,
        request: RequestId | None = None,
        workload_id: int | None = None,
    ) -> TaskSample:
        """A sample of a request, of a task, or of both. Those asked for at a time are read together.

        Raises NotFound.
        """
        return await self._samples.order(None, _Wanted(principal, content, request, workload_id))

    async def _read_samples(self, _: None, wanted: Sequence[_Wanted]) -> list[TaskSample | Exception]:
        async with self._database.snapshot(timeless=True) as tx:
            drawn = await tx.tasks.samples({each.content for each in wanted})
            tasks = await tx.tasks.of_requests({each.content.request_id for each in drawn.values()})
        found: list[TaskSample | Exception] = []
        for each in wanted:
            sample = drawn.get(each.content)
            task = tasks.get(sample.content.request_id) if sample is not None else None
            if sample is None or not each.means(sample, task):
                found.append(NotFound(f"there is no sample {each.content} of this"))
            else:
                found.append(TaskSample(sample.content, task, sample.objective_values))
        return found

    async def take(self, reporter: Principal, body: bytes) -> bool:
        """Read what a workload manager says, and take it in; False for what it says of something else.

        Raises msgspec.MsgspecError for what cannot be read.
        """
        said = read_status(body)
        if said is not None:
            await self.take_in(reporter, said)
        return said is not None

    async def take_in(self, reporter: Principal, said: JobStatus | TaskStatus) -> None:
        """Take in how a job or a task stands.

        It concerns requests of the reporter's VO that it may see. Saying it again changes nothing.
        """
        match said:
            case JobStatus(status="finished", taskid=int(task), inputs=list(inputs)) if inputs:
                await self._processed(reporter, task, inputs)
            case TaskStatus(status=status, taskid=task) if status in _WELL | _BADLY:
                await self._ended(reporter, task, status)
            case _:
                pass

    async def _processed(self, reporter: Principal, workload_id: int, inputs: Sequence[str]) -> None:
        """Files of a task that a job of it has processed."""
        for each in await self._inputs_of(reporter, workload_id):
            if each.is_study:
                continue
            async with self._database.transaction(AGENT) as tx:
                await tx.requests.lock([each.request])
                await follow(tx, await tx.tasks.processed(each.collection, inputs))

    async def _ended(self, reporter: Principal, workload_id: int, status: str) -> None:
        """A task that has ended needs nothing more: files on disk for it are given back, and no sample is drawn."""
        for each in await self._inputs_of(reporter, workload_id):
            while status in _WELL and not each.is_study and await self._all_processed(each):
                pass
            intent = Intent.FINISH if status in _WELL else Intent.CANCEL
            try:
                await self._submission.order(reporter, each.request, intent)
            except Conflict as conflict:
                log.debug("nothing is to be ordered any more", task=workload_id, reason=str(conflict))

    async def _all_processed(self, files: TaskInput) -> int:
        """Take some of what is available as processed; how many."""
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([files.request])
            moves = await tx.tasks.all_processed(files.collection, PROCESSED_AT_ONCE)
            await follow(tx, moves)
            return sum(move.n for move in moves)

    async def _inputs_of(self, reporter: Principal, workload_id: int) -> Sequence[TaskInput]:
        async with self._database.snapshot(timeless=True) as tx:
            return await tx.tasks.inputs_of(workload_id, reporter)


class _Kind(msgspec.Struct):
    msg_type: str = ""


def read_status(body: bytes) -> JobStatus | TaskStatus | None:
    """What a workload manager says of a job or a task; None for what is nothing of the sort.

    Raises msgspec.MsgspecError for what cannot be read.
    """
    if msgspec.json.decode(body, type=_Kind).msg_type not in _KNOWN:
        return None
    said: JobStatus | TaskStatus = msgspec.json.decode(body, type=JobStatus | TaskStatus)
    return said
