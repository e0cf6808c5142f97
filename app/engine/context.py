"""What a rule looks at: the order as a whole, one procedure of it, one member of its team.

Contexts hold facts that several rules need, worked out once. They are made for one decision and thrown away.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.engine.calendar import full_years
from app.engine.codes import normalize_diagnosis, normalize_text
from app.engine.model import (
    CaseHistory,
    Checkpoint,
    Evidence,
    Order,
    PastDecision,
    Procedure,
    Staff,
    TeamMember,
    TeamRole,
    Urgency,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.engine.catalog import CatalogEntry, Resolved
    from app.engine.hospital import CompiledHospital
    from app.engine.matrix import Matrix, PersonRow
    from app.engine.standing import Question, Standing
    from app.engine.technologies import Identified

_NO_EVIDENCE = Evidence()

MAX_JUDGED_ASA = 5
"""ASA class 6 (a declared brain-dead donor) is judged as 5, the highest that H-WAHH's table knows."""


class OrderContext:
    """The order and the day. `plan`: code and operator of each procedure; `flags`: all flags of their entries. `first_day` is the day of surgery; `last_day` is today where that day is past, else the same: what must hold
    on the day of surgery and still today must hold on both."""

    __slots__ = (
        "asa",
        "checkpoint",
        "child",
        "department",
        "diagnoses",
        "evidence",
        "first_day",
        "flags",
        "grade",
        "history",
        "hospital",
        "last_day",
        "matrix",
        "now",
        "order",
        "other_patient",
        "plan",
        "today",
        "urgency",
    )

    def __init__(
        self,
        order: Order,
        hospital: CompiledHospital,
        matrix: Matrix | None,
        history: CaseHistory | None,
        now: datetime,
    ) -> None:
        zone = hospital.time_zone
        local_now = now.astimezone(zone)
        today = local_now.date()
        start = order.planned_start
        day = today if start is None else start.astimezone(zone).date()
        self.order = order
        self.hospital = hospital
        self.matrix = matrix
        self.now = local_now
        self.today = today
        self.first_day = day
        self.last_day = today if day < today else day
        self.checkpoint: Checkpoint = order.checkpoint
        self.urgency: Urgency = order.urgency
        self.department: str | None = hospital.catalog.department(order.department)
        self.diagnoses: tuple[str, ...] = tuple([normalize_diagnosis(code) for code in order.diagnoses]) if order.diagnoses else ()
        self.evidence = order.evidence or _NO_EVIDENCE
        self.other_patient = history is not None and history.patient_id != order.patient.id
        self.history: tuple[PastDecision, ...] = () if history is None or self.other_patient else history.decisions
        self.child = hospital.paediatric is not None and order.patient.birth_date is not None and self._is_child()
        asa = order.anesthesia.asa if order.anesthesia is not None else None
        self.asa = asa if asa is None or asa < MAX_JUDGED_ASA else MAX_JUDGED_ASA
        self.grade = order.perfusion.grade if order.perfusion is not None else None
        # Facts of the procedures, set when they are resolved. Not the procedures themselves: they point here, and a cycle would leave every
        # decision to the garbage collector, which costs the 99th percentile more than the decision.
        self.plan: tuple[tuple[str, str], ...] = ()
        self.flags: frozenset[str] = frozenset()

    def _is_child(self) -> bool:
        paediatric, born = self.hospital.paediatric, self.order.patient.birth_date
        return paediatric is not None and born is not None and full_years(born, self.first_day) < paediatric.under_years

    @property
    def team_roles(self) -> list[TeamRole]:
        """The roles that are filled."""
        return [member.role for member in self.order.team]

    def has(self, evidence: str) -> bool:
        """Whether the order carries that evidence; a blank one is none."""
        number: str | None = getattr(self.evidence, evidence)
        return number is not None and bool(normalize_text(number))

    def about(self) -> Mapping[str, object]:
        """The facts of the subject that texts name: the case has none beside those of its rules."""
        return {}

    def last_at(self, checkpoint: Checkpoint) -> PastDecision | None:
        """The case's last decision at a checkpoint."""
        return next((d for d in reversed(self.history) if d.checkpoint is checkpoint), None)

    def last_allowed(self, checkpoint: Checkpoint | None) -> PastDecision | None:
        """The case's last decision that allowed (or was an override), at one checkpoint or at any."""
        return next((d for d in reversed(self.history) if d.decision is not Verdict.DENY and checkpoint in (None, d.checkpoint)), None)


class ProcedureContext:
    """One procedure, its entries, technologies and operator. `level` is the level it is managed at: 4 where a restricted technology raises
    it, None where nothing is known of it."""

    __slots__ = ("code", "level", "operator", "procedure", "question", "resolved", "standings", "technologies", "whole")

    def __init__(
        self,
        whole: OrderContext,
        procedure: Procedure,
        code: str,
        resolved: Resolved,
        technologies: tuple[Identified, ...],
        level: int | None,
        question: Question,
        operator: PersonRow | None,
        standings: tuple[Standing | None, ...],
    ) -> None:
        self.whole = whole
        self.procedure = procedure
        self.code = code
        self.resolved = resolved
        self.technologies = technologies
        self.question = question
        self.level = level
        self.operator = operator
        self.standings = standings

    @property
    def entry(self) -> CatalogEntry | None:
        """The entry that stands for the procedure: the strictest that remains."""
        entries = self.resolved.entries
        if len(entries) == 1:
            return entries[0]
        return max(entries, key=lambda e: (e.level, e.grade), default=None)

    @property
    def name(self) -> str:
        """What to call the procedure in a text."""
        entry = self.entry
        return entry.entry.name if entry is not None else self.procedure.name or self.code

    def about(self) -> Mapping[str, object]:
        """The facts of the subject that texts name."""
        staff = self.operator.staff if self.operator is not None else None
        return {
            "code": self.code,
            "name": self.name,
            "level": self.level if self.level is not None else "?",
            "staff": self.procedure.operator,
            "staff_name": staff.name if staff is not None else self.procedure.operator,
        }


class MemberContext:
    """One member of the team."""

    __slots__ = ("member", "person", "whole")

    def __init__(self, whole: OrderContext, member: TeamMember, person: PersonRow | None) -> None:
        self.whole = whole
        self.member = member
        self.person = person

    def about(self) -> Mapping[str, object]:
        """The facts of the subject that texts name."""
        staff: Staff | None = self.person.staff if self.person is not None else None
        return {"staff": self.member.staff, "staff_name": staff.name if staff is not None else self.member.staff}


__all__ = ["MAX_JUDGED_ASA", "MemberContext", "OrderContext", "ProcedureContext"]
