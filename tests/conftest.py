"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from app.store import journal_file
from tests.measured import Measured

# No test depends on the machine's speed.
settings.register_profile("surgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("surgate")


@pytest.fixture
def measured() -> Measured:
    """Where a test puts the figures that it saw."""
    return Measured()


@pytest.fixture(autouse=True)
def _small_journals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway within the tests' process gives its journal little room: hundreds of them would fill a disk."""
    monkeypatch.setattr(journal_file, "SEGMENT_BYTES", 1 << 18)
