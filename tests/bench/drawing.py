"""What points of TPE cost: `python -m tests.bench.drawing [HISTORY ...]`.

CPU time of a study of eight mixed parameters with so many results in view and 16 samples in flight; the points are
ordered one by one, eight and 32 at a time, each order with as many new results. Frames are packed and read as between
the service and the samplers' process. Each figure is the best of five: whatever else runs only adds to it.
"""

import random
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

import optuna

from idds.domain.identifiers import CollectionId
from idds.domain.space import Parameter
from idds.domain.workflow import Samples
from idds.engine.spaces import spaces_of
from idds.ports.sampler import Known, Order, State, Suggestion
from idds.search.frames import PREFIX, Asked, Wanted, packed, unpacked
from idds.search.points import draw
from idds.search.seeds import generator
from idds.search.study import StudySearch
from tests.bench.trial_worker import SPACE, loss

ORDERS = (1, 8, 32)
HISTORIES = (100, 200, 1000, 10_000)
IN_FLIGHT = 16
POINTS = 64
TIMES = 5


class Drawn:
    """A study with so many results in view, however many come."""

    def __init__(self, history: int) -> None:
        space: dict[str, Any] = {
            name: Parameter(**{**each, "choices": tuple(each.get("choices", ()))}) for name, each in SPACE.items()
        }
        self._samples = Samples(space=space, count=10**6, options={"history": history})
        [found] = spaces_of(self._samples)
        points = [draw(found, generator(number)) for number in range(history)]
        told = [Known(Suggestion(n, point), State.DONE, (loss(point),)) for n, point in enumerate(points)]
        self._search = StudySearch(self._order([], told))
        self._search.ask(self._order([], told))
        self._next = history
        self._flying: list[Suggestion] = []
        self._ends = random.Random(0)

    def _order(self, numbers: Sequence[int], news: Sequence[Known]) -> Order:
        return Order(CollectionId(1), self._samples, numbers, news)

    def order(self, count: int) -> None:
        """As many results come in as points are ordered."""
        news = []
        while len(self._flying) > max(IN_FLIGHT, count) - count:
            ended = self._flying.pop(self._ends.randrange(len(self._flying)))
            news.append(Known(ended, State.DONE, (loss(ended.parameters),)))
        wanted = unpacked(packed(Wanted(self._order(range(self._next, self._next + count), news)))[PREFIX:])
        assert isinstance(wanted, Wanted)
        asked = Asked(tuple(self._search.ask(wanted.order)))
        assert unpacked(packed(asked)[PREFIX:]) == asked
        self._flying += asked.suggestions
        self._next += count


def milliseconds(study: Drawn, count: int) -> float:
    """Of CPU, for a point of an order of so many."""
    study.order(IN_FLIGHT)
    took = []
    for _ in range(TIMES):
        begun = time.process_time()
        for _ in range(POINTS // count):
            study.order(count)
        took.append((time.process_time() - begun) / POINTS * 1000)
    return min(took)


def main(histories: Sequence[int]) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    print("| results in view | " + " | ".join(f"{count} at a time" for count in ORDERS) + " |")
    print("| --- |" + " --- |" * len(ORDERS))
    for history in histories:
        took = [milliseconds(Drawn(history), count) for count in ORDERS]
        cells = " | ".join(f"{each:.1f} ms, {1000 / each:,.0f}/s" for each in took)
        print(f"| {history:,} | {cells} |", flush=True)


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or HISTORIES)
