"""The review queue as it is seen: lists, due times, reminders, statistics, metrics, and what recurs."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from app.errors import StoreAway
from app.main import Gateway
from app.overrides.patterns import FLAGS
from app.overrides.watch import UNREPORTED, Watch
from app.store import changes, tables
from app.store.outbox import Notice
from tests.service.orders import EXPIRED, PRIVILEGED, order
from tests.service.reviews import REASONS, REVIEWER, Queue, declaration, emergency

pytestmark = pytest.mark.anyio

ZONE = ZoneInfo("Asia/Shanghai")
LONG_AGO = "2026-01-05T09:30:00.000000+00:00"


@pytest.fixture
def queue(client: httpx.AsyncClient, keys: dict[str, str]) -> Queue:
    return Queue(client, keys)


async def put(gateway: Gateway, override: str, **values: Any) -> None:
    """Set columns of an override: what only time can bring about."""
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.overrides.update().where(tables.overrides.c.id == override).values(**values))


async def test_overrides_are_found_by_every_filter(queue: Queue, gateway: Gateway) -> None:
    one = await queue.open(department="心外科")
    late = await queue.open(planned_start=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    three = await queue.open()
    await queue.reviewed(three)
    await put(gateway, three, review_due_at=LONG_AGO)
    closed = await queue.open()
    await queue.reviewed(closed)
    await queue.step(closed, "review", outcome="justified", note=REASONS)
    await put(gateway, closed, review_due_at=LONG_AGO)
    names = {one: "one", late: "late", three: "three", closed: "closed"}

    async def found(**params: Any) -> list[str]:
        return [names[i] for i in await queue.ids(**params)]

    assert await found() == ["closed", "three", "late", "one"]
    assert await found(state="pending_report") == ["late", "one"]
    assert await found(state="under_review", late="false") == ["three"]
    assert await found(overdue="true") == ["three"]
    assert await found(overdue="false") == ["closed", "late", "one"]
    assert await found(late="true") == ["late"]
    assert await found(flag="late") == ["late"]
    assert await found(department="心胸外科") == ["closed", "three", "late", "one"]
    assert await found(department="心内科") == []
    assert await found(operator=f" {EXPIRED} ") == ["closed", "three", "late", "one"]
    assert await found(operator=PRIVILEGED) == await found(operator="10023") == []
    shown = await queue.get(three)
    assert shown["overdue"]
    assert await found(case_id=shown["case_id"]) == ["three"]
    assert await found(since=shown["at"]) == ["closed", "three"]
    assert await found(until=shown["at"]) == ["late", "one"]
    today = datetime.now(ZONE).date()
    assert await found(since=(today + timedelta(days=1)).isoformat()) == []


async def test_pages_hold_every_override_once_newest_first(queue: Queue) -> None:
    made = [await queue.open() for _ in range(5)]
    found: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = await queue.ask("GET", "/v1/overrides", "anesthesia", params=params)
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert found == list(reversed(made))


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"stat": "reported"}, "stat"),
        ({"state": "open"}, "state"),
        ({"overdue": "yes"}, "overdue"),
        ({"flag": "lates"}, "flag"),
        ({"since": "yesterday"}, "since"),
        ({"until": "9999-12-31"}, "until"),
        ({"limit": 0}, "limit"),
        ({"cursor": "WzFd"}, "cursor"),
        ({"department": ""}, "department"),
    ],
)
async def test_a_wrong_or_unknown_filter_is_named(queue: Queue, params: dict[str, Any], field: str) -> None:
    problem = await queue.ask("GET", "/v1/overrides", status=422, params=params)
    assert [e["field"] for e in problem["errors"]] == [field]


async def test_a_patient_is_in_no_list_and_every_reading_is_recorded(queue: Queue, gateway: Gateway) -> None:
    asked = emergency()
    override = (await queue.check(asked))["override"]["id"]
    listed = await queue.ask("GET", "/v1/overrides", params={"state": "pending_report"})
    shown = await queue.get(override, "anesthesia")
    await queue.ask("GET", f"/v1/cases/{asked['case_id']}")
    await queue.get("none", status=404)
    assert asked["patient"]["id"] not in str(listed) + str(shown)
    async with gateway.database.read() as connection:
        rows = (await connection.execute(select(tables.reads).order_by(tables.reads.c.seq))).all()
    assert [(r.client, r.kind, r.subject) for r in rows] == [
        ("medical_affairs", "overrides", '{"state":"pending_report"}'),
        ("anesthesia", "override", override),
        ("medical_affairs", "case", asked["case_id"]),
    ]
    assert all(override in msgspec.json.decode(r.found) for r in rows)


@pytest.mark.parametrize("closed_days", [0, 4])
async def test_a_review_is_due_in_working_days_across_weekends_and_holidays(queue: Queue, gateway: Gateway, closed_days: int) -> None:
    live = next(iter(gateway.live.hospitals.values()))
    today = datetime.now(ZONE).date()
    holidays = [today + timedelta(days=n + 1) for n in range(closed_days)]
    hours = msgspec.structs.replace(live.settings.office_hours, holidays=frozenset(holidays))
    settings = msgspec.json.encode(msgspec.structs.replace(live.settings, office_hours=hours))
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.hospitals.update().values(settings=settings))
        row = {"hospital": live.hospital.code, "at": "", "by": "", "kind": "import", "subject": "", "action": "", "detail": b"null"}
        await connection.execute(tables.changes.insert().values(row))
        seq = await changes.latest(connection)
    await changes.in_force(gateway.database, seq)
    answered = await queue.check(emergency())
    declared = datetime.fromisoformat(answered["evaluated_at"]).date()
    working = (day for n in range(1, 30) if (day := declared + timedelta(days=n)).weekday() < 5 and day not in holidays)
    third: date = [next(working) for _ in range(3)][-1]
    assert datetime.fromisoformat(answered["override"]["review_due_at"]) == datetime.combine(third, time(17, 30), tzinfo=ZONE)
    assert (await queue.get(answered["override"]["id"]))["review_due_at"] == answered["override"]["review_due_at"]


# ------------------------------------------------------------------------------------------------ what the gateway does by itself


def watch(gateway: Gateway, told: list[Any], worker: str = "w") -> Watch:
    def notify(_live: Any, one: Any, _now: Any) -> tuple[Notice, ...]:
        told.append((one.event, one.override_id, one.note))
        return (Notice("office", one.event, b"{}"),)

    return Watch(gateway.database, gateway.live, worker, notify, gateway.meters)


async def test_the_office_is_reminded_of_a_report_that_is_not_made_and_then_daily(queue: Queue, gateway: Gateway) -> None:
    told: list[Any] = []
    looking = watch(gateway, told)
    override = await queue.open()
    other = await queue.open()
    await queue.step(other, "report")
    await put(gateway, override, review_due_at="2100-01-01T00:00:00.000000+00:00")
    await put(gateway, other, review_due_at="2100-01-01T00:00:00.000000+00:00")
    opened = datetime.fromisoformat((await queue.get(override))["at"])
    assert await looking.look(opened + UNREPORTED) == 0
    due = opened + UNREPORTED + timedelta(seconds=1)
    assert await looking.look(due) == 1
    assert told == [("remind", override, "unreported")]
    assert await looking.look(due + timedelta(hours=23)) == 0
    assert await looking.look(due + timedelta(hours=24, seconds=1)) == 1
    shown = await queue.get(override)
    assert shown["state"] == "pending_report"
    assert [(s["action"], s["state"], s["by"], s["detail"]) for s in shown["steps"][1:]] == [
        ("remind", "pending_report", "", {"because": ["unreported"]})
    ] * 2
    await queue.step(override, "report")
    assert await looking.look(due + timedelta(days=9)) == 0


async def test_the_office_is_reminded_when_a_review_becomes_overdue_though_it_was_reminded_of_the_report(
    queue: Queue, gateway: Gateway
) -> None:
    told: list[Any] = []
    looking = watch(gateway, told)
    override = await queue.open()
    opened = datetime.fromisoformat((await queue.get(override))["at"])
    assert await looking.look(opened + timedelta(hours=1)) == 1
    overdue = opened + timedelta(hours=2)
    await put(gateway, override, review_due_at=overdue.astimezone(UTC).isoformat(timespec="microseconds"))
    assert await looking.look(overdue) == 0
    assert await looking.look(overdue + timedelta(seconds=1)) == 1
    await queue.step(override, "takeover")
    assert await looking.look(overdue + timedelta(days=1, seconds=2)) == 1
    await queue.step(override, "report")
    assert await looking.look(overdue + timedelta(days=2, seconds=3)) == 1
    assert [note for _, _, note in told] == ["unreported", "unreported, overdue", "unreported, overdue", "overdue"]
    await queue.step(override, "review")
    await queue.step(override, "review", outcome="unjustified", note="病情不属急危，应等待上级医师")
    assert await looking.look(overdue + timedelta(days=9)) == 0
    async with gateway.database.read() as connection:
        sent = (await connection.execute(select(tables.outbox.c.event))).scalars().all()
    assert list(sent) == ["remind"] * 4


async def test_one_worker_reminds(queue: Queue, gateway: Gateway) -> None:
    override = await queue.open()
    later = datetime.fromisoformat((await queue.get(override))["at"]) + timedelta(hours=1)
    told: list[Any] = []
    assert await watch(gateway, told, "first").look(later) == 1
    await put(gateway, override, reminded_at=None)
    assert await watch(gateway, told, "second").look(later) == 0
    assert await watch(gateway, told, "first").look(later) == 1


async def metrics(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    text = (await client.get("/metrics")).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name.startswith("surgate_overrides")]
    return {(s.name.removeprefix("surgate_overrides_"), *(v for k, v in sorted(s.labels.items()))): s.value for s in samples}


async def test_waiting_and_overdue_reviews_are_in_metrics_and_statistics(queue: Queue, gateway: Gateway, client: httpx.AsyncClient) -> None:
    first, second = await queue.open(), await queue.open()
    await queue.reviewed(second)
    await put(gateway, first, review_due_at=LONG_AGO)
    hospital = next(iter(gateway.live.hospitals))
    await gateway.watch.look()
    assert await metrics(client) == {
        ("open", hospital, "pending_report"): 1,
        ("open", hospital, "under_review"): 1,
        ("overdue", hospital): 1,
    }
    counted = (await queue.ask("GET", "/v1/stats", "ops"))["overrides"]
    assert (counted["open"], counted["overdue"]) == (2, 1)
    await queue.reviewed(first)
    for override in (first, second):
        await queue.step(override, "review", outcome="justified", note=REASONS)
    await gateway.watch.look()
    assert set((await metrics(client)).values()) == {0.0}
    counted = (await queue.ask("GET", "/v1/stats", "ops"))["overrides"]
    assert (counted["open"], counted["overdue"]) == (0, 0)
    assert counted["states"] == [{"state": "justified", "count": 2}]


async def test_statistics_count_overrides_by_all_that_they_may_have_in_common(queue: Queue, gateway: Gateway) -> None:
    await queue.check(order(), "allow")
    made = [await queue.open() for _ in range(3)]
    await put(gateway, made[0], hour=3, day="2026-01-05")
    await put(gateway, made[1], hour=3)
    today = datetime.fromisoformat((await queue.get(made[2]))["at"])
    await put(gateway, made[2], hour=23)
    asked = {"since": "2026-01-05", "until": today.date().isoformat()}
    counted = (await queue.ask("GET", "/v1/stats", "ops", params=asked))["overrides"]
    assert counted["surgeons"] == [{"staff": EXPIRED, "name": "钱垂柳", "count": 3}]
    assert counted["departments"] == [{"department": "胸心外科", "count": 3}]
    assert counted["codes"] == [{"code": "35.71001", "name": "房间隔缺损修补术", "count": 3}]
    assert counted["days"] == [{"day": "2026-01-05", "count": 1}, {"day": today.date().isoformat(), "count": 2}]
    assert counted["hours"] == [{"hour": 3, "count": 2}, {"hour": 23, "count": 1}]
    assert {f["flag"]: f["count"] for f in counted["flags"]}["repeated"] == 1
    only = (await queue.ask("GET", "/v1/stats", "ops", params=asked | {"since": today.date().isoformat()}))["overrides"]
    assert only["surgeons"][0]["count"] == 2


# ------------------------------------------------------------------------------------------------ what recurs


async def flags(queue: Queue, asked: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The flags of the answer, which are those of the override, and the facts behind them."""
    answered = await queue.check(asked)
    shown = await queue.get(answered["override"]["id"])
    assert shown["flags"] == answered["override"]["flags"]
    assert set(shown["flags"]) <= set(FLAGS)
    return shown["flags"], shown["patterns"]


async def test_the_third_override_of_a_surgeon_is_flagged_and_an_operations_further_documents_are_not(queue: Queue) -> None:
    one = emergency()
    assert (await flags(queue, one))[0] == []
    for checkpoint in ("notice", "anesthesia", "intraop"):
        assert (await flags(queue, emergency(case_id=one["case_id"], checkpoint=checkpoint)))[0] == []
    assert (await flags(queue, emergency()))[0] == []
    raised, facts = await flags(queue, emergency())
    assert [flag for flag in raised if flag != "repeated_hour"] == ["repeated", "repeated_code"]
    surgeon = next(one for one in facts["repeated"] if one["flag"] == "repeated")
    assert surgeon == {"flag": "repeated", "subject": EXPIRED, "count": 3, "days": 30}
    assert await queue.ids(flag="repeated") == [(await queue.ids())[0]]


async def test_overrides_of_more_than_a_month_ago_repeat_nothing(queue: Queue, gateway: Gateway) -> None:
    for _ in range(4):
        override = await queue.open()
        await put(gateway, override, at=(datetime.now(UTC) - timedelta(days=31)).isoformat(timespec="microseconds"))
    assert (await flags(queue, emergency()))[0] == []


async def test_a_declarers_words_again_are_flagged_but_not_on_the_same_case(queue: Queue) -> None:
    said = declaration(reason="心包填塞，血压测不出")
    one = emergency(emergency=said)
    assert (await flags(queue, one))[0] == []
    assert (await flags(queue, emergency(case_id=one["case_id"], checkpoint="notice", emergency=said)))[0] == []
    raised, facts = await flags(queue, emergency(emergency=declaration(reason="心包填塞  血压测不出！")))
    assert raised == ["repeated_reason"]
    assert len(facts["same_reason"]) == 1


async def test_a_denial_and_then_an_emergency_of_the_same_case_within_minutes_is_flagged(queue: Queue, gateway: Gateway) -> None:
    denied = await queue.check(order(EXPIRED, urgency="urgent"), "deny")
    raised, facts = await flags(queue, emergency(case_id=denied["case_id"]))
    assert raised == ["denied_before", "denied_then_emergency"]
    assert facts["denial"] == {"decision_id": denied["decision_id"], "checkpoint": "order", "urgency": "urgent", "minutes": 0}
    counted = (await queue.ask("GET", "/v1/stats"))["overrides"]["flags"]
    assert {"flag": "denied_then_emergency", "count": 1} in counted


async def test_near_misses_of_that_pattern(queue: Queue, gateway: Gateway) -> None:
    relaxed = await queue.check(order(EXPIRED, urgency="emergency"), "deny")
    assert (await flags(queue, emergency(case_id=relaxed["case_id"])))[0] == ["denied_before"]
    old = await queue.check(order(EXPIRED), "deny")
    async with gateway.database.write(None) as connection:
        at = (datetime.now(UTC) - timedelta(minutes=31)).isoformat(timespec="microseconds")
        await connection.execute(tables.decisions.update().where(tables.decisions.c.id == old["decision_id"]).values(at=at))
    assert (await flags(queue, emergency(case_id=old["case_id"])))[0] == ["denied_before"]
    others = await queue.check(order(EXPIRED), "deny")
    raised, _ = await flags(queue, emergency(case_id=others["case_id"], patient={"id": "P-other"}))
    assert "denied_then_emergency" not in raised


async def test_who_can_take_over_follows_the_matrix(queue: Queue, gateway: Gateway) -> None:
    override = await queue.open()
    before = [one["staff"] for one in (await queue.get(override))["can_take_over"][0]["operators"]]
    assert before[0] == PRIVILEGED
    now = datetime.now(UTC)
    roster = f"staff,from,to\n{before[-1]},{(now - timedelta(days=1)).isoformat()[:19]}Z,{(now + timedelta(days=1)).isoformat()[:19]}Z\n"
    await queue.ask("POST", "/v1/imports/roster", files={"file": ("roster.csv", roster.encode(), "text/csv")})
    called = (await queue.get(override))["can_take_over"][0]["operators"]
    assert [one["staff"] for one in called] == [before[-1], *before[:-1]]
    assert [one["on_duty"] for one in called] == [True] + [False] * (len(before) - 1)
    gone = await queue.ask("POST", "/v1/imports/roster?mode=replace", files={"file": ("roster.csv", b"staff,from,to\n", "text/csv")})
    assert gone["counts"]["retired"] == 1
    document = {"reason": "年度考核未通过", "by": REVIEWER}
    await queue.ask("POST", f"/v1/staff/{PRIVILEGED}/suspend", json=document)
    after = [one["staff"] for one in (await queue.get(override))["can_take_over"][0]["operators"]]
    assert PRIVILEGED not in after
    assert after[:3] == before[1:4]
    grant = {"staff": EXPIRED, "scope_type": "code", "scope": "35.71001", "department": "胸心外科", "valid_from": "2026-01-01"}
    await queue.ask("POST", "/v1/grants", status=201, json=grant | document)
    place = (await queue.get(override))["can_take_over"][0]
    assert (place["allowed_now"], place["operators"]) == (True, [])


async def test_reminders_go_on_after_a_hospital_could_not_be_read(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    again = asyncio.Event()

    async def look() -> int:
        looks.append(1)
        if len(looks) > 1:
            again.set()
        raise StoreAway("the store is away")

    monkeypatch.setattr("app.overrides.watch.LOOK_SECONDS", 0.01)
    another = watch(gateway, [], "another")
    monkeypatch.setattr(another, "look", look)
    another.start()
    async with asyncio.timeout(30):
        await again.wait()
    await another.stop()
