"""Telling a workload manager of the files of its tasks, in its own words.

The bodies are those that JEDI's message processors read, routed by `msg_type` (`TapeCarouselMsgProcPlugin` of
panda-server): `file_stagein` releases the files that it names, `collection_stagein` all that is left of a dataset.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from idds.domain.statuses import ContentStatus
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
    files = [
        {
            "scope": content["scope"],
            "name": content["name"],
            "path": content["path"],
            "map_id": content["id"],
            "content_id": content["id"],
            "external_coll_id": None,
            "external_content_id": None,
            "status": "Available",
        }
        for content in described
    ]
    _tell(tx, address, {"msg_type": "file_stagein", "files": files})


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


def _tell(tx: Transaction, address: Address, body: Mapping[str, Any]) -> None:
    head = {
        "request_id": address.request_id,
        "transform_id": address.transform_id,
        "workload_id": address.workload_id,
        "relation_type": "output",
    }
    tx.messages.add(address.request_id, [(topic_of(address.vo), {**head, **body})])
