"""The limits that the API holds its callers to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`authentication_memory_s` is how long a token that was revoked may still be taken."""

    max_body_bytes: int = 16 * 2**20
    default_lease_s: float = 600.0
    max_lease_s: float = 7 * 86400.0
    max_wait_s: float = 30.0
    default_token_s: float = 86400.0
    max_token_s: float = 30 * 86400.0
    readiness_timeout_s: float = 2.0
    authentication_memory_s: float = 3.0
    authentication_memory_size: int = 10_000
