"""How hard properties are searched: `--hypothesis-profile thorough` looks longer, and elsewhere each time."""

from hypothesis import HealthCheck, settings

_slow = [HealthCheck.too_slow]
settings.register_profile(
    "ladder", max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=_slow
)
settings.register_profile("thorough", max_examples=3000, deadline=None, database=None, suppress_health_check=_slow)
settings.load_profile("ladder")
