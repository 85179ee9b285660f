"""When to try again, and how often."""

FIRST_DELAY = 500_000
LONGEST_DELAY = 300_000_000
TRIES = 5
"""After so many tries that broke, for no reason that a port allows, it is given up."""


def backoff(tries: int, *, first: int = FIRST_DELAY, longest: int = LONGEST_DELAY) -> int:
    """Microseconds to wait after `tries` failures (1 or more): doubling from `first`, at most `longest`."""
    return min(first << min(max(tries, 1) - 1, 40), longest)
