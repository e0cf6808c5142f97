"""Batches and explanations."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.main import Gateway
from app.store import decisions, tables
from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, order

pytestmark = pytest.mark.anyio


async def test_a_batch_answers_in_its_order_each_with_a_decision_or_a_problem(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    wrong = order() | {"urgency": "soon", "extra": 1}
    good = [order(), order(EXPIRED)]
    checks = [*good, wrong, "not an order", order()]
    answered = await client.post("/v1/check/batch", json={"checks": checks}, headers=bearer(keys["his"]))
    assert answered.status_code == 200, answered.text
    results = answered.json()["results"]
    assert [r.get("decision", r.get("status")) for r in results] == ["allow", "deny", 422, 422, "allow"]
    assert [r.get("request_id") for r in results[:2]] == [c["request_id"] for c in good]
    assert {e["field"] for e in results[2]["errors"]} == {"urgency", "extra"}


async def test_the_checks_of_one_case_see_those_before_them_in_the_batch(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    first = order()
    notice = order(checkpoint="notice", case_id=first["case_id"])
    alone = order(checkpoint="notice")
    answered = await client.post("/v1/check/batch", json={"checks": [first, notice, alone]}, headers=bearer(keys["his"]))
    results = answered.json()["results"]
    assert [r["decision"] for r in results] == ["allow", "allow", "deny"]
    assert [f["code"] for f in results[2]["findings"]] == ["upstream_missing"]


async def test_a_batch_is_kept_like_single_checks_and_replays(client: httpx.AsyncClient, keys: dict[str, str], gateway: Gateway) -> None:
    checks = [order() for _ in range(200)]
    first = (await client.post("/v1/check/batch", json={"checks": checks}, headers=bearer(keys["his"]))).json()["results"]
    again = (await client.post("/v1/check/batch", json={"checks": checks}, headers=bearer(keys["his"]))).json()["results"]
    assert [r["decision_id"] for r in first] == [r["decision_id"] for r in again]
    assert not any(r["replayed"] for r in first)
    assert all(r["replayed"] for r in again)
    single = await client.post("/v1/check", json=checks[0], headers=bearer(keys["his"]))
    assert single.json()["decision_id"] == first[0]["decision_id"]
    async with gateway.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(tables.decisions))).scalar() == 200


async def test_first_checks_of_one_case_at_once_are_of_one_patient(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    for case in range(10):
        checks = [order(case_id=f"C-{case}", patient={"id": f"P-{patient}"}) for patient in range(6)]
        answers = await asyncio.gather(*(client.post("/v1/check", json=check, headers=bearer(keys["his"])) for check in checks))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]


async def test_an_emergency_that_meets_another_patients_new_case_is_judged_as_one(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    for case in range(10):
        checks = [order(case_id=f"C-{case}", patient={"id": f"P-{patient}"}, urgency="emergency") for patient in range(3)]
        answers = await asyncio.gather(*(client.post("/v1/check", json=check, headers=bearer(keys["his"])) for check in checks))
        assert sorted(answer.json()["flags"] for answer in answers) == [[], ["other_patient"], ["other_patient"]]


async def test_a_defect_in_recording_ends_neither_the_check_nor_the_next_one(
    client: httpx.AsyncClient, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    for name in ("_write", "_earlier"):
        with monkeypatch.context() as patched:
            patched.setattr(decisions, name, broken)
            assert (await client.post("/v1/check", json=order(), headers=bearer(keys["his"]))).status_code == 200  # in the journal
        assert (await client.post("/v1/check", json=order(), headers=bearer(keys["his"]))).status_code == 200


async def test_the_same_request_twice_in_one_batch_is_one_decision(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    check = order()
    answered = await client.post("/v1/check/batch", json={"checks": [check, check]}, headers=bearer(keys["his"]))
    one, two = answered.json()["results"]
    assert one["decision_id"] == two["decision_id"]
    assert sorted([one["replayed"], two["replayed"]]) == [False, True]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"checks": []}, 422, "checks"),
        ({"checks": [{}] * 501}, 422, "checks"),
        ({"checks": [{}], "more": 1}, 422, "more"),
        ({}, 422, "checks"),
        ([], 422, ""),
    ],
)
async def test_a_batch_that_is_none_is_refused_whole(
    client: httpx.AsyncClient, keys: dict[str, str], body: Any, status: int, field: str
) -> None:
    answered = await client.post("/v1/check/batch", json=body, headers=bearer(keys["his"]))
    assert answered.status_code == status, answered.text
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.json()["errors"][0]["field"] == field


async def test_a_batch_is_bounded_in_bytes_and_for_those_who_check(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    large = b'{"checks": [' + b" " * (4 * 1024 * 1024) + b"]}"
    headers = bearer(keys["his"]) | {"Content-Type": "application/json"}
    assert (await client.post("/v1/check/batch", content=large, headers=headers)).status_code == 413
    assert (await client.post("/v1/check/batch", content=b"{", headers=headers)).status_code == 400
    assert (await client.post("/v1/check/batch", content=b"{}", headers=bearer(keys["his"]))).status_code == 415
    assert (await client.post("/v1/check/batch", json={"checks": [order()]}, headers=bearer(keys["ops"]))).status_code == 403
    assert (await client.post("/v1/check/batch", json={"checks": [order()]})).status_code == 401


@pytest.mark.parametrize("role", ["his", "anesthesia", "medical_affairs", "ops", "auditor", "admin"])
async def test_explain_judges_as_a_check_does_and_keeps_nothing(
    client: httpx.AsyncClient, keys: dict[str, str], gateway: Gateway, role: str
) -> None:
    asked = order(EXPIRED)
    asked["procedures"][0]["service"] = "A000000000"
    explained = (await client.post("/v1/explain", json=asked, headers=bearer(keys[role]))).json()
    assert explained["decision_id"] is None
    assert explained["decision"] == "deny"
    assert explained["passed_over"] == {"procedures[0]": ["service"]}
    step = next(s for s in explained["trace"] if s["rule"] == "operator_grant")
    assert (step["subject"], step["outcome"], step["found"]) == ("procedures[0]", "found", ["grant_expired"])
    async with gateway.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(tables.decisions))).scalar() == 0
    checked = (await client.post("/v1/check", json=asked, headers=bearer(keys["his"]))).json()
    same = set(checked) - {"decision_id", "matrix", "evaluated_at"}
    assert {name: explained[name] for name in same} == {name: checked[name] for name in same}
    assert set(explained) - set(checked) == {"trace", "passed_over"}


async def test_explain_names_every_wrong_field(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    asked = order() | {"urgency": "soon", "extra": 1}
    answered = await client.post("/v1/explain", json=asked, headers=bearer(keys["ops"]))
    assert answered.status_code == 422
    assert {e["field"] for e in answered.json()["errors"]} == {"urgency", "extra"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/check"), ("DELETE", "/v1/check"), ("GET", "/v1/check/batch"), ("PUT", "/v1/decisions")]
)
async def test_another_method_is_told_which_are_there(client: httpx.AsyncClient, method: str, path: str) -> None:
    answered = await client.request(method, path)
    assert answered.status_code == 405
    assert answered.headers["allow"] in ("POST", "GET, HEAD")
    assert answered.json()["status"] == 405
