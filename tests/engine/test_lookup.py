"""Look-ups in the small hospital of the cases."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from app.engine.codes import MalformedCode
from app.engine.hospital import CompiledHospital
from app.engine.lookup import Lookup, Privilege, refuses
from app.engine.matrix import Matrix, PersonRow
from app.engine.model import MatrixState
from tests.cases.world import world

SURGERY = "胸心外科"
SURGEON = "100001"


class Small:
    """The small hospital, a little changed, for one department and day."""

    def __init__(self, department: str | None = SURGERY, on: date | None = None, **changes: Any) -> None:
        made = world({path.replace("__", "."): value for path, value in changes.items()})
        assert made.people is not None
        self.matrix = Matrix(made.people.values(), MatrixState(1, made.now))
        self.lookup = Lookup(CompiledHospital(made.hospital), self.matrix, department, on, made.now)

    def codes(self, code: str, staff: str = SURGEON) -> list[str]:
        return [f.code for f in self.lookup.findings(self.lookup.procedure(code, staff))]

    def operators(self, code: str) -> list[str]:
        return [c.staff for c in self.lookup.operators(self.lookup.procedure(code))]

    def row(self, staff: str = SURGEON) -> PersonRow:
        row = self.matrix.person(staff)
        assert row is not None
        return row

    def privileges(self, staff: str = SURGEON) -> dict[tuple[str, str], Privilege]:
        return {(p.code, p.item): p for p in self.lookup.privileges(self.row(staff))}


def grant(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "staff": SURGEON, "valid_from": date(2026, 1, 1)} | fields


def test_a_procedure_that_is_granted_has_nothing_against_it_in_any_spelling() -> None:
    assert Small().codes("35.71001") == Small().codes("３５. 71001") == []
    assert Small().operators("35.71001") == [SURGEON]


def test_what_only_an_order_can_tell_is_not_asked() -> None:
    # Level 4 without a discussion, an organ transplant without its number.
    assert Small().codes("38.45001") == Small().codes("37.51001") == []


def test_why_not_is_the_finding_that_a_check_would_give() -> None:
    assert Small().codes("35.71001", "100002") == ["grant_missing"]
    assert Small().codes("35.71001", "100003") == ["license_invalid", "trainee_operator", "grant_missing"]
    assert Small().codes("35.71001", "999999") == ["staff_unknown"]
    assert Small().codes("99.99001") == ["code_unknown"]
    assert Small(department="心内科").codes("86.22001") == ["department_not_listed"]
    assert Small().codes("36.06001") == ["entry_ambiguous", "grant_level_exceeded"]
    with pytest.raises(MalformedCode):
        Small().codes("35.71001+")


def test_without_a_department_every_entry_counts() -> None:
    small = Small(department=None)
    assert small.codes("35.71001") == ["entry_ambiguous", "grant_level_exceeded"]
    assert small.operators("35.71001") == []
    assert small.codes("38.45001") == []
    assert small.operators("38.45001") == [SURGEON]


def test_a_prohibited_or_stopped_procedure_has_no_operators() -> None:
    assert Small().codes("04.07001") == ["prohibited_technology"]
    assert Small().operators("04.07001") == []
    stopped = Small(hospital__technologies__0__stopped=True)
    assert stopped.codes("39.65001") == ["technology_stopped"]
    assert stopped.operators("39.65001") == []
    assert Small().operators("39.65001") == [SURGEON]


def test_a_technology_that_needs_a_diagnosis_counts_with_what_it_asks() -> None:
    assert Small().codes("50.24001") == []
    untrained = Small(people__100001__credentials=[])
    assert untrained.codes("50.24001") == ["restricted_training_missing"]
    assert untrained.operators("50.24001") == []
    assert untrained.lookup.procedure("50.24001").level == 4


def test_a_grant_of_a_technology_that_needs_a_diagnosis_does_not_count() -> None:
    technology = {"id": "S02", "name": "S02", "kind": "key", "identify": [{"codes": ["50.2400x001"]}], "grantable": True}
    held = [grant("g", scope_type="technology", scope="S02")]
    always = Small(hospital__technologies__3=technology, people__100001__grants=held)
    assert always.codes("50.24001") == []
    assert list(always.privileges()) == [("50.24001", "S02")]
    technology["identify"] = [{"codes": ["50.2400x001"], "with_diagnoses": [["C00", "C97"]]}]
    sometimes = Small(hospital__technologies__3=technology, people__100001__grants=held)
    assert sometimes.codes("50.24001") == ["grant_missing"]
    assert sometimes.privileges() == {}


def test_the_day_asked_for_counts_and_a_day_that_is_past_not_alone() -> None:
    ended = [grant("g", scope_type="code", scope="35.71001", valid_to=date(2026, 11, 30))]

    def codes(on: date | None) -> list[str]:
        return Small(on=on, people__100001__grants=ended).codes("35.71001")

    assert codes(None) == codes(date(2026, 11, 30)) == []
    assert codes(date(2026, 12, 1)) == ["grant_expired"]
    ended[0]["valid_to"] = date(2026, 11, 21)
    assert codes(date(2026, 11, 20)) == ["grant_expired"]


def test_what_a_person_may_do_lists_the_entries_with_the_grant_that_holds_longest() -> None:
    held = [
        grant("a", scope_type="code", scope="35.71001", valid_to=date(2026, 11, 30)),
        grant("b", scope_type="item", scope="A3.2", valid_to=date(2027, 11, 30)),
        grant("c", scope_type="item", scope="P4.1", last_evaluated=date(2026, 2, 1)),
        grant("d", scope_type="item", scope="C4", state="revoked"),
        grant("e", scope_type="level", scope="2"),
    ]
    # Without a department a grant of the code reaches its entry in either; the one for children is of level 4.
    found = Small(department=None, people__100001__grants=held).privileges()
    assert list(found) == [("35.71001", "A3.2"), ("35.71001", "A4.2"), ("86.22001", "B2"), ("36.06001", "P4.1")]
    assert (found["35.71001", "A3.2"].valid_to, found["35.71001", "A3.2"].grants) == (date(2027, 11, 30), ("a", "b"))
    assert (found["36.06001", "P4.1"].valid_to, found["36.06001", "P4.1"].departments) == (None, (SURGERY,))
    # A level 2 entry that a restricted technology raises is not reached by the level grant.
    assert ("39.65001", "G11") not in found
    only = Small(people__100001__grants=held).privileges()
    assert ("35.71001", "A4.2") not in only
    assert ("35.71001", "A3.2") in only


def test_an_entry_without_a_department_is_listed_where_its_grant_is_for() -> None:
    entry = {"code": "86.22001", "name": "清创术", "level": 2, "item": "B2"}
    held = [grant("g", scope_type="item", scope="B2", department="小儿外科")]
    found = Small(department=None, hospital__entries__2=entry, people__100001__grants=held).privileges()
    assert found["86.22001", "B2"].departments == ("小儿外科",)
    held[0]["department"] = ""
    found = Small(department=None, hospital__entries__2=entry, people__100001__grants=held).privileges()
    assert found["86.22001", "B2"].departments == ()


def test_who_is_suspended_may_do_nothing() -> None:
    small = Small(people__100001__staff__status="suspended", people__200001__staff__status="left")
    assert [f.code for f in small.lookup.person_findings(small.row())] == ["staff_suspended"]
    assert small.privileges() == {}
    assert list(small.lookup.grades(small.row("200001"))) == []


def test_an_anesthesiologist_and_a_perfusionist_hold_grades() -> None:
    small = Small()
    held = [(g.scope_type, g.grade) for staff in ("200001", "210001", SURGEON) for g in small.lookup.grades(small.row(staff))]
    assert held == [("asa", 3), ("perfusion", 3)]
    # A perfusionist's licence is looked at only where a number is kept; a resident has none.
    assert not refuses(small.lookup.person_findings(small.row("210001")))
    assert refuses(small.lookup.person_findings(small.row("100003")))


def test_operators_come_own_department_first_and_page_by_page() -> None:
    def person(number: str, department: str) -> dict[str, Any]:
        staff = {"staff": number, "name": number, "department": department, "kind": "physician", "license_no": "L"}
        held = [{"id": f"g-{number}", "staff": number, "scope_type": "item", "scope": "B2", "valid_from": date(2026, 1, 1)}]
        return {"staff": staff, "grants": held}

    people = {n: person(n, d) for n, d in (("3", SURGERY), ("1", "乙"), ("2", "甲"), ("4", SURGERY))}
    small = Small(people=people)
    assert small.operators("86.22001") == ["3", "4", "1", "2"]
    ctx = small.lookup.procedure("86.22001")
    for after, rest in (((SURGERY, "3"), ["4", "1", "2"]), ((SURGERY, "4"), ["1", "2"]), (("乙", "1"), ["2"]), (("甲", "2"), [])):
        assert [c.staff for c in small.lookup.operators(ctx, after)] == rest


def test_where_the_policy_differs_by_checkpoint_its_strictest_word_counts() -> None:
    changes: dict[str, Any] = {"people__100001__staff__requalification": "due"}
    mild = Small(**changes, hospital__policy={"dispositions": {"requalification_due": {"order": "info", "notice": "obligation"}}})
    assert mild.operators("86.22001") == []
    mildest = {"requalification_due": dict.fromkeys(("order", "notice", "anesthesia", "intraop"), "info")}
    milder = Small(**changes, hospital__policy={"dispositions": mildest})
    assert milder.operators("86.22001") == [SURGEON]
    assert [f.disposition for f in milder.lookup.person_findings(milder.row())] == ["info"]
