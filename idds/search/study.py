"""A study as the samplers' process keeps it: a search through each of its spaces, of one version."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from idds.domain.space import Point, Space
from idds.engine.redefinition import Fitting
from idds.engine.spaces import LEARNING, Checks, given_for, spaces_of
from idds.ports.sampler import Known, Order, Suggestion
from idds.search.constraints import Constraints
from idds.search.sequences import SequenceSearch

LONGEST_S = 30.0
"""What a sampler that learns has not drawn by then is drawn at random: others wait, and their patience ends, too."""
FORGOTTEN = 0.8
"""So much of how long a first point took is believed each time that there was no time for one."""


class Search(Protocol):
    def learn(self, news: list[Known]) -> None:
        """Take in what came of points; saying it again changes nothing."""
        ...

    def ask(self, number: int, initial: Point | None = None, *, in_haste: bool = False) -> Suggestion | None:
        """The point with this number; None where there are no more. In haste one at random will do."""
        ...


class StudySearch:
    """Segments take turns: the sample with number n goes through the (n modulo their count)th space.

    What came of points of earlier versions, or of elsewhere, is taken in as far as these are points of its spaces.
    """

    def __init__(self, order: Order) -> None:
        """Made for an order that tells everything."""
        self.version = order.version
        self._changes = order.changes
        self._spaces = spaces_of(order.samples)
        self._fittings = [Fitting(space) for space in self._spaces]
        self._checks = [Checks(space.parameters) for space in self._spaces]
        self._constraints = [Constraints(space) for space in self._spaces]
        self._samples = order.samples
        self._first_s = 0.0
        """How long the first point of an order takes, which the sampler is told the news for."""
        self._searches = _searches(order, self._spaces)
        for segment, search in enumerate(self._searches):
            search.learn([*self._given(order.given, segment)])

    def _given(self, given: Iterable[Known], segment: int) -> Iterable[Known]:
        """What of results of elsewhere belongs to a segment."""
        for known in given:
            point = self._fittings[segment].fitted(known.suggestion.parameters)
            if point is not None and self._constraints[segment].let_through(point):
                yield replace(known, suggestion=Suggestion(known.suggestion.number, point))

    def ask(self, order: Order) -> Sequence[Suggestion]:
        """What is ordered, after hearing the news; fewer where there are no more."""
        begun, within_s = time.monotonic(), LONGEST_S if order.within_s is None else min(order.within_s, LONGEST_S)
        news: list[list[Known]] = [[] for _ in self._searches]
        for known in map(self._as_of_now, order.news):
            if known is not None:
                news[known.suggestion.number % len(news)].append(known)
        for search, told in zip(self._searches, news, strict=True):
            search.learn(told)
        found: list[Suggestion] = []
        none_yet = True
        for number in order.numbers:
            segment = number % len(self._searches)
            initial = given_for(number, self._samples, self._spaces[segment], self._checks[segment])
            since = time.monotonic()
            in_haste = since - begun + (self._first_s if none_yet else 0.0) >= within_s
            suggestion = self._searches[segment].ask(number, initial, in_haste=in_haste)
            if suggestion is not None:
                found.append(suggestion)
            if none_yet and not in_haste:
                self._first_s, none_yet = time.monotonic() - since, False
        if none_yet:
            self._first_s *= FORGOTTEN
        return found

    def _as_of_now(self, known: Known) -> Known | None:
        """As a sample of this version, if it is one; what a sampler noted with it was about another space."""
        if known.version == self.version:
            return known
        suggestion = known.suggestion
        segment = suggestion.number % len(self._spaces)
        point = self._fittings[segment].carried(suggestion.parameters, self._changes[known.version - 1 :])
        if point is None or not self._constraints[segment].let_through(point):
            return None
        return replace(known, suggestion=Suggestion(suggestion.number, point, suggestion.origin))


def _searches(order: Order, spaces: Sequence[Space]) -> Sequence[Search]:
    """One for each space; points that are known from the first are gone through by one for all."""
    if order.samples.sampler in LEARNING:
        from idds.search.optuna_search import OptunaSearch

        return [OptunaSearch(order.samples, space, segment) for segment, space in enumerate(spaces)]
    return [SequenceSearch(order.samples, spaces, order.first)] * len(spaces)
