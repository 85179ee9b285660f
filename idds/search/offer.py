"""Which samplers this installation has: the extra `search` brings most of them."""

from collections.abc import Mapping
from importlib.util import find_spec

from idds.engine.spaces import COMMAND, OPTIONS
from idds.ports.sampler import Sampler
from idds.search.processes import SamplerProcesses
from idds.search.random_sampler import RandomSampler

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "random": (),
    "grid": (),
    "qmc": ("scipy",),
    "tpe": ("optuna",),
    "cmaes": ("optuna", "cmaes"),
    "nsgaii": ("optuna",),
    "nsgaiii": ("optuna",),
    "gp": ("optuna", "scipy", "torch"),
    COMMAND: (),
}


def names() -> frozenset[str]:
    """The samplers whose libraries are there; nothing is loaded for it."""
    return frozenset(name for name in OPTIONS if all(find_spec(library) for library in _NEEDS[name]))


def samplers(processes: int = 1) -> dict[str, Sampler]:
    """Those of the service; all but the random one share so many processes, which are not started yet."""
    shared = SamplerProcesses(processes)
    return {name: RandomSampler() if name == "random" else shared for name in names() - {COMMAND}}
