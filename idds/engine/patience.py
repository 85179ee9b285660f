"""How long payloads wait for a sampler: then points at random will do."""

PATIENCE_S = 10.0
"""Where nothing is said."""


def time_for(patience_s: float, *, waited_for: int, waited_s: float, left: int, pace: float | None) -> float | None:
    """So many seconds a sampler has for what was ordered `waited_s` ago; None: as many as it likes.

    Where samples are `waited_for`, they have been since then. Where they are not, they will be when the `left` ones are
    taken, at a `pace` (samples a second; None: not known); half of that time is left for the way to the payloads. A
    sampler that is slower than they are is so helped out before anybody waits.
    """
    if waited_for:
        return max(0.0, patience_s - waited_s)
    return None if pace is None else left / pace / 2 + patience_s
