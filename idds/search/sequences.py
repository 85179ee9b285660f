"""Searches that learn nothing: every point of a grid, or those of a sequence that fills the space evenly.

The nth sample of a version of a space has the nth point that its constraints let through, whenever it is asked for.
"""

from collections.abc import Iterator

from idds.domain.space import Point, Space
from idds.domain.workflow import Samples
from idds.ports.sampler import Known, Origin, Suggestion
from idds.search.constraints import Constraints
from idds.search.points import at, grid
from idds.search.random_sampler import first
from idds.search.seeds import seed

MISSES = 1_000_000
"""So many points in a row that the constraints don't let through, and the search is given up."""
AT_ONCE = 64


class SequenceSearch:
    """A search along points in a fixed order; it keeps where it stands, and begins anew for an earlier point.

    The sample with number `begin` has the first of them, or the next of the segment.
    """

    def __init__(self, samples: Samples, space: Space, segment: int, segments: int, begin: int = 0) -> None:
        self._samples = samples
        self._space = space
        self._segment = segment
        self._segments = segments
        self._skipped = -((segment - max(begin, len(samples.initial))) // segments)
        self._constraints = Constraints(space)
        self._points = self._begin()
        self._next = 0

    def _begin(self) -> Iterator[Point]:
        points = grid(self._space) if self._samples.sampler == "grid" else self._even()
        misses = 0
        for point in points:
            misses += 1
            if self._constraints.let_through(point):
                yield point
                misses = 0
            elif misses == MISSES:
                raise LookupError(f"none of {MISSES:,} points fulfils the constraints")

    def _even(self) -> Iterator[Point]:
        """Points of Sobol's sequence, scrambled as Owen has it."""
        from scipy.stats.qmc import Sobol

        names = list(self._space.parameters)
        sequence = Sobol(len(names), scramble=True, rng=seed(self._samples.seed, self._segment))
        while True:
            for row in sequence.random(AT_ONCE):
                yield at(self._space, dict(zip(names, map(float, row), strict=True)))

    def learn(self, news: list[Known]) -> None:
        """It learns nothing."""

    def ask(self, number: int, initial: Point | None = None, *, in_haste: bool = False) -> Suggestion | None:
        """The point with this number of the study; None where there are no more. Raises LookupError."""
        if initial is not None:
            return Suggestion(number, first(self._space, self._samples.seed, number, initial), Origin.INITIAL)
        wanted = number // self._segments - self._skipped
        if wanted < 0:  # of a number that was given up long ago, and is tried again
            return Suggestion(number, first(self._space, self._samples.seed, number, {}), Origin.FALLBACK)
        if wanted < self._next:
            self._points, self._next = self._begin(), 0
        for point in self._points:
            self._next += 1
            if self._next > wanted:
                return Suggestion(number, point)
        return None
