"""A scenario run under one strategy or another, and the smallest window that does."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import sqrt

from idds.simulation.bound import tape_bound
from idds.simulation.carousel import Carousel, Recalls, Strategy
from idds.simulation.layout import Layout, lay_out
from idds.simulation.library import TapeLibrary
from idds.simulation.measures import Measures, Outcome
from idds.simulation.requests import make_requests
from idds.simulation.scenario import Scenario
from idds.simulation.strategies import FixedWindows, Planned, WholeDatasets

STRATEGIES: Mapping[str, Callable[[Scenario], Strategy]] = {
    "whole": lambda _: WholeDatasets(),
    "fixed": lambda _: FixedWindows(),
    "planned": lambda scenario: Planned(scenario.planning),
}


class Trial:
    """A scenario laid out once, to be run as often as wanted, with new libraries each time.

    `bound` is what its tapes, network and jobs need at least, in microseconds.
    """

    def __init__(self, scenario: Scenario, layout: Layout, make_library: Callable[[str], Recalls], bound: int) -> None:
        self.scenario = scenario
        self.layout = layout
        self.bound = bound
        self._make_library = make_library
        self._outcomes: dict[tuple[str, int], Outcome] = {}

    @classmethod
    def of(cls, scenario: Scenario) -> "Trial":
        layout = lay_out(scenario)
        bound = tape_bound(scenario, layout, make_requests(scenario, layout))
        return cls(scenario, layout, lambda name: TapeLibrary(scenario.libraries[name], layout), bound)

    @property
    def bytes(self) -> int:
        """Of all datasets together: a window of so much is none."""
        return sum(self.layout.bytes)

    def run(self, strategy: str, window_bytes: int | None = None) -> Outcome:
        """With the window of the scenario unless another is given. What was run before is not run again."""
        disk = replace(self.scenario.disk, window_bytes=window_bytes or self.scenario.disk.window_bytes)
        key = (strategy, disk.window_bytes)
        if key not in self._outcomes:
            self._outcomes[key] = self._run(strategy, replace(self.scenario, disk=disk))
        return self._outcomes[key]

    def _run(self, strategy: str, scenario: Scenario) -> Outcome:
        measures = Measures(self.bound)
        carousel = Carousel(
            scenario,
            self.layout,
            make_requests(scenario, self.layout),
            {name: self._make_library(name) for name in scenario.libraries},
            STRATEGIES[strategy](scenario),
            measures,
        )
        carousel.run()
        requests = carousel.requests
        return Outcome(
            strategy=strategy,
            window_bytes=scenario.disk.window_bytes,
            requests=len(requests),
            files=sum(self.layout.files[g] for r in requests for g in range(r.dataset.start, r.dataset.stop)),
            bytes=sum(self.layout.bytes[g] for r in requests for g in range(r.dataset.start, r.dataset.stop)),
            refused_groups=sum(request.refused for request in requests),
            bound=self.bound,
            makespan=max(request.ended_at or 0 for request in requests),
            peak_bytes=measures.peak_bytes,
            reserved_bytes=measures.reserved_bytes,
            recalled_bytes=measures.recalled_bytes,
            mounts=sum(library.mounts for library in carousel.libraries.values()),
            first=sorted(r.first_at - r.arrives_at for r in requests if r.first_at is not None),
            lasted=[(request.ended_at or 0) - request.arrives_at for request in requests],
            unfairness=measures.unfairness(requests),
            sights=measures.sights(),
        )


def smallest_window(trial: Trial, strategy: str, longest: int, *, precision: float = 1.05) -> Outcome | None:
    """The run with the smallest window, to within `precision`, that lasts no longer than `longest` (microseconds).

    None where not even room for everything does. It takes a shorter run with a larger window for granted, which holds
    but for a few per cent of luck.
    """

    def is_enough(tried: Outcome) -> bool:
        return tried.makespan <= longest and not tried.refused_groups

    enough = trial.run(strategy)
    if not is_enough(enough):
        enough = trial.run(strategy, trial.bytes)
    if not is_enough(enough):
        return None
    too_small = max(trial.layout.bytes) // 2
    # By halves first: a window that is far too small takes the longest to run.
    halved = enough.window_bytes // 2
    while enough.window_bytes > too_small * precision:
        tried = trial.run(strategy, max(halved, round(sqrt(too_small * enough.window_bytes))))
        if is_enough(tried):
            enough, halved = tried, tried.window_bytes // 2
        else:
            too_small, halved = tried.window_bytes, 0
    return enough
