"""The grant matrix, compiled for look-up: one row per person, and who holds a scope.

A row's grants are keyed by scope, so that judging an entry takes one dict look-up per scope that covers it, whatever the person or the
hospital holds besides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from datetime import date

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


class PersonRow:
    """One person's row: the register's facts, grants by scope, credentials and volumes by technology or code.

    `clear_until`: the last day on which no rule about the person's standing (licence, suspension, trainee, requalification) can find
    anything; None where one does or may.
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
        self.rows: dict[str, PersonRow] = {person.staff.staff: PersonRow(person) for person in people}
        self.holders: Mapping[str, Mapping[str, tuple[str, ...]]] = _holders(self.rows)

    def person(self, staff: str) -> PersonRow | None:
        """A person's row, or None who is not in the register."""
        return self.rows.get(staff)

    def replace(self, people: Iterable[Person], gone: Iterable[str], state: MatrixState) -> Matrix:
        """The matrix with these people's rows as they are now and without those of `gone`. This one stays as it is; what they do not touch is
        shared, so that a change to one of thousands of people costs little more than that person's row."""
        now = {person.staff.staff: PersonRow(person) for person in people}
        touched = {*now, *gone}
        before, after = _holders({number: self.rows[number] for number in touched if number in self.rows}), _holders(now)
        holders = dict(self.holders)
        for key in before.keys() | after.keys():
            held = _exchanged(holders.get(key, {}), touched, after.get(key, {}))
            if held:
                holders[key] = held
            else:
                del holders[key]
        made = Matrix((), state)
        made.rows = {number: row for number, row in self.rows.items() if number not in touched} | now
        made.holders = holders
        return made


def _clear_until(staff: Staff) -> date | None:
    doubtful = (
        staff.status is not StaffStatus.ACTIVE
        or staff.kind in TRAINEE_KINDS
        or staff.kind is StaffKind.EXTERNAL
        or staff.requalification is Requalification.DUE
        or not staff.license_no
    )
    return None if doubtful else staff.license_valid_to or date.max


def evaluation_due(grant: Grant, on: date) -> date:
    """The last day by which a level 4 grant must be evaluated again, as seen on a day: a year after the last evaluation by then, or after
    its first day where there is none."""
    evaluated = grant.last_evaluated
    base = evaluated if evaluated is not None and evaluated <= on else grant.valid_from
    return add_years(base, EVALUATION_YEARS)


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


def _exchanged(held: Mapping[str, tuple[str, ...]], touched: Set[str], joined: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """A scope's holders by department, without all who were touched and with those of them who hold it now."""
    found = {d: sorted([*(n for n in held.get(d, ()) if n not in touched), *joined.get(d, ())]) for d in held.keys() | joined.keys()}
    return {department: tuple(numbers) for department, numbers in found.items() if numbers}
