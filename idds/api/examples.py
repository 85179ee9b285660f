"""An example of each body, by the name of its route: they stand in the OpenAPI document and on its page."""

from collections.abc import Mapping
from typing import Any

BODIES: Mapping[str, Any] = {
    "submitRequest": {
        "workflow": {
            "name": "carousel",
            "works": [
                {
                    "name": "count",
                    "input": {"dataset": "data18:raw", "window": {"bytes": 5_000_000_000_000}, "batch": 10},
                    "payload": {"argv": ["python3", "count.py"]},
                    "output": {"dataset": "user.me:counts"},
                },
                {
                    "name": "merge",
                    "input": {"outputs": "count", "batch": "all"},
                    "payload": {"argv": ["python3", "merge.py"]},
                    "output": {"dataset": "user.me:merged"},
                },
            ],
        },
        "share": "physics",
        "priority": 10,
    },
    "registerContents": {
        "contents": [
            {"name": "EVNT.0001.root", "scope": "mc23", "bytes": 1_500_000_000, "adler32": "0a1b2c3d"},
            {"name": "EVNT.0002.root", "scope": "mc23", "min_id": 1, "max_id": 500},
            {"name": "point-3", "parameters": {"mass": 125.1}},
        ]
    },
    "issueToken": {"lifetime_s": 3600},
    "leaseContents": {"lessee": "pilot-1", "count": 10, "ttl_s": 900, "wait_s": 20},
    "extendLeases": {"held": [{"id": 7, "attempt": 1}], "ttl_s": 900},
    "returnContents": {"held": [{"id": 7, "attempt": 1}]},
    "reportIntermediates": {"values": [{"id": 7, "attempt": 1, "step": 3, "value": 0.31}]},
    "reportContents": {
        "reports": [
            {"id": 7, "attempt": 1, "status": "done", "objective_values": [0.25]},
            {"id": 8, "attempt": 2, "status": "failed", "reason": "no input", "retry": False},
        ],
        "lease": {"lessee": "pilot-1", "count": 2, "ttl_s": 900},
    },
    "redefineStudy": {
        "changes": [
            {"change": "narrow", "parameter": "lr", "high": 0.01},
            {"change": "fix", "parameter": "optimizer", "value": "adam"},
            {
                "change": "add",
                "parameter": "warmup",
                "space": {"type": "int", "low": 0, "high": 1000, "step": 100},
                "earlier": 0,
            },
        ],
        "reason": "above 0.01 nothing converges",
        "if_version": 1,
    },
    "retryRequest": {"lifetime_s": 604_800},
    "extendRequest": {"lifetime_s": 604_800},
    "holdStorage": {"kind": "tape", "ref": "CERN-PROD_TAPE", "reason": "the robot is in repair until Monday"},
    "resumeStorage": {"kind": "tape", "ref": "CERN-PROD_TAPE"},
    "changeWindow": {"rse": "CERN-PROD_DATADISK", "bytes": 5_000_000_000_000, "files": 2000},
    "retireUnused": {"rse": "CERN-PROD_DATADISK", "idle_s": 86_400},
    "changeSource": {"source": "CERN-PROD_TAPE"},
    "changeDestination": {"rse": "CERN-PROD_DATADISK"},
    "makeToken": {"role": "reader", "lifetime_s": 86_400, "note": "for the dashboard"},
}
