"""Orders for the service's tests, from the example in the documentation."""

from __future__ import annotations

import copy
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

EXAMPLE = json.loads((Path(__file__).parents[2] / "docs" / "example-order.json").read_text(encoding="utf-8"))
PRIVILEGED = "100007"
"""Holds a grant for the example's procedure in its department."""
EXPIRED = "100234"
"""Whose grant for it has ended."""


def order(operator: str = PRIVILEGED, **changed: Any) -> dict[str, Any]:
    """The example by an operator, tomorrow, under a request id and a case of its own; `changed` replaces whole fields."""
    made: dict[str, Any] = copy.deepcopy(EXAMPLE)
    made["request_id"] = f"T-{uuid.uuid4()}"
    made["case_id"] = f"C-{uuid.uuid4()}"
    made["planned_start"] = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made["requester"] = operator
    made["procedures"][0]["operator"] = operator
    return made | changed
