"""A collection: an input or output set of a transform."""

from collections.abc import Mapping
from dataclasses import dataclass

from idds.domain.identifiers import CollectionId, Did, RequestId, TransformId
from idds.domain.statuses import ContentStatus, Relation, SourceKind


@dataclass(frozen=True, slots=True)
class Collection:
    """`counts` holds how many contents have each status, folded from moves, never recounted.

    A closed collection gets no more contents; it was `cut_off` where its source had more to tell. `source` is None
    for outputs; `listed_to` is where the listing of a dataset, or the asking of a sampler, stands; `unadmitted` counts
    `new` contents that hold no pin. While a retry looks through its contents, `retried_to` is the last one that it has
    seen, 0 at first; else it is None. Its files are cut into ranges of at most `range_events` events; None: they stay
    whole. They are recalled from the tape `source_rse`, None where that is left to the data management; an operator who
    forces their staging does so at `forced_at`. Of its samples `taken_back` were cancelled before anybody took them, as
    the space was redefined or the study stopped: others are drawn in their place, or none; `demand` is how many more
    its consumers waited for when they asked last. It is there since `created_at` (microseconds UTC).
    """

    id: CollectionId
    request_id: RequestId
    transform_id: TransformId
    relation: Relation
    source: SourceKind | None
    did: Did | None
    rse: str | None
    batch: int
    is_closed: bool
    listed_to: str | None
    next_no: int
    unadmitted: int
    counts: Mapping[ContentStatus, int]
    range_events: int | None = None
    cut_off: bool = False
    retried_to: int | None = None
    source_rse: str | None = None
    forced_at: int | None = None
    taken_back: int = 0
    demand: int = 0
    created_at: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def open(self) -> int:
        """How many contents have not reached an end."""
        return sum(n for status, n in self.counts.items() if not status.is_terminal)

    def groups_of_next(self, number: int) -> list[int]:
        """The groups that the next so many numbers belong to: a batch each, one for all where there is no batch."""
        if not self.batch:
            return [0] * number
        return [number // self.batch for number in range(self.next_no, self.next_no + number)]
