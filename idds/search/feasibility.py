"""Whether constraints leave anything of a space: found out before a study is taken in, by drawing points."""

from collections.abc import Iterator
from importlib.util import find_spec

from idds.domain.errors import Problem
from idds.domain.space import Point, Space
from idds.domain.workflow import Samples
from idds.engine.spaces import spaces_of
from idds.search.constraints import Constraints, Unfit, compiled, truth
from idds.search.points import draw
from idds.search.random_sampler import first
from idds.search.seeds import generator

DRAWS = 1000
EVALUATIONS = 200_000
"""So many evaluations at most, about a second: with many segments and constraints there are fewer draws."""


def problems(samples: Samples, place: str) -> list[Problem]:
    """What is wrong with the constraints of a study in which nothing else is. It takes up to a second or two."""
    if not samples.constraints:
        return []
    if find_spec("cel") is None:
        return [Problem(f"{place}/constraints", "this service has not the extra `search`, which they need")]
    spaces = spaces_of(samples)
    draws = max(1, min(DRAWS, EVALUATIONS // (len(spaces) * len(samples.constraints))))
    for space in spaces:
        points = [draw(space, generator(number)) for number in range(draws)]
        if found := list(_problems_of(space, points, f"{place}/constraints")):
            return found
    constraints = Constraints(spaces[0])
    given = [first(spaces[0], samples.seed, number, point) for number, point in enumerate(samples.initial)]
    return [
        Problem(f"{place}/initial/{number}", "the constraints do not let this point through")
        for number, (point, whole) in enumerate(zip(samples.initial, given, strict=True))
        if point.keys() >= whole.keys() - spaces[0].fixed.keys() and not constraints.let_through(whole)
    ]


def _problems_of(space: Space, points: list[Point], place: str) -> Iterator[Problem]:
    left = [{**dict.fromkeys(space.parameters), **point} for point in points]
    for number, text in enumerate(space.constraints):
        try:
            program = compiled(text, {*space.parameters, *space.fixed})
            through = [truth(program, point) for point in left]
        except Unfit as unfit:
            yield Problem(f"{place}/{number}", str(unfit))
            return
        left = [point for point, is_through in zip(left, through, strict=True) if is_through]
        if not left:
            together = "" if number == 0 else ", along with those before"
            yield Problem(f"{place}/{number}", f"none of {len(points):,} points that were drawn fulfils it{together}")
            return
