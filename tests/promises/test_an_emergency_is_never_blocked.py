"""Promise 4: an emergency is never blocked. While the process lives a valid declaration is recorded and answered, whatever else is down; and what was
answered is in the record, with its review opened and the office told, when the database is back."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.main import Gateway
from app.settings import Settings
from app.store import journal_file, tables
from app.store.database import Database
from tests.service.conftest import Template, bearer
from tests.service.orders import order
from tests.service.reviews import emergency

pytestmark = pytest.mark.anyio


class Outage(NamedTuple):
    """The database is away until its `end`."""

    patched: pytest.MonkeyPatch
    end: Callable[[], None]


@pytest.fixture
def settings(template: Template, tmp_path: Path) -> Settings:
    shutil.copytree(template.path.parent, tmp_path, dirs_exist_ok=True)
    return Settings(var_dir=tmp_path, reach_seconds=0.2)


@pytest.fixture
async def gateway(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(journal_file, "SEGMENT_BYTES", 1 << 16)
    made = Gateway(settings)
    async with made.app.router.lifespan_context(made.app):
        yield made


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=gateway), base_url="http://gateway") as made:
        yield made


@pytest.fixture
async def outage(gateway: Gateway, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """The database fails, or hangs, until this is undone. What the worker holds of the matrix is not the matter here."""
    monkeypatch.setattr(gateway.live._lease, "_until", math.inf)

    over = threading.Event()

    @asynccontextmanager
    async def away(*_: Any) -> AsyncIterator[None]:
        while request.param == "hangs" and not over.is_set():  # noqa: ASYNC110 - waited for in the loops of several threads
            await asyncio.sleep(0.002)
        if request.param in ("fails", "hangs"):
            raise OperationalError("SELECT 1", {}, Exception("away"))
        yield

    patched = pytest.MonkeyPatch()
    patched.setattr(Database, "read", away)
    patched.setattr(Database, "write", away)

    def end() -> None:
        patched.undo()
        over.set()

    yield Outage(patched, end)
    end()


@pytest.mark.parametrize("outage", ["fails", "hangs"], indirect=True)
async def test_without_the_database(client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], outage: Outage) -> None:
    sent = emergency(checkpoint="anesthesia")
    answered = await client.post("/v1/check", json=sent, headers=bearer(keys["his"]))
    assert answered.status_code == 200, answered.text
    told = answered.json()
    assert (told["decision"], told["flags"]) == ("override", ["history_degraded"])
    assert "record_unread" in told["override"]["flags"]
    again = await client.post("/v1/check", json=sent, headers=bearer(keys["his"]))
    assert again.json() == told | {"replayed": True}
    await _back(gateway, outage)
    assert await _of(gateway, tables.decisions.c.id) == [told["decision_id"]]
    assert await _of(gateway, tables.overrides.c.id) == [told["override"]["id"]]
    assert await _of(gateway, tables.override_steps.c.action) == ["open"]
    shown = await client.get(f"/v1/overrides/{told['override']['id']}", headers=bearer(keys["medical_affairs"]))
    assert shown.status_code == 200, shown.text
    assert shown.json()["patterns"]["unread"]
    assert (await client.get("/v1/audit/verify", headers=bearer(keys["auditor"]))).json()["findings"] == []
    again = await client.post("/v1/check", json=sent, headers=bearer(keys["his"]))
    assert again.json() == told | {"replayed": True}


@pytest.mark.parametrize("outage", ["fails"], indirect=True)
async def test_without_the_database_on_a_full_disk(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], outage: Outage
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    outage.patched.setattr(os, "posix_fallocate", full)
    elective = 0
    while (answered := await client.post("/v1/check", json=order(), headers=bearer(keys["his"]))).status_code == 200:
        elective += 1
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")
    assert elective > 1
    declared = [await client.post("/v1/check", json=emergency(), headers=bearer(keys["his"])) for _ in range(3)]
    assert [one.json().get("decision") for one in declared] == ["override"] * 3
    await _back(gateway, outage)
    assert len(await _of(gateway, tables.decisions.c.id)) == elective + 3
    assert (await client.post("/v1/check", json=order(), headers=bearer(keys["his"]))).status_code == 200


@pytest.mark.parametrize("outage", ["fails"], indirect=True)
async def test_the_documents_of_a_case_go_on_by_what_the_node_knows(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], outage: Outage
) -> None:
    """No outage turns a denial into a permission: a notice whose order nobody here knows is denied, and says what can be done."""
    first = order()
    for checkpoint in ("order", "notice"):
        sent = first | {"request_id": f"{first['request_id']}-{checkpoint}", "checkpoint": checkpoint}
        told = (await client.post("/v1/check", json=sent, headers=bearer(keys["his"]))).json()
        assert (told["decision"], told["flags"]) == ("allow", ["history_degraded"]), told["message"]
    unknown = (await client.post("/v1/check", json=order(checkpoint="notice"), headers=bearer(keys["his"]))).json()
    assert (unknown["decision"], unknown["findings"][0]["code"]) == ("deny", "upstream_missing")
    assert "数据库暂时无法读取" in unknown["message"]["zh"]
    assert "cannot be read now" in unknown["message"]["en"]
    await _back(gateway, outage)
    sent = first | {"request_id": f"{first['request_id']}-again", "checkpoint": "notice"}
    told = (await client.post("/v1/check", json=sent, headers=bearer(keys["his"]))).json()
    assert (told["decision"], told["flags"]) == ("allow", [])


async def _back(gateway: Gateway, outage: Outage) -> None:
    outage.end()
    while not gateway.breaker.closed or await gateway.journal.holds():  # noqa: ASYNC110 - the drain has no event to tell of it
        await asyncio.sleep(0.02)


async def _of(gateway: Gateway, column: Any) -> list[Any]:
    async with gateway.database.read() as connection:
        return list((await connection.execute(select(column))).scalars())
