"""How long a sampler has for what was ordered."""

import pytest

from idds.engine.patience import time_for


@pytest.mark.parametrize(
    ("patience_s", "waited_for", "waited_s", "left", "pace", "expected"),
    [
        # Somebody waits, since it was ordered.
        (10.0, 3, 4.0, 0, None, 6.0),
        (10.0, 3, 12.0, 0, 500.0, 0.0),
        (0.0, 1, 0.0, 0, None, 0.0),
        # Nobody does, as long as there are some.
        (10.0, 0, 4.0, 20, None, None),
        (10.0, 0, 4.0, 20, 100.0, 10.1),
        (0.0, 0, 0.0, 50, 500.0, 0.05),
        (0.0, 0, 0.0, 0, 500.0, 0.0),
    ],
)
def test_a_sampler_has_until_payloads_would_lose_patience(
    patience_s: float, waited_for: int, waited_s: float, left: int, pace: float | None, expected: float | None
) -> None:
    found = time_for(patience_s, waited_for=waited_for, waited_s=waited_s, left=left, pace=pace)
    assert found == (None if expected is None else pytest.approx(expected))
