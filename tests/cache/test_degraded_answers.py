"""What is answered while the worker cannot look at the change log: checks, look-ups, changes, readiness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from app.main import Gateway
from app.store import changes, tables
from app.store.changes import Change
from app.store.database import Database
from tests.cache.faults import Severed, time_passes
from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, PRIVILEGED, order
from tests.service.reviews import emergency

pytestmark = pytest.mark.anyio


@pytest.fixture
async def severed(gateway: Gateway) -> AsyncIterator[Severed]:
    """What the worker's memory follows; what is recorded goes another way, so that checks are answered."""
    made = Severed(gateway.settings.database)
    made.fault = "fails"
    await follow(gateway, made)
    while not gateway.live.away:  # noqa: ASYNC110 - the follower's doing
        await asyncio.sleep(0.01)
    gateway.live._lease.end()
    yield made
    made.fault = None
    await follow(gateway, gateway.database)
    await made.close()


async def follow(gateway: Gateway, database: Database) -> None:
    """Let a worker follow another way to the database from now on, when what it has begun is ended."""
    live = gateway.live
    async with live._looking:
        await live._lease.settled()
        live._database = live._lease._database = database


async def ask(client: httpx.AsyncClient, keys: dict[str, str], asked: dict[str, Any]) -> dict[str, Any]:
    answered = await client.post("/v1/check", json=asked, headers=bearer(keys["his"]))
    assert answered.status_code == 200, answered.text
    made: dict[str, Any] = answered.json()
    return made


def codes(answer: dict[str, Any]) -> set[str]:
    found = [*answer["findings"], *(f for p in answer["procedures"] for f in p["findings"])]
    return {finding["code"] for finding in found}


async def test_checks_go_on_by_what_is_known_and_say_so(
    gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str], severed: Severed
) -> None:
    before = gateway.live.hospitals["wahh"]
    allowed, denied = await ask(client, keys, order()), await ask(client, keys, order(EXPIRED))
    assert (allowed["decision"], denied["decision"]) == ("allow", "deny")
    for answer in (allowed, denied):
        assert (answer["matrix"]["degraded"], answer["matrix"]["version"]) == (True, before.version)
        assert datetime.fromisoformat(answer["matrix"]["as_of"]) == before.as_of
    told = (await client.get(f"/v1/staff/{PRIVILEGED}/privileges", headers=bearer(keys["his"]))).json()
    assert told["matrix"]["degraded"]
    state = await client.get("/readyz")
    assert (state.status_code, state.json()["status"], state.json()["degraded"]) == (200, "ready", True)
    assert state.json()["matrix"][0]["usable"]


async def test_nobody_who_was_suspended_before_is_let_in(
    gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str], severed: Severed
) -> None:
    severed.fault = None
    await gateway.live.look()
    body = {"reason": "并发症率复核", "by": "900001"}
    stopped = await client.post(f"/v1/staff/{PRIVILEGED}/suspend", json=body, headers=bearer(keys["medical_affairs"]))
    assert stopped.status_code == 200, stopped.text
    severed.fault = "fails"
    gateway.live._lease.end()
    answer = await ask(client, keys, order())
    assert (answer["decision"], answer["matrix"]["degraded"]) == ("deny", True)
    assert answer["matrix"]["version"] == stopped.json()["matrix_version"]


async def test_by_a_matrix_that_is_too_old_nothing_is_allowed_and_an_emergency_goes_on(
    gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str], severed: Severed, monkeypatch: pytest.MonkeyPatch
) -> None:
    max_age = gateway.settings.snapshot_max_hours * 3600
    with monkeypatch.context() as later:
        time_passes(later, max_age + 1)
        for asked in (order(), order(urgency="emergency")):
            answer = await ask(client, keys, asked)
            assert (answer["decision"], answer["overridable"], answer["matrix"]) == ("deny", True, None)
            assert "matrix_unavailable" in codes(answer)
        declared = await ask(client, keys, emergency())
        assert (declared["decision"], declared["matrix"]) == ("override", None)
        explained = await client.post("/v1/explain", json=order(), headers=bearer(keys["his"]))
        assert explained.json()["decision"] == "deny"
        for path in (f"/v1/staff/{PRIVILEGED}/privileges", "/v1/procedures/35.71001/operators"):
            refused = await client.get(path, headers=bearer(keys["his"]))
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:surgate:problem:matrix")
        state = await client.get("/readyz")
        assert (state.status_code, state.json()["matrix"][0]["usable"]) == (200, False)
    async with gateway.database.read() as connection:
        kept = (await connection.execute(tables.decisions.select().where(tables.decisions.c.id == declared["decision_id"]))).one()
    assert (kept.decision, kept.matrix_version) == ("override", None)
    severed.fault = None
    await gateway.live.look()
    assert (await ask(client, keys, order()))["decision"] == "allow"


async def test_what_needs_the_store_is_refused_and_nothing_else(
    gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str], severed: Severed
) -> None:
    body = {"reason": "并发症率复核", "by": "900001"}
    for method, path, role, sent in (
        ("POST", f"/v1/staff/{PRIVILEGED}/suspend", "medical_affairs", body),
        ("POST", "/v1/technologies/G09/stop", "medical_affairs", body),
        ("POST", "/v1/keys", "admin", {"roles": ["his"]}),
        ("GET", "/v1/decisions", "medical_affairs", None),
        ("GET", "/v1/changes", "medical_affairs", None),
    ):
        refused = await client.request(method, path, json=sent, headers=bearer(keys[role]))
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:surgate:problem:store"), path
        assert refused.headers["retry-after"]
    for path in ("/healthz", "/readyz", "/metrics", f"/v1/staff/{PRIVILEGED}/privileges"):
        assert (await client.get(path, headers=bearer(keys["ops"]))).status_code == 200, path


async def test_a_change_made_meanwhile_is_followed_as_soon_as_the_log_can_be_looked_at(
    gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str], severed: Severed
) -> None:
    assert (await ask(client, keys, order()))["matrix"]["degraded"]
    async with gateway.database.write("wahh") as connection:
        await connection.execute(update(tables.staff).where(tables.staff.c.staff == PRIVILEGED).values(status="suspended"))
        change = Change("wahh", "1", "staff", PRIVILEGED, "suspend", people=(PRIVILEGED,))
        version = await changes.append(connection, change, datetime.now(UTC))
    severed.fault = None
    while gateway.live.away:  # noqa: ASYNC110 - the follower's doing
        await asyncio.sleep(0.01)
    answer = await ask(client, keys, order())
    assert (answer["decision"], answer["matrix"]["version"], answer["matrix"]["degraded"]) == ("deny", version, False)
