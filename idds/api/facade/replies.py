"""What is answered: requests, collections and contents, with the fields that the official client's users read.

A dataset that is staged is one collection here. That client knows two, what is staged and what came of it: it is told
of the same one as either, and of the output where it does not ask for one of them.
"""

from datetime import UTC, datetime
from typing import Any

from idds.api.facade.route import Call
from idds.api.facade.vocabulary import CONTENTS, status_name, transform_status_name
from idds.domain.collection import Collection
from idds.domain.statuses import ContentStatus, Relation, Status
from idds.domain.transform import Transform
from idds.services.tasks import Asked
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
        "request_type": call.member("RequestType", "StageIn" if task is not None else "Workflow"),
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
        "transform_type": call.member("TransformType", "StageIn" if asked.task is not None else "Processing"),
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
        "transform_type": call.member("TransformType", "StageIn" if task is not None else "Processing"),
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
    did = collection.did if collection is not None else None
    if did is None and asked.task is not None:
        did = asked.task.dataset
    return {
        "coll_id": collection.id if collection is not None else None,
        "coll_scope": did.scope if did is not None else "",
        "coll_name": did.name if did is not None else "",
        "coll_status": call.member("CollectionStatus", _collection_status(collection)),
        "total_files": collection.total if collection is not None else 0,
        "processed_files": _staged(collection),
        "processing_files": 0,
        "new_files": collection.counts.get(ContentStatus.NEW, 0) if collection is not None else 0,
    }


def _collection_status(collection: Collection | None) -> str:
    return "Closed" if collection is not None and collection.is_closed else "Open"


def _staged(collection: Collection | None) -> int:
    """How many of its files were brought to disk, also those that were processed since."""
    brought = (ContentStatus.AVAILABLE, ContentStatus.LEASED, ContentStatus.DONE)
    return sum(collection.counts.get(status, 0) for status in brought) if collection is not None else 0


def collection_row(call: Call, asked: Asked, collection: Collection, relation: str) -> dict[str, Any]:
    counts, did = collection.counts, collection.did
    return {
        "coll_id": collection.id,
        "request_id": asked.request.id,
        "workload_id": asked.task.workload_id if asked.task is not None else None,
        "transform_id": collection.transform_id,
        "coll_type": call.member("CollectionType", "Dataset"),
        "relation_type": call.member("CollectionRelationType", relation),
        "scope": did.scope if did is not None else "",
        "name": did.name if did is not None else "",
        "status": call.member("CollectionStatus", _collection_status(collection)),
        "storage_id": collection.rse,
        "total_files": collection.total,
        "new_files": counts.get(ContentStatus.NEW, 0),
        "processing_files": 0,
        "processed_files": _staged(collection),
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
        "scope": listed.scope,
        "name": listed.name,
        "min_id": listed.min_id,
        "max_id": listed.max_id,
        "content_type": call.member("ContentType", "Event" if listed.max_id else "File"),
        "content_relation_type": call.member("ContentRelationType", relation),
        "status": call.member("ContentStatus", CONTENTS[ContentStatus(listed.status)]),
        "bytes": listed.bytes,
        "md5": None,
        "adler32": listed.adler32,
        "path": listed.path,
        "storage_id": collection.rse,
        "external_coll_id": None,
        "external_content_id": None,
        "content_metadata": {"reason": listed.reason} if listed.reason else None,
        "updated_at": _date(listed.changed_at),
    }


def _date(time: int | None) -> str | None:
    """Microseconds as that client's dates."""
    return None if time is None else datetime.fromtimestamp(time / 1e6, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
