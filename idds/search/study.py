"""A study as the samplers' process keeps it: a search through each of its spaces."""

from collections.abc import Sequence
from typing import Protocol

from idds.domain.space import Point, Space
from idds.domain.workflow import Samples
from idds.engine.spaces import LEARNING, spaces_of
from idds.ports.sampler import Known, Order, Suggestion
from idds.search.sequences import SequenceSearch


class Search(Protocol):
    def learn(self, news: list[Known]) -> None:
        """Take in what came of points; saying it again changes nothing."""
        ...

    def ask(self, number: int, initial: Point | None = None) -> Suggestion | None:
        """The point with this number; None where there are no more."""
        ...


class StudySearch:
    """Segments take turns: the sample with number n goes through the (n modulo their count)th space."""

    def __init__(self, samples: Samples) -> None:
        spaces = spaces_of(samples)
        self._initial = samples.initial
        self._searches = [_search(samples, space, number, len(spaces)) for number, space in enumerate(spaces)]

    def ask(self, order: Order) -> Sequence[Suggestion]:
        """What is ordered, after hearing the news; fewer where there are no more."""
        segments = len(self._searches)
        for segment, search in enumerate(self._searches):
            search.learn([known for known in order.news if known.suggestion.number % segments == segment])
        found: list[Suggestion] = []
        for number in order.numbers:
            initial = self._initial[number] if number < len(self._initial) else None
            suggestion = self._searches[number % segments].ask(number, initial)
            if suggestion is not None:
                found.append(suggestion)
        return found


def _search(samples: Samples, space: Space, segment: int, segments: int) -> Search:
    if samples.sampler in LEARNING:
        from idds.search.optuna_search import OptunaSearch

        return OptunaSearch(samples, space, segment)
    return SequenceSearch(samples, space, segment, segments)
