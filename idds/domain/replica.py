"""Replicas on a disk RSE, and the windows that bound them."""

from dataclasses import dataclass

from idds.domain.identifiers import Did, ReplicaId, WindowId
from idds.domain.statuses import ReplicaStatus


@dataclass(frozen=True, slots=True)
class Replica:
    """`ours` says that we had it staged, so that deleting it is ours too; only then does it count in windows.

    `window_id` is the window of the collection it was admitted for; None when only the RSE's window counts it. It is to
    come from the tape `source_rse`, None: from any. It was ordered at `ordered_at`, and has been found stalled
    `stalled_times` since, last at `stalled_at`.
    """

    id: ReplicaId
    rse: str
    did: Did
    bytes: int
    adler32: str | None
    status: ReplicaStatus
    rule_id: str | None
    ours: bool
    window_id: WindowId | None
    changed_at: int
    source_rse: str | None = None
    ordered_at: int | None = None
    stalled_times: int = 0
    stalled_at: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The data management tells that something happened to a file on an RSE; None: on one of its RSEs.

    `is_deletion`: that it was deleted there.
    """

    rse: str | None
    did: Did
    is_deletion: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """How much may be admitted at once: of an RSE (`kind` "rse", `ref` its name) or of a collection (`ref` its id).

    None as a limit means none. For samples only files count, one a sample. `set_by` is the operator who changed its
    limits at `set_at`: settings and workflows do not change them from then on.
    """

    id: WindowId
    kind: str
    ref: str
    limit_bytes: int | None
    reserved_bytes: int
    limit_files: int | None
    reserved_files: int
    set_by: str | None = None
    set_at: int | None = None
