"""Which of the values that are said of a sample on its way are kept: of very many steps one here and there."""

from collections.abc import Iterable

DENSE = 4096
"""Of the first so many steps every value is kept."""
_PARTS = DENSE // 2


def kept(steps: Iterable[int], first: int | None, last: int | None) -> tuple[list[int], list[int]]:
    """Of these steps those whose values are kept, and those that only replace what was kept of the same step.

    `first` and `last` are the ends of what was kept before. Behind the first DENSE steps of a sample two values are
    apart by a two-thousandth of the way so far, so that a million steps keep 15,000, and no number of them more than
    70,000. Which ones does not depend on how many are said at a time: samples that say the same steps keep the same,
    and can be compared. What is said out of order so late is not kept.
    """
    new: list[int] = []
    again: list[int] = []
    for step in sorted(set(steps)):
        if first is None or last is None:
            first = last = step
        elif step > last:
            if step - last < (step - first) // _PARTS:
                continue
            last = step
        elif step >= DENSE and last - min(first, step) >= DENSE:
            again.append(step)
            continue
        first = min(first, step)
        new.append(step)
    return new, again
