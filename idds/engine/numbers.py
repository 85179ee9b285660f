"""Numbers that are not finite: what evaluations come to, and JSON has no way to write."""

import re
from typing import Literal

NotFinite = Literal["nan", "inf", "-inf", "NaN", "Infinity", "-Infinity"]
"""Words for them; `float` reads each."""

_CONSTANTS = re.compile(rb'"(?:[^"\\]|\\.)*+"|(-?Infinity|NaN)')
# Inside of a text a quotation mark has a backslash before it: neither is found there.
_VALUES = re.compile(rb'"(?:objective_values|constraint_values)"\s*:\s*\[[^\[\]{}]*\]|"value"\s*:\s*(?:-?Infinity|NaN)')


def worded(document: bytes) -> bytes:
    """JSON, with the constants in words that Python and others write into it for values that are not finite."""
    if b"NaN" not in document and b"Infinity" not in document:
        return document
    return _VALUES.sub(lambda found: _CONSTANTS.sub(_word, found[0]), document)


def _word(found: re.Match[bytes]) -> bytes:
    return b'"%b"' % found[1] if found[1] else found[0]
