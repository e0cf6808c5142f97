"""Look-ups: what a person may do, and who may do a procedure, on a day and without an order.

The same contexts and rules as a check, less what only an order can tell: evidence, requester, the case so far. Without a department every
entry of a code counts. Technologies that are one only with certain diagnoses, or only in an emergency, count with all that they ask of the
operator; but a grant for such a technology is not counted, since an order may turn out not to be one; and where the hospital's policy differs
by checkpoint, its strictest word counts. So what a look-up allows, no check of that procedure, department and day refuses for the person's sake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from functools import reduce

from msgspec.structs import replace

from app.engine.catalog import CatalogEntry, Resolved
from app.engine.checkpoints import MEMBER_RULES, PROCEDURE_RULES
from app.engine.context import MemberContext, ProcedureContext, order_context
from app.engine.hospital import CompiledHospital
from app.engine.judge import DENYING, run
from app.engine.matrix import Matrix, PersonRow
from app.engine.model import (
    ByCheckpoint,
    Checkpoint,
    Colleague,
    Disposition,
    Finding,
    Order,
    Patient,
    Procedure,
    ScopeType,
    StaffKind,
    TeamMember,
    TeamRole,
    Urgency,
    Value,
)
from app.engine.operators import able_colleagues
from app.engine.reasons import stricter
from app.engine.resolve import context_of
from app.engine.rules import evidence, grants, people, technology
from app.engine.rules.theatre import GRADE_KEYS
from app.engine.standing import grants_in_order, in_force

_OF_AN_ORDER = frozenset(
    {
        technology.special_approval_missing,
        technology.diagnosis_missing,
        evidence.mdt_missing,
        evidence.major_procedure_unapproved,
        grants.order_right,
    }
)
_OF_THE_PERSON = frozenset(
    {people.operator_license, people.operator_suspended, people.trainee_operator, people.operator_requalification, people.operator_unknown}
)

RULES = tuple(rule for rule in PROCEDURE_RULES if rule.test not in _OF_AN_ORDER)
"""What a look-up judges by: all that does not need an order."""

_PERSON_RULES = tuple(rule for rule in RULES if rule.test in _OF_THE_PERSON)
_GENERAL_RULES = tuple(rule for rule in RULES if not rule.about_operator)
_PLACES = {StaffKind.ANESTHESIOLOGIST: TeamRole.ANESTHESIOLOGIST, StaffKind.PERFUSIONIST: TeamRole.PERFUSIONIST}
_GRADED: Mapping[TeamRole, ScopeType] = {TeamRole.ANESTHESIOLOGIST: ScopeType.ASA, TeamRole.PERFUSIONIST: ScopeType.PERFUSION}
_NOBODY = "-"
_NOTHING = Resolved("", (), (), (), frozenset(), known=False)


class Privilege(Value, frozen=True):
    """One catalog entry that a person may perform. `valid_to`: the last day of the grant that holds longest, None where that is open; `grants`:
    the ids of those that cover it."""

    code: str
    name: str
    level: int
    departments: tuple[str, ...]
    hospital_grade: str
    item: str
    service: str
    technologies: tuple[str, ...]
    valid_to: date | None
    grants: tuple[str, ...]


class GradeHeld(Value, frozen=True):
    """An ASA class or a bypass grade that a person may serve at, and all below it."""

    scope_type: ScopeType
    grade: int
    department: str
    valid_to: date | None


class Lookup:
    """Look-ups in one hospital on one day, for one department or (None) for every entry. `on` None: today."""

    def __init__(self, hospital: CompiledHospital, matrix: Matrix, department: str | None, on: date | None, now: datetime) -> None:
        start = None if on is None else datetime.combine(on, time(12), tzinfo=hospital.time_zone)
        order = Order(
            request_id=_NOBODY,
            checkpoint=Checkpoint.ORDER,
            case_id=_NOBODY,
            department=department or _NOBODY,
            urgency=Urgency.ELECTIVE,
            patient=Patient(_NOBODY),
            procedures=(),
            planned_start=start,
        )
        self._whole = order_context(order, hospital, matrix, None, now)
        if department is None:
            self._whole.department = None
        self._matrix = matrix
        self._hospital = hospital
        self._on = on
        self._by_checkpoint = any(isinstance(ruled, ByCheckpoint) for ruled in hospital.policy.dispositions.values())

    @property
    def day(self) -> date:
        """The day that is looked at."""
        return self._whole.first_day

    @property
    def department(self) -> str | None:
        """The department by the hospital's own name of it."""
        return self._whole.department

    def procedure(self, code: str, staff: str = _NOBODY) -> ProcedureContext:
        """A procedure by its code in any spelling, with somebody as its operator.

        Raises:
            MalformedCode: it cannot be a code.
        """
        canonical = self._hospital.catalog.canonical(code)
        procedure = Procedure(code, staff)
        resolved = self._hospital.catalog.resolve(canonical, procedure, self._whole.department, child=False)
        return self._context(procedure, canonical, resolved)

    def findings(self, ctx: ProcedureContext) -> tuple[Finding, ...]:
        """Everything that stands against the procedure and its operator."""
        return self._strictest(run(RULES, ctx, self._whole))

    def general_findings(self, ctx: ProcedureContext) -> tuple[Finding, ...]:
        """What stands against the procedure, whoever operates."""
        return self._strictest(run(_GENERAL_RULES, ctx, self._whole))

    def person_findings(self, row: PersonRow) -> tuple[Finding, ...]:
        """What stands against a person, whatever is asked of them: as operator, or in the place of an anesthesiologist or a perfusionist."""
        role = _PLACES.get(row.staff.kind)
        if role is not None:
            return self._in_place(row, role)
        ctx = context_of(self._whole, Procedure(_NOBODY, row.staff.staff), _NOBODY, _NOTHING, ())
        return self._strictest(run(_PERSON_RULES, ctx, self._whole))

    def operators(self, ctx: ProcedureContext, after: tuple[str, str] | None = None) -> Iterator[Colleague]:
        """Who may perform the procedure; nobody where something stands against everybody. See `able_colleagues` for the order and `after`."""
        if refuses(self.general_findings(ctx)):
            return
        for colleague in able_colleagues(ctx, after):
            if not self._by_checkpoint or not refuses(self.findings(self.procedure(ctx.procedure.code, colleague.staff))):
                yield colleague

    def privileges(self, row: PersonRow) -> Iterator[Privilege]:
        """The entries that a person may perform, in the order of the catalog."""
        own = {grant.department for grant in row.grants if grant.department}
        by_department = {name: Lookup(self._hospital, self._matrix, name, self._on, self._whole.now) for name in sorted(own)}
        for entry in self._hospital.catalog.entries:
            if not self._may_be_granted(row, entry):
                continue
            # An entry without a department is also done where a grant for one department reaches it.
            elsewhere = by_department.values() if self._whole.department is None and not entry.departments else ()
            held = [p for lookup in (self, *elsewhere) if (p := lookup.privilege(entry, row)) is not None]
            yield from held[:1] if held and not held[0].departments else held

    def privilege(self, entry: CatalogEntry, row: PersonRow) -> Privilege | None:
        """The person's privilege for one entry; None where there is none."""
        siblings = self._hospital.catalog.rows[entry.code]
        resolved = Resolved(entry.code, (entry,), (entry,), siblings.entries, siblings.watch | entry.watch, known=True)
        ctx = self._context(Procedure(entry.code, row.staff.staff), entry.code, resolved)
        if refuses(self.findings(ctx)):
            return None
        covering = grants_in_order(row, entry, ctx.question)
        ends = [g.valid_to for g in covering]
        bound = (self._whole.department,) if self._whole.department is not None and not entry.departments else ()
        return Privilege(
            code=entry.code,
            name=entry.entry.name,
            level=ctx.level or entry.level,
            departments=entry.entry.departments or tuple(d for d in bound if d is not None),
            hospital_grade=entry.entry.hospital_grade,
            item=entry.entry.item,
            service=entry.entry.service,
            technologies=tuple(i.technology.id for i in ctx.technologies),
            valid_to=None if None in ends else max((e for e in ends if e is not None), default=None),
            grants=tuple(sorted(g.id for g in covering)),
        )

    def grades(self, row: PersonRow) -> Iterator[GradeHeld]:
        """The highest ASA class and bypass grade that a person holds a grant in order for, by the department that it is for."""
        for role, scope_type in _GRADED.items():
            if refuses(self._in_place(row, role)):
                continue
            seen: set[str] = set()
            for grade, key in reversed(list(enumerate(GRADE_KEYS[scope_type], start=1))):
                for grant in row.of_scope(key):
                    if grant.department not in seen and in_force(grant, self._whole.first_day, self._whole.last_day):
                        seen.add(grant.department)
                        yield GradeHeld(scope_type, grade, grant.department, grant.valid_to)

    def _in_place(self, row: PersonRow, role: TeamRole) -> tuple[Finding, ...]:
        ctx = MemberContext(self._whole, TeamMember(row.staff.staff, role), row)
        return self._strictest(run(MEMBER_RULES[role], ctx, self._whole))

    def _strictest(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings with what they do at the checkpoint where they do most."""
        if not self._by_checkpoint:
            return findings
        return tuple(replace(f, disposition=reduce(stricter, self._everywhere(f.code), f.disposition)) for f in findings)

    def _everywhere(self, code: str) -> Iterator[Disposition]:
        return (self._hospital.disposition(code, checkpoint, Urgency.ELECTIVE) for checkpoint in Checkpoint)

    def _context(self, procedure: Procedure, code: str, resolved: Resolved) -> ProcedureContext:
        technologies = self._hospital.technologies
        if not resolved.watch:
            return context_of(self._whole, procedure, code, resolved, ())
        counted = technologies.identify([resolved.watch], None, None)[0]
        always = technologies.identify([resolved.watch], (), Urgency.ELECTIVE)[0]
        return context_of(self._whole, procedure, code, resolved, counted, always)

    def _may_be_granted(self, row: PersonRow, entry: CatalogEntry) -> bool:
        """A quick look whether it is worth judging: the person holds a scope that could cover the entry."""
        held, department = row.held, self._whole.department
        if department is not None and entry.departments and department not in entry.departments:
            return False
        if any(cover.key in held for cover in entry.covers) or any(key in held for key in entry.level_covers):
            return True
        return bool(entry.watch)


def refuses(findings: Iterable[Finding]) -> bool:
    """Whether one of the findings denies."""
    return any(f.disposition in DENYING for f in findings)


__all__ = ["RULES", "GradeHeld", "Lookup", "Privilege", "refuses"]
