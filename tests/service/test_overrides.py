"""The whole life of an override through the API, and what its steps refuse."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.main import Gateway
from app.overrides.steps import Actor, Steps
from app.store import keys as key_store
from app.store import tables
from app.store.outbox import Notice
from tests.service.orders import EXPIRED, PRIVILEGED, order
from tests.service.reviews import ANESTHETIST, ASSISTANT, REASONS, REVIEWER, SENIOR, Queue, declaration, emergency

pytestmark = pytest.mark.anyio


@pytest.fixture
def queue(client: httpx.AsyncClient, keys: dict[str, str]) -> Queue:
    return Queue(client, keys)


def fields(problem: dict[str, Any]) -> list[str]:
    return [error["field"] for error in problem["errors"]]


async def test_a_whole_life_from_the_denial_to_justified(queue: Queue) -> None:
    denied = await queue.check(order(EXPIRED, checkpoint="notice", urgency="emergency"), "deny")
    assert denied["overridable"]
    answered = await queue.check(emergency(case_id=denied["case_id"], checkpoint="notice"))
    override = answered["override"]["id"]
    opened = await queue.get(override, "anesthesia")
    assert (opened["state"], opened["decision_id"], opened["late"], opened["overdue"]) == (
        "pending_report",
        answered["decision_id"],
        False,
        False,
    )
    assert opened["review_due_at"] == answered["override"]["review_due_at"]
    assert opened["operators"] == [{"staff": EXPIRED, "name": "钱垂柳"}]
    assert opened["codes"] == [{"code": "35.71001", "name": "房间隔缺损修补术"}]
    assert opened["flags"] == answered["override"]["flags"] == ["denied_before"]
    (place,) = opened["can_take_over"]
    assert (place["place"], place["staff"], place["allowed_now"]) == ("35.71001", EXPIRED, False)
    assert place["operators"] == answered["procedures"][0]["operators"]

    told = datetime.now(UTC).isoformat()
    reported = await queue.step(override, "report", role="anesthesia", to=" 总值班 王 ", at=told, note="电话报告")
    assert (reported["state"], reported["allowed_steps"]) == ("reported", ["takeover", "begin_review"])
    taken = await queue.step(override, "takeover", role="anesthesia", by=SENIOR, note="接台")
    assert (taken["state"], taken["taken_over_by"]) == ("taken_over", SENIOR)
    begun = await queue.step(override, "review")
    assert (begun["state"], begun["allowed_steps"]) == ("under_review", ["justify", "unjustify"])
    closed = await queue.step(override, "review", outcome="justified", note=REASONS)
    assert (closed["state"], closed["allowed_steps"]) == ("justified", ["reopen"])

    steps = closed["steps"]
    assert [(s["action"], s["state"], s["by"]) for s in steps] == [
        ("open", "pending_report", EXPIRED),
        ("report", "reported", EXPIRED),
        ("takeover", "taken_over", SENIOR),
        ("begin_review", "under_review", REVIEWER),
        ("justify", "justified", REVIEWER),
    ]
    assert datetime.fromisoformat(steps[1]["at"]) == datetime.fromisoformat(told)
    assert (steps[1]["to"], steps[1]["note"], steps[2]["note"], steps[4]["note"]) == ("总值班 王", "电话报告", "接台", REASONS)
    assert steps[2]["detail"] == {"privileged": True}
    case = await queue.ask("GET", f"/v1/cases/{denied['case_id']}")
    assert [(one["id"], one["state"]) for one in case["overrides"]] == [(override, "justified")]


async def test_a_whole_life_to_unjustified_reopened_with_a_reason_and_judged_anew(queue: Queue) -> None:
    override = await queue.open()
    await queue.reviewed(override)
    closed = await queue.step(override, "review", outcome="unjustified", note="病情不属急危，应等待上级医师")
    assert closed["state"] == "unjustified"
    assert fields(await queue.step(override, "review", 422)) == ["note"]
    assert fields(await queue.step(override, "review", 422, note="再看看再")) == ["note"]
    reopened = await queue.step(override, "review", note="申诉：补充了术中超声记录")
    assert (reopened["state"], reopened["steps"][-1]["action"]) == ("under_review", "reopen")
    ended = await queue.step(override, "review", outcome="justified", note=REASONS)
    assert ended["state"] == "justified"
    assert [s["action"] for s in ended["steps"]][-4:] == ["begin_review", "unjustify", "reopen", "justify"]


async def test_a_reopened_review_gets_a_due_time_of_its_own(queue: Queue, gateway: Gateway) -> None:
    override = await queue.open()
    await queue.reviewed(override)
    await queue.step(override, "review", outcome="justified", note=REASONS)
    await _set(gateway, override, review_due_at="2026-01-05T09:30:00.000000+00:00")
    assert not (await queue.get(override))["overdue"]
    reopened = await queue.step(override, "review", note="抽查时发现声明与记录不符")
    assert datetime.fromisoformat(reopened["review_due_at"]) > datetime.now(UTC)
    assert not reopened["overdue"]


async def test_a_takeover_may_come_first_and_no_review_begins_without_the_report(queue: Queue) -> None:
    override = await queue.open()
    taken = await queue.step(override, "takeover")
    assert (taken["state"], taken["reported"], taken["allowed_steps"]) == ("taken_over", False, ["report"])
    problem = await queue.step(override, "review", 409)
    assert (problem["state"], problem["allowed_steps"]) == ("taken_over", ["report"])
    assert "须先登记报告" in problem["detail"]
    reported = await queue.step(override, "report")
    assert (reported["state"], reported["reported"], reported["allowed_steps"]) == ("taken_over", True, ["begin_review"])
    assert (await queue.step(override, "review"))["state"] == "under_review"


async def test_a_report_in_the_declaration_is_the_first_step(queue: Queue) -> None:
    at = datetime.now(UTC).isoformat()
    override = await queue.open(emergency=declaration(reported_to="医务办 李", reported_at=at))
    shown = await queue.get(override)
    assert (shown["state"], [s["action"] for s in shown["steps"]], shown["steps"][1]["to"]) == ("reported", ["open", "report"], "医务办 李")
    await queue.step(override, "report", 409)
    unreported = await queue.check(emergency(emergency=declaration(reported_to="  ", reported_at=at)))
    assert unreported["override"]["state"] == (await queue.get(unreported["override"]["id"]))["state"] == "pending_report"


async def test_an_instant_that_cannot_be_is_none_and_stops_no_emergency(queue: Queue) -> None:
    never = "0001-01-01T00:00:00+08:00"
    override = await queue.open(emergency=declaration(reported_to="总值班", reported_at=never, declared_at=never))
    shown = await queue.get(override)
    assert (shown["state"], [s["action"] for s in shown["steps"]]) == ("pending_report", ["open"])
    await queue.step(override, "report", 422, at=(datetime.now(UTC) - timedelta(hours=1)).isoformat())


@pytest.mark.parametrize(
    ("done", "refused"),
    [
        ((), [("review", {}), ("review", {"outcome": "justified", "note": REASONS})]),
        (("report",), [("report", {}), ("review", {"outcome": "unjustified", "note": REASONS})]),
        (("report", "takeover"), [("report", {}), ("takeover", {"by": PRIVILEGED})]),
        (("report", "review"), [("report", {}), ("takeover", {}), ("review", {})]),
        (("report", "review", "verdict"), [("report", {}), ("takeover", {}), ("review", {"outcome": "justified", "note": REASONS})]),
    ],
)
async def test_a_step_that_the_state_does_not_allow_is_refused_and_changes_nothing(
    queue: Queue, done: tuple[str, ...], refused: list[tuple[str, dict[str, Any]]]
) -> None:
    override = await queue.open()
    for step in done:
        await (queue.step(override, "review", outcome="justified", note=REASONS) if step == "verdict" else queue.step(override, step))
    before = await queue.get(override)
    for step, body in refused:
        problem = await queue.step(override, step, 409, **body)
        assert problem["state"] == before["state"]
        assert problem["allowed_steps"] == before["allowed_steps"]
    assert await queue.get(override) == before


@pytest.mark.parametrize(
    ("step", "body", "field"),
    [
        ("report", {"by": "999999"}, "by"),
        ("report", {"by": None}, "by"),
        ("report", {"by": "  "}, "by"),
        ("report", {"to": " "}, "to"),
        ("report", {"to": ""}, "to"),
        ("report", {"at": "yesterday"}, "at"),
        ("report", {"at": "2026-11-22T08:00:00"}, "at"),
        ("report", {"whom": "x"}, "whom"),
        ("takeover", {"by": "999999"}, "by"),
        ("takeover", {"by": EXPIRED}, "by"),
        ("takeover", {"at": "0001-01-01T00:00:00+08:00"}, "at"),
        ("takeover", {"at": "9999-12-31T23:59:59-08:00"}, "at"),
        ("review", {"by": "999999"}, "by"),
        ("review", {"outcome": "fine"}, "outcome"),
        ("review", {"outcome": "justified"}, "note"),
        ("review", {"outcome": "justified", "note": None}, "note"),
        ("review", {"outcome": "justified", "note": "    "}, "note"),
        ("review", {"outcome": "unjustified", "note": "同意"}, "note"),
        ("review", {"outcome": "unjustified", "note": "。。。。。。。。"}, "note"),
        ("review", {"outcome": "justified", "note": "合理合理合理合理"}, "note"),
        ("review", {"outcome": "justified", "note": "字" * 2001}, "note"),
    ],
)
async def test_bad_input_is_named_and_changes_nothing(queue: Queue, step: str, body: dict[str, Any], field: str) -> None:
    override = await queue.open()
    if "outcome" in body:
        await queue.reviewed(override)
    before = await queue.get(override)
    assert fields(await queue.step(override, step, 422, **body)) == [field]
    assert await queue.get(override) == before


@pytest.mark.parametrize("step", ["report", "takeover"])
async def test_nothing_was_done_before_the_declaration_or_after_now(queue: Queue, step: str) -> None:
    override = await queue.open()
    opened = datetime.fromisoformat((await queue.get(override))["at"])
    for wrong in (opened - timedelta(minutes=1), opened - timedelta(days=1), datetime.now(UTC) + timedelta(minutes=3)):
        assert fields(await queue.step(override, step, 422, at=wrong.isoformat())) == ["at"]
    done = await queue.step(override, step, at=opened.replace(second=0, microsecond=0).isoformat())
    assert datetime.fromisoformat(done["steps"][-1]["at"]) <= opened


async def test_of_a_paper_record_the_declaration_counts_not_its_arrival(queue: Queue) -> None:
    start = datetime.now(UTC) - timedelta(hours=6)
    declared = declaration(declared_at=(start + timedelta(minutes=10)).isoformat())
    override = await queue.open(planned_start=start.isoformat(), emergency=declared)
    shown = await queue.get(override)
    assert shown["late"]
    assert "late" in shown["flags"]
    assert fields(await queue.step(override, "report", 422, at=(start + timedelta(minutes=5)).isoformat())) == ["at"]
    assert (await queue.step(override, "report", at=(start + timedelta(minutes=15)).isoformat()))["state"] == "reported"
    # Without a time of declaration the planned start is what is known.
    other = await queue.open(planned_start=start.isoformat())
    assert fields(await queue.step(other, "report", 422, at=(start - timedelta(minutes=2)).isoformat())) == ["at"]
    assert (await queue.step(other, "report", at=(start + timedelta(minutes=2)).isoformat()))["state"] == "reported"


async def test_nobody_who_took_part_reviews_whatever_document_names_them(queue: Queue) -> None:
    earlier = order(EXPIRED, urgency="emergency", team=[{"staff": "100016", "role": "second_assistant"}])
    case = (await queue.check(earlier, "deny"))["case_id"]
    nurse = {"staff": "100040", "role": "circulating_nurse"}
    team = [{"staff": ASSISTANT, "role": "first_assistant"}, {"staff": ANESTHETIST, "role": "anesthesiologist"}, nurse]
    override = await queue.open(case_id=case, requester="100035", team=team, emergency=declaration(declared_by="100040"))
    await queue.step(override, "report")
    await queue.step(override, "takeover", by=SENIOR)
    later = emergency(case_id=case, checkpoint="intraop", team=[{"staff": " １００００３ ", "role": "supervisor"}])
    await queue.check(later)
    took_part = {EXPIRED, "100035", ASSISTANT, ANESTHETIST, "100040", SENIOR, "100016", "100003"}
    assert {one["staff"] for one in (await queue.get(override))["participants"]} == took_part
    for number in sorted(took_part):
        await queue.step(override, "review", 403, by=number)
        await queue.step(override, "review", 403, by=f" {number} ")
    await queue.step(override, "review")
    for number in sorted(took_part):
        await queue.step(override, "review", 403, by=number, outcome="justified", note=REASONS)
    assert (await queue.get(override))["state"] == "under_review"


async def test_who_joins_the_case_while_it_is_reviewed_does_not_end_the_review(queue: Queue) -> None:
    opened = emergency()
    override = (await queue.check(opened))["override"]["id"]
    await queue.reviewed(override)
    await queue.check(emergency(case_id=opened["case_id"], checkpoint="intraop", team=[{"staff": REVIEWER, "role": "supervisor"}]))
    await queue.step(override, "review", 403, outcome="justified", note=REASONS)
    # On another case that person is nobody.
    other = await queue.open()
    await queue.reviewed(other)
    await queue.step(other, "review", outcome="justified", note=REASONS)


async def test_who_may_do_what(queue: Queue) -> None:
    override = await queue.open()
    for role in ("his", "ops", "auditor"):
        await queue.get(override, role, 403)
        await queue.ask("GET", "/v1/overrides", role, 403)
        for step in ("report", "takeover", "review"):
            await queue.step(override, step, 403, role)
    await queue.step(override, "review", 403, "anesthesia")
    await queue.step(override, "report", role="admin")
    for step in ("report", "takeover", "review"):
        await queue.step("none", step, 404)
    await queue.get("none", status=404)


async def test_a_key_that_is_bound_to_a_person_acts_for_that_person_only(queue: Queue, gateway: Gateway) -> None:
    async with gateway.database.write(None) as connection:
        hospital = next(iter(gateway.live.hospitals))
        _, mine = await key_store.create(connection, hospital, [key_store.Role.MEDICAL_AFFAIRS], "office", REVIEWER)
        _, theirs = await key_store.create(connection, hospital, [key_store.Role.MEDICAL_AFFAIRS], "office", EXPIRED)
        await connection.execute(
            tables.changes.insert().values(hospital=hospital, at="", by="", kind="key", subject="", action="", people=b"[]", detail=b"null")
        )
    await gateway.live.look()
    override = await queue.open()
    await queue.step(override, "report")
    assert fields(await queue.step(override, "review", 422, theirs, by=REVIEWER)) == ["by"]
    await queue.step(override, "review", 403, theirs, by=None)
    begun = await queue.step(override, "review", role=mine, by=None)
    assert begun["steps"][-1]["by"] == REVIEWER


@pytest.mark.parametrize(("number", "privileged"), [(SENIOR, True), (REVIEWER, False)])
async def test_whether_who_took_over_is_privileged_is_noted_and_blocks_nothing(queue: Queue, number: str, privileged: bool) -> None:
    override = await queue.open()
    taken = await queue.step(override, "takeover", by=number)
    assert taken["steps"][-1]["detail"] == {"privileged": privileged}


@pytest.mark.parametrize(("status", "refused"), [("left", {"report", "takeover", "review"}), ("suspended", {"takeover", "review"})])
async def test_who_is_not_active_takes_no_part(queue: Queue, gateway: Gateway, status: str, refused: set[str]) -> None:
    number = "100016"
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.staff.update().where(tables.staff.c.staff == number).values(status=status))
        await connection.execute(
            tables.changes.insert().values(
                hospital=next(iter(gateway.live.hospitals)),
                at="",
                by="",
                kind="staff",
                subject=number,
                action="",
                people=f'["{number}"]'.encode(),
                detail=b"null",
            )
        )
    await gateway.live.look()
    override = await queue.open()
    for step in ("takeover", "report", "review"):
        if step in refused:
            assert fields(await queue.step(override, step, 422, by=number)) == ["by"]
        else:
            await queue.step(override, step, by=number)


async def test_of_two_at_once_one_is_told_that_it_came_second(queue: Queue, client: httpx.AsyncClient) -> None:
    override = await queue.open()
    await queue.step(override, "report")

    async def review(by: str, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {queue._keys['medical_affairs']}"}
        return await client.post(f"/v1/overrides/{override}/review", json={"by": by} | body, headers=headers)

    begun = await asyncio.gather(review(REVIEWER), review("100003"), review("100046"))
    assert sorted(one.status_code for one in begun) == [200, 409, 409]
    ended = await asyncio.gather(
        review(REVIEWER, outcome="justified", note=REASONS), review("100003", outcome="unjustified", note="病情不属急危，应等待上级")
    )
    assert sorted(one.status_code for one in ended) == [200, 409]
    shown = await queue.get(override)
    assert [s["action"] for s in shown["steps"]][:3] == ["open", "report", "begin_review"]
    assert len(shown["steps"]) == 4
    assert shown["state"] == next(one.json()["state"] for one in ended if one.status_code == 200)


async def test_another_hospitals_overrides_are_not_there(queue: Queue, gateway: Gateway) -> None:
    override = await queue.open()
    row = {"code": "other", "name": "Other", "time_zone": "Asia/Shanghai", "province": "", "settings": b"{}"}
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.hospitals.insert(), row)
        _, text = await key_store.create(connection, "other", [key_store.Role.ADMIN], "x", None)
        for kind in ("import", "key"):
            await connection.execute(
                tables.changes.insert().values(hospital="other", at="", by="", kind=kind, subject="", action="", detail=b"null")
            )
    await gateway.live.look()
    await queue.get(override, text, 404)
    assert (await queue.ask("GET", "/v1/overrides", text))["items"] == []


@pytest.mark.parametrize(("declarer", "why"), [("100046", "not on the case"), ("999999", "not in the register")])
async def test_a_declaration_by_somebody_not_on_the_case_or_unknown_is_answered_with_the_denial(
    queue: Queue, declarer: str, why: str
) -> None:
    denied = await queue.check(emergency(emergency=declaration(declared_by=declarer)), "deny")
    assert (denied["override"]["id"], denied["override"]["missing"]) == (None, ["declared_by"]), why
    assert "申报人须为本单所列的在册人员" in denied["message"]["zh"]
    assert await queue.ids() == []


async def test_each_step_is_an_entry_of_the_chain_and_is_told_in_its_transaction(queue: Queue, gateway: Gateway) -> None:
    override = await queue.open()
    told = []

    def notify(_live: Any, one: Any, _now: Any) -> tuple[Notice, ...]:
        told.append(one)
        return (Notice("office", one.event, b"{}"),)

    steps = Steps(gateway.database, gateway.live, notify)
    actor = Actor(next(iter(gateway.live.hospitals)), REVIEWER, "key")
    await steps.report(actor, override, to="总值班", at=None, note="电话")
    await steps.take_over(actor._replace(by=SENIOR), override, at=None, note="")
    await steps.review(actor, override, outcome=None, note="")
    assert [(one.event, one.state, one.by.staff, one.to, one.note) for one in told] == [
        ("report", "reported", REVIEWER, "总值班", "电话"),
        ("takeover", "taken_over", SENIOR, "", ""),
        ("begin_review", "under_review", REVIEWER, "", ""),
    ]
    assert (told[0].operators[0].name, told[0].codes[0].name, told[0].department) == ("钱垂柳", "房间隔缺损修补术", "胸心外科")
    async with gateway.database.read() as connection:
        linked = (await connection.execute(select(tables.chain.c.ref).where(tables.chain.c.kind == "override"))).scalars().all()
        kept = (await connection.execute(select(tables.override_steps.c.seq))).scalars().all()
        sent = (await connection.execute(select(tables.outbox.c.event).order_by(tables.outbox.c.seq))).scalars().all()
    assert [int(ref) for ref in linked] == list(kept)
    assert len(kept) == 4
    assert list(sent) == ["report", "takeover", "begin_review"]


async def _set(gateway: Gateway, override: str, **values: Any) -> None:
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.overrides.update().where(tables.overrides.c.id == override).values(**values))
