"""An override's life through the API, for the service's tests."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, order

REVIEWER = "100001"
"""On no case."""
SENIOR = "100012"
"""Holds a grant for the example's procedure in its department."""
ASSISTANT, ANESTHETIST = "100377", "200018"
"""The team of the example."""
REASONS = "心包填塞属实，无有权限医师可到场，处置得当"


def declaration(**changed: Any) -> dict[str, Any]:
    """A valid declaration by the example's operator, in words of its own."""
    return {
        "lifesaving": True,
        "no_privileged_operator": True,
        "reason_code": "tamponade",
        "reason": f"心包填塞，血压测不出，{uuid.uuid4()}",
        "declared_by": EXPIRED,
    } | changed


def emergency(**changed: Any) -> dict[str, Any]:
    """An order that is let through on its declaration."""
    return order(EXPIRED, urgency="emergency", emergency=declaration()) | changed


class Queue:
    """Declares overrides and takes their steps."""

    def __init__(self, client: httpx.AsyncClient, keys: dict[str, str]) -> None:
        self._client = client
        self._keys = keys

    async def check(self, asked: dict[str, Any], expected: str = "override") -> dict[str, Any]:
        answered = await self._client.post("/v1/check", json=asked, headers=bearer(self._keys["his"]))
        assert answered.status_code == 200, answered.text
        found: dict[str, Any] = answered.json()
        assert found["decision"] == expected, found["message"]
        return found

    async def open(self, **changed: Any) -> str:
        """A new override's id."""
        opened: str = (await self.check(emergency(**changed)))["override"]["id"]
        return opened

    async def ask(self, method: str, path: str, role: str = "medical_affairs", status: int = 200, **sent: Any) -> Any:
        answered = await self._client.request(method, path, headers=bearer(self._keys.get(role, role)), **sent)
        assert answered.status_code == status, answered.text
        return answered.json()

    async def step(self, override: str, step: str, status: int = 200, role: str = "medical_affairs", **body: Any) -> dict[str, Any]:
        """Take a step; bodies are filled up with what it needs."""
        full = {"report": {"by": EXPIRED, "to": "总值班"}, "takeover": {"by": SENIOR}, "review": {"by": REVIEWER}}[step] | body
        found: dict[str, Any] = await self.ask("POST", f"/v1/overrides/{override}/{step}", role, status, json=full)
        return found

    async def get(self, override: str, role: str = "medical_affairs", status: int = 200) -> dict[str, Any]:
        found: dict[str, Any] = await self.ask("GET", f"/v1/overrides/{override}", role, status)
        return found

    async def ids(self, **params: Any) -> list[str]:
        """The ids of a list."""
        return [item["id"] for item in (await self.ask("GET", "/v1/overrides", params=params))["items"]]

    async def reviewed(self, override: str) -> None:
        """As far as a review that has begun."""
        await self.step(override, "report")
        await self.step(override, "review")
