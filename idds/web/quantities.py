"""How quantities are written for people."""

import re
from datetime import UTC, datetime

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
NOTHING = "–"
_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kKMGTPE]?)[bB]?")


def size(amount: float | None) -> str:
    """Bytes, in powers of a thousand, with three digits that count."""
    if amount is None:
        return NOTHING
    step = 0
    while abs(amount) >= 999.5 and step < len(_BYTES) - 1:
        amount /= 1000
        step += 1
    return f"{amount:.0f} {_BYTES[step]}" if not step or abs(amount) >= 99.95 else f"{amount:.3g} {_BYTES[step]}"


def read_size(text: str) -> int:
    """Bytes as people write them: 500 GB, 2.5T, 1000000. Raises ValueError."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError("write a number of bytes, as 500 GB or 1000000")
    power: int = 1000 ** " KMGTPE".index(found.group(2).upper() or " ")
    number = found.group(1)
    try:
        return round(float(number) * power) if "." in number else int(number) * power
    except OverflowError:
        raise ValueError("these are more bytes than anybody has") from None


def rate(bytes_per_s: float | None) -> str:
    return NOTHING if bytes_per_s is None else f"{size(bytes_per_s)}/s"


def number(amount: float | None) -> str:
    return NOTHING if amount is None else f"{amount:,.0f}"


def span(seconds: float | None) -> str:
    """A time that something takes."""
    if seconds is None:
        return NOTHING
    for unit, name in _SPANS:
        if seconds >= unit * 2:
            return f"{seconds / unit:.3g} {name}" if seconds < unit * 100 else f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 or not seconds else f"{seconds:.2g} s"


def micros(microseconds: int | None) -> str:
    """The same of microseconds."""
    return NOTHING if microseconds is None else span(microseconds / 1e6)


def moment(microseconds: int | None) -> str:
    """A time, UTC, to the second."""
    return NOTHING if microseconds is None else _time(microseconds).strftime("%Y-%m-%d %H:%M:%S")


def stamp(microseconds: int) -> str:
    """A time as machines read it (RFC 3339)."""
    return _time(microseconds).isoformat().replace("+00:00", "Z")


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
