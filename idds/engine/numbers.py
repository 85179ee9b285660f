"""Numbers that are not finite: what evaluations come to, and JSON has no way to write."""

import re
from typing import Literal

NotFinite = Literal["nan", "inf", "-inf", "NaN", "Infinity", "-Infinity"]
"""Words for them; `float` reads each."""

_CONSTANTS = re.compile(rb'"(?:[^"\\]|\\.)*+"|(-?Infinity|NaN)')


def worded(document: bytes) -> bytes:
    """JSON, with the constants in words that Python and others write into it for what is not finite."""
    if b"NaN" not in document and b"Infinity" not in document:
        return document
    return _CONSTANTS.sub(lambda found: b'"%b"' % found[1] if found[1] else found[0], document)
