"""Telling a workload manager of the files and samples of its tasks, in its own words.

The bodies are those that JEDI's message processors read, routed by `msg_type` (`TapeCarouselMsgProcPlugin` and
`HPOMsgProcPlugin` of panda-server): `file_stagein` releases the files that it names, `collection_stagein` all that is
left of a dataset; `file_hyperparameteropt` makes an event of each sample that it names, `collection_hyperparameteropt`
finishes the task.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from idds.domain.content import Content
from idds.domain.request import Request
from idds.domain.space import Point
from idds.domain.statuses import ContentStatus, Relation
from idds.domain.task import Task
from idds.engine.foreign_spaces import point_of
from idds.store.collections import Address
from idds.store.database import Transaction


def topic_of(vo: str) -> str:
    """Where a VO's workload manager listens."""
    return f"idds/{vo}/jedi"


def reports_topic_of(vo: str) -> str:
    """Where it tells how its jobs and tasks stand."""
    return f"{topic_of(vo)}/reports"


def tell_staged(tx: Transaction, address: Address, described: Sequence[Mapping[str, Any]]) -> None:
    """These files are on disk: jobs may have them. Others are not told of: not all listeners look at the status."""
    files = [_file(each["id"], each["scope"], each["name"], each["path"], "Available") for each in described]
    _tell(tx, address, {"msg_type": "file_stagein", "files": files})


async def tell_drawn(tx: Transaction, address: Address, contents: Sequence[Content]) -> None:
    """These samples were drawn just now. Each is told of once, ever: what JEDI has already spoils all beside it."""
    task = (await tx.tasks.of_requests([address.request_id]))[address.request_id]
    points = {each.id: path_of(task, (each.payload or {})["parameters"]) for each in contents}
    files = [_file(number, task.dataset.scope, number, path, "New") for number, path in points.items()]
    _tell(tx, address, {"msg_type": "file_hyperparameteropt", "files": files})


def path_of(task: Task | None, point: Point, loss: float | None = None) -> str:
    """A sample where a file has its path: its point, and its loss as far as that is known."""
    return json.dumps([point_of(point, segmented=task is not None and task.is_segmented), loss])


def _file(identifier: int, scope: str, name: str | int, path: str | None, status: str) -> dict[str, Any]:
    return {
        "scope": scope,
        "name": name,
        "path": path,
        "map_id": identifier,
        "content_id": identifier,
        "external_coll_id": None,
        "external_content_id": None,
        "status": status,
    }


async def tell_complete(tx: Transaction, address: Address) -> None:
    """Say that all of a dataset was on disk, or cannot be had; once, and not while a file is still to come.

    What was cancelled was never there, and of what was cut off nobody knows what is missing: nothing is said then.
    """
    collection = await tx.collections.get(address.collection_id)
    if collection is None or not collection.is_closed or collection.cut_off or collection.retried_to is not None:
        return
    if collection.counts[ContentStatus.NEW] or collection.counts[ContentStatus.CANCELLED]:
        return
    if collection.did is not None and await tx.tasks.note_closed(address.request_id):
        dataset = {"scope": collection.did.scope, "name": collection.did.name, "status": "Closed"}
        _tell(tx, address, {"msg_type": "collection_stagein", "collections": [dataset]})


async def tell_ended(tx: Transaction, request: Request) -> None:
    """Say that a request has ended, however it did, where it is the study of a task: no sample comes any more.

    Not before: JEDI finishes the task for it, and with that what is still to be evaluated. Again after each retry.
    """
    task = (await tx.tasks.of_requests([request.id])).get(request.id)
    if task is None or task.workload_id is None or task.kind != "HyperParameterOpt":
        return
    for collection in await tx.collections.of_request(request.id):
        if collection.relation is Relation.INPUT:
            address = (await tx.collections.addresses([collection.id]))[collection.id]
            samples = {"scope": task.dataset.scope, "name": task.dataset.name, "status": "Closed"}
            _tell(tx, address, {"msg_type": "collection_hyperparameteropt", "collections": [samples]})


def _tell(tx: Transaction, address: Address, body: Mapping[str, Any]) -> None:
    head = {
        "request_id": address.request_id,
        "transform_id": address.transform_id,
        "workload_id": address.workload_id,
        "relation_type": "output",
    }
    tx.messages.add(address.request_id, [(topic_of(address.vo), {**head, **body})])
