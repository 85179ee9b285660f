"""Whether constraints leave anything of a space: found out before a study is taken in, by drawing points."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from idds.domain.errors import Problem
from idds.domain.space import Point, Space
from idds.domain.workflow import Samples
from idds.engine.spaces import spaces_of
from idds.search.constraints import Constraint, Constraints, Unfit
from idds.search.points import draw
from idds.search.random_sampler import first
from idds.search.seeds import generator

DRAWS = 1000
MOST_COSTS = 100_000_000
"""Evaluations may cost so much in all, about a second: with many segments and constraints there are fewer draws."""
DRAWN_COSTS = 200
"""Of each parameter of a point that is drawn."""


def problems(samples: Samples, place: str) -> list[Problem]:
    """What is wrong with the constraints of a study in which nothing else is. It takes up to a second or two."""
    if not samples.constraints:
        return []
    if find_spec("cel") is None:
        return [Problem(f"{place}/constraints", "this service has not the extra `search`, which they need")]
    spaces = spaces_of(samples)
    if found := list(_unfit(spaces, f"{place}/constraints")):
        return found
    cost = sum(Constraints(space).cost + DRAWN_COSTS * len(space.parameters) for space in spaces)
    if cost > MOST_COSTS:
        return [Problem(f"{place}/constraints", "with so many segments these take too long to be looked at")]
    if cost * len(samples.initial) > MOST_COSTS:
        return [Problem(f"{place}/initial", "with these constraints so many take too long to be looked at")]
    draws = min(DRAWS, MOST_COSTS // cost)
    for space in spaces:
        points = [draw(space, generator(number)) for number in range(draws)]
        if found := list(_problems_of(space, points, f"{place}/constraints")):
            return found
    constraints = [Constraints(space) for space in spaces]
    return [
        Problem(f"{place}/initial/{number}", "the constraints do not let this point through")
        for number, point in enumerate(samples.initial)
        if not _may_be_let_through(spaces[number % len(spaces)], constraints[number % len(spaces)], point)
    ]


def _may_be_let_through(space: Space, constraints: Constraints, point: Point) -> bool:
    """Of an initial point: what it leaves out is drawn, and may or may not be."""
    whole = first(space, 0, 0, point)
    return not point.keys() >= whole.keys() - space.fixed.keys() or constraints.let_through(whole)


def _unfit(spaces: Sequence[Space], place: str) -> Iterator[Problem]:
    """What is no expression over the names of each space."""
    for space in spaces:
        for number, text in enumerate(space.constraints):
            try:
                Constraint(text, {*space.parameters, *space.fixed})
            except Unfit as unfit:
                yield Problem(f"{place}/{number}", str(unfit))
                return


def _problems_of(space: Space, points: list[Point], place: str) -> Iterator[Problem]:
    names, left = {*space.parameters, *space.fixed}, points
    for number, text in enumerate(space.constraints):
        constraint = Constraint(text, names)
        try:
            left = [point for point in left if constraint.truth(point)]
        except Unfit as unfit:
            yield Problem(f"{place}/{number}", str(unfit))
            return
        if not left:
            together = "" if number == 0 else ", along with those before"
            yield Problem(f"{place}/{number}", f"none of {len(points):,} points that were drawn fulfils it{together}")
            return
