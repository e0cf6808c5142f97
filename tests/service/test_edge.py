"""What every answer carries, what a defect answers, and who may read the counters."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.main import Gateway
from tests.service.conftest import bearer
from tests.service.orders import order

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stranger(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client on another machine."""
    transport = httpx.ASGITransport(app=gateway, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as made:
        yield made


async def test_the_callers_request_id_comes_back_and_a_strange_one_is_replaced(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"X-Request-Id": "a.b-c:1"})).headers["x-request-id"] == "a.b-c:1"
    for strange in ("x" * 65, "two words", "{}"):
        assert (await client.get("/nowhere", headers={"X-Request-Id": strange})).headers["x-request-id"] != strange


@pytest.mark.parametrize("path", ["/v1/check", "/v1/keys"])
async def test_a_defect_is_a_problem_that_names_the_request_and_nothing_else(
    client: httpx.AsyncClient,
    keys: dict[str, str],
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("patient P0091823")

    monkeypatch.setattr(gateway.guard, "key", broken)
    answer = await client.request(
        "POST" if path == "/v1/check" else "GET", path, json=order(), headers=bearer(keys["admin"]) | {"X-Request-Id": "R-1"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "R-1" in answer.json()["detail"]
    assert "P0091823" not in answer.text
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["surgate.http"]


async def test_counters_are_for_this_machine_or_the_operations_office(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, keys: dict[str, str]
) -> None:
    assert (await client.get("/metrics")).headers["content-type"].startswith("text/plain")
    assert (await stranger.get("/metrics")).status_code == 401
    assert (await stranger.get("/metrics", headers=bearer(keys["his"]))).status_code == 403
    assert (await stranger.get("/metrics", headers=bearer(keys["ops"]))).status_code == 200


async def test_decisions_are_counted_by_outcome_and_reason_and_replays_apart(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    denied = order("100234")
    for sent in (denied, denied, order()):
        assert (await client.post("/v1/check", json=sent, headers=bearer(keys["his"]))).status_code == 200
    text = (await client.get("/metrics")).text.splitlines()
    for line in (
        'surgate_decisions_total{checkpoint="order",decision="deny"} 1.0',
        'surgate_decisions_total{checkpoint="order",decision="allow"} 1.0',
        'surgate_decision_reasons_total{reason="grant_expired"} 1.0',
        "surgate_replays_total 1.0",
        'surgate_http_requests_total{method="POST",route="/v1/check",status="200"} 3.0',
        'surgate_matrix_version{hospital="wahh",worker="0"} 1.0',
    ):
        assert line in text
