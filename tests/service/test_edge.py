"""What every answer carries, what a defect answers, and who may read the counters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api.auth import from_operations
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

    monkeypatch.setattr(gateway.guard, "known", broken)
    answer = await client.request(
        "POST" if path == "/v1/check" else "GET", path, json=order(), headers=bearer(keys["admin"]) | {"X-Request-Id": "R-1"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "R-1" in answer.json()["detail"]
    assert "P0091823" not in answer.text
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["surgate.http"]


@pytest.mark.parametrize("path", ["/v1/check", "/v1/check/batch", "/v1/explain", "/v1/keys", "/v1/imports/grants"])
async def test_who_leaves_before_the_request_is_whole_is_no_defect(
    gateway: Gateway, keys: dict[str, str], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    left = _Request(path, keys["admin"], [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    await gateway(left.scope, left.receive, left.send)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
    counted = (await _metrics(gateway)).splitlines()
    template = path.replace("grants", "{kind}")
    assert f'surgate_http_requests_total{{method="POST",route="{template}",status="499"}} 1.0' in counted


@pytest.mark.parametrize("path", ["/v1/check", "/v1/check/batch", "/v1/explain", "/v1/keys", "/v1/imports/grants"])
async def test_a_body_that_is_announced_as_too_large_is_refused_unread(gateway: Gateway, keys: dict[str, str], path: str) -> None:
    large = _Request(path, keys["admin"], [], length=1 << 30)
    await gateway(large.scope, large.receive, large.send)
    assert large.sent[0]["status"] == 413


@pytest.mark.parametrize("path", ["/v1/check", "/v1/check/batch", "/v1/explain", "/v1/keys"])
@pytest.mark.parametrize("media_type", ["application/jsonlines", "text/json", ""])
async def test_what_does_not_say_that_it_is_json_is_refused(
    client: httpx.AsyncClient, keys: dict[str, str], path: str, media_type: str
) -> None:
    headers = bearer(keys["admin"]) | {"Content-Type": media_type}
    assert (await client.post(path, content=b"{}", headers=headers)).status_code == 415
    said = await client.post(path, content=b"{}", headers=headers | {"Content-Type": "Application/JSON ; charset=utf-8"})
    assert said.status_code == 422


async def test_who_acts_is_named_without_the_blanks_around(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    file = "工号,scope_type,授权范围,授权起始\n100007,code,35.71001,2026-10-01\n".encode()
    headers = bearer(keys["admin"]) | {"Content-Type": "text/csv"}
    blank = await client.post("/v1/imports/grants", params={"by": "  "}, content=file, headers=headers)
    assert (blank.status_code, blank.json()["errors"][0]["field"]) == (422, "by")
    assert (await client.post("/v1/imports/grants", params={"by": " 100007 "}, content=file, headers=headers)).status_code == 200
    newest = (await client.get("/v1/changes", headers=bearer(keys["admin"]))).json()["items"][0]
    assert (newest["kind"], newest["by"]) == ("import", "100007")


async def test_how_the_service_is_is_told_to_those_who_run_it(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, keys: dict[str, str]
) -> None:
    assert (await stranger.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).status_code == 200
    refused = await stranger.get("/readyz")
    assert (refused.status_code, "wahh" in refused.text) == (401, False)
    assert (await stranger.get("/readyz", headers=bearer(keys["ops"]))).json()["status"] == "ready"


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::7", True),
        ("192.0.2.7", False),
        ("::ffff:192.0.2.7", False),
        ("2001:db8::1", False),
        ("", False),
        ("unix", False),
    ],
)
def test_an_address_is_of_the_operations_networks(address: str, known: bool) -> None:
    assert from_operations(address, "10.0.0.0/8, fd00::/8") is known


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


class _Request:
    """A request as the server hands it over, message by message, and what is sent back."""

    def __init__(self, path: str, key: str, messages: list[dict[str, Any]], length: int | None = None) -> None:
        headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", _MEDIA_TYPES.get(path, b"application/json"))]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
        }
        self.sent: list[Any] = []
        self._messages = iter(messages)

    async def receive(self) -> dict[str, Any]:
        return next(self._messages)

    async def send(self, message: Any) -> None:
        self.sent.append(message)


_MEDIA_TYPES = {"/v1/imports/grants": b"text/csv"}


async def _metrics(gateway: Gateway) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=gateway), base_url="http://gateway") as made:
        return (await made.get("/metrics")).text
