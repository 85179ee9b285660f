"""Who an operator is, only operators are told; others see that it was one."""

from collections.abc import Iterable
from dataclasses import replace

from idds.domain.hold import Hold
from idds.domain.replica import Window
from idds.domain.request import Principal, Role

AN_OPERATOR = "an operator"


def named(principal: Principal) -> str:
    """Who ordered something, in a history that others read; the audit log has every name."""
    return AN_OPERATOR if principal.role is Role.OPERATOR else principal.owner


def held_by(reader: Principal, holds: Iterable[Hold]) -> list[Hold]:
    """Holds, as this reader is told of them."""
    if reader.role is Role.OPERATOR:
        return list(holds)
    return [replace(hold, owner=AN_OPERATOR) for hold in holds]


def bounded_by(reader: Principal, windows: Iterable[Window]) -> list[Window]:
    """Windows, as this reader is told of them."""
    if reader.role is Role.OPERATOR:
        return list(windows)
    return [window if window.set_by is None else replace(window, set_by=AN_OPERATOR) for window in windows]
