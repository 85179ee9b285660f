"""What payloads say of samples: on their way and at their end, too much, too little, too late."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from random import Random
from typing import Any

import msgspec
import optuna
import pytest
from optuna.trial import TrialState

from idds.domain.identifiers import CollectionId, Handle
from idds.domain.job import JobState
from idds.domain.statuses import JobStatus
from idds.ports.sampler import Known, State
from idds.sdk.client import Client
from idds.services.collecting import Collecting
from idds.services.execution import Execution
from idds.services.publishing import ContentOutcome
from idds.testing.memory_provider import MemoryProvider
from tests.integration.api import Answer, Api, api_on

SPACE = {"x": {"type": "float", "low": 0, "high": 1}}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


class Study:
    """A study at the API, as a payload sees it."""

    def __init__(self, api: Api, request: int, collection: int) -> None:
        self.api = api
        self.request = request
        self.id = collection
        self.path = f"/v1/collections/{collection}/contents"

    async def lease(self, count: int = 1, ttl_s: float = 60) -> list[dict[str, int]]:
        body = {"count": count, "lessee": "test", "ttl_s": ttl_s}
        leased = (await self.api.post(f"{self.path}:lease", body))["contents"]
        return [{"id": each["id"], "attempt": each["attempt"]} for each in leased]

    async def say(self, *values: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer: dict[str, Any] = await self.api.post(f"{self.path}:intermediate", {"values": values})
        found: list[dict[str, Any]] = answer["samples"]
        return found

    async def stops(self, held: Mapping[str, int], step: int, value: Any) -> str | None:
        """Why this sample is to stop, if so."""
        (advice,) = await self.say({**held, "step": step, "value": value})
        assert advice["id"] == held["id"]
        assert advice["stop"] is (advice["reason"] is not None)
        reason: str | None = advice["reason"]
        return reason

    async def report(self, held: Mapping[str, int], *values: Any, **more: Any) -> str:
        report = {**held, "status": "done", "objective_values": values, **more}
        verdict: str = (await self.api.post(f"{self.path}:report", {"reports": [report]}))["receipts"][0]["verdict"]
        return verdict

    async def answer_to(self, held: Mapping[str, int], **report: Any) -> Answer:
        return await self.api.call("POST", f"{self.path}:report", {"reports": [{"status": "done", **held, **report}]})

    async def known(self) -> list[Known]:
        """As a sampler is told."""
        async with self.api.database.snapshot() as tx:
            return (await tx.samples.news(CollectionId(self.id), None))[1]

    async def content(self, held: Mapping[str, int]) -> dict[str, Any]:
        found = (await self.api.get(self.path))["contents"]
        return next(each for each in found if each["id"] == held["id"])


async def study_of(api: Api, **samples: Any) -> Study:
    samples = {"count": 60, "sampler": "random", "space": SPACE, **samples}
    request = await api.submit({"name": "study", "works": [{"name": "scan", "input": {"samples": samples}}]})
    return Study(api, request, await api.input_of(request))


async def test_the_median_stops_what_is_worse_and_who_leased_is_told_by_heartbeats_too(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await study_of(api, sampler="tpe", pruner={"type": "median", "options": {"startup": 3}})
        good = await study.lease(3)
        for number, held in enumerate(good):
            for step in range(3):
                assert await study.stops(held, step, number - step) is None
            assert await study.report(held, number) == "accepted"
        await api.advance()
        near, far = await study.lease(2)
        advice = await study.say({**near, "step": 1, "value": 0}, {**far, "step": 1, "value": 0.5})
        assert advice[0] == {"id": near["id"], "stop": False, "reason": None}
        assert advice[1]["stop"]
        assert "worse than 0, the bar of 3 samples" in advice[1]["reason"]
        kept = await api.post(f"{study.path}:heartbeat", {"held": [near, far]})
        assert kept["held"] == sorted([near["id"], far["id"]])
        assert kept["stop"] == [{"id": far["id"], "reason": advice[1]["reason"]}]
        assert await study.stops(far, 2, -9) == advice[1]["reason"], "once told, it stays so"
        assert await study.report(far, pruned=True) == "accepted"
        assert (await study.content(far))["status"] == "done"
        pruned = [each for each in await study.known() if each.state is State.PRUNED]
        assert [(each.values, each.intermediates) for each in pruned] == [((), {2: -9.0})]
        await api.advance()
        assert await study.lease(), "and the sampler goes on with it"


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    ("kind", "options", "pruner"),
    [
        (
            "percentile",
            {"percentile": 30, "startup": 4, "warmup": 1, "interval": 2, "least": 2},
            optuna.pruners.PercentilePruner(30, 4, 1, 2, n_min_trials=2),
        ),
        (
            "halving",
            {"resource": 1, "factor": 2, "bootstrap": 1},
            optuna.pruners.SuccessiveHalvingPruner(1, 2, 0, bootstrap_count=1),
        ),
        ("hyperband", {"longest": 9}, optuna.pruners.HyperbandPruner(1, 9, 3)),
    ],
)
async def test_each_sample_is_stopped_where_optuna_would_prune_it(
    database_url: str, kind: str, options: dict[str, int], pruner: optuna.pruners.BasePruner, direction: str
) -> None:
    """Several samples are under way at once, all that is said of a step in one call."""
    oracle = optuna.create_study(direction=direction, pruner=pruner, study_name="7")
    async with api_on(database_url) as api:
        study = await study_of(api, seed=7, count=24, directions=[direction], pruner={"type": kind, "options": options})
        stopped = 0
        for batch in range(6):
            await api.advance()
            held = await study.lease(4)
            assert len(held) == 4
            trials = [oracle.ask() for _ in held]
            under_way = dict(enumerate(zip(held, trials, strict=True)))
            for step in range(10):
                values = {number: (number * 7 + batch * 5) % 11 + step * 3 % 4 / 2 for number in under_way}
                said = [{**under_way[number][0], "step": step, "value": values[number]} for number in under_way]
                advice = await study.say(*said) if said else []
                for (number, (mine, trial)), told in zip(list(under_way.items()), advice, strict=True):
                    trial.report(values[number], step)
                    assert told["stop"] == trial.should_prune(), (batch, number, step, told)
                    if told["stop"]:
                        stopped += 1
                        await study.report(mine, pruned=True)
                        oracle.tell(trial, state=TrialState.PRUNED)
                        del under_way[number]
            for mine, trial in under_way.values():
                await study.report(mine, 1.0)
                oracle.tell(trial, 1.0)
        assert stopped


async def test_a_plateau_is_where_nothing_has_become_better(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        options = {"patience": 2, "tolerance": 0.1, "warmup": 3}
        study = await study_of(api, pruner={"type": "plateau", "options": options})
        (held,) = await study.lease()
        reasons = [await study.stops(held, step, value) for step, value in enumerate([1, 0.95, 0.94, 0.8, 0.75, 0.71])]
    assert reasons == [None] * 5 + ["since step 3 it has not become better than 0.8"]


async def test_what_is_not_finite_is_a_failure_and_stops_what_is_on_its_way(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await study_of(api, sampler="tpe", pruner={"type": "median"})
        held = await study.lease(4)
        for each, value in zip(held, ["nan", "inf", "-Infinity"], strict=False):
            assert await study.report(each, value) == "accepted"
        headers = {"Content-Type": "application/json"}
        body = '{"reports": [{"id": %(id)d, "attempt": %(attempt)d, "status": "done", "objective_values": [NaN]}]}'
        async with api.client.post(
            f"{study.path}:report",
            data=body % held[3],
            headers={**headers, "Authorization": f"Bearer {api.token}"},
        ) as response:
            assert (await response.json())["receipts"] == [{"id": held[3]["id"], "verdict": "accepted"}]
        found = [await study.content(each) for each in held]
        assert [each["status"] for each in found] == ["failed"] * 4, "and none of them is tried again"
        assert [each["reason"] for each in found] == [
            f"a value that was reported is {value}" for value in ("nan", "inf", "-inf", "nan")
        ]
        assert [each.values for each in await study.known() if each.state is State.FAILED] == [()] * 4
        await api.advance()
        (held_now,) = await study.lease()
        assert await study.stops(held_now, 0, 0.5) is None
        assert await study.stops(held_now, 1, "inf") == "its value at step 1 is inf"


async def test_constraints_on_results_are_counted_and_told_to_the_sampler(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await study_of(api, sampler="tpe", result_constraints=2)
        first, second = await study.lease(2)
        before = await api.rows()
        refused = await study.answer_to(first, objective_values=[1.0], constraint_values=[0.0])
        assert refused.status == 422
        assert refused.document["problems"] == [
            {
                "pointer": "/reports/0/constraint_values",
                "message": "this study wants 2 constraint values of each sample; there is 1",
            }
        ]
        assert await api.rows() == before
        assert await study.report(first, 1.0, constraint_values=[0.0, -1]) == "accepted"
        assert await study.report(second, 0.5, constraint_values=[0.1, -1]) == "accepted"
        known = {each.values: each.constraints for each in await study.known() if each.state is State.DONE}
        assert known == {(1.0,): (0.0, -1.0), (0.5,): (0.1, -1.0)}
        await api.advance()
        assert await study.lease()
        plain = await study_of(api)
        (held,) = await plain.lease()
        answer = await plain.answer_to(held, objective_values=[1.0], constraint_values=[0.0])
        assert "this study wants no constraint values" in answer.document["problems"][0]["message"]


async def test_the_first_result_counts_also_after_its_lease_and_a_second_is_refused(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await study_of(api, sampler="tpe", count=4)
        (early,) = await study.lease(ttl_s=0.001)
        while (await api.get(f"/v1/collections/{study.id}"))["counts"]["leased"]:
            await api.doors.delivery.end_leases()
        while (late := (await study.lease())[0])["id"] != early["id"]:
            pass
        assert late["attempt"] == 2
        assert await study.stops(early, 0, 0.7) is None, "what it says is knowledge, too"
        assert await study.report(early, 0.5) == "accepted"
        assert await study.report(late, 0.4) == "duplicate"
        assert (await study.answer_to(early, objective_values=[0.3])).status == 409
        done = [each for each in await study.known() if each.state is State.DONE]
        assert [each.values for each in done] == [(0.5,)]
        (advice,) = await study.say({**late, "step": 1, "value": 0.1})
        assert advice == {"id": late["id"], "stop": True, "reason": "the sample is done"}


async def test_of_very_many_steps_one_here_and_there_is_kept_and_compared(database_url: str) -> None:
    """However many are said in a call: it is compared at the last of which the others' values were kept, too."""
    async with api_on(database_url) as api:
        study = await study_of(api, pruner={"type": "median", "options": {"startup": 1}})
        good, bad = await study.lease(2)
        steps = [0, *range(100_000, 100_998)]
        (advice,) = await study.say(*({**good, "step": step, "value": 0.5} for step in steps))
        assert advice["stop"] is False
        noted = (await api.rows())["intermediates"]
        assert len(steps) // 50 < noted < len(steps) // 40
        assert await study.report(good, 0.5) == "accepted"
        again = [{**good, "step": step, "value": 0.25} for step in (0, 100_000, 100_001, 50_000)]
        await study.say(*again)
        assert (await api.rows())["intermediates"] == noted, "it is done: nothing more is taken"
        assert await study.stops(bad, 0, 0.25) is None
        (advice,) = await study.say(*({**bad, "step": step, "value": 0.9} for step in steps[1:-20]))
        assert advice["stop"] is False, "at its best it was better"
        again = [{**bad, "step": step, "value": 0.1} for step in (100_000, 100_001, 50_000)]
        await study.say(*again)
        story = await api.get(f"/v1/studies/{study.id}/samples/1")
        kept = {each["step"]: each["value"] for each in story["intermediates"]}
        assert (kept[100_000], 100_001 in kept, 50_000 in kept) == (0.1, False, False)
        (worse,) = await study.lease()
        (advice,) = await study.say(*({**worse, "step": step, "value": 0.9} for step in steps[:-1]))
        assert "its best value 0.9 is worse than 0.5" in advice["reason"]


async def test_who_has_nothing_to_say_of_a_sample_is_told_to_stop_and_changes_nothing(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await study_of(api, pruner={"type": "median"})
        other = await study_of(api)
        (mine,) = await study.lease()
        (theirs,) = await other.lease()
        before = await api.rows()
        assert await study.stops(theirs, 0, 1) == "there is no such sample in this study"
        assert await study.stops({**mine, "attempt": 2}, 0, 1) == "the sample was not delivered under attempt 2"
        assert await api.rows() == before
        assert await study.stops(mine, 0, 1) is None
        assert (await api.rows())["intermediates"] == 1
        await api.call("POST", f"/v1/requests/{study.request}:cancel")
        assert await study.stops(mine, 1, 1) == "its request was cancelled"
        kept = await api.post(f"{study.path}:heartbeat", {"held": [mine]})
        assert [each["reason"] for each in kept["stop"]] == ["its request was cancelled"] * len(kept["held"])


async def test_the_client_says_what_samples_are_and_reads_whether_to_stop(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        study = await study_of(api, result_constraints=1, pruner={"type": "plateau", "options": {"patience": 2}})
        url = str(api.client.make_url(""))
        async with Client(url, api.token) as client:
            lease = await client.lease(study.id, count=3)
            done, stopped, diverged = lease.contents
            values = [stopped.at(0, 1.0), stopped.at(2, 1.0), done.at(0, 1.0), diverged.at(4, inf)]
            advice = {each.id: each for each in await client.intermediate(study.id, values)}
            assert [advice[each.id].stop for each in lease.contents] == [False, True, True]
            assert advice[diverged.id].reason == "its value at step 4 is inf"
            outcomes = [
                done.done(0.5, constraint_values=[-1]),
                stopped.pruned(),
                diverged.done(inf, constraint_values=[0]),
            ]
            receipts = await client.report(study.id, outcomes)
            assert {receipt.verdict for receipt in receipts} == {"accepted"}
            assert await client.intermediate(study.id, []) == ()
        statuses = [(await study.content({"id": each.id}))["status"] for each in lease.contents]
        assert statuses == ["done", "done", "failed"]


class Machine(MemoryProvider):
    """Its jobs have ended well when they are looked at, and left these documents, one after the other."""

    def __init__(self, documents: Iterable[str]) -> None:
        super().__init__(Random(0))
        self._documents = iter(documents)

    async def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        return dict.fromkeys(handles, JobState(JobStatus.SUCCEEDED, 0, "exit 0", 0))

    async def result(self, handle: Handle) -> bytes | None:
        (content,) = self._jobs[handle].document["contents"]
        document = next(self._documents)
        return document.replace("ID", str(content["id"])).encode() if document else None


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ('"objective_values": [0.5], "constraint_values": [-1]', "done", None),
        ('"objective_values": [0.5]', "failed", "this study wants 1 constraint value of each sample; there are 0"),
        ('"objective_values": [1, 2], "constraint_values": [0]', "failed", "wants 1 objective value of each"),
        ('"objective_values": [NaN], "constraint_values": [0]', "failed", "a value that was reported is nan"),
        ('"objective_values": ["-inf"], "constraint_values": [0]', "failed", "a value that was reported is -inf"),
        ('"pruned": true', "done", None),
        (None, "failed", "wants 1 objective value of each sample; there are 0"),
    ],
)
async def test_what_a_job_leaves_of_a_sample_is_held_to_the_same(
    sqlite_url: str, said: str | None, status: str, reason: str | None
) -> None:
    document = f'{{"contents": [{{"id": ID, "status": "done", {said}}}]}}' if said else ""
    samples = {"count": 1, "space": SPACE, "result_constraints": 1}
    work = {"name": "scan", "input": {"samples": samples}, "payload": {"argv": ["true"]}}
    async with api_on(sqlite_url) as api:
        machine = Machine([document])
        collecting = Collecting(api.database, None)  # type: ignore[arg-type] -- no job leaves a file
        execution = Execution(api.database, {"local": machine}, collecting, "test")
        request = await api.submit({"name": "study", "works": [work]})
        study = Study(api, request, await api.input_of(request))
        assert await execution.submit() == 1
        while not (await api.get(f"/v1/collections/{study.id}"))["counts"][status]:
            await execution.poll("local", [Handle(key) for key in machine.started])
        (content,) = (await api.get(study.path))["contents"]
        assert (content["status"], content["attempt"]) == (status, 1), "what makes no result is not tried again"
        assert (reason or "") in (content["reason"] or "")
        (known,) = await study.known()
        assert known.state == ("pruned" if said and "pruned" in said else status)


async def test_what_is_acknowledged_over_the_bus_is_held_to_the_same(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await study_of(api, sampler="tpe", count=4)
        held = await study.lease(4)
        said = [
            {"objective_values": [0.5]},
            {"objective_values": [0.5, 1]},
            {"objective_values": ["nan"]},
            {"pruned": True},
        ]
        outcomes = [
            msgspec.convert({**each, "status": "done", **more}, ContentOutcome).outcome()
            for each, more in zip(held, said, strict=True)
        ]
        receipts = await api.doors.delivery.acknowledge("vo", "one", outcomes)
        assert {receipt.verdict for receipt in receipts} == {"accepted"}
        contents = [await study.content(each) for each in held]
        assert [each["status"] for each in contents] == ["done", "failed", "failed", "done"]
        assert "there are 2" in contents[1]["reason"]
        assert contents[2]["reason"] == "a value that was reported is nan"


async def test_what_makes_no_sense_is_refused_at_its_place(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        several = await study_of(api, directions=["minimize", "maximize"])
        (held,) = await several.lease()
        answer = await api.call("POST", f"{several.path}:intermediate", {"values": [{**held, "step": 0, "value": 1}]})
        assert answer.status == 409
        answer = await several.answer_to(held, pruned=True)
        assert answer.document["problems"][0]["pointer"] == "/reports/0/pruned"
        study = await study_of(api)
        (held,) = await study.lease()
        answer = await study.answer_to(held, pruned=True, objective_values=[1.0])
        assert answer.document["problems"][0]["pointer"] == "/reports/0/objective_values"
        for bad, place in ((-1, "step"), (0.5, "step"), ("nan!", "value")):
            value = {**held, "step": 0, "value": 1.0, place: bad}
            answer = await api.call("POST", f"{study.path}:intermediate", {"values": [value]})
            assert (answer.status, answer.document["problems"][0]["pointer"]) == (422, f"/values/0/{place}")
