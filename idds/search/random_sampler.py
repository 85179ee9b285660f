"""The random sampler: each sample is drawn from a generator of its own, so that asking again gives the same."""

import asyncio
from collections.abc import Sequence

from idds.domain.identifiers import CollectionId
from idds.domain.space import Point, Space
from idds.engine.spaces import Checks, given_for, spaces_of
from idds.ports.sampler import Order, Origin, SamplerFailure, Suggestion
from idds.search.constraints import Constraints
from idds.search.points import draw
from idds.search.seeds import generator

DRAWS = 10_000
"""So many points are tried against the constraints; that some fulfil them was found out at submission."""


class RandomSampler:
    """Fulfils `idds.ports.sampler.Sampler`, without another process: what it draws depends on nothing before."""

    def heard(self, study: CollectionId, version: int = 1) -> int | None:
        return 0

    async def ask(self, order: Order) -> Sequence[Suggestion]:
        if not order.samples.constraints:
            return _drawn(order)
        try:
            return await asyncio.to_thread(_drawn, order)
        except LookupError as error:
            raise SamplerFailure(str(error)) from None

    async def close(self) -> None:
        pass


def _drawn(order: Order) -> list[Suggestion]:
    samples = order.samples
    spaces = spaces_of(samples)
    # Of a thousand segments only those whose turn it is.
    turns = {number % len(spaces) for number in order.numbers}
    constraints = {n: Constraints(spaces[n]) for n in turns}
    checks = {n: Checks(spaces[n].parameters) for n in turns}
    drawn: list[Suggestion] = []
    for number in order.numbers:
        segment = number % len(spaces)
        space = spaces[segment]
        if (initial := given_for(number, samples, space, checks[segment])) is not None:
            drawn.append(Suggestion(number, first(space, samples.seed, number, initial), Origin.INITIAL))
        else:
            drawn.append(Suggestion(number, drawn_within(space, constraints[segment], samples.seed, number)))
    return drawn


def first(space: Space, seed: int, number: int, initial: Point) -> Point:
    """A point that was given, the rest of it drawn."""
    return draw(space, generator(seed, number), initial)


def drawn_within(space: Space, constraints: Constraints, seed: int, number: int) -> Point:
    """A point that fulfils the constraints. Raises LookupError where none is found."""
    source = generator(seed, number)
    for _ in range(DRAWS):
        point = draw(space, source)
        if constraints.let_through(point):
            return point
    raise LookupError(f"none of {DRAWS:,} points fulfils the constraints")
