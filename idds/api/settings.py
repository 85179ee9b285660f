"""The limits that the API holds its callers to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`authentication_memory_s` is how long a token that another process revoked may still be taken.

    A principal may call `rate_per_s` times a second, and `burst` times at once; 0 for as often as it likes.
    """

    max_body_bytes: int = 16 * 2**20
    max_stall_s: float = 30.0
    default_lease_s: float = 600.0
    max_lease_s: float = 7 * 86400.0
    max_wait_s: float = 30.0
    default_payload_token_s: float = 86400.0
    max_payload_token_s: float = 30 * 86400.0
    default_token_s: float = 30 * 86400.0
    max_token_s: float = 365 * 86400.0
    token_usage_interval_s: float = 10.0
    rate_per_s: float = 0.0
    burst: int = 100
    rate_memory_size: int = 10_000
    readiness_timeout_s: float = 2.0
    authentication_memory_s: float = 3.0
    authentication_memory_size: int = 10_000
    max_streams: int = 2000
    max_streams_each: int = 100
    max_event_bytes: int = 2**20
    event_beat_s: float = 15.0
