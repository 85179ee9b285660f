"""The random sampler: each sample is drawn from a generator of its own, so that asking again gives the same."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from idds.domain.workflow import Parameter, Samples


class RandomSampler:
    """Fulfils `idds.ports.sampler.Sampler`."""

    async def ask(self, study: Samples, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
        return [_draw(study, number) for number in numbers]


def _draw(study: Samples, number: int) -> dict[str, Any]:
    generator = random.Random(f"{study.seed}:{number}")  # noqa: S311 -- no secret depends on it
    return {name: _value(study.space[name], generator.random()) for name in sorted(study.space)}


def _value(parameter: Parameter, u: float) -> Any:
    """The point of the parameter at `u` in [0, 1): uniform, or uniform in the logarithm."""
    if parameter.type == "categorical":
        return parameter.choices[int(u * len(parameter.choices))]
    assert parameter.low is not None
    assert parameter.high is not None
    low, high = parameter.low, parameter.high
    if parameter.type == "int":
        # Each whole number has the share of the axis around it, from low - 1/2 to high + 1/2.
        edges = (math.log(low - 0.5 if low > 0.5 else low), math.log(high + 0.5)) if parameter.log else None
        value = math.exp(edges[0] + u * (edges[1] - edges[0])) if edges else low - 0.5 + u * (high - low + 1)
        return min(max(round(value), int(low)), int(high))
    if parameter.log:
        return min(max(math.exp(math.log(low) + u * (math.log(high) - math.log(low))), low), high)
    return low + u * (high - low)
