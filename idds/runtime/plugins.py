"""Plugins by entry point: installed packages that the operator names in the settings; never what a user names."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from idds.domain.errors import InvalidInput, Problem


def load(group: str, name: str, options: Mapping[str, Any], place: str) -> Any:
    """The plugin `name` of a group, made `from_options`. Raises InvalidInput, at `place` of the settings."""
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise InvalidInput([Problem(f"{place}/plugin", f"{name!r} is not installed; there are: {known}")])
    try:
        return found[name].load().from_options(options)
    except InvalidInput as error:
        raise InvalidInput([Problem(f"{place}/options{p.pointer}", p.message) for p in error.problems]) from None
