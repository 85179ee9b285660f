"""What is answered: requests, collections and contents, with the fields that the official client's users read.

A dataset that is staged is one collection here. That client knows two, what is staged and what came of it: it is told
of the same one as either, and of the output where it does not ask for one of them.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from idds.api.facade.route import Call
from idds.api.facade.vocabulary import CONTENTS, FAILED, SAMPLES, status_name, transform_status_name
from idds.domain.collection import Collection
from idds.domain.identifiers import Did
from idds.domain.statuses import ContentStatus, Relation, SourceKind, Status
from idds.domain.transform import Transform
from idds.services.tasks import Asked
from idds.services.telling import path_of
from idds.store.listings import Listed


def request_rows(call: Call, asked: Asked, *, in_detail: bool, with_metadata: bool) -> list[dict[str, Any]]:
    """A request; in detail, once for each of its transforms."""
    request, task = asked.request, asked.task
    document = task.document if task is not None else {}
    row = {
        "request_id": request.id,
        "scope": task.dataset.scope if task is not None else "",
        "name": task.dataset.name if task is not None else request.name,
        "requester": document.get("requester"),
        "request_type": call.member("RequestType", task.kind if task is not None else "Workflow"),
        "username": request.owner,
        "userdn": None,
        "transform_tag": document.get("transform_tag"),
        "workload_id": task.workload_id if task is not None else None,
        "priority": request.priority,
        "status": call.member("RequestStatus", status_name(request)),
        "created_at": _date(request.created_at),
        "updated_at": _date(request.changed_at),
        "expired_at": _date(request.expires_at),
        "errors": {"msg": request.reason} if request.reason else None,
    }
    if with_metadata:
        row["request_metadata"] = document.get("request_metadata")
    if not in_detail:
        return [row]
    # A request that is quite new has none: how far it is can be asked all the same.
    return [row | _detail(call, asked, transform) for transform in asked.transforms or (None,)]


def transform_row(call: Call, asked: Asked, transform: Transform) -> dict[str, Any]:
    return {
        "transform_id": transform.id,
        "request_id": asked.request.id,
        "workload_id": asked.task.workload_id if asked.task is not None else None,
        "transform_type": call.member("TransformType", asked.task.kind if asked.task is not None else "Processing"),
        "name": transform.work,
        "status": call.member("TransformStatus", transform_status_name(transform.status)),
        "priority": asked.request.priority,
        "created_at": _date(asked.request.created_at),
        "updated_at": _date(transform.changed_at),
        "errors": {"msg": transform.reason} if transform.reason else None,
    }


def _detail(call: Call, asked: Asked, transform: Transform | None) -> dict[str, Any]:
    request, task = asked.request, asked.task
    status = transform.status if transform is not None else Status.NEW
    detail = {
        "transform_id": transform.id if transform is not None else None,
        "transform_type": call.member("TransformType", task.kind if task is not None else "Processing"),
        "transform_workload_id": task.workload_id if task is not None else None,
        "transform_status": call.member("TransformStatus", transform_status_name(status)),
        "transform_created_at": _date(request.created_at),
        "transform_updated_at": _date(transform.changed_at if transform is not None else request.changed_at),
    }
    progress = _progress(call, asked, _delivered(asked, transform))
    return detail | {f"{side}_{name}": value for side in ("input", "output") for name, value in progress.items()}


def _delivered(asked: Asked, transform: Transform | None) -> Collection | None:
    """The collection of what a transform delivers."""
    for each in asked.collections:
        if transform is not None and each.transform_id == transform.id and each.relation is Relation.INPUT:
            return each
    return None


def _progress(call: Call, asked: Asked, collection: Collection | None) -> dict[str, Any]:
    did = did_of(asked, collection)
    return {
        "coll_id": collection.id if collection is not None else None,
        "coll_scope": did.scope if did is not None else "",
        "coll_name": did.name if did is not None else "",
        "coll_status": call.member("CollectionStatus", _collection_status(collection)),
        "total_files": collection.total if collection is not None else 0,
        "processed_files": _processed(collection),
        "processing_files": 0,
        "new_files": _count(collection, "New") if collection is not None else 0,
    }


def did_of(asked: Asked, collection: Collection | None) -> Did | None:
    """Under which name that client knows a collection."""
    if collection is not None and collection.did is not None:
        return collection.did
    return asked.task.dataset if asked.task is not None else None


def words_of(collection: Collection) -> Mapping[ContentStatus, str]:
    """What its contents are in the words of that client."""
    return SAMPLES if collection.source is SourceKind.SAMPLES else CONTENTS


def _count(collection: Collection, word: str) -> int:
    return sum(n for status, n in collection.counts.items() if words_of(collection)[status] == word)


def _collection_status(collection: Collection | None) -> str:
    return "Closed" if collection is not None and collection.is_closed else "Open"


def _processed(collection: Collection | None) -> int:
    """How many files were brought to disk, also those that were processed since; how many samples have their loss."""
    if collection is None:
        return 0
    return sum(_count(collection, word) for word in ("Available", "Deleted"))


def collection_row(call: Call, asked: Asked, collection: Collection, relation: str) -> dict[str, Any]:
    counts, did = collection.counts, did_of(asked, collection)
    return {
        "coll_id": collection.id,
        "request_id": asked.request.id,
        "workload_id": asked.task.workload_id if asked.task is not None else None,
        "transform_id": collection.transform_id,
        "coll_type": call.member("CollectionType", "Dataset" if collection.did is not None else "PseudoDataset"),
        "relation_type": call.member("CollectionRelationType", relation),
        "scope": did.scope if did is not None else "",
        "name": did.name if did is not None else "",
        "status": call.member("CollectionStatus", _collection_status(collection)),
        "storage_id": collection.rse,
        "total_files": collection.total,
        "new_files": _count(collection, "New"),
        "processing_files": 0,
        "processed_files": _processed(collection),
        "failed_files": counts.get(ContentStatus.FAILED, 0),
        "missing_files": counts.get(ContentStatus.MISSING, 0),
        "created_at": _date(asked.request.created_at),
        "updated_at": _date(asked.request.changed_at),
    }


def content_row(call: Call, asked: Asked, collection: Collection, listed: Listed, relation: str) -> dict[str, Any]:
    return {
        "content_id": listed.id,
        "transform_id": collection.transform_id,
        "coll_id": collection.id,
        "request_id": asked.request.id,
        "workload_id": asked.task.workload_id if asked.task is not None else None,
        "map_id": listed.id,
        **_named(asked, collection, listed),
        "min_id": listed.min_id,
        "max_id": listed.max_id,
        "content_type": call.member("ContentType", _type_of(collection, listed)),
        "content_relation_type": call.member("ContentRelationType", relation),
        "status": call.member("ContentStatus", words_of(collection)[ContentStatus(listed.status)]),
        "bytes": listed.bytes,
        "md5": None,
        "adler32": listed.adler32,
        "storage_id": collection.rse,
        "external_coll_id": None,
        "external_content_id": None,
        "content_metadata": {"reason": listed.reason} if listed.reason else None,
        "updated_at": _date(listed.changed_at),
    }


def _named(asked: Asked, collection: Collection, listed: Listed) -> dict[str, Any]:
    """A sample has its number for a name, and its point and loss where a file has its path."""
    if collection.source is not SourceKind.SAMPLES:
        return {"scope": listed.scope, "name": listed.name, "path": listed.path}
    did, parameters = did_of(asked, collection), json.loads(listed.parameters or "{}")
    loss = loss_of(ContentStatus(listed.status), json.loads(listed.objective_values or "[]"))
    scope = did.scope if did is not None else ""
    return {"scope": scope, "name": str(listed.id), "path": path_of(asked.task, parameters, loss)}


def loss_of(status: ContentStatus, values: Sequence[float]) -> float | None:
    """Of a sample; what has none and gets none any more has that of a failure."""
    if values:
        return values[0]
    return FAILED if status.is_terminal else None


def _type_of(collection: Collection, listed: Listed) -> str:
    if collection.source is SourceKind.SAMPLES:
        return "PseudoContent"
    return "Event" if listed.max_id else "File"


def _date(time: int | None) -> str | None:
    """Microseconds as that client's dates."""
    return None if time is None else datetime.fromtimestamp(time / 1e6, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
