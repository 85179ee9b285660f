"""The second part: a classifier of the digits is tuned, by payload processes that know a URL and a token.

Two studies go through the same space: one learns, and one draws at random.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from idds.cli.demonstration.payloads import classify
from idds.domain.errors import Unavailable
from idds.domain.space import Parameter, Value, When
from idds.domain.statuses import ContentStatus, Status
from idds.domain.study import Sample, StudySummary
from idds.domain.workflow import Input, Samples, WindowLimits, Work, Workflow
from idds.sdk.client import Client

SEARCHES = {"tune": "tpe", "random": "random"}
"""Works, and the sampler of each."""
PAYLOADS = 2
"""So many processes evaluate the samples of each."""
IN_FLIGHT = 8
TOKEN_S = 3600
POLL_S = 0.2
WITH_PCA = When(parameter="reduce", values=("pca",))
SPACE = {
    "C": Parameter(type="float", low=1e-3, high=1e4, log=True),
    "gamma": Parameter(type="float", low=1e-5, high=10, log=True),
    "blur": Parameter(type="float", low=0, high=2),
    "contrast": Parameter(type="float", low=0.1, high=5, log=True),
    "reduce": Parameter(type="categorical", choices=("none", "pca")),
    "components": Parameter(type="int", low=2, high=60, when=WITH_PCA),
    "whiten": Parameter(type="categorical", choices=(False, True), when=WITH_PCA),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a study found. `accuracies` are those of its samples, in the order in which they ended; `held_out` is that
    of the best one on images that no sample has seen.
    """

    work: str
    study: int
    sampler: str
    status: Status
    wanted: int
    done: int
    reported: int
    accuracies: tuple[float, ...]
    held_out: float
    best: Mapping[str, Value]
    points: tuple[Mapping[str, Value], ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """What does not hold though it should."""
        findings = [] if self.status is Status.FINISHED else [f"the study {self.work} is {self.status}"]
        if self.done != self.wanted:
            findings.append(f"{self.wanted - self.done} samples of {self.work} are not done")
        if self.reported != self.done:
            findings.append(f"{self.reported - self.done} samples of {self.work} were done more than once")
        return tuple(findings)


def make_tuning(samples: int) -> Workflow:
    return Workflow(
        name="tuning",
        works=tuple(
            Work(
                name=work,
                input=Input(
                    samples=Samples(space=SPACE, count=samples, sampler=sampler, directions=("maximize",), seed=1),
                    window=WindowLimits(files=IN_FLIGHT),
                ),
            )
            for work, sampler in SEARCHES.items()
        ),
    )


async def tune(
    client: Client, request: int, images: Path, log: Path, tell: Callable[[Sequence[StudySummary]], None]
) -> tuple[Search, ...]:
    """Have payloads evaluate the studies of a request until it has ended. Raises IddsError."""
    studies = await _studies(client, request)
    async with _payloads(client, studies, images, log) as payloads:
        while True:
            studies = await _studies(client, request)
            tell(studies)
            if all(study.status.is_terminal for study in studies):
                break
            if all(payload.returncode is not None for payload in payloads):
                raise Unavailable(f"all payloads have ended before the studies did: {log} tells why")
            await asyncio.sleep(POLL_S)
    await client.wait(request)
    pixels, digits = await asyncio.to_thread(classify.read, images)
    found = []
    for study in studies:
        samples = [s async for s in client.samples(study.id, ContentStatus.DONE) if s.objective_values]
        best = max(samples, key=_accuracy, default=None)
        moves = [m async for m in client.history(request, entity=f"collection:{study.id}")]
        found.append(
            Search(
                work=study.work,
                study=study.id,
                sampler=study.sampler,
                status=study.status,
                wanted=study.wanted,
                done=study.counts.get(ContentStatus.DONE, 0),
                reported=sum(move.n for move in moves if move.to_status == ContentStatus.DONE),
                accuracies=tuple(map(_accuracy, sorted(samples, key=lambda sample: sample.changed_at))),
                held_out=await asyncio.to_thread(classify.held_out, best.parameters, pixels, digits) if best else 0.0,
                best=best.parameters if best else {},
                points=tuple(s.parameters for s in sorted(samples, key=lambda sample: sample.changed_at)),
            )
        )
    return tuple(found)


def _accuracy(sample: Sample) -> float:
    assert sample.objective_values
    return sample.objective_values[0]


async def _studies(client: Client, request: int) -> list[StudySummary]:
    """All of them, in the order of their works."""
    order = list(SEARCHES)
    async with aclosing(client.changes(request, interval_s=POLL_S)) as changes:
        async for _ in changes:
            if len(found := [study async for study in client.studies(request)]) == len(order):
                break
    return sorted(found, key=lambda study: order.index(study.work))


@asynccontextmanager
async def _payloads(
    client: Client, studies: Sequence[StudySummary], images: Path, log: Path
) -> AsyncIterator[Sequence[asyncio.subprocess.Process]]:
    """Processes that take samples; ended with the block."""
    started: list[asyncio.subprocess.Process] = []
    with log.open("ab") as errors:
        try:
            for study in studies:
                token = await client.payload_token(study.id, TOKEN_S)
                started.extend([await _start(client.url, token, images, errors.fileno()) for _ in range(PAYLOADS)])
            yield started
        finally:
            for payload in started:
                if payload.returncode is None:
                    payload.terminate()
            await asyncio.gather(*(payload.wait() for payload in started))


async def _start(url: str, token: str, images: Path, errors: int) -> asyncio.subprocess.Process:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        classify.__file__,
        str(images),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=errors,
        env={"PATH": os.environ.get("PATH", ""), "IDDS_URL": url, "IDDS_TOKEN": token, **threads},
    )
