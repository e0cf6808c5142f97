"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No test depends on the machine's speed.
settings.register_profile("surgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("surgate")
