"""Loaded by Schemathesis: it keeps the token that it calls with."""

import os
from typing import Any

import schemathesis

NOT_THERE = 10**9


@schemathesis.hook
def before_call(_context: Any, case: Any, kwargs: Any) -> None:
    """It may revoke any token but its own."""
    if case.path.endswith(":revoke") and str(case.path_parameters["id"]) == os.environ["IDDS_HOSTILE_TOKEN_ID"]:
        case.path_parameters["id"] = NOT_THERE
