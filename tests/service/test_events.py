"""`GET /v1/events`: everything once and in order, for whom it is meant, resumed without loss, ended when it should."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import delete, insert, select

from app.events import feed, stream
from app.main import Gateway
from app.settings import Settings
from app.store import keys as key_store
from app.store import tables
from app.telemetry.exposition import render
from tests.notify.receiver import until
from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, PRIVILEGED, order

pytestmark = pytest.mark.anyio

DECLARATION = {
    "lifesaving": True,
    "no_privileged_operator": True,
    "reason_code": "tamponade",
    "reason": "心包填塞，血压测不出",
    "declared_by": EXPIRED,
}
STOP = {"reason": "暂停该技术", "document_no": "医务〔2026〕1号", "by": "900001"}


class Event(NamedTuple):
    id: int
    event: str
    data: dict[str, Any]


class Reader:
    """A reader of a stream: what it was sent so far. It takes everything, but while `takes` is not set."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = b""
        self.ended = False
        self.leave = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.offered = 0

    async def receive(self) -> dict[str, Any]:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        self.offered += 1
        await self.takes.wait()
        self.text += message.get("body", b"")
        self.ended = not message.get("more_body", False)

    @property
    def events(self) -> list[Event]:
        found = []
        for block in self.text.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if "event" in fields:
                found.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))
        return found

    @property
    def place(self) -> int:
        """What the reader would send as `Last-Event-ID`."""
        return int([line for line in self.text.decode().split("\n") if line.startswith("id: ")][-1][4:])


@asynccontextmanager
async def reading(gateway: Gateway, key: str, query: str = "", last_event_id: int | str | None = None) -> AsyncIterator[Reader]:
    """A stream for the time of a block, as a server hands it to the application."""
    reader = Reader()
    headers = [(b"authorization", f"Bearer {key}".encode())]
    if last_event_id is not None:
        headers.append((b"last-event-id", str(last_event_id).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/events",
        "raw_path": b"/v1/events",
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("gateway", 80),
    }
    task = asyncio.create_task(gateway(scope, reader.receive, reader.send))
    try:
        await until(lambda: bool(reader.text) or task.done())
        yield reader
    finally:
        reader.leave.set()
        reader.takes.set()
        await task


@pytest.fixture
def check(client: httpx.AsyncClient, keys: dict[str, str]) -> Callable[..., Any]:
    async def make(operator: str = PRIVILEGED, key: str = "his", **changed: Any) -> Any:
        answered = await client.post("/v1/check", json=order(operator, **changed), headers=bearer(keys[key]))
        assert answered.status_code == 200, answered.text
        return answered.json()

    return make


async def test_decisions_overrides_and_changes_come_in_the_order_of_the_record(
    gateway: Gateway, client: httpx.AsyncClient, check: Any, keys: dict[str, str]
) -> None:
    async with reading(gateway, keys["medical_affairs"]) as reader:
        assert (reader.status, reader.headers["content-type"]) == (200, "text/event-stream")
        assert reader.text.startswith(b"retry: ")
        allowed = await check()
        denied = await check(EXPIRED)
        overridden = await check(EXPIRED, urgency="emergency", emergency=DECLARATION)
        stopped = await client.post("/v1/technologies/WAHH-M01/stop", json=STOP, headers=bearer(keys["medical_affairs"]))
        assert stopped.status_code == 200
        await until(lambda: len(reader.events) == 5)
        events = reader.events
    assert [one.event for one in events] == ["decision", "decision", "decision", "override", "change"]
    assert [one.id for one in events] == sorted({one.id for one in events})
    for sent, event in zip((allowed, denied, overridden), events, strict=False):
        expected = {name: sent[name] for name in ("decision_id", "case_id", "checkpoint", "decision", "level", "message")}
        assert {name: event.data[name] for name in expected} == expected
    assert (events[1].data["operators"], events[1].data["reasons"]) == ([EXPIRED], ["grant_expired"])
    assert events[1].data["department"] == "胸心外科"
    step = events[3].data
    assert (step["override_id"], step["decision_id"]) == (overridden["override"]["id"], overridden["decision_id"])
    assert (step["action"], step["state"], step["by"], step["reason_code"]) == ("open", "pending_report", EXPIRED, "tamponade")
    assert events[4].data | {"at": ""} == {
        "kind": "technology",
        "subject": "WAHH-M01",
        "action": "stop",
        "version": stopped.json()["matrix_version"],
        "at": "",
    }
    patient, words = order()["patient"]["id"], DECLARATION["reason"]
    assert patient not in reader.text.decode()
    assert str(words) not in reader.text.decode()


async def test_readings_are_no_events_and_only_the_kinds_asked_for_come(
    gateway: Gateway, client: httpx.AsyncClient, check: Any, keys: dict[str, str]
) -> None:
    async with reading(gateway, keys["auditor"], "kinds=override,change") as reader:
        decision = await check()
        await client.get(f"/v1/decisions/{decision['decision_id']}", headers=bearer(keys["auditor"]))
        await check(EXPIRED, urgency="emergency", emergency=DECLARATION)
        await until(lambda: bool(reader.events))
        assert [one.event for one in reader.events] == ["override"]


async def test_it_resumes_after_any_event_with_exactly_what_followed(gateway: Gateway, check: Any, keys: dict[str, str]) -> None:
    async with reading(gateway, keys["anesthesia"]) as reader:
        for _ in range(6):
            await check()
        await until(lambda: len(reader.events) == 6)
        whole = reader.events
    for seen in (0, 2, 5):
        for query, header in (("", whole[seen].id), (f"last_event_id={whole[seen].id}", None), ("last_event_id=1", whole[seen].id)):
            async with reading(gateway, keys["anesthesia"], query, header) as again:
                await until(lambda wanted=5 - seen, again=again: len(again.events) >= wanted)  # type: ignore[misc]
                assert again.events == whole[seen + 1 :]


async def test_a_reader_that_had_no_event_yet_resumes_from_where_it_began(gateway: Gateway, check: Any, keys: dict[str, str]) -> None:
    async with reading(gateway, keys["anesthesia"]) as reader:
        place = reader.place
    decision = await check()
    async with reading(gateway, keys["anesthesia"], last_event_id=place) as reader:
        await until(lambda: bool(reader.events))
        assert [one.data["decision_id"] for one in reader.events] == [decision["decision_id"]]


async def test_a_reader_far_behind_gets_all_of_many_pages(
    gateway: Gateway, check: Any, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE", 3)
    async with reading(gateway, keys["anesthesia"]) as reader:
        place = reader.place
    sent = [(await check())["decision_id"] for _ in range(10)]
    async with reading(gateway, keys["anesthesia"], last_event_id=place) as reader:
        await until(lambda: len(reader.events) >= 10)
        sent.append((await check())["decision_id"])
        await until(lambda: len(reader.events) >= 11)
        assert [one.data["decision_id"] for one in reader.events] == sent


async def test_another_worker_goes_on_where_the_first_one_ended(
    gateway: Gateway, settings: Settings, check: Any, keys: dict[str, str]
) -> None:
    other = Gateway(settings)
    async with other.app.router.lifespan_context(other.app):
        async with reading(gateway, keys["anesthesia"]) as reader:
            await check()
            await until(lambda: len(reader.events) == 1)
        missed = await check()
        async with reading(other, keys["anesthesia"], last_event_id=reader.place) as again:
            live = await check()
            await until(lambda: len(again.events) == 2)
            assert [one.data["decision_id"] for one in again.events] == [missed["decision_id"], live["decision_id"]]


async def make_key(gateway: Gateway, client: str, *roles: key_store.Role) -> str:
    async with gateway.database.write(None) as connection:
        _, text = await key_store.create(connection, "wahh", roles, client, None)
        async_keys = await key_store.load(connection)
    gateway.live.keys = {key.id: key for key in async_keys}
    return text


async def test_his_sees_its_own_clients_checks_and_ops_neither_case_nor_person(
    gateway: Gateway, client: httpx.AsyncClient, check: Any, keys: dict[str, str]
) -> None:
    other = await make_key(gateway, "OTHER-HIS", key_store.Role.HIS)
    async with (
        reading(gateway, keys["his"]) as mine,
        reading(gateway, other) as others,
        reading(gateway, keys["ops"]) as ops,
        reading(gateway, keys["admin"]) as everything,
    ):
        sent = await check(EXPIRED, urgency="emergency", emergency=DECLARATION)
        made = await client.post("/v1/keys", json={"roles": ["ops"]}, headers=bearer(keys["admin"]))
        assert made.status_code == 201
        await client.post("/v1/technologies/WAHH-M01/stop", json=STOP, headers=bearer(keys["medical_affairs"]))
        for reader, count in ((mine, 3), (others, 1), (ops, 3), (everything, 4)):
            await until(lambda reader=reader, count=count: len(reader.events) >= count)  # type: ignore[misc]
    assert [one.event for one in everything.events] == ["decision", "override", "change", "change"]
    assert [one.event for one in mine.events] == ["decision", "override", "change"]
    assert mine.events[0].data["decision_id"] == sent["decision_id"]
    assert "reason_code" not in mine.events[1].data
    assert [(one.event, one.data["subject"]) for one in others.events] == [("change", "WAHH-M01")]
    assert [set(one.data) for one in ops.events] == [
        {"checkpoint", "decision", "level", "department", "reasons", "at"},
        {"action", "state", "department", "late", "review_due_at", "at"},
        {"kind", "action", "version", "at"},
    ]
    for secret in (EXPIRED, sent["case_id"], sent["decision_id"], sent["override"]["id"]):
        assert secret not in ops.text.decode()


async def test_another_hospitals_events_never_come(gateway: Gateway, check: Any, keys: dict[str, str]) -> None:
    async with reading(gateway, keys["admin"]) as reader:
        async with gateway.database.write(None) as connection:
            await connection.execute(insert(tables.hospitals).values(code="other", name="o", time_zone="UTC", settings=b"{}"))
            row = {"kind": "change", "at": "2026-11-22T00:00:00+00:00", "digest": b"", "hash": b""}
            numbers = range(1, 500)
            await connection.execute(insert(tables.chain), [row | {"hospital": "other", "number": n, "ref": str(n)} for n in numbers])
        decision = await check()
        await until(lambda: bool(reader.events))
        assert [one.data["decision_id"] for one in reader.events] == [decision["decision_id"]]


async def test_what_was_archived_is_said_to_be_missing(gateway: Gateway, check: Any, keys: dict[str, str]) -> None:
    async with reading(gateway, keys["admin"]) as reader:
        for _ in range(4):
            await check()
        await until(lambda: len(reader.events) == 4)
        first, _, third, fourth = reader.events
    chain = tables.chain
    async with gateway.database.write(None) as connection:
        await connection.execute(delete(chain).where(chain.c.number < third.id))
    async with reading(gateway, keys["admin"], last_event_id=first.id) as reader:
        await until(lambda: len(reader.events) >= 3)
        gap = Event(third.id - 1, "gap", {"after": first.id, "next": third.id})
        assert reader.events == [gap, third, fourth]


async def test_where_all_that_followed_was_archived_or_never_was_it_says_so_and_goes_on(
    gateway: Gateway, check: Any, keys: dict[str, str]
) -> None:
    for _ in range(3):
        await check()
    chain = tables.chain
    async with gateway.database.write(None) as connection:
        last = (await connection.execute(select(chain).order_by(chain.c.number.desc()).limit(1))).one()
        await connection.execute(delete(chain))
        archive = {"hospital": "wahh", "first": 1, "last": last.number, "before": b"", "hash": last.hash, "newest": last.at}
        await connection.execute(insert(tables.archives).values(archive | {"file": "f", "sha256": "s", "archived_at": last.at}))
    async with reading(gateway, keys["admin"], last_event_id=1) as behind:
        assert behind.events == [Event(last.number, "gap", {"after": 1, "next": last.number + 1})]
        async with reading(gateway, keys["admin"], last_event_id=999_999) as ahead:
            assert [(one.event, one.data["after"]) for one in ahead.events] == [("gap", 999_999)]
            await check()
            for reader in (behind, ahead):
                await until(lambda reader=reader: len(reader.events) >= 2)  # type: ignore[misc]
                assert [one.event for one in reader.events] == ["gap", "decision"]


@pytest.mark.parametrize(
    ("query", "header", "field"),
    [
        ("", "abc", "Last-Event-ID"),
        ("", "", "Last-Event-ID"),
        ("", "-1", "Last-Event-ID"),
        ("", "9" * 19, "Last-Event-ID"),
        ("last_event_id=x", None, "last_event_id"),
        ("kinds=decision,reads", None, "kinds"),
        ("kinds=", None, "kinds"),
        ("kind=decision", None, "kind"),
    ],
)
async def test_what_is_no_place_and_no_kind_is_refused(
    gateway: Gateway, keys: dict[str, str], query: str, header: str | None, field: str
) -> None:
    async with reading(gateway, keys["ops"], query, header) as reader:
        assert reader.status == 422
        assert [one["field"] for one in json.loads(reader.text)["errors"]] == [field]


async def test_opening_a_stream_is_itself_recorded(gateway: Gateway, keys: dict[str, str]) -> None:
    async with reading(gateway, keys["auditor"], "kinds=decision") as reader:
        place = reader.place
    async with gateway.database.read() as connection:
        read = (await connection.execute(select(tables.reads).order_by(tables.reads.c.seq.desc()).limit(1))).one()
    assert (read.kind, read.client, json.loads(read.subject)) == ("events", "auditor", {"kinds": ["decision"], "after": place})


async def test_a_revoked_keys_stream_ends(gateway: Gateway, client: httpx.AsyncClient, check: Any, keys: dict[str, str]) -> None:
    text = await make_key(gateway, "console", key_store.Role.ANESTHESIA)
    async with reading(gateway, text) as reader:
        await check()
        await until(lambda: len(reader.events) == 1)
        revoked = await client.delete(f"/v1/keys/{text.split('_')[1]}", headers=bearer(keys["admin"]))
        assert revoked.status_code == 200
        await check()
        await until(lambda: reader.ended)
        assert len(reader.events) == 1


async def test_there_is_room_for_so_many_and_a_reader_that_left_gives_its_place(settings: Settings, keys: dict[str, str]) -> None:
    gateway = Gateway(settings.model_copy(update={"max_event_streams": 2}))
    async with gateway.app.router.lifespan_context(gateway.app):
        async with reading(gateway, keys["ops"]), reading(gateway, keys["ops"]), reading(gateway, keys["ops"]) as third:
            assert (third.status, third.headers["retry-after"]) == (503, "1")
        async with reading(gateway, keys["ops"]) as reader:
            assert reader.status == 200


async def test_a_slow_reader_holds_a_page_and_goes_on_where_it_was(
    gateway: Gateway, check: Any, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE", 2)
    monkeypatch.setattr(feed, "MAX_RECENT", 4)
    async with reading(gateway, keys["admin"]) as slow, reading(gateway, keys["admin"]) as quick:
        slow.takes.clear()
        offered = slow.offered
        sent = [(await check())["decision_id"] for _ in range(12)]
        await until(lambda: len(quick.events) == 12)
        assert slow.offered <= offered + 1
        slow.takes.set()
        await until(lambda: len(slow.events) == 12)
        assert [one.data["decision_id"] for one in slow.events] == sent


async def test_a_reader_that_takes_nothing_is_let_go(
    gateway: Gateway, check: Any, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reading(gateway, keys["admin"]) as stuck:
        monkeypatch.setattr(stream, "SEND_SECONDS", 0.01)
        stuck.takes.clear()
        await check()
        await until(lambda: "surgate_event_streams" in metrics(gateway) and streams(gateway) == 0)


async def test_a_sign_of_life_comes_where_nothing_happens_and_says_where_the_reader_is(
    gateway: Gateway, check: Any, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.01)
    async with reading(gateway, keys["admin"], "kinds=change") as reader:
        begun = reader.place
        await check()
        await until(lambda: reader.place > begun)
        assert reader.events == []


async def test_when_the_service_stops_the_streams_end(gateway: Gateway, keys: dict[str, str]) -> None:
    async with reading(gateway, keys["admin"]) as reader, reading(gateway, keys["admin"]) as stuck:
        stuck.takes.clear()
        gateway.feed.close()
        await until(lambda: reader.ended)
        await until(lambda: streams(gateway) == 0)
        async with reading(gateway, keys["admin"]) as late:
            assert late.status == 503


async def test_a_stream_is_no_request_in_flight_and_its_hours_are_no_time_of_an_answer(
    gateway: Gateway, check: Any, keys: dict[str, str]
) -> None:
    async with reading(gateway, keys["admin"]) as reader:
        await check()
        await until(lambda: bool(reader.events))
        during = metrics(gateway)
        assert 'surgate_http_requests_in_flight{worker="0"} 0.0' in during
        assert 'surgate_http_requests_total{method="GET",route="/v1/events",status="200"} 1.0' in during
        assert streams(gateway) == 1
    after = metrics(gateway)
    assert 'surgate_http_requests_in_flight{worker="0"} 0.0' in after
    assert 'surgate_http_request_seconds_count{route="/v1/events"} 1.0' in after
    assert streams(gateway) == 0


def metrics(gateway: Gateway) -> str:
    return render(gateway.meters.memory, None, "")[0].decode()


def streams(gateway: Gateway) -> float:
    line = next(line for line in metrics(gateway).splitlines() if line.startswith("surgate_event_streams{"))
    return float(line.rpartition(" ")[2])
