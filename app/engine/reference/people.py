"""What is asked of people: register, licence, standing, privileges, qualification."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from app.engine.calendar import add_years, full_years
from app.engine.model import (
    RESTRICTED_KINDS,
    TITLES,
    TRAINEE_KINDS,
    Entry,
    Grant,
    GrantRole,
    GrantState,
    Hospital,
    Person,
    Qualification,
    Requalification,
    ScopeType,
    Staff,
    StaffKind,
    StaffStatus,
    TeamRole,
    Technology,
    TechnologyKind,
    Volume,
)
from app.engine.reasons import GRANT_FINDINGS
from app.engine.reference.order import Case, Resolved

GRANTED = "granted"
TRAINED_KINDS = RESTRICTED_KINDS | {TechnologyKind.KEY}
"""Technologies whose operator needs training and qualification."""

GRADES = {
    TeamRole.ANESTHESIOLOGIST: (ScopeType.ASA, "anesthesia_grade_exceeded"),
    TeamRole.PERFUSIONIST: (ScopeType.PERFUSION, "perfusion_grade_exceeded"),
}


# ------------------------------------------------------------------------------------------------ licence and standing


def has_licence(case: Case, staff: Staff) -> bool:
    return bool(staff.license_no.strip()) and (staff.license_valid_to is None or staff.license_valid_to >= case.last_day)


def must_requalify(staff: Staff) -> bool:
    if staff.requalification is Requalification.NONE:
        return staff.kind is StaffKind.EXTERNAL
    return staff.requalification is Requalification.DUE


# ------------------------------------------------------------------------------------------------ what a grant covers


def _aliased(hospital: Hospital, code: str, other: str) -> bool:
    return hospital.aliases.get(code) == other or hospital.aliases.get(other) == code


def _direct(hospital: Hospital, grant: Grant) -> set[int]:
    """The entries that a code or item grant is for (reading 16)."""
    entries = list(enumerate(hospital.entries))
    if grant.scope_type is ScopeType.ITEM:
        return {index for index, entry in entries if entry.item == grant.scope}
    own = {index for index, entry in entries if entry.code == grant.scope}
    return own or {index for index, entry in entries if _aliased(hospital, entry.code, grant.scope)}


def _reached(hospital: Hospital, grant: Grant, start: int) -> set[int]:
    """The entries that a grant of the entry `start` takes in: one step of alias, then any number of `includes`; none of a higher level
    than `start` (reading 16)."""
    entries = list(enumerate(hospital.entries))
    reached = {start}
    if grant.scope_type is ScopeType.CODE and any(entry.code == grant.scope for _, entry in entries):
        reached |= {index for index, entry in entries if _aliased(hospital, entry.code, grant.scope)}
    while True:
        tokens = {token for index in reached for token in hospital.entries[index].includes}
        wider = reached | {
            index for index, entry in entries if entry.item in tokens or entry.code in tokens or hospital.aliases.get(entry.code) in tokens
        }
        if wider == reached:
            return {index for index in reached if index == start or hospital.entries[index].level <= hospital.entries[start].level}
        reached = wider


def _fits(case: Case, grant: Grant, entry: Entry) -> bool:
    """Whether the grant's department is the entry's, or the order's (reading 17)."""
    return not grant.department or grant.department in (entry.departments or (case.order.department,))


def _covers(case: Case, procedure: Resolved, grant: Grant, index: int) -> bool | None:
    """Whether the grant covers the entry. None: its scope does, its department does not fit."""
    hospital, entry = case.hospital, case.hospital.entries[index]
    fits = _fits(case, grant, entry)
    match grant.scope_type:
        case ScopeType.LEVEL:
            covered = (procedure.level or 4) <= 2 and entry.level <= int(grant.scope)
        case ScopeType.TECHNOLOGY:
            covered = any(one.id == grant.scope and one.grantable for one in procedure.certain)
        case ScopeType.CODE | ScopeType.ITEM:
            sources = [hospital.entries[one] for one in _direct(hospital, grant) if index in _reached(hospital, grant, one)]
            covered = bool(sources)
            if grant.department:
                fits = fits and any(not one.departments or grant.department in one.departments for one in sources)
        case _:
            covered = False
    return (True if fits else None) if covered else False


# ------------------------------------------------------------------------------------------------ how a person stands to an entry


def _in_force(case: Case, grant: Grant) -> bool:
    return grant.state is GrantState.ACTIVE and grant.valid_from <= case.day and (grant.valid_to is None or grant.valid_to >= case.last_day)


def _overdue(grant: Grant, on: date) -> bool:
    evaluated = grant.last_evaluated if grant.last_evaluated is not None and grant.last_evaluated <= on else grant.valid_from
    return on > add_years(evaluated, 1)


def problem(case: Case, procedure: Resolved, grant: Grant) -> str | None:
    """What keeps a covering grant from being in order, the gravest (reading 19)."""
    if grant.state is GrantState.REVOKED:
        return "grant_revoked"
    if grant.state is GrantState.SUSPENDED:
        return "grant_suspended"
    if grant.valid_from > case.day:
        return "grant_not_yet_valid"
    if grant.valid_to is not None and grant.valid_to < case.last_day:
        return "grant_expired"
    if procedure.level == 4 and (_overdue(grant, case.day) or _overdue(grant, case.last_day)):
        return "grant_evaluation_overdue"
    return None


def standing(case: Case, procedure: Resolved, person: Person, index: int, roles: tuple[GrantRole, ...] = (GrantRole.OPERATOR,)) -> str:
    """`granted`, or the finding nearest to a privilege (reading 20)."""
    said = {"grant_missing", *said_of(case, procedure, person, index, roles)}
    return GRANTED if GRANTED in said else min(said, key=GRANT_FINDINGS.index)


def said_of(case: Case, procedure: Resolved, person: Person, index: int, roles: tuple[GrantRole, ...] = (GrantRole.OPERATOR,)) -> set[str]:
    """All that the person's grants say of an entry."""
    return set().union(*(_says(case, procedure, grant, index) for grant in person.grants if grant.role in roles))


def _says(case: Case, procedure: Resolved, grant: Grant, index: int) -> Iterator[str]:
    """All that one grant says of an entry."""
    entry = case.hospital.entries[index]
    covers = _covers(case, procedure, grant, index)
    if covers:
        yield problem(case, procedure, grant) or GRANTED
    if not _in_force(case, grant):
        return
    if covers is None:
        yield "grant_department_mismatch"
    by_level = grant.scope_type is ScopeType.LEVEL and int(grant.scope) >= entry.level and _fits(case, grant, entry)
    if by_level and (procedure.level or 0) >= 3:
        yield "grant_not_itemized"
    for other_index in procedure.family:
        other = case.hospital.entries[other_index]
        if other_index != index and _covers(case, procedure, grant, other_index):
            if _is_lower(other, entry):
                yield "grant_level_exceeded"
            elif other.departments and case.order.department not in other.departments:
                yield "grant_department_mismatch"


def _is_lower(one: Entry, other: Entry) -> bool:
    """Reading 8."""
    if one.level != other.level:
        return one.level < other.level
    return bool(one.hospital_grade and other.hospital_grade) and _grade(one) < _grade(other)


def _grade(entry: Entry) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in entry.hospital_grade.split(".")]


# ------------------------------------------------------------------------------------------------ training and qualification


def _rows(case: Case, person: Person, technology: Technology, within_years: int | None) -> list[Volume]:
    """The operations that count for a technology (reading 14)."""
    first = case.day.year - within_years + 1 if within_years is not None else date.min.year
    window = [row for row in person.volumes if first <= row.year <= case.day.year]
    own = [row for row in window if row.scope_type is ScopeType.TECHNOLOGY and row.scope == technology.id]
    codes = {code for way in technology.identify if not way.with_diagnoses and not way.all_of for code in way.codes}
    codes |= {local for local, national in case.hospital.aliases.items() if national in codes}

    def counts(row: Volume) -> bool:
        if row.scope_type is ScopeType.ITEM:
            of_item = {entry.code for entry in case.hospital.entries if entry.item == row.scope}
            return bool(of_item) and of_item <= codes
        return row.scope_type is ScopeType.CODE and row.scope in codes

    return own or [row for row in window if counts(row)]


def _trained(case: Case, person: Person, technology: Technology) -> bool:
    return any(record.technology == technology.id and record.issued_on <= case.day for record in person.credentials)


def _meets(case: Case, procedure: Resolved, person: Person, technology: Technology, table: Qualification) -> bool:
    """Whether all of a table holds but for its training: title, years, counts, idle time, one of its alternatives."""
    staff = person.staff
    rows = _rows(case, person, technology, table.within_years)
    last_cases = [
        row.last_case_on for row in _rows(case, person, technology, None) if row.last_case_on is not None and row.last_case_on <= case.day
    ]

    def years(since: date | None) -> int:
        return full_years(since, case.day) if since is not None else -1

    return (
        (table.years is None or years(staff.practice_since) >= table.years)
        and (table.title is None or (staff.title in TITLES and TITLES[staff.title] >= TITLES[table.title]))
        and (table.years_in_title is None or years(staff.title_since) >= table.years_in_title)
        and (not table.practice_scope or bool(set(table.practice_scope) & set(staff.practice_scope)))
        and (table.cases is None or sum(row.operator_cases + row.supervised_cases for row in rows) >= table.cases)
        and (table.independent_cases is None or sum(row.operator_cases for row in rows) >= table.independent_cases)
        and (table.max_idle_years is None or any(add_years(last, table.max_idle_years) >= case.day for last in last_cases))
        and (not table.any_of or any(_alternative_holds(case, procedure, person, technology, one) for one in table.any_of))
    )


def _alternative_holds(case: Case, procedure: Resolved, person: Person, technology: Technology, table: Qualification) -> bool:
    """An alternative or an exemption: for this level, with its own training (readings 12, 13)."""
    if table.level is not None and table.level != procedure.level:
        return False
    exempt = table.exempt is not None and _alternative_holds(case, procedure, person, technology, table.exempt)
    if table.training and not exempt and not _trained(case, person, technology):
        return False
    return _meets(case, procedure, person, technology, table)


def _qualification(case: Case, procedure: Resolved, person: Person, technology: Technology) -> Iterator[str]:
    tables = [table for table in technology.qualification if table.level in (None, procedure.level)]
    asked = not any(table.training is False or any(one.training is not None for one in table.any_of) for table in tables)
    exempt = any(table.exempt is not None and _alternative_holds(case, procedure, person, technology, table.exempt) for table in tables)
    if asked and not exempt and not _trained(case, person, technology):
        yield "restricted_training_missing"
    if not all(_meets(case, procedure, person, technology, table) for table in tables):
        yield "qualification_unmet"


# ------------------------------------------------------------------------------------------------ the rules about a person


def about_operator(case: Case, procedure: Resolved, person: Person | None, loosened: bool) -> Iterator[str]:
    """The reason codes of all rules about the person that do not hold for this operator of this procedure. `loosened`: by the hospital's
    policy the lack of an entry does not deny."""
    if person is None:
        yield "staff_unknown"
        return
    if not has_licence(case, person.staff):
        yield "license_invalid"
    if person.staff.status is not StaffStatus.ACTIVE:
        yield "staff_suspended"
    if person.staff.kind in TRAINEE_KINDS:
        yield "trainee_operator"
    if must_requalify(person.staff):
        yield "requalification_due"
    if procedure.remaining or not loosened:
        yield from _about_privilege([standing(case, procedure, person, index) for index in procedure.remaining])
    else:  # reading 22
        dropped = [standing(case, procedure, person, index) for index in procedure.family] or ["grant_missing"]
        yield from (code for code in _about_privilege(dropped) if code != "entry_ambiguous")
    for technology in procedure.certain:
        if technology.kind in TRAINED_KINDS:
            yield from _qualification(case, procedure, person, technology)
        if technology.kind is TechnologyKind.NEW_PROJECT and person.staff.staff not in technology.team:
            yield "new_project_team_only"


def _about_privilege(standings: list[str]) -> Iterator[str]:
    """One grant finding, the nearest over the entries that are not covered (reading 21)."""
    barred = [one for one in standings if one != GRANTED]
    if barred:
        yield min(barred, key=GRANT_FINDINGS.index)
        if len(standings) > 1:
            yield "entry_ambiguous"


def may_order(case: Case, procedure: Resolved, person: Person | None) -> bool:
    """The right to order: given as such, or with the right to perform, for every entry (reading 24)."""
    if person is None or person.staff.status is not StaffStatus.ACTIVE:
        return False
    roles = (GrantRole.REQUESTER, GrantRole.OPERATOR)
    return bool(procedure.remaining) and all(standing(case, procedure, person, index, roles) == GRANTED for index in procedure.remaining)


def about_member(case: Case, role: TeamRole, person: Person | None) -> Iterator[str]:
    """The same for a member of the team who is checked. Assistants need no privilege."""
    if person is None:
        yield "staff_unknown"
        return
    staff = person.staff
    if role is TeamRole.PERFUSIONIST:
        licence_asked = bool(staff.license_no.strip())
    else:
        licence_asked = role in (TeamRole.ANESTHESIOLOGIST, TeamRole.SUPERVISOR) or staff.kind not in TRAINEE_KINDS
    if licence_asked and not has_licence(case, staff):
        yield "license_invalid"
    if staff.status is not StaffStatus.ACTIVE:
        yield "staff_suspended"
    if role in GRADES:
        if must_requalify(staff):
            yield "requalification_due"
        asked = asked_grade(case, role)
        departments = ("", case.order.department, staff.department)
        if asked is not None and not any(
            _in_force(case, grant) and grant.department in departments for grant in graded(person, role, asked)
        ):
            yield GRADES[role][1]


def asked_grade(case: Case, role: TeamRole) -> int | None:
    """The ASA class or bypass grade that the order carries; ASA 6 is judged as 5."""
    if role is TeamRole.PERFUSIONIST:
        return case.order.perfusion.grade if case.order.perfusion else None
    asa = case.order.anesthesia.asa if case.order.anesthesia else None
    return min(asa, 5) if asa is not None else None


def graded(person: Person, role: TeamRole, at_least: int) -> list[Grant]:
    """The person's grants of that role's kind, from that grade on, whatever their state."""
    return [
        grant
        for grant in person.grants
        if grant.scope_type is GRADES[role][0] and grant.role is GrantRole.OPERATOR and int(grant.scope) >= at_least
    ]
