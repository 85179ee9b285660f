"""What is served under /idds, called by the official client over HTTP."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from idds.api.facade.routes import FACADE
from idds.api.facade.vocabulary import tagged
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, ContentId, Did, RequestId
from idds.domain.request import Principal, Role
from idds.engine.transitions import ContentEvent
from idds.services.announcing import follow
from idds.services.listing import Listing
from idds.services.tasks import MESSAGES_AT_ONCE
from idds.services.telling import topic_of
from idds.store.contents import of_ids
from idds.testing.memory_ddm import MemoryDDM
from tests.integration.api import Api, api_on
from tests.integration.test_api_access import trusting
from tests.integration.test_api_permissions import ADMITTED
from tests.servers.idds_client import ClientError, IddsClient
from tests.servers.issuer import Issuer

DATASET = Did("data", "set")
TASK = 77
STAGE_IN = {
    "scope": "data",
    "name": "set",
    "requester": "panda",
    "request_type": "RequestType.StageIn",
    "transform_tag": 2,
    "status": "RequestStatus.New",
    "priority": 0,
    "lifetime": 30,
    "request_metadata": {"workload_id": TASK, "rule_id": None},
}


@dataclass(frozen=True)
class World:
    """The API, the official client of a workload manager, and a dataset of three files."""

    api: Api
    client: IddsClient
    ddm: MemoryDDM

    async def ask(self, **other: Any) -> RequestId:
        """Have a dataset staged, and listed."""
        request = await self.client.call("add_request", **STAGE_IN | other)
        await self.go_on()
        return RequestId(request)

    async def go_on(self) -> None:
        await self.api.advance()
        listing = Listing(self.api.database, self.ddm, "test")
        while await listing.step():
            await self.api.advance()

    async def status(self, request: int) -> str:
        (row,) = await self.client.call("get_requests", request_id=request)
        return str(row["status"])

    async def ids(self, request: int) -> list[ContentId]:
        contents = await self.client.call("get_contents", request_id=request)
        return [ContentId(each["content_id"]) for each in contents]

    async def move(self, request: RequestId, ids: Sequence[int], event: ContentEvent = ContentEvent.LANDED) -> None:
        """As the carrier does when files have landed, or cannot be had."""
        async with self.api.database.transaction("test") as tx:
            await tx.requests.lock([request])
            await follow(tx, await tx.contents.move(event, of_ids(ids)))
        await self.api.advance()

    async def told(self, request: int) -> list[tuple[str, list[str]]]:
        """What JEDI was told: the types of messages, with the names in each."""
        messages = await self.client.call("get_messages", request_id=request)
        assert all((each["workload_id"], each["relation_type"]) == (TASK, "output") for each in messages)
        return [
            (each["msg_type"], [one["name"] for one in each.get("files") or each["collections"]]) for each in messages
        ]


@asynccontextmanager
async def world_on(url: str) -> AsyncIterator[World]:
    ddm = MemoryDDM(Random(1))
    ddm.add_dataset(DATASET, [File(Did("data", f"file{number}"), 1000) for number in range(3)])
    async with api_on(url) as api:
        token = await api.new_token("panda", role=Role.WFMS)
        async with IddsClient(str(api.client.make_url("")), token) as client:
            yield World(api, client, ddm)


@asynccontextmanager
async def raises(kind: str, *words: str) -> AsyncIterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.kind == kind, caught.value
    assert all(word in caught.value.text for word in words), caught.value


async def test_a_dataset_is_asked_for_and_shown(database_url: str) -> None:
    async with world_on(database_url) as world:
        assert await world.client.call("ping") == {"Status": "OK"}
        request = await world.ask()
        (shown,) = await world.client.call("get_requests", workload_id=TASK)
        expected = {"request_id": request, "scope": "data", "name": "set", "requester": "panda", "username": "panda"}
        expected |= {"status": "RequestStatus.Transforming", "workload_id": TASK, "transform_tag": 2}
        assert expected.items() <= shown.items()
        assert "request_metadata" not in shown
        (whole,) = await world.client.call("get_requests", request_id=request, with_metadata=True)
        assert whole["request_metadata"] == STAGE_IN["request_metadata"]
        (collection,) = await world.client.call("get_collections", scope="da*", name="set", workload_id=TASK)
        assert (collection["status"], collection["total_files"]) == ("CollectionStatus.Closed", 3)
        assert collection["relation_type"] == "CollectionRelationType.Output"
        found = await world.client.call("get_collections", request_id=request, name="other")
        assert found == []
        first, *_ = await world.ids(request)
        await world.move(request, [first])
        contents = await world.client.call("get_contents", request_id=request, status="ContentStatus.Available")
        assert [each["content_id"] for each in contents] == [first]
        assert len(await world.client.call("get_contents", workload_id=TASK, relation_type=0)) == 3
        table = await world.client.manage("get_status", workload_id=TASK, with_detail=True)
        assert "Transforming[3/1/0]" in table
        assert "data:set" in await world.client.manage("get_status", request_id=request)
        assert await world.client.call("get_request_id_by_name", "data:set") == {"data:set": request}
        assert await world.client.call("get_requests", request_id=request, workload_id=TASK + 1) == []
        (transform,) = await world.client.call("get_transforms", request)
        assert (transform["name"], transform["status"]) == ("stagein", "TransformStatus.Transforming")
        assert await world.client.call("get_transform", request, transform["transform_id"]) == transform
        async with raises("NoObject"):
            await world.client.call("get_transform", request, 999)
        (ok, topics) = await world.client.manage("get_metainfo", "topics")
        assert (ok, topics["told"]) == (True, "idds/vo/jedi")


async def test_what_is_sent_again_is_one_request(database_url: str) -> None:
    async with world_on(database_url) as world:
        first = await world.ask()
        assert await world.ask() == first
        of_another = await world.ask(request_metadata={"workload_id": TASK + 1})
        by_a_rule = await world.ask(request_metadata={"workload_id": TASK, "rule_id": "a" * 32})
        assert len({first, of_another, by_a_rule}) == 3
        async with raises("ConflictRequestException", f"request {first}, of the same task", "on other terms"):
            await world.ask(priority=7)
        assert len(await world.client.call("get_requests", workload_id=TASK)) == 2


async def test_a_dataset_is_told_complete_when_all_of_it_came_or_cannot_come(database_url: str) -> None:
    async with world_on(database_url) as world:
        request = await world.ask()
        first, second, third = await world.ids(request)
        await world.move(request, [first])
        await world.move(request, [second], ContentEvent.FAILED)
        assert await world.told(request) == [("file_stagein", ["file0"])]
        async with world.api.database.transaction("test") as tx:
            await tx.requests.lock([request])
            await follow(tx, await tx.contents.move(ContentEvent.PROCESSED, of_ids([first])))
        await world.move(request, [third])
        told = [("file_stagein", ["file0"]), ("file_stagein", ["file2"]), ("collection_stagein", ["set"])]
        assert await world.told(request) == told
        messages = [{"msg_type": "job_status", "taskid": TASK, "status": "finished", "inputs": ["data:file2", "other"]}]
        await world.client.call("send_messages", workload_id=TASK, msgs=messages)
        await world.api.advance()
        assert await world.status(request) == "RequestStatus.SubFinished"
        assert await world.told(request) == told


async def test_messages_are_told_to_the_last_in_their_order(database_url: str) -> None:
    async with world_on(database_url) as world:
        request = await world.ask()
        assert await world.told(request) == []
        wanted = [f"file{number}" for number in range(2 * MESSAGES_AT_ONCE + 1)]
        async with world.api.database.transaction("test") as tx:
            await tx.requests.lock([request])
            for name in wanted:
                body = {"msg_type": "file_stagein", "workload_id": TASK, "relation_type": "output"}
                tx.messages.add(request, [(topic_of("vo"), {**body, "files": [{"name": name}]}), ("idds/vo/x", {})])
        assert [name for _, (name,) in await world.told(request)] == wanted


async def test_who_is_held_to_shares_ends_no_tasks_of_others(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        request = await world.ask()
        await world.move(request, await world.ids(request))
        held = Principal("panda", "vo", Role.WFMS, frozenset({"another"}))
        elsewhere = Principal("root", "another", Role.OPERATOR)
        messages = [
            {"msg_type": "job_status", "taskid": TASK, "status": "finished", "inputs": ["data:file0"]},
            {"msg_type": "task_status", "taskid": TASK, "status": "failed"},
        ]
        for who in (held, elsewhere):
            token = await world.api.doors.access.issue(who)
            answer = await world.api.call("POST", f"/idds/message/{request}/{TASK}/null/null", messages, token=token)
            assert answer.status == 200
        await world.api.advance()
        assert await world.status(request) == "RequestStatus.Transforming"
        contents = await world.client.call("get_contents", request_id=request)
        assert {each["status"] for each in contents} == {"ContentStatus.Available"}


async def test_a_request_that_is_cancelled_is_never_told_complete(database_url: str) -> None:
    async with world_on(database_url) as world:
        request = await world.ask()
        first, *_ = await world.ids(request)
        await world.move(request, [first])
        await world.client.call("abort_request", request)
        await world.api.advance()
        assert await world.status(request) == "RequestStatus.Cancelled"
        assert await world.told(request) == [("file_stagein", ["file0"])]


async def test_orders(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        request = await world.ask()
        assert (await world.client.call("update_request", request, {"status": "RequestStatus.ToSuspend"}))[
            "status"
        ] == 0
        await world.api.advance()
        assert await world.status(request) == "RequestStatus.Suspended"
        await world.client.call("update_request", request, {"status": "RequestStatus.ToResume"})
        await world.api.advance()
        assert await world.status(request) == "RequestStatus.Transforming"
        ((code, answer),) = await world.client.manage("retry", request_id=request)
        assert (code, answer["status"]) == (-1, -1)
        ((code, _),) = await world.client.manage("close", workload_id=TASK)
        assert code == 0
        await world.api.advance()
        assert await world.status(request) == "RequestStatus.Failed", "nothing of it was delivered"
        ((code, answer),) = await world.client.manage("abort", request_id=request)
        assert (code, "ended" in answer["message"]) == (-1, True)
        ((code, _),) = await world.client.manage("retry", request_id=request)
        assert code == 0
        ((code, _),) = await world.client.manage("abort", request_id=999)
        assert code == -1
        async with raises("NotImplementedException", "status"):
            await world.client.call("update_request", request, {"priority": 3})
        async with raises("NotImplementedException"):
            await world.client.call("abort_request_task", request, None, 1)
        async with raises("NoObject"):
            await world.client.call("update_request", 999, {"status": "RequestStatus.ToCancel"})


async def test_who_asks_for_whom(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        request = await world.ask(username="alice")
        (shown,) = await world.client.call("get_requests", request)
        assert shown["username"] == "alice"
        token = await world.api.new_token("bob")
        async with IddsClient(str(world.api.client.make_url("")), token) as bob:
            mine = await bob.call("add_request", **STAGE_IN | {"username": "alice"})
            (shown,) = await bob.call("get_requests", mine)
            assert shown["username"] == "bob", "he is not believed to be somebody else"
            assert shown["workload_id"] is None, "nor to know whose task it is"
            await world.go_on()
            await world.move(mine, await world.ids(mine))
            assert await bob.call("get_messages", request_id=mine) == []
            assert await bob.call("get_requests", request) == []
            assert await bob.call("get_contents", request_id=request) == []
            await bob.call("set_original_user", "alice")
            async with raises("AuthenticationNoPermission", "wfms"):
                await bob.call("add_request", **STAGE_IN | {"name": "other"})
        async with IddsClient(str(world.api.client.make_url("")), "idds_unknown") as nobody:
            async with raises("AuthenticationException"):
                await nobody.call("get_requests", request)
            with pytest.raises(ClientError):
                await nobody.call("send_messages", request, msgs=[])


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"scope": None}, "BadRequest", "/scope"),
    ({"scope": "a:b"}, "BadRequest", "/scope"),
    ({"name": ""}, "BadRequest", "/name"),
    ({"name": 7}, "BadRequest", "/name"),
    ({"lifetime": -1}, "BadRequest", "/lifetime"),
    ({"request_metadata": {"workload_id": "many"}}, "BadRequest", "/request_metadata/workload_id"),
    ({"request_metadata": {"workload_id": 1, "rule_id": 7}}, "BadRequest", "/request_metadata/rule_id"),
    ({"site": {"class": "A", "module": "b", "attributes": {}}}, "BadRequest", "/site"),
    ({"request_type": "RequestType.ActiveLearning"}, "NotImplementedException", "ActiveLearning"),
    ({"request_type": "RequestType.iWorkflow"}, "NotImplementedException", "iWorkflow"),
    ({"request_type": None}, "NotImplementedException", "StageIn"),
]


async def test_what_cannot_be_is_told_by_its_place_and_changes_nothing(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        before = await world.api.rows()
        for other, kind, place in BAD:
            async with raises(kind, place):
                await world.client.call("add_request", **STAGE_IN | other)
        for call in (
            ("add_transform", 1),
            ("update_build_request", 1, "a", "b"),
            ("create_workflow_task", {}),
            ("register_contents", "data", "set", 1, TASK, []),
            ("get_oidc_sign_url", "vo"),
            ("send_messages", 1, None, None, None, [{"command": "update_request"}]),
        ):
            async with raises("NotImplementedException"):
                await world.client.call(*call)
        for message in (
            {"msg_type": "job_status", "status": "finished", "taskid": -1, "inputs": ["a"]},
            {"msg_type": "job_status", "status": "finished", "taskid": 1, "inputs": "a"},
            {"msg_type": "task_status", "status": ["done"], "taskid": 1},
            {"msg_type": 5},
            "task_status",
        ):
            async with raises("BadRequest", "/0"):
                await world.client.call("send_messages", 1, msgs=[message])
        good = {"msg_type": "task_status", "status": "aborted", "taskid": TASK}
        async with raises("BadRequest", "/1"):
            await world.client.call("send_messages", 1, msgs=[good, "task_status"])
        async with raises("BadRequest", "taskid"):
            await world.client.call("send_messages", 1, msgs=[{"msg_type": "task_status", "status": "done"}])
        async with raises("BadRequest", "number"):
            await world.client.call("get_requests")
        async with raises("BadRequest", "{request}"):
            await world.client.call("get_requests", "a")
        async with raises("BadRequest", "ContentStatus"):
            await world.client.call("get_contents", request_id=1, status=99)
        async with raises("BadRequest", "{name}"):
            await world.client.call("get_request_id_by_name", "%00")
        async with raises("NoObject"):
            await world.client.call("get_metainfo", "everything")
        assert await world.api.rows() == before


async def test_plain_numbers_for_who_wants_no_objects(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        request = await world.ask()
        path = f"/idds/request/{request}/null/False/False/False/False?json_outputs=true"
        (shown,) = await world.api.get(path, token=await world.api.new_token("panda"))
        assert (shown["status"], shown["request_type"]) == (2, 2)


async def test_every_route_lets_in_whom_it_is_for_and_nobody_else(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        number = await api.submit({"name": "open", "works": [{"name": "open", "input": {"registered": {}}}]})
        payload = (await api.post(f"/v1/collections/{await api.input_of(number)}:token", {}))["token"]
        tokens = {"nobody": "", "unknown": "idds_unknown", "payload": payload, "user": api.token}
        tokens |= {role.value: await api.new_token(role.value, role=role) for role in Role if role is not Role.USER}
        for route in FACADE:
            path = (
                route.path.replace("{rest:.*}", "logs")
                .replace("{verb:abort|close|retry}", "retry")
                .replace("{verb:abort}", "abort")
            )
            for name in (
                "request",
                "workload",
                "transform",
                "name",
                "scope",
                "relation",
                "status",
                "id",
                "limit",
                "loss",
            ):
                path = path.replace(f"{{{name}}}", "null" if name in ("workload", "transform", "status") else "1")
            path = path.replace("{", "").replace("}", "")
            for role, token in tokens.items():
                body = None if route.method == "GET" else []
                headers = {"X-IDDS-Auth-Token": token} if token else {}
                method = route.method.replace("*", "GET")
                answer = await api.call(method, path, body, token="", headers=headers)
                place = (route.name, role, answer.status, answer.document)
                if route.caller in ADMITTED[role]:
                    assert answer.status not in (401, 403), place
                else:
                    assert answer.status == (401 if role in ("nobody", "unknown") else 403), place


async def test_ids_of_collections_are_those_of_the_api(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        request = await world.ask()
        (collection,) = await world.client.call("get_collections", request_id=request)
        async with world.api.database.snapshot() as tx:
            found = await tx.collections.get(CollectionId(collection["coll_id"]))
        assert found is not None
        assert (found.request_id, found.total) == (request, collection["total_files"])


async def test_a_token_of_a_trusted_issuer_is_shown_the_same_way(sqlite_url: str) -> None:
    async with Issuer().running() as issuer, trusting(issuer) as issuers, api_on(sqlite_url, issuers=issuers) as api:
        async with IddsClient(str(api.client.make_url("")), issuer.sign()) as client:
            request = await client.call("add_request", **STAGE_IN)
            (shown,) = await client.call("get_requests", request)
            assert shown["username"] == issuer.subject
        spoilt = issuer.sign()[:-8]
        async with IddsClient(str(api.client.make_url("")), spoilt) as client, raises("AuthenticationException"):
            await client.call("get_requests", request)


ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1.5,
        2**63,
        10**30,
        "",
        " ",
        "a:b",
        "\0",
        "\ud800",
        "x" * 100_000,
        "idds_zip:AAAA",
        "../..",
        "é",
    ),
    *([], [[]], {}, {"class": 1, "module": 2, "attributes": 3}, {"_value_": 2}, tagged("RequestType", "StageIn")),
)


def _odd_searches(odd: Any) -> list[dict[str, Any]]:
    """A search with something odd in each of its places."""
    space = {"a": {"type": "Scalar", "bounds": [0, 5]}}
    good = {"opt_space": space, "max_points": 5, "method": "random"}
    places = ("opt_space", "max_points", "method", "initial_points", "num_points_per_generation", "workload_id")
    spaces = [{"a": odd}, {"a": {"type": odd}}, {"a": {"type": "Scalar", "bounds": odd}}, [odd]]
    spaces += [{"a": {"type": "Scalar", "bounds": [0, odd]}}, {"a": {"type": "Choice", "params": {"choices": [odd]}}}]
    spaces += [{"a": {"method": "quniform", "dimension": {"low": 0, "high": 1, "q": odd}}}]
    spaces += [[{"model_id": odd, "search_space": space}], [{"model_id": "a", "search_space": odd}]]
    searches = [good | {place: odd} for place in places] + [good | {"opt_space": each} for each in spaces]
    searches += [good | {"initial_points": [odd]}, good | {"initial_points": [{"a": odd}]}]
    return [{"request_type": "HyperParameterOpt", "request_metadata": each} for each in [odd, *searches]]


async def test_no_body_and_no_path_breaks_it(sqlite_url: str) -> None:
    good = {**STAGE_IN, "request_type": tagged("RequestType", "StageIn"), "status": tagged("RequestStatus", "New")}
    async with api_on(sqlite_url) as api:
        token = await api.new_token("panda", role=Role.WFMS)
        for odd in ODD:
            bodies = [odd, [odd], {"status": odd}, *({**good, name: odd} for name in [*good, "username", "extra"])]
            bodies += [{**good, "request_metadata": {name: odd}} for name in ("workload_id", "rule_id", "extra")]
            for body in bodies:
                for method, path in (
                    ("POST", "/idds/request"),
                    ("PUT", "/idds/request/1"),
                    ("POST", "/idds/message/1/1/1/1"),
                ):
                    answer = await api.call(method, path, body, token=token)
                    assert answer.status < 500 or answer.status == 501, (method, path, body, answer.document)
                    assert answer.status == 200 or answer.headers["ExceptionClass"], (method, path, body)
            for document in _odd_searches(odd):
                answer = await api.call("POST", "/idds/request", document, token=token)
                assert answer.status in (200, 400, 409, 501), (document, answer.document)
        for part in ("%00", "%ff", "-1", "1.5", "9" * 30, "null", "%2F", "%25", "*", "[", "é", "True", "x" * 1000):
            for route in FACADE:
                path = re.sub(r"{verb[^}]*}", "abort", route.path)
                path = re.sub(r"{[^}]*}", part, path)
                answer = await api.call(route.method.replace("*", "GET"), path, token=token)
                assert answer.status < 500 or answer.status == 501, (path, answer.document)
