"""Searches for hyperparameters: asked for and carried out by the official client, and told of as JEDI wants it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.request import Role
from idds.identity.options import OpenSamples
from idds.runtime.settings import AccessSettings
from tests.integration.api import api_on
from tests.integration.test_facade import TASK, World, raises, world_on
from tests.servers.idds_client import IddsClient

SPACE = {
    "lr": {"method": "loguniform", "dimension": {"low": 1e-4, "high": 1}},
    "layers": {"method": "uniformint", "dimension": {"low": 1, "high": 9}},
}
CHOICES = {"A": {"type": "Choice", "params": {"choices": ["x", "y"]}}, "B": {"type": "Scalar", "bounds": [0, 5]}}
SEARCH = {
    "workload_id": TASK,
    "is_pseudo_input": True,
    "sandbox": None,
    "executable": "docker",
    "arguments": None,
    "output_json": "output.json",
    "max_points": 8,
    "num_points_per_generation": 4,
    "opt_space": SPACE,
    "method": "random",
}
MAGIC = 1e5


async def search(world: World, *, name: str | None = None, **changes: Any) -> RequestId:
    """As JEDI asks when a task is refined, which gives neither a scope nor a name."""
    metadata = {name: value for name, value in (SEARCH | changes).items() if value is not ...}
    request = await world.client.call(
        "add_request",
        scope=None,
        name=name,
        requester="panda",
        request_type="RequestType.HyperParameterOpt",
        transform_tag="prodsys2",
        status="RequestStatus.New",
        priority=0,
        lifetime=30,
        request_metadata=metadata,
    )
    await world.api.advance()
    return RequestId(request)


async def told(world: World, request: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """What JEDI was told: the types of messages, and the files or collections in each."""
    messages = await world.client.call("get_messages", request_id=request)
    assert all((each["workload_id"], each["relation_type"]) == (TASK, "output") for each in messages)
    return [(each["msg_type"], each.get("files") or each["collections"]) for each in messages]


async def study(world: World, request: int) -> CollectionId:
    (collection,) = await world.client.call("get_collections", request_id=request)
    return CollectionId(collection["coll_id"])


async def waiting(world: World) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await world.client.call("get_hyperparameters", TASK, None, status="ContentStatus.New")
    return rows


def loss(point: Mapping[str, Any]) -> float:
    return float(point["layers"] + abs(point["lr"] - 0.01))


async def put(world: World, sample: int | str, value: Any) -> str:
    answer = await world.client.call("update_hyperparameter", TASK, None, sample, value)
    assert answer["status"] == 0, "for what a payload is answered else it takes for an error"
    await world.api.advance()
    return str(answer["message"])


async def test_a_search_is_carried_out_generation_by_generation(database_url: str) -> None:
    async with world_on(database_url) as world:
        request = await search(world, method=...)
        assert await search(world, method=...) == request, "a POST that comes again is the same request"
        async with raises(
            "ConflictRequestException", f"request {request}, of the same task", "asks for something else"
        ):
            await search(world, method="random", max_points=1)
        (shown,) = await world.client.call("get_requests", workload_id=TASK, with_metadata=True)
        expected = {"request_type": "RequestType.HyperParameterOpt", "scope": "hpo", "name": f"task.{TASK}"}
        assert expected.items() <= shown.items()
        assert shown["request_metadata"] | {"method": "random"} == SEARCH
        evaluated = 0
        while todo := await waiting(world):
            assert len(todo) == 4, "a generation, drawn when nothing was left of the one before"
            for each in todo:
                (one,) = await world.client.call("get_hyperparameters", TASK, None, id=each["id"])
                assert one == each
                assert (one["loss"], set(one["parameters"])) == (None, {"lr", "layers"})
                assert await put(world, one["id"], loss(one["parameters"])) == "update successfully"
                evaluated += 1
        assert evaluated == 8
        assert await world.status(request) == "RequestStatus.Finished"
        rows = await world.client.call("get_hyperparameters", None, request)
        assert {row["id"]: row["loss"] for row in rows} == {row["id"]: loss(row["parameters"]) for row in rows}
        messages = await told(world, request)
        assert [kind for kind, _ in messages] == [
            "file_hyperparameteropt",
            "file_hyperparameteropt",
            "collection_hyperparameteropt",
        ]
        files = [file for kind, files in messages for file in files if kind == "file_hyperparameteropt"]
        assert [str(file["name"]) for file in files] == [row["id"] for row in rows], "each once"
        assert all(type(file["name"]) is int and file["status"] == "New" for file in files)
        async with world.api.database.snapshot() as tx:
            _, known = await tx.samples.news(await study(world, request), None)
        assert [each.values for each in known] == [(row["loss"],) for row in rows], "the sampler is told the same"


async def test_what_fails_is_told_as_failed_and_nothing_counts_twice(database_url: str) -> None:
    async with world_on(database_url) as world:
        request = await search(world, max_points=4)
        first, second, third, fourth = [each["id"] for each in await waiting(world)]
        await put(world, first, 0.5)
        assert "nothing" in await put(world, first, 0.25)
        assert "nothing" in await put(world, first, MAGIC)
        await put(world, second, MAGIC)
        assert "nothing" in await put(world, second, 0.25)
        await put(world, third, "nan")
        await put(world, fourth, "inf")
        rows = await world.client.call("get_hyperparameters", TASK, None)
        assert [each["loss"] for each in rows] == [0.5, MAGIC, MAGIC, MAGIC], "whoever comes late evaluates it no more"
        assert await world.status(request) == "RequestStatus.SubFinished"
        async with world.api.database.snapshot() as tx:
            _, known = await tx.samples.news(await study(world, request), None)
            contents = await tx.contents.get([int(each) for each in (second, third, fourth)])
        assert [each.state for each in known] == ["done", "failed", "failed", "failed"]
        assert [each.values for each in known] == [(0.5,), (), (), ()], "1e5 distorts no optimizer"
        reasons = [str(content.reason) for content in contents]
        assert "last attempt" in reasons[0]
        assert ("nan" in reasons[1], "inf" in reasons[2]) == (True, True)
        await world.client.manage("retry", request_id=request)
        await world.api.advance()
        assert [each["id"] for each in await waiting(world)] == [second, third, fourth]
        for each in (second, third, fourth):
            await put(world, each, 1.0)
        assert await world.status(request) == "RequestStatus.Finished"
        kinds = [kind for kind, _ in await told(world, request)]
        ended = "collection_hyperparameteropt"
        assert kinds == ["file_hyperparameteropt", ended, ended], "JEDI has the ids already, and is told none again"


async def test_fewer_than_wanted_are_filled_up_while_others_are_evaluated(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        request = await search(world, max_points=20, num_points_per_generation=5, min_unevaluated_points=3)
        todo = await waiting(world)
        assert len(todo) == 5
        for each in todo[:2]:
            await put(world, each["id"], 1.0)
        assert len(await waiting(world)) == 3
        await put(world, todo[2]["id"], 1.0)
        assert len(await waiting(world)) == 7
        assert [len(files) for _, files in await told(world, request)] == [5, 5]


async def test_each_segment_is_a_search_of_its_own(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        segments = [{"model_id": model, "search_space": CHOICES} for model in ("one", "two")]
        request = await search(world, opt_space=segments, method="random")
        rows = await waiting(world)
        assert [each["parameters"][0] for each in rows] == ["one", "two", "one", "two"]
        assert all(set(each["parameters"][1]) == {"A", "B"} for each in rows)
        ((_, files),) = await told(world, request)
        # The form that JEDI reads the model from, which decides on the segment.
        assert [file["path"] for file in files] == [row_path(each["parameters"], None) for each in rows]
        await put(world, rows[0]["id"], 2.5)
        contents = await world.client.call("get_contents", request_id=request)
        contents.sort(key=lambda each: each["content_id"])
        assert contents[0]["path"] == row_path(rows[0]["parameters"], 2.5)
        assert [each["status"] for each in contents] == ["ContentStatus.Available", *["ContentStatus.New"] * 3]
        assert [each["name"] for each in contents] == [each["id"] for each in rows]
        (collection,) = await world.client.call("get_collections", scope="hpo", workload_id=TASK)
        counted = {name: collection[name] for name in ("total_files", "new_files", "processed_files")}
        assert counted == {"total_files": 4, "new_files": 3, "processed_files": 1}


def row_path(parameters: Any, loss: float | None) -> str:
    return json.dumps([parameters, loss])


async def test_points_to_begin_with_come_first(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        points = [{"lr": 0.5, "layers": 2}, [{"lr": 0.25}, None]]
        await search(world, initial_points=points, method="nevergrad")
        first, second, *_ = [each["parameters"] for each in await waiting(world)]
        assert first == points[0]
        assert second["lr"] == 0.25


async def test_points_to_begin_with_come_at_the_turn_of_their_segment(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        segments = [
            {"model_id": name, "search_space": {"x": {"type": "Scalar", "bounds": [0, 5]}}} for name in ("a", "b")
        ]
        given = [["b", {"x": 1.5}], [{"x": 2.5}, None]]
        await search(world, opt_space=segments, initial_points=given)
        first, second, third, fourth = [each["parameters"] for each in await waiting(world)]
        assert (first, second, fourth) == (["a", {"x": 2.5}], ["b", {"x": 1.5}], ["b", {"x": 2.5}])
        assert third[0] == "a"


async def test_who_asks_is_shown_so_many(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        await search(world)
        rows = await waiting(world)
        assert await world.client.call("get_hyperparameters", TASK, None, limit=3) == rows[:3]
        assert await world.client.call("get_hyperparameters", TASK, None, status=0, limit=3) == rows[:3]
        assert await world.client.call("get_hyperparameters", TASK, None, limit=0) == []
        await put(world, rows[0]["id"], 0.0)
        done = await world.client.call("get_hyperparameters", TASK, None, status="ContentStatus.Available")
        assert done == [rows[0] | {"loss": 0.0}]
        by_id = {"id": rows[0]["id"], "status": "ContentStatus.New"}
        assert await world.client.call("get_hyperparameters", TASK, None, **by_id) == []


async def test_a_sample_that_is_leased_meanwhile_is_closed_by_the_first_result(database_url: str) -> None:
    async with world_on(database_url) as world:
        request = await search(world)
        path = f"/v1/collections/{await study(world, request)}/contents"
        token = await world.api.new_token("panda", role=Role.WFMS)
        leased = await world.api.post(f"{path}:lease", {"count": 2, "lessee": "another"}, token=token)
        one, two = leased["contents"]
        assert "leased" in await put(world, one["id"], MAGIC), "it fails for who has it, if at all"
        await put(world, one["id"], 0.5)
        reports = [
            {"id": each["id"], "attempt": each["attempt"], "status": "done", "objective_values": [0.25]}
            for each in (one, two)
        ]
        receipts = (await world.api.post(f"{path}:report", {"reports": reports}, token=token))["receipts"]
        assert [each["verdict"] for each in receipts] == ["duplicate", "accepted"]
        rows = await world.client.call("get_hyperparameters", TASK, None, status="ContentStatus.Available")
        assert [each["loss"] for each in rows] == [0.5, 0.25]


async def test_a_search_that_is_ended_draws_no_more_and_is_told_ended(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        for by, status in (("abort", "Cancelled"), ("done", "Failed"), ("aborted", "Cancelled")):
            request = await search(world, name=by)
            (sample, *_) = await waiting(world)
            # Whichever job says that it has processed what is called so: there are no files here.
            names = [f"sample-{number:08d}" for number in range(4)]
            job = {"msg_type": "job_status", "taskid": TASK, "status": "finished", "inputs": [*names, sample["id"]]}
            await world.client.call("send_messages", workload_id=TASK, msgs=[job])
            await world.api.advance()
            assert await world.status(request) == "RequestStatus.Transforming"
            if by == "abort":
                await world.client.manage("abort", request_id=request)
            else:
                task = {"msg_type": "task_status", "taskid": TASK, "status": by}
                await world.client.call("send_messages", workload_id=TASK, msgs=[task])
            await world.api.advance()
            assert await world.status(request) == f"RequestStatus.{status}"
            kinds = [kind for kind, _ in await told(world, request)]
            assert kinds == ["file_hyperparameteropt", "collection_hyperparameteropt"]
            assert "nothing" in await put(world, sample["id"], 0.5)
            (one,) = await world.client.call("get_hyperparameters", TASK, None, id=sample["id"])
            assert one["loss"] == MAGIC


MANY = [{"model_id": n, "search_space": {"a": {"type": "Scalar", "bounds": [0, 5]}}} for n in range(9000)]
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"opt_space": ...}, "BadRequest", "/request_metadata/opt_space"),
    ({"opt_space": {"a": {"type": "Scalar", "bounds": [5, 0]}}}, "BadRequest", "/request_metadata/opt_space/a"),
    ({"opt_space": {"a": {"type": "Fourier"}}}, "BadRequest", "/request_metadata/opt_space/a/type"),
    (
        {"opt_space": {"a": {"type": "Scalar", "bounds": [0, 5], "integer": True}}},
        "BadRequest",
        "/request_metadata/opt_space/a/integer",
    ),
    ({"opt_space": [{"model_id": "a"}]}, "BadRequest", "/request_metadata/opt_space/0/search_space"),
    (
        {"opt_space": {"a" * 200: {"type": "Scalar", "bounds": [0, 5]}}, "initial_points": [{}]},
        "BadRequest",
        "opt_space",
    ),
    ({"opt_space": {"": {"type": "Scalar", "bounds": [0, 5]}}}, "BadRequest", "/request_metadata/opt_space/"),
    ({"opt_space": MANY}, "BadRequest", "/request_metadata/opt_space: there are 9,000 segments in it, and 1,000"),
    ({"opt_space": "lr"}, "BadRequest", "/request_metadata/opt_space: input should be a valid dictionary or"),
    ({"max_points": ...}, "BadRequest", "/request_metadata/max_points"),
    ({"max_points": 0}, "BadRequest", "/request_metadata/max_points"),
    ({"num_points_per_generation": -3}, "BadRequest", "/request_metadata/num_points_per_generation"),
    ({"min_unevaluated_points": "many"}, "BadRequest", "/request_metadata/min_unevaluated_points"),
    ({"initial_points": [{"lr": 7}]}, "BadRequest", "/request_metadata/initial_points/0/lr"),
    ({"initial_points": [[{"lr": 0.5}, 0.1]]}, "BadRequest", "/request_metadata/initial_points/0/1"),
    ({"initial_points": ["lr"]}, "BadRequest", "/request_metadata/initial_points/0"),
    ({"initial_points": [{}] * 10_001}, "BadRequest", "there are 10001"),
    ({"method": "alchemy"}, "BadRequest", "/request_metadata/method"),
    ({"workload_id": "many"}, "BadRequest", "/request_metadata/workload_id"),
    ({"method": "docker"}, "BadRequest", "/request_metadata/arguments"),
    ({"method": ..., "arguments": "steer %IN"}, "BadRequest", "/request_metadata/arguments: %OUT stands nowhere"),
    ({"method": ..., "arguments": "steer %IN", "sandbox": "--it"}, "BadRequest", "/request_metadata/sandbox"),
    ({"method": ..., "arguments": "steer %IN", "executable": "vm"}, "BadRequest", "/request_metadata/executable"),
]


async def test_what_cannot_be_is_told_by_its_place_and_changes_nothing(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        before = await world.api.rows()
        for changes, kind, place in BAD:
            async with raises(kind, place):
                await search(world, **changes)
        assert await world.api.rows() == before
        request = await search(world)
        sample = (await waiting(world))[0]["id"]
        token = await world.api.new_token("bob")
        before = await world.api.rows()
        for arguments, kind, word in (
            ((TASK, None, sample, "good"), "BadRequest", "{loss}"),
            ((TASK, None, "a", 0.1), "BadRequest", "{id}"),
            ((TASK, None, None, 0.1), "BadRequest", "{id}"),
            ((TASK, None, 10**6, 0.1), "NoObject", "sample"),
            ((TASK + 1, None, sample, 0.1), "NoObject", "sample"),
            ((TASK, request + 1, sample, 0.1), "NoObject", "sample"),
        ):
            async with raises(kind, word):
                await world.client.call("update_hyperparameter", *arguments)
        async with raises("NoObject"):
            await world.client.call("get_hyperparameters", TASK + 1, None, id=sample)
        async with raises("BadRequest", "ContentStatus"):
            await world.client.call("get_hyperparameters", TASK, None, status="Good")
        assert await world.client.call("get_hyperparameters", TASK + 1, None) == []
        async with IddsClient(str(world.api.client.make_url("")), token) as bob:
            async with raises("NoObject"):
                await bob.call("update_hyperparameter", TASK, None, sample, 0.1)
            assert await bob.call("get_hyperparameters", None, request) == []
        assert await world.api.rows() == before
        assert len(await waiting(world)) == 4


async def test_of_many_losses_at_a_time_one_counts(database_url: str) -> None:
    async with api_on(database_url) as api:
        token = await api.new_token("panda", role=Role.WFMS)
        await api.post("/idds/request", {"request_type": "HyperParameterOpt", "request_metadata": SEARCH}, token=token)
        await api.advance()
        path = f"/idds/hpo/{TASK}/null"
        (first, *_) = await api.get(f"{path}/null/null/null", token=token)
        puts = [api.call("PUT", f"{path}/{first['id']}/{value}", token=token) for value in [*range(20), MAGIC, "nan"]]
        answers = await asyncio.gather(*puts)
        assert {(answer.status, answer.document["status"]) for answer in answers} == {(200, 0)}
        (counted,) = [n for n, answer in enumerate(answers) if answer.document["message"] == "update successfully"]
        (shown,) = await api.get(f"{path}/{first['id']}/null/null", token=token)
        assert shown["loss"] == (float(counted) if counted < 20 else MAGIC)


async def test_files_are_no_samples(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        request = await world.ask()
        (first, *_) = await world.ids(request)
        assert await world.client.call("get_hyperparameters", TASK, None) == []
        async with raises("NoObject"):
            await world.client.call("update_hyperparameter", TASK, None, first, 0.1)


OPEN = OpenSamples(networks=("127.0.0.0/8",), vo="vo")


@pytest.mark.parametrize(
    ("settings", "welcome"),
    [
        (AccessSettings(), False),
        (AccessSettings(open_samples=OPEN), True),
        (AccessSettings(open_samples=OpenSamples(networks=("192.0.2.0/24",), vo="vo")), False),
        (AccessSettings(open_samples=OpenSamples(networks=("127.0.0.0/8",), vo="another")), None),
    ],
)
async def test_payloads_that_show_nothing_are_let_in_only_where_settings_say_so(
    sqlite_url: str, settings: AccessSettings, welcome: bool | None
) -> None:
    async with api_on(sqlite_url, access=settings) as api:
        workload_manager = await api.new_token("panda", role=Role.WFMS)
        body = {"request_type": "HyperParameterOpt", "request_metadata": SEARCH}
        request = (await api.post("/idds/request", body, token=workload_manager))["request_id"]
        await api.advance()
        rows = await api.get(f"/idds/hpo/{TASK}/null/null/null/null", token=workload_manager)
        one = f"/idds/hpo/{TASK}/null/{rows[0]['id']}"
        fetched = await api.call("GET", f"{one}/null/null", token="")
        reported = await api.call("PUT", f"{one}/0.5", token="")
        expected = {True: 200, False: 401, None: 404}[welcome]
        assert (fetched.status, reported.status) == (expected, expected)
        if welcome:
            assert fetched.document == rows[:1]
            assert reported.document["status"] == 0
        # Nothing else is open, nor is a token that is wrong as good as none.
        for method, path, headers in (
            ("GET", f"/idds/hpo/{TASK}/null/null/null/null", {}),
            ("GET", f"/idds/hpo/null/{request}/{rows[0]['id']}/null/null", {}),
            ("PUT", f"/idds/hpo/null/{request}/{rows[1]['id']}/0.5", {}),
            ("GET", f"/idds/request/{request}/null/False/False/False/False", {}),
            ("GET", f"{one}/null/null", {"X-IDDS-Auth-Token": "idds_wrong"}),
            ("GET", f"{one}/null/null", {"Authorization": "Bearer idds_wrong"}),
        ):
            answer = await api.call(method, path, token="", headers=headers)
            assert answer.status == 401, (path, answer.document)
