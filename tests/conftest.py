"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.measured import Measured

# No test depends on the machine's speed.
settings.register_profile("surgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("surgate")


@pytest.fixture
def measured() -> Measured:
    """Where a test puts the figures that it saw."""
    return Measured()
