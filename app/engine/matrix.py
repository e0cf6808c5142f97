"""The grant matrix, compiled for look-up: one row per person, and who holds a scope.

What a person holds is keyed by scope, so that judging an entry takes one dict look-up per scope that covers it, whatever the person or the
hospital holds besides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, timedelta
from typing import TypeAlias

from app.engine.calendar import add_years
from app.engine.catalog import scope_key
from app.engine.model import (
    TRAINEE_KINDS,
    Credential,
    Duty,
    Grant,
    GrantRole,
    GrantState,
    MatrixState,
    Person,
    Requalification,
    Staff,
    StaffKind,
    StaffStatus,
    Value,
    Volume,
)

EVALUATION_YEARS = 1
"""A level 4 grant is evaluated at least once a year (SGM-2022 art. 17)."""

_SHORTEST_YEAR = timedelta(days=365)


class Terms(Value, frozen=True):
    """What a grant says beside its scope: all that decides whether it is in order on a day.

    Grants are given in batches, so that thousands of them share their terms. One object for each stays in the processor's caches, where all
    the grants of a hospital do not.
    """

    department: str
    state: GrantState
    valid_from: date
    valid_to: date | None
    last_evaluated: date | None


def terms_of(grant: Grant) -> Terms:
    """The grant's terms."""
    return Terms(grant.department, grant.state, grant.valid_from, grant.valid_to, grant.last_evaluated)


Held: TypeAlias = Mapping[str, tuple[Terms, ...]]
"""What somebody holds: by scope, the terms of its grants."""


class PersonRow:
    """One person's row: the register's facts, grants, credentials and volumes by technology or code.

    `clear_until`: the last day on which no rule about the person's standing (licence, suspension, trainee, requalification) can find
    anything; `date.min` where one does or may. `assists_until`: the same for somebody who assists, of whom less is asked. `grants`: those to
    operate, in full; `held`: the same by scope; `ordering`: those to order, by scope.
    """

    __slots__ = ("assists_until", "clear_until", "credentials", "duty", "grants", "held", "ordering", "staff", "volumes")

    def __init__(self, person: Person, shared: dict[Terms, tuple[Terms]]) -> None:
        self.staff: Staff = person.staff
        self.clear_until = _clear_until(person.staff)
        self.assists_until = _assists_until(person.staff)
        self.grants: tuple[Grant, ...] = tuple([g for g in person.grants if g.role is GrantRole.OPERATOR])
        self.held: Held = _by_scope(self.grants, shared)
        self.ordering: Held = _by_scope((g for g in person.grants if g.role is GrantRole.REQUESTER), shared)
        self.credentials: tuple[Credential, ...] = person.credentials
        self.volumes: tuple[Volume, ...] = person.volumes
        self.duty: tuple[Duty, ...] = person.duty

    def on_duty(self, now: datetime) -> bool:
        """Whether the duty roster has the person at that instant."""
        return any(duty.starts <= now < duty.ends for duty in self.duty)

    def of_scope(self, key: str) -> tuple[Grant, ...]:
        """The grants to operate of one scope, in full."""
        if key not in self.held:
            return ()
        kind, _, scope = key.partition(":")
        return tuple([g for g in self.grants if g.scope == scope and g.scope_type == kind])

    def trained(self, technology: str, on: date) -> bool:
        """Whether a training or an exemption for that technology is on record by that day."""
        return any(c.technology == technology and c.issued_on <= on for c in self.credentials)


class Matrix:
    """All rows of a hospital, at one version.

    `holders` maps a scope's key to the people in the register's good standing who hold an active grant of it, by their department and in
    order of staff number, for looking up who else may operate. `rostered`: everybody whom the duty roster names at any time.
    """

    def __init__(self, people: Iterable[Person], state: MatrixState) -> None:
        self.state = state
        shared: dict[Terms, tuple[Terms]] = {}
        self._shared = shared
        # Rows that are made one after the other lie side by side in memory, and so do keys of their own. Otherwise each would have to be fetched
        # from among the grants, the key too, since a look-up compares it with the number.
        rows = [PersonRow(person, shared) for person in list(people)]
        self.rows: dict[str, PersonRow] = {(row.staff.staff + " ")[:-1]: row for row in rows}
        self.holders: Mapping[str, Mapping[str, tuple[str, ...]]] = _holders(self.rows)
        self.rostered = _rostered(self.rows)

    def person(self, staff: str) -> PersonRow | None:
        """A person's row, or None who is not in the register."""
        return self.rows.get(staff)

    def on_duty(self, now: datetime) -> Set[str]:
        """The staff numbers of everybody on duty at that instant."""
        return {number for number in self.rostered if self.rows[number].on_duty(now)}

    def replace(self, people: Iterable[Person], gone: Iterable[str], state: MatrixState) -> Matrix:
        """The matrix with these people's rows as they are now and without those of `gone`. This one stays as it is; what they do not touch is
        shared, so that a change to one of thousands of people costs little more than that person's row."""
        now = {person.staff.staff: PersonRow(person, self._shared) for person in people}
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
        made._shared = self._shared
        made.rows = {number: row for number, row in self.rows.items() if number not in touched} | now
        made.holders = holders
        made.rostered = (self.rostered - touched) | _rostered(now)
        return made


def _by_scope(grants: Iterable[Grant], shared: dict[Terms, tuple[Terms]]) -> Held:
    """The terms of grants, by scope; equal ones are the one object in `shared`."""
    found: dict[str, tuple[Terms, ...]] = {}
    for grant in grants:
        terms = terms_of(grant)
        one = shared.setdefault(terms, (terms,))
        key = scope_key(grant.scope_type, grant.scope)
        found[key] = found[key] + one if key in found else one
    return found


def _clear_until(staff: Staff) -> date:
    doubtful = staff.kind in TRAINEE_KINDS or staff.kind is StaffKind.EXTERNAL or staff.requalification is Requalification.DUE
    return date.min if doubtful else _assists_until(staff)


def _assists_until(staff: Staff) -> date:
    if staff.status is not StaffStatus.ACTIVE:
        return date.min
    if staff.kind in TRAINEE_KINDS:
        return date.max
    return staff.license_valid_to or date.max if staff.license_no else date.min


def evaluation_overdue(grant: Grant | Terms, on: date) -> bool:
    """Whether a level 4 grant must have been evaluated again before a day."""
    # Moving a date by a year takes ten times as long as to see that a year cannot have passed.
    return on - _evaluated_on(grant, on) > _SHORTEST_YEAR and evaluation_due(grant, on) < on


def evaluation_due(grant: Grant | Terms, on: date) -> date:
    """The last day by which a level 4 grant must be evaluated again, as seen on a day: a year after the last evaluation by then, or after
    its first day where there is none."""
    return add_years(_evaluated_on(grant, on), EVALUATION_YEARS)


def _evaluated_on(grant: Grant | Terms, on: date) -> date:
    evaluated = grant.last_evaluated
    return evaluated if evaluated is not None and evaluated <= on else grant.valid_from


def _holders(rows: Mapping[str, PersonRow]) -> dict[str, dict[str, tuple[str, ...]]]:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for number in sorted(rows):
        row = rows[number]
        if row.staff.status is not StaffStatus.ACTIVE:
            continue
        for key, held in row.held.items():
            if any(terms.state is GrantState.ACTIVE for terms in held):
                found[key][row.staff.department].append(number)
    return {key: {department: tuple(numbers) for department, numbers in held.items()} for key, held in found.items()}


def _rostered(rows: Mapping[str, PersonRow]) -> frozenset[str]:
    return frozenset(number for number, row in rows.items() if row.duty)


def _exchanged(held: Mapping[str, tuple[str, ...]], touched: Set[str], joined: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """A scope's holders by department, without all who were touched and with those of them who hold it now."""
    found = {d: sorted([*(n for n in held.get(d, ()) if n not in touched), *joined.get(d, ())]) for d in held.keys() | joined.keys()}
    return {department: tuple(numbers) for department, numbers in found.items() if numbers}
