"""Which samplers there are: those whose libraries are installed."""

from importlib.machinery import ModuleSpec

import pytest

from idds.engine.spaces import OPTIONS
from idds.search import offer


@pytest.mark.parametrize(
    ("missing", "not_offered"),
    [
        (set(), set()),
        ({"torch"}, {"gp"}),
        ({"optuna", "cmaes", "scipy", "torch"}, set(OPTIONS) - {"random", "grid", "command"}),
    ],
)
def test_a_sampler_whose_libraries_are_missing_is_not_offered(
    missing: set[str], not_offered: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for one is told which there are, before anything is recorded."""
    monkeypatch.setattr(offer, "find_spec", lambda name: None if name in missing else ModuleSpec(name, None))
    assert offer.names() == set(OPTIONS) - not_offered
    assert offer.samplers().keys() == set(OPTIONS) - not_offered - {"command"}
