"""The words of the official client: its enumerations, by name and number, and ours in them.

Names and numbers are those of `idds.common.constants` in idds-common 2.6.21. That client makes an object of every
`{class, module, attributes}` that it is answered, so only these are ever told, and only these are read.
"""

from collections.abc import Mapping
from typing import Any

from idds.domain.request import Request
from idds.domain.statuses import ContentStatus, Intent, Status

MODULE = "idds.common.constants"

_OF_REQUESTS = (
    "New Ready Transforming Finished SubFinished Failed Extend ToCancel Cancelling Cancelled ToSuspend Suspending"
    " Suspended ToResume Resuming ToExpire Expiring Expired ToFinish ToForceFinish Terminating Building Built"
)
_OF_TYPES = "Workflow EventStreaming StageIn ActiveLearning HyperParameterOpt Derivation"


def _numbered(names: str, **others: int) -> Mapping[str, int]:
    return {name: number for number, name in enumerate(names.split())} | others


ENUMERATIONS: Mapping[str, Mapping[str, int]] = {
    "RequestStatus": _numbered(f"{_OF_REQUESTS} Throttling ToClose"),
    "RequestType": _numbered(f"{_OF_TYPES} iWorkflow iWorkflowLocal GenericWorkflow WorkData", Other=99),
    "TransformStatus": _numbered(f"{_OF_REQUESTS} Queue Throttling WaitForTrigger"),
    "TransformType": _numbered(
        f"{_OF_TYPES} Processing Actuating Data iWorkflow iWork GenericWorkflow GenericWork BuildWork", Other=99
    ),
    "CollectionType": _numbered("Container Dataset File PseudoDataset NoContentDataset"),
    "CollectionRelationType": _numbered("Input Output Log"),
    "CollectionStatus": _numbered("New Updated Processing Open Closed SubClosed Failed Deleted Cancelled Suspended"),
    "ContentType": _numbered("File Event PseudoContent"),
    "ContentRelationType": _numbered("Input Output Log InputDependency"),
    "ContentStatus": _numbered(
        "New Processing Available Failed FinalFailed Lost Deleted Mapped FakeAvailable Missing Cancelled Activated"
        " SubAvailable FinalSubAvailable PreProcessing"
    ),
}

_STATUSES: Mapping[Status, str] = {
    Status.NEW: "New",
    Status.READY: "Ready",
    Status.RUNNING: "Transforming",
    Status.SUSPENDED: "Suspended",
    Status.FINISHED: "Finished",
    Status.SUBFINISHED: "SubFinished",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
    Status.EXPIRED: "Expired",
}
_UNDER_WAY: Mapping[Intent, str] = {
    Intent.CANCEL: "Cancelling",
    Intent.SUSPEND: "Suspending",
    Intent.FINISH: "ToFinish",
    Intent.EXPIRE: "Expiring",
}

CONTENTS: Mapping[ContentStatus, str] = {
    ContentStatus.NEW: "New",
    ContentStatus.AVAILABLE: "Available",
    ContentStatus.LEASED: "Available",
    # It was processed, and its place on disk was given back.
    ContentStatus.DONE: "Deleted",
    ContentStatus.FAILED: "FinalFailed",
    ContentStatus.MISSING: "Missing",
    ContentStatus.CANCELLED: "Cancelled",
}
"""What ours are in its words. A file on its way is `New` like one that waits."""

SAMPLES: Mapping[ContentStatus, str] = {
    **CONTENTS,
    # To be evaluated, whether somebody is at it or not; and evaluated.
    ContentStatus.AVAILABLE: "New",
    ContentStatus.LEASED: "New",
    ContentStatus.DONE: "Available",
}
"""The same of samples."""
FAILED = 1e5
"""What JEDI says the loss is where the last attempt failed. Whoever asks is told so of a sample that gets none."""

ORDERS: Mapping[str, Intent] = {
    "ToCancel": Intent.CANCEL,
    "ToSuspend": Intent.SUSPEND,
    "ToResume": Intent.RUN,
    "ToFinish": Intent.FINISH,
    "ToForceFinish": Intent.FINISH,
    "ToClose": Intent.FINISH,
}
"""The statuses of a request that are orders."""


def tagged(kind: str, name: str) -> dict[str, Any]:
    """A member of an enumeration, as that client reads and writes it."""
    return {"class": kind, "module": MODULE, "attributes": {"_value_": ENUMERATIONS[kind][name], "_name_": name}}


def status_name(request: Request) -> str:
    """How a request stands; an order that is being obeyed comes first."""
    is_there = request.status is Status.SUSPENDED and request.intent is Intent.SUSPEND
    if request.status.is_terminal or is_there:
        return _STATUSES[request.status]
    return _UNDER_WAY.get(request.intent, _STATUSES[request.status])


def transform_status_name(status: Status) -> str:
    return _STATUSES[status]
