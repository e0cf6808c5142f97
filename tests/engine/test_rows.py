"""A person's row: what is held by scope, until when nothing about the standing can be found, and when a grant must be evaluated again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from app.engine.matrix import Matrix, PersonRow, evaluation_due, evaluation_overdue, terms_of
from app.engine.model import Grant, GrantRole, MatrixState, Person, Requalification, ScopeType, Staff, StaffKind, StaffStatus

STATE = MatrixState(1, datetime(2026, 11, 22, tzinfo=UTC))
SURGEON = Staff("100001", "魏甘草", "胸心外科", StaffKind.PHYSICIAN, license_no="L-1", license_valid_to=date(2028, 1, 31))
GRANT = Grant("a", "100001", ScopeType.CODE, "35.71001", date(2025, 3, 1))


def row_of(person: Person) -> PersonRow:
    row = Matrix([person], STATE).person(person.staff.staff)
    assert row is not None
    return row


def test_grants_of_one_scope_are_kept_in_full_and_by_their_terms() -> None:
    earlier = replace(GRANT, id="b", valid_to=date(2026, 1, 31))
    elsewhere = replace(GRANT, id="c", scope_type=ScopeType.ITEM)
    to_order = replace(GRANT, id="d", role=GrantRole.REQUESTER, department="骨科")
    row = row_of(Person(SURGEON, (GRANT, elsewhere, to_order, earlier)))
    assert row.of_scope("code:35.71001") == (GRANT, earlier)
    assert row.of_scope("item:35.71001") == (elsewhere,)
    assert row.of_scope("code:35.71002") == ()
    assert row.held == {"code:35.71001": (terms_of(GRANT), terms_of(earlier)), "item:35.71001": (terms_of(elsewhere),)}
    assert row.ordering == {"code:35.71001": (terms_of(to_order),)}


def test_equal_terms_are_one_object_whoever_holds_them() -> None:
    people = [Person(replace(SURGEON, staff=number), (replace(GRANT, id=number, staff=number),)) for number in ("1", "2")]
    matrix = Matrix(people, STATE)
    assert matrix.rows["1"].held["code:35.71001"] is matrix.rows["2"].held["code:35.71001"]


NEVER, ALWAYS, LICENSED = date.min, date.max, date(2028, 1, 31)


@pytest.mark.parametrize(
    ("changes", "clear", "assists"),
    [
        ({}, LICENSED, LICENSED),
        ({"license_valid_to": None}, ALWAYS, ALWAYS),
        ({"license_no": ""}, NEVER, NEVER),
        ({"status": StaffStatus.SUSPENDED}, NEVER, NEVER),
        ({"status": StaffStatus.LEFT, "kind": StaffKind.RESIDENT}, NEVER, NEVER),
        ({"kind": StaffKind.RESIDENT, "license_no": ""}, NEVER, ALWAYS),
        ({"kind": StaffKind.EXTERNAL, "requalification": Requalification.DONE}, NEVER, LICENSED),
        ({"requalification": Requalification.DUE}, NEVER, LICENSED),
    ],
)
def test_until_when_the_standing_is_beyond_doubt(changes: dict[str, Any], clear: date, assists: date) -> None:
    row = row_of(Person(replace(SURGEON, **changes)))
    assert (row.clear_until, row.assists_until) == (clear, assists)


@pytest.mark.parametrize("evaluated", [None, date(2024, 2, 29), date(2024, 3, 1), date(2025, 2, 28), date(2027, 12, 31)])
def test_a_grant_is_overdue_from_the_day_after_its_evaluation_is_due(evaluated: date | None) -> None:
    grant = replace(GRANT, valid_from=date(2023, 2, 28), last_evaluated=evaluated)
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(1_500)]
    assert [evaluation_overdue(grant, day) for day in days] == [evaluation_due(grant, day) < day for day in days]
    assert {evaluation_overdue(grant, day) for day in days} == {True, False}
