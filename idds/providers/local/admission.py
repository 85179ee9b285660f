"""Which jobs this provider takes."""

import json
import os
import re

from idds.domain.job import JobSpec, Rejected

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def admit(spec: JobSpec, slots: int) -> bytes | Rejected:
    """The document as it will stand in input.json, or why the job cannot run here, now or later."""
    if not KEY.fullmatch(spec.key):
        return Rejected(
            "the key must be 1 to 128 letters, digits, '.', '_' and '-', not starting with one of the latter"
        )
    if spec.resources.cores > slots:
        return Rejected(f"needs {spec.resources.cores} cores, there are {slots}")
    if not spec.payload.argv or not spec.payload.argv[0]:
        return Rejected("the payload has no command")
    if not all(map(_can_be_passed, spec.payload.argv)):
        return Rejected("an argument of the payload holds what cannot be passed to a process")
    if not all(_can_be_passed(value) for value in spec.payload.environment.values()):
        return Rejected("the payload's environment holds a value that cannot be passed to a process")
    if not all(name and "=" not in name and _can_be_passed(name) for name in spec.payload.environment):
        return Rejected("the payload's environment holds a name that cannot be passed to a process")
    try:
        return json.dumps(spec.document, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        return Rejected(f"its document cannot be written as JSON: {error}")


def _can_be_passed(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
