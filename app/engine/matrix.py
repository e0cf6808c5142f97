"""The grant matrix, compiled for look-up: one row per person, and who holds a scope.

A row's grants are keyed by scope, so that judging an entry takes one dict look-up per scope that covers it, whatever the person or the
hospital holds besides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from msgspec.structs import force_setattr

from app.engine.calendar import add_years
from app.engine.catalog import scope_key
from app.engine.model import (
    TRAINEE_KINDS,
    Credential,
    Grant,
    GrantRole,
    GrantState,
    MatrixState,
    Person,
    Requalification,
    Staff,
    StaffKind,
    StaffStatus,
    Volume,
)

EVALUATION_YEARS = 1
"""A level 4 grant is evaluated at least once a year (SGM-2022 art. 17)."""

_SHORTEST_YEAR = timedelta(days=365)


class PersonRow:
    """One person's row: the register's facts, grants by scope, credentials and volumes by technology or code.

    `clear_until`: the last day on which no rule about the person's standing (licence, suspension, trainee, requalification) can find
    anything; `date.min` where one does or may.
    """

    __slots__ = ("clear_until", "credentials", "grants", "ordering", "staff", "volumes")

    def __init__(self, person: Person) -> None:
        self.staff: Staff = person.staff
        self.clear_until = _clear_until(person.staff)
        self.grants: dict[str, tuple[Grant, ...]] = _by_scope(g for g in person.grants if g.role is GrantRole.OPERATOR)
        self.ordering: dict[str, tuple[Grant, ...]] = _by_scope(g for g in person.grants if g.role is GrantRole.REQUESTER)
        self.credentials: tuple[Credential, ...] = person.credentials
        self.volumes: tuple[Volume, ...] = person.volumes

    def trained(self, technology: str, on: date) -> bool:
        """Whether a training or an exemption for that technology is on record by that day."""
        return any(c.technology == technology and c.issued_on <= on for c in self.credentials)


class Matrix:
    """All rows of a hospital, at one version.

    `holders` maps a scope's key to the people in the register's good standing who hold an active grant of it, by their department and in
    order of staff number, for looking up who else may operate.
    """

    def __init__(self, people: Iterable[Person], state: MatrixState) -> None:
        self.state = state
        days = _Days()
        self.rows: dict[str, PersonRow] = {person.staff.staff: PersonRow(days.shared(person)) for person in people}
        self.holders: Mapping[str, Mapping[str, tuple[str, ...]]] = _holders(self.rows)

    def person(self, staff: str) -> PersonRow | None:
        """A person's row, or None who is not in the register."""
        return self.rows.get(staff)


class _Days:
    """One object for each day that grants name. Grants name few different days: with an object for each grant they would take a quarter of the
    matrix's memory, and a check would have to fetch them from there; these stay in the processor's caches."""

    def __init__(self) -> None:
        self._days: dict[date, date] = {}

    def shared(self, person: Person) -> Person:
        """The same person, whose grants now hold equal days that others hold as well."""
        one = self._days.setdefault
        for grant in person.grants:
            # Set in spite of `frozen`: copies would need the memory that this saves, since whoever built the matrix keeps the people.
            force_setattr(grant, "valid_from", one(grant.valid_from, grant.valid_from))
            if grant.valid_to is not None:
                force_setattr(grant, "valid_to", one(grant.valid_to, grant.valid_to))
            if grant.last_evaluated is not None:
                force_setattr(grant, "last_evaluated", one(grant.last_evaluated, grant.last_evaluated))
        return person


def _clear_until(staff: Staff) -> date:
    doubtful = (
        staff.status is not StaffStatus.ACTIVE
        or staff.kind in TRAINEE_KINDS
        or staff.kind is StaffKind.EXTERNAL
        or staff.requalification is Requalification.DUE
        or not staff.license_no
    )
    return date.min if doubtful else staff.license_valid_to or date.max


def evaluation_overdue(grant: Grant, on: date) -> bool:
    """Whether a level 4 grant must have been evaluated again before a day."""
    # Moving a date by a year takes ten times as long as to see that a year cannot have passed.
    return on - _evaluated_on(grant, on) > _SHORTEST_YEAR and evaluation_due(grant, on) < on


def evaluation_due(grant: Grant, on: date) -> date:
    """The last day by which a level 4 grant must be evaluated again, as seen on a day: a year after the last evaluation by then, or after
    its first day where there is none."""
    return add_years(_evaluated_on(grant, on), EVALUATION_YEARS)


def _evaluated_on(grant: Grant, on: date) -> date:
    evaluated = grant.last_evaluated
    return evaluated if evaluated is not None and evaluated <= on else grant.valid_from


def _by_scope(grants: Iterable[Grant]) -> dict[str, tuple[Grant, ...]]:
    found: dict[str, list[Grant]] = defaultdict(list)
    for grant in grants:
        found[scope_key(grant.scope_type, grant.scope)].append(grant)
    return {key: tuple(held) for key, held in found.items()}


def _holders(rows: Mapping[str, PersonRow]) -> dict[str, dict[str, tuple[str, ...]]]:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for number in sorted(rows):
        row = rows[number]
        if row.staff.status is not StaffStatus.ACTIVE:
            continue
        for key, grants in row.grants.items():
            if any(g.state is GrantState.ACTIVE for g in grants):
                found[key][row.staff.department].append(number)
    return {key: {department: tuple(numbers) for department, numbers in held.items()} for key, held in found.items()}
