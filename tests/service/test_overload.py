"""More than can be done, at a worker whose store stands still until it is told to go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from app.authorize import MAX_SIDE_BY_SIDE
from app.errors import Overloaded
from app.events.feed import MAX_OF_ONE_KEY, Feed
from app.main import MAX_FILES_IN_LINE, MAX_READS_IN_LINE, Gateway
from app.settings import Settings
from app.store import decided, decisions
from app.store.keys import Key
from tests.notify.receiver import until
from tests.service.conftest import bearer
from tests.service.orders import order

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_waiting_checks": 10})


@pytest.fixture
async def going(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """Nothing is recorded before it is set."""
    goes = asyncio.Event()
    write = decisions._write

    async def waits(connection: AsyncConnection, group: Sequence[decided.Record]) -> Any:
        while not goes.is_set():  # noqa: ASYNC110 - it is set in another loop's thread, whom that does not wake
            await asyncio.sleep(0.002)
        return await write(connection, group)

    monkeypatch.setattr(decisions, "_write", waits)
    yield goes
    goes.set()


def urgencies(kind: str, count: int) -> list[dict[str, Any]]:
    return [order(urgency=kind) for _ in range(count)]


async def test_elective_checks_are_refused_at_once_while_emergencies_are_let_in(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], going: asyncio.Event
) -> None:
    def check(sent: dict[str, Any]) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(client.post("/v1/check", json=sent, headers=bearer(keys["his"])))

    let_in = [check(sent) for sent in urgencies("elective", 6)]
    await until(lambda: gateway.admission.in_hand == 6)
    refused = await check(order())
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert int(refused.headers["retry-after"]) >= 1
    let_in += [check(sent) for sent in urgencies("emergency", 2)]
    await until(lambda: gateway.admission.in_hand == 8)
    going.set()
    assert [answer.status_code for answer in await asyncio.gather(*let_in)] == [200] * 8
    assert gateway.admission.in_hand == 0
    counted = (await client.get("/metrics")).text.splitlines()
    for rank, outcome, count in (("elective", "admitted", 6), ("elective", "shed", 1), ("emergency", "admitted", 2)):
        assert f'surgate_admissions_total{{outcome="{outcome}",rank="{rank}"}} {count}.0' in counted
    assert (await check(order())).status_code == 200


async def test_an_emergency_in_a_batch_waits_for_no_room_in_it(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], going: asyncio.Event
) -> None:
    gateway.admission._room = 1000
    checks = [*urgencies("elective", MAX_SIDE_BY_SIDE + 20), *urgencies("emergency", 1)]
    batch = asyncio.create_task(client.post("/v1/check/batch", json={"checks": checks}, headers=bearer(keys["his"])))
    await until(lambda: gateway.admission.in_hand == MAX_SIDE_BY_SIDE + 1)
    going.set()
    assert {result["decision"] for result in (await batch).json()["results"]} == {"allow"}


async def test_a_batch_is_refused_check_by_check_but_not_an_emergency_in_it(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], going: asyncio.Event
) -> None:
    checks = [*urgencies("elective", 120), *urgencies("emergency", 1)]
    batch = asyncio.create_task(client.post("/v1/check/batch", json={"checks": checks}, headers=bearer(keys["his"])))
    await until(lambda: gateway.admission.in_hand == 6)
    going.set()
    results = (await batch).json()["results"]
    answered = [r.get("decision", r.get("status")) for r in results]
    assert answered.count("allow") >= 6
    assert answered[-1] == "allow"
    assert 503 in answered


async def test_a_key_that_was_revoked_does_not_open_by_memory(client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str]) -> None:
    """The check's way in looks at the change log only behind admission."""
    memory = dict(gateway.live.keys)
    his = keys["his"].split("_")[1]
    assert (await client.delete(f"/v1/keys/{his}", headers=bearer(keys["admin"]))).status_code == 200
    for revoked in (gateway.live.keys[his], None):
        stale = memory | {his: memory[his]}
        fresh = {**memory, his: revoked} if revoked else {number: key for number, key in memory.items() if number != his}

        async def look(known: dict[str, Any] = fresh) -> None:
            gateway.live.keys = known

        gateway.live.keys = stale
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(gateway.live, "fresh", look)
            assert (await client.post("/v1/check", json=order(), headers=bearer(keys["his"]))).status_code == 401


async def test_readings_and_files_of_one_hospital_have_a_bounded_line(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str]
) -> None:
    async def get(path: str) -> int:
        return (await client.get(path, headers=bearer(keys["admin"]))).status_code

    for path, turns, most in (
        ("/v1/decisions", gateway.reads, MAX_READS_IN_LINE),
        ("/v1/exports/grants", gateway.files, MAX_FILES_IN_LINE),
    ):
        held = [turns.place("wahh") for _ in range(most)]
        for place in held:
            place.__enter__()
        assert await get(path) == 503
        held.pop().__exit__(None, None, None)
        assert await get(path) == 200
        for place in held:
            place.__exit__(None, None, None)


async def test_a_reading_waits_for_its_turn_and_gives_it_back(client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str]) -> None:
    read = asyncio.Event()
    async with gateway.reads.turn("b"), gateway.reads.turn("b"), gateway.reads.turn("b"):
        asked = asyncio.create_task(client.get("/v1/grants", headers=bearer(keys["admin"])))
        asked.add_done_callback(lambda _: read.set())
        await until(lambda: bool(gateway.reads._waiting))
        assert not read.is_set()
    assert (await asked).status_code == 200
    for status, path in ((404, "/v1/decisions/none"), (422, "/v1/decisions?cursor=x")):
        for _ in range(4):
            assert (await client.get(path, headers=bearer(keys["admin"]))).status_code == status
    assert gateway.reads._free == 3


def key(number: str, hospital: str) -> Key:
    return Key(number, hospital, number, frozenset(), None, "", None, b"", b"")


async def test_no_hospital_and_no_key_takes_all_streams(gateway: Gateway) -> None:
    feed = Feed(gateway.database, 60, gateway.meters)
    open_streams: list[AbstractContextManager[None]] = []

    def takes(one: Key, hospitals: int) -> bool:
        try:
            feed.check_room(one, hospitals)
        except Overloaded:
            return False
        open_streams.append(feed.listening(one, 0))
        open_streams[-1].__enter__()
        return True

    assert sum(takes(key("k1", "a"), 2) for _ in range(60)) == MAX_OF_ONE_KEY
    assert sum(takes(key("k2", "a"), 2) for _ in range(60)) == 30 - MAX_OF_ONE_KEY
    assert takes(key("k3", "b"), 2)
    assert takes(key("k2", "a"), 1), "where nobody else is served it may have all"
    await feed.stop()
