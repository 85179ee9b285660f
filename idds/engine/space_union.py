"""What several spaces have room for together: one parameter for each name, as wide as all that were ever searched."""

from collections.abc import Iterable, Mapping

from idds.domain.space import Parameter


def union(spaces: Iterable[Mapping[str, Parameter]]) -> dict[str, Parameter]:
    """Each parameter of any of the spaces, with all its choices or the whole of its range; without branches.

    A number that had different steps has none, and one that was ever spread evenly is. What was a number here and a
    choice there becomes a choice of all that is told, of a range its ends.
    """
    named: dict[str, list[Parameter]] = {}
    for space in spaces:
        for name, parameter in space.items():
            named.setdefault(name, []).append(parameter)
    return {name: _joined(found) for name, found in named.items()}


def _joined(found: list[Parameter]) -> Parameter:
    if all(each.type != "categorical" for each in found):
        lows = [each.low for each in found if each.low is not None]
        highs = [each.high for each in found if each.high is not None]
        steps = {(each.step, each.low) for each in found}
        return Parameter(
            type="int" if all(each.type == "int" for each in found) else "float",
            low=min(lows),
            high=max(highs),
            log=all(each.log for each in found),
            step=found[0].step if len(steps) == 1 else None,
        )
    told = [value for each in found for value in (each.choices or (each.low, each.high)) if value is not None]
    return Parameter(type="categorical", choices=tuple({(type(value), value): value for value in told}.values()))
