"""The cases of the day, their documents, and their way over the desk."""

from __future__ import annotations

import json
from typing import Any

from loadtests.day.cases import Case, Check, Desk, Maker, check

MANY = 400


def answered(sent: Check) -> dict[str, Any]:
    return {"decision": sent.expected.decision, "decision_id": sent.body["request_id"]}


def elective(maker: Maker, decision: str) -> Case:
    return next(case for _ in range(MANY) if (case := maker.elective()).expected.decision == decision)


def test_every_case_has_ids_of_its_own(maker: Maker) -> None:
    cases = [maker.elective() for _ in range(MANY)] + [maker.emergency() for _ in range(MANY)]
    assert len({case.id for case in cases}) == len({case.patient for case in cases}) == len(cases)


def test_most_orders_are_by_somebody_who_may_and_the_others_say_why_not(maker: Maker) -> None:
    cases = [maker.elective() for _ in range(MANY)]
    allowed = [case for case in cases if case.expected.decision == "allow"]
    assert MANY / 2 < len(allowed) < MANY
    assert all(case.operator in case.procedure.able and case.department == case.procedure.department for case in allowed)
    why = {reason for case in cases for reason in case.expected.reasons}
    assert why == {"grant_expired", "grant_missing", "department_not_listed"}
    other = next(case for case in cases if "department_not_listed" in case.expected.reasons)
    assert (other.department, other.procedure.code) == ("心内科", "35.71001")


def test_emergencies_come_in_each_way_and_only_what_can_be_lifted_is_declared(maker: Maker) -> None:
    cases = [maker.emergency() for _ in range(MANY)]
    assert {case.expected.decision for case in cases} == {"allow", "override", "deny"}
    beyond = [case for case in cases if case.expected.decision != "allow"]
    assert {case.operator for case in beyond} == {"3"}
    for case in beyond:
        declared = check(case, "order").body["emergency"]
        assert declared["declared_by"] == case.operator
        assert ("reason" in declared) is (case.expected.decision == "override")
        assert (case.expected.missing == ("reason",)) is (case.expected.decision == "deny")
    reasons = [case.emergency["reason"] for case in beyond if case.emergency and "reason" in case.emergency]
    assert len(set(reasons)) == len(reasons)


def test_the_documents_of_a_case_are_of_one_patient_and_one_plan(maker: Maker) -> None:
    case = elective(maker, "allow")
    order, notice, anesthesia = (check(case, checkpoint).body for checkpoint in ("order", "notice", "anesthesia"))
    for name in ("case_id", "patient", "procedures", "planned_start", "department", "urgency"):
        assert order[name] == notice[name] == anesthesia[name]
    assert len({order["request_id"], notice["request_id"], anesthesia["request_id"]}) == 3
    assert order["planned_start"].startswith("2026-11-23T")
    assert order["planned_start"].endswith(":00+08:00")
    assert json.loads(check(case, "order").content) == order
    assert check(case, "order").content == check(case, "order").content


def test_an_anesthesia_record_has_its_people_within_their_grades(maker: Maker) -> None:
    seen = {case.procedure.bypass: check(case, "anesthesia").body for case in (maker.elective() for _ in range(MANY))}
    assert {"staff": "8", "role": "anesthesiologist"} in seen[False]["team"]
    assert seen[False]["anesthesia"] == {"asa": 2}
    assert "perfusion" not in seen[False]
    assert {"staff": "9", "role": "perfusionist"} in seen[True]["team"]
    assert seen[True]["perfusion"] == {"grade": 3}


def test_an_allowed_case_goes_from_order_to_notice_to_anesthesia(maker: Maker, desk: Desk) -> None:
    case = elective(maker, "allow")
    order = check(case, "order")
    desk.put(order, answered(order))
    assert desk.closed() is None
    assert desk.notices(10) == [case]
    assert desk.notices(10) == []
    notice = check(case, "notice")
    desk.put(notice, answered(notice))
    assert desk.for_anesthesia() is case
    assert desk.for_anesthesia() is None
    record = check(case, "anesthesia")
    desk.put(record, answered(record))
    assert desk.closed() is case
    assert list(case.decided) == ["order", "notice", "anesthesia"]
    assert desk.reached == {"order": 1, "notice": 1, "anesthesia": 1}


def test_the_notice_of_a_denied_order_is_to_be_denied_and_the_case_ends(maker: Maker, desk: Desk) -> None:
    sent_on: list[Case] = []
    while not sent_on:
        order = check(elective(maker, "deny"), "order")
        desk.put(order, answered(order))
        sent_on = desk.notices(1)
    notice = check(sent_on[0], "notice")
    assert notice.expected.decision == "deny"
    assert notice.expected.reasons == {"upstream_denied"}
    desk.put(notice, answered(notice))
    assert desk.for_anesthesia() is None
    assert desk.closed() is not None


def test_an_emergency_is_with_its_caller_until_it_is_over(maker: Maker, desk: Desk) -> None:
    case = maker.emergency()
    order = check(case, "order")
    desk.put(order, answered(order))
    assert (desk.closed(), desk.notices(1), desk.for_anesthesia()) == (None, [], None)
    record = check(case, "anesthesia")
    assert record.expected == case.expected
    assert "planned_start" not in record.body
    desk.put(record, answered(record))
    assert desk.closed() is case
