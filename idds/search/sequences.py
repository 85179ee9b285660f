"""Searches that learn nothing: every point of a grid, or those of a sequence that fills the space evenly.

The nth sample of a version of a space has the nth point that its constraints let through, whenever it is asked for.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from idds.domain.space import Point, Space
from idds.domain.workflow import Samples
from idds.ports.sampler import Known, Origin, Suggestion
from idds.search.constraints import Constraints
from idds.search.points import at, grid
from idds.search.random_sampler import drawn_within, first
from idds.search.seeds import seed

MISSES = 1_000_000
"""So many points in a row that the constraints don't let through, and the search is given up."""
AT_ONCE = 64


class SequenceSearch:
    """A search along points in a fixed order; it keeps where it stands, and begins anew for an earlier point.

    The sample with number `begin` has the first of them. Segments take turns, each until it has no more.
    """

    def __init__(self, samples: Samples, spaces: Sequence[Space], begin: int = 0) -> None:
        self._samples = samples
        self._spaces = spaces
        self._first = max(begin, len(samples.initial))
        self._points = self._begin()
        self._next = 0

    def _begin(self) -> Iterator[Point]:
        segments = deque(map(self._through, range(len(self._spaces))))
        segments.rotate(-(self._first % len(segments)))
        while segments:
            for point in segments[0]:
                yield point
                segments.rotate(-1)
                break
            else:
                segments.popleft()

    def _through(self, segment: int) -> Iterator[Point]:
        """The points of a segment that its constraints let through."""
        space = self._spaces[segment]
        constraints = Constraints(space)
        misses = 0
        for point in grid(space) if self._samples.sampler == "grid" else self._even(segment):
            misses += 1
            if constraints.let_through(point):
                yield point
                misses = 0
            elif misses == MISSES:
                raise LookupError(f"none of {MISSES:,} points fulfils the constraints")

    def _even(self, segment: int) -> Iterator[Point]:
        """Points of Sobol's sequence, scrambled as Owen has it."""
        from scipy.stats.qmc import Sobol

        space = self._spaces[segment]
        names = list(space.parameters)
        sequence = Sobol(len(names), scramble=True, rng=seed(self._samples.seed, segment))
        while True:
            for row in sequence.random(AT_ONCE):
                yield at(space, dict(zip(names, map(float, row), strict=True)))

    def learn(self, news: list[Known]) -> None:
        """It learns nothing."""

    def ask(self, number: int, initial: Point | None = None, *, in_haste: bool = False) -> Suggestion | None:
        """The point with this number of the study; None where there are no more. Raises LookupError."""
        space = self._spaces[number % len(self._spaces)]
        if initial is not None:
            return Suggestion(number, first(space, self._samples.seed, number, initial), Origin.INITIAL)
        wanted = number - self._first
        if wanted < 0:  # no initial point keeps its place, or it was given up long ago and is tried again
            point = drawn_within(space, Constraints(space), self._samples.seed, number)
            return Suggestion(number, point, Origin.FALLBACK)
        if wanted < self._next:
            self._points, self._next = self._begin(), 0
        for point in self._points:
            self._next += 1
            if self._next > wanted:
                return Suggestion(number, point)
        return None
