"""What others have recalled, offered to whoever waits for it: looked for as it comes, never among all that waits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId
from idds.engine.planner import Demand, Plan, Standing
from idds.engine.window import Candidate
from idds.services.admission import as_wanted
from idds.store.database import Transaction
from idds.store.demands import Position

LOOKUPS = 20_000
"""So many pairs of a replica and an input are looked up in a step."""
MOST_REPLICAS = 2000
MOST_CONTENTS = 2000
"""So many contents of an input are offered in a step; of one group at least."""
OVERLAP = 2_000_000
"""What was written by a transaction that began so many microseconds before it ended is seen all the same."""

_FROM_THE_BEGINNING = (0, 0)


@dataclass(slots=True)
class _Look:
    """At the replicas for one input: which of its groups were found, by which replica, and from where it goes on."""

    found: dict[int, Position]
    then: Position
    is_full: bool


class Joining:
    """Remembers, for each disk, up to which change of its replicas it has been looked for each input."""

    def __init__(self) -> None:
        self._positions: dict[str, dict[CollectionId, Position]] = {}
        self._looks: dict[CollectionId, _Look] = {}

    async def offer(self, tx: Transaction, standing: Standing) -> Standing:
        """The same, with what each input may join."""
        before = self._positions.get(standing.rse, {})
        positions = {each.collection: before.get(each.collection, _FROM_THE_BEGINNING) for each in standing.demands}
        self._positions[standing.rse] = positions
        self._looks = {}
        for position in sorted(set(positions.values())):
            await self._look(tx, standing.rse, position, [each for each, at in positions.items() if at == position])
        wanting = [each for each, look in self._looks.items() if look.found]
        inputs = {each.id: each for each in await tx.collections.get_all(wanting)} if wanting else {}
        demands = [await self._with_joins(tx, each, inputs.get(each.collection)) for each in standing.demands]
        return replace(standing, demands=tuple(demands))

    async def _look(self, tx: Transaction, rse: str, position: Position, inputs: Sequence[CollectionId]) -> None:
        limit = min(MOST_REPLICAS, max(1, LOOKUPS // len(inputs)))
        came = await tx.demands.pinnable(rse, position, limit)
        is_full = len(came) == limit
        then = (came[-1][0], came[-1][1] + 1) if is_full else max(position, (tx.now - OVERLAP, 0))
        for each in inputs:
            self._looks[each] = _Look({}, then, is_full)
        if came:
            for collection, group, at in await tx.demands.wanting([number for _, number in came], inputs):
                self._looks[collection].found.setdefault(group, at)

    async def _with_joins(self, tx: Transaction, demand: Demand, collection: Collection | None) -> Demand:
        look, heads = self._looks[demand.collection], {group.group_no for group in demand.heads}
        if collection is None or not collection.batch:
            return demand  # one of all is a head
        for group in heads & look.found.keys():
            del look.found[group]
        behind = list(look.found)
        most = max(1, MOST_CONTENTS // collection.batch)
        if len(behind) > most:
            look.then, look.is_full = look.found[behind[most]], True
        complete = [each for each in behind[:most] if _is_complete(collection, each)]
        files = await tx.contents.unadmitted_in(collection, complete) if complete else []
        groups = [
            Candidate(number, tuple(as_wanted(file) for file in group))
            for number, group in groupby(files, key=lambda file: file.group_no)
        ]
        return replace(demand, joins=tuple(group for group in groups if not group.files))

    def settle(self, rse: str, standing: Standing, made: Plan) -> bool:
        """Note what was joined; whether there may be more at once.

        What had landed and was not joined for lack of room is offered again; what is on its way is when it lands.
        """
        admitted = Counter((a.demand.collection, group.group_no) for a in made.admissions for group in a.groups)
        more = False
        for demand in standing.demands:
            look = self._looks[demand.collection]
            left = [
                look.found[group.group_no]
                for group in demand.joins
                if group.has_landed and not admitted[demand.collection, group.group_no]
            ]
            self._positions[rse][demand.collection] = min([look.then, *left])
            more = more or (look.is_full and not left)
        return more


def _is_complete(collection: Collection, group: int) -> bool:
    return collection.is_closed or (group + 1) * collection.batch <= collection.next_no
