"""Messages on their way: in order, again until acknowledged, given up visibly, whatever the other side does."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from app.main import Gateway
from app.notify.delivery import MAX_PER_TARGET
from app.notify.targets import Target
from app.serving.checkup import examine
from app.settings import Settings
from app.store import duties, outbox
from app.store.outbox import Notice
from app.telemetry.exposition import render
from tests.notify.receiver import GIVE_UP_SECONDS, Received, Receiver, aim, fine, until
from tests.notify.test_formats import MESSAGE
from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, order

pytestmark = pytest.mark.anyio

DECLARATION = {
    "lifesaving": True,
    "no_privileged_operator": True,
    "reason_code": "tamponade",
    "reason": "心包填塞，血压测不出",
    "declared_by": EXPIRED,
}
STEPS = ("open", "report", "takeover", "begin_review", "justify")


@pytest.fixture
def store(store_template: Path, tmp_path: Path) -> Path:
    path = tmp_path / "surgate.db"
    shutil.copyfile(store_template, path)
    return path


@asynccontextmanager
async def running(store: Path, **settings: Any) -> AsyncIterator[Gateway]:
    """A worker that tries again soon. The time-out is for a test to set: an answer may take long on a loaded machine."""
    known: dict[str, Any] = {"notify_retry_seconds": 0.01, "notify_timeout_seconds": 60} | settings
    made = Gateway(Settings(database_url=f"sqlite+aiosqlite:///{store}", var_dir=store.parent, follow_seconds=0.02, **known))
    async with made.app.router.lifespan_context(made.app):
        yield made


@asynccontextmanager
async def calling(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=gateway), base_url="http://gateway") as client:
        yield client


def webhook(receiver: Receiver, path: str = "/hook", **more: str) -> dict[str, str]:
    return {"kind": "webhook", "url": receiver.url(path), "when": "always"} | more


async def override(gateway: Gateway, key: str) -> dict[str, Any]:
    """An override, opened by a check."""
    async with calling(gateway) as client:
        answered = await client.post(
            "/v1/check", json=order(EXPIRED, urgency="emergency", emergency=DECLARATION, planned_start=None), headers=bearer(key)
        )
    decision: dict[str, Any] = answered.json()
    assert decision["decision"] == "override", answered.text
    return decision


async def put(gateway: Gateway, override_id: str, *targets: dict[str, str], steps: tuple[str, ...] = STEPS) -> None:
    """Every step of an override, put out one transaction each."""
    for event in steps:
        message = msgspec.json.encode(msgspec.structs.replace(MESSAGE, override_id=override_id, event=event))
        found = [Notice(Target(t["kind"], t["url"]).id, event, message) for t in targets]
        async with gateway.database.write(None) as connection:
            await outbox.enqueue(connection, "wahh", override_id, found, datetime.now(UTC).isoformat(timespec="microseconds"))


async def states(gateway: Gateway) -> list[outbox.Kept]:
    async with gateway.database.read() as connection:
        return (await outbox.listed(connection, "wahh", None, None, 1000))[::-1]


async def until_all(gateway: Gateway, *wanted: str) -> list[outbox.Kept]:
    """Wait until every message is in one of these states."""
    found: list[outbox.Kept] = []

    async def look() -> bool:
        found[:] = await states(gateway)
        return all(one.state in wanted for one in found)

    await until_true(look)
    return found


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while not await condition():
        assert time.monotonic() < give_up, "it does not come about"
        await asyncio.sleep(0.02)


def in_order(received: list[Received]) -> dict[str, list[str]]:
    """The events of each override in the order in which they came."""
    events: dict[str, list[str]] = defaultdict(list)
    for one in received:
        events[one.json["override_id"]].append(one.json["event"])
    return events


async def test_an_override_is_told_at_once_signed_and_without_the_patient(
    store: Path, receiver: Receiver, keys: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    aim(store, webhook(receiver, "/hook?token=hush", secret="s3cret"))
    with caplog.at_level(logging.INFO, "surgate"):
        async with running(store) as gateway:
            decision = await override(gateway, keys["his"])
            await until(lambda: len(receiver.acknowledged) == 1)
            kept = (await until_all(gateway, "sent"))[0]
    told = receiver.acknowledged[0]
    message = told.json
    assert (message["override_id"], message["decision_id"]) == (decision["override"]["id"], decision["decision_id"])
    assert (message["event"], message["state"], message["case_id"]) == ("open", "pending_report", decision["case_id"])
    assert message["operators"][0]["staff"] == EXPIRED
    assert message["operators"][0]["name"]
    assert message["codes"][0]["name"]
    assert message["declared_by"]["staff"] == EXPIRED
    assert datetime.fromisoformat(message["review_due_at"]) == datetime.fromisoformat(decision["override"]["review_due_at"])
    assert order()["patient"]["id"] not in told.body.decode()
    assert told.headers["surgate-signature"].startswith("v1=")
    assert told.headers["surgate-event"] == "override.open"
    assert (kept.seq, kept.attempts, kept.state) == (told.id, 1, "sent")
    assert "hush" not in caplog.text


async def test_an_allowed_check_and_a_denied_one_are_told_to_nobody(store: Path, receiver: Receiver, keys: dict[str, str]) -> None:
    aim(store, webhook(receiver))
    async with running(store) as gateway, calling(gateway) as client:
        for operator in ("100007", EXPIRED):
            assert (await client.post("/v1/check", json=order(operator), headers=bearer(keys["his"]))).status_code == 200
        assert await states(gateway) == []


@pytest.mark.parametrize(("hours", "told"), [((0, 1440), "/office"), ((0, 0), "/duty")])
async def test_the_office_or_the_duty_office_by_the_hospitals_hours(
    store: Path, receiver: Receiver, keys: dict[str, str], hours: tuple[int, int], told: str
) -> None:
    targets = [webhook(receiver, f"/{when}", when=when) for when in ("office", "duty", "always")]
    aim(store, *targets, open_hours=hours)
    async with running(store) as gateway:
        await override(gateway, keys["his"])
        await until_all(gateway, "sent")
    assert sorted(one.path for one in receiver.received) == sorted([told, "/always"])


def failing(status: int, body: bytes = b"") -> Callable[[Received], tuple[int, bytes]]:
    return lambda _received: (status, body)


FAILURES = {
    "an error": ("webhook", failing(500)),
    "a redirect": ("webhook", failing(302)),
    "a robot that is asked too often": ("wecom", failing(200, b'{"errcode": 45009}')),
    "a robot of the other kind": ("dingtalk", failing(200, b'{"errcode": 130101}')),
    "no JSON from a robot": ("wecom", failing(200, b"<html>maintenance</html>")),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_after_a_failure_every_message_comes_in_order_per_override(store: Path, receiver: Receiver, name: str) -> None:
    kind, failure = FAILURES[name]
    target = webhook(receiver) | {"kind": kind}
    aim(store, target)
    receiver.behave = failure
    async with running(store) as gateway:
        for number in range(6):
            await put(gateway, f"override-{number}", target)
        await until(lambda: len(receiver.received) >= 20)
        assert receiver.acknowledged == []
        receiver.behave = fine
        kept = await until_all(gateway, "sent")
    assert len(receiver.acknowledged) == len(kept) == 30
    assert all(one.last_error == "" for one in kept)
    assert not [one for one in receiver.received if one.path != "/hook"]
    if kind == "webhook":
        assert in_order(receiver.acknowledged) == {f"override-{n}": list(STEPS) for n in range(6)}


async def test_a_receiver_that_hangs_or_is_gone_gets_everything_in_order_when_it_is_back(store: Path, receiver: Receiver) -> None:
    aim(store, webhook(receiver))
    receiver.behave = receiver.hang
    async with running(store, notify_timeout_seconds=0.2) as gateway:
        await put(gateway, "one", webhook(receiver))
        await put(gateway, "two", webhook(receiver))
        await until(lambda: len(receiver.received) >= 4)
        receiver.stop()
        seen = (await states(gateway))[0].attempts

        async def refused() -> bool:
            first = (await states(gateway))[0]
            return first.attempts > seen and first.last_error == "ConnectError"

        await until_true(refused)
        receiver.behave = fine
        receiver.start()
        await until_all(gateway, "sent")
    # On a loaded machine an acknowledgement may come after the time-out, and the message once more: its number tells.
    first_of_each = list({one.id: one for one in receiver.acknowledged}.values())
    assert in_order(first_of_each) == {"one": list(STEPS), "two": list(STEPS)}


async def test_a_target_that_hangs_holds_up_no_other_and_takes_only_so_many_connections(store: Path, receiver: Receiver) -> None:
    stuck, other = webhook(receiver, "/stuck"), webhook(receiver, "/other")
    aim(store, stuck, other)
    receiver.behave = lambda received: receiver.hang(received) if received.path == "/stuck" else fine(received)
    async with running(store) as gateway:
        for number in range(12):
            await put(gateway, f"o{number}", stuck, other, steps=("open", "report"))
        await until(lambda: sum(one.path == "/other" for one in receiver.acknowledged) >= 24)
        waiting = [one for one in receiver.received if one.path == "/stuck"]
        assert len(waiting) <= MAX_PER_TARGET
        receiver.behave = fine
        receiver.let_go.set()
        await until_all(gateway, "sent")
    ids = [one.id for one in receiver.acknowledged if one.path == "/other"]
    assert len(ids) == len(set(ids)) == 24


async def test_one_override_that_is_never_acknowledged_holds_up_no_other(store: Path, receiver: Receiver) -> None:
    aim(store, webhook(receiver))
    receiver.behave = lambda received: (500, b"") if received.json["override_id"] == "bad" else fine(received)
    async with running(store) as gateway:
        await put(gateway, "bad", webhook(receiver))
        for number in range(5):
            await put(gateway, f"good-{number}", webhook(receiver))
        await until(lambda: len(receiver.acknowledged) == 25)
        assert {one.json["event"] for one in receiver.received if one.json["override_id"] == "bad"} == {"open"}


async def test_what_is_given_up_is_seen_lets_the_next_go_and_is_tried_again_when_told(
    store: Path, receiver: Receiver, keys: dict[str, str]
) -> None:
    aim(store, webhook(receiver))
    receiver.behave = lambda received: (503, b"") if received.json["event"] == "open" else fine(received)
    async with running(store, notify_attempts=3) as gateway, calling(gateway) as client:
        await put(gateway, "o", webhook(receiver), steps=("open", "report"))
        dead, sent = await until_all(gateway, "sent", "dead")
        assert (dead.state, dead.attempts, dead.last_error, sent.state) == ("dead", 3, "HTTP 503", "sent")

        async def counted() -> bool:
            text = render(gateway.meters.memory, None, "")[0].decode()
            return 'surgate_outbox_dead{hospital="wahh",worker="0"} 1.0' in text

        await until_true(counted)
        found = [one for one in await examine(gateway.settings) if "dead notifications" in one.what]
        assert [one.state for one in found] == ["wrong"]
        office, ops = bearer(keys["medical_affairs"]), bearer(keys["ops"])
        listed = (await client.get("/v1/notifications", params={"state": "dead"}, headers=ops)).json()
        assert [(one["id"], one["state"], one["kind"], one["last_error"]) for one in listed["items"]] == [
            (str(dead.seq), "dead", "webhook", "HTTP 503")
        ]
        assert receiver.url() not in json.dumps(listed)
        path = f"/v1/notifications/{dead.seq}/retry"
        assert (await client.post(path, headers=ops)).status_code == 403
        assert (await client.get("/v1/notifications", headers=bearer(keys["his"]))).status_code == 403
        receiver.behave = fine
        again = await client.post(path, headers=office)
        assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (200, "waiting", 0)
        await until_all(gateway, "sent")
        assert (await client.post(path, headers=office)).status_code == 409
        assert (await client.post("/v1/notifications/999999/retry", headers=office)).status_code == 404
    assert [one.json["event"] for one in receiver.acknowledged] == ["report", "open"]


async def test_the_list_goes_on_page_by_page(store: Path, receiver: Receiver, keys: dict[str, str]) -> None:
    aim(store, webhook(receiver))
    async with running(store) as gateway, calling(gateway) as client:
        await put(gateway, "o", webhook(receiver))
        await until_all(gateway, "sent")
        ids, cursor = [], None
        while True:
            params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/v1/notifications", params=params, headers=bearer(keys["ops"]))).json()
            ids += [int(one["id"]) for one in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert ids == [one.seq for one in await states(gateway)][::-1]
        assert len(ids) == 5
        wrong = await client.get("/v1/notifications", params={"cursor": "WyJ4Il0"}, headers=bearer(keys["ops"]))
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "cursor")


async def test_a_target_that_left_the_settings_is_given_up_with_that_reason(store: Path, receiver: Receiver) -> None:
    aim(store, webhook(receiver))
    async with running(store) as gateway:
        await put(gateway, "o", webhook(receiver, "/former"), webhook(receiver), steps=("open",))
        gone, sent = await until_all(gateway, "sent", "dead")
    assert (gone.state, sent.state) == ("dead", "sent")
    assert "no such target" in gone.last_error
    assert [one.path for one in receiver.received] == ["/hook"]


async def test_a_message_that_cannot_be_made_is_given_up_and_holds_up_nobody(store: Path, receiver: Receiver) -> None:
    target = webhook(receiver) | {"kind": "wecom"}
    aim(store, target)
    async with running(store, notify_attempts=2) as gateway:
        async with gateway.database.write(None) as connection:
            broken = [Notice(Target(target["kind"], target["url"]).id, "open", b"{}")]
            await outbox.enqueue(connection, "wahh", "broken", broken, datetime.now(UTC).isoformat(timespec="microseconds"))
        await put(gateway, "whole", target, steps=("open",))
        broken_one, whole = await until_all(gateway, "sent", "dead")
    assert (broken_one.state, broken_one.last_error, whole.state) == ("dead", "ValidationError", "sent")


async def test_two_workers_send_nothing_twice(store: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "LEASE_SECONDS", 3600.0)  # a stall of this machine must not hand the duty over
    aim(store, webhook(receiver))
    async with running(store) as one, running(store) as other:
        for number in range(5):
            await put(one, f"a{number}", webhook(receiver))
            await put(other, f"b{number}", webhook(receiver))
        await until_all(one, "sent")
    assert len(receiver.received) == len({r.id for r in receiver.received}) == 50


async def test_when_a_worker_stops_another_one_delivers(store: Path, receiver: Receiver) -> None:
    aim(store, webhook(receiver))
    async with running(store) as rest:
        async with running(store) as first:
            await put(first, "before", webhook(receiver))
            await until_all(first, "sent")
        await put(rest, "after", webhook(receiver))
        await until_all(rest, "sent")
    assert in_order(receiver.received) == {"before": list(STEPS), "after": list(STEPS)}


async def test_a_stop_does_not_wait_for_a_target_that_hangs(store: Path, receiver: Receiver) -> None:
    aim(store, webhook(receiver))
    receiver.behave = receiver.hang
    async with running(store) as gateway:
        await put(gateway, "o", webhook(receiver))
        await until(lambda: len(receiver.received) == 1)
    assert receiver.at_once == 1  # it holds the request to this moment
    receiver.behave = fine
    async with running(store) as gateway:
        kept = await until_all(gateway, "sent")
    assert [one.attempts for one in kept] == [1] * 5
    receiver.let_go.set()
    assert in_order(receiver.acknowledged) == {"o": list(STEPS)}
