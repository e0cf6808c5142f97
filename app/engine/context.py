"""What a rule looks at: the order as a whole, one procedure of it, one member of its team.

Contexts hold facts that several rules need, worked out once. They are made for one decision and thrown away.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from app.engine.calendar import full_years
from app.engine.codes import is_blank, normalize_diagnosis
from app.engine.model import (
    CaseHistory,
    Checkpoint,
    Evidence,
    Order,
    Paediatric,
    PastDecision,
    Patient,
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


class OrderContext(Struct, gc=False):
    """The order and the day: see `order_context`.

    `now` is the instant by the hospital's clock, `today` its day. `first_day` is the day of surgery; `last_day` is today where that day is past,
    else the same: what must hold on the day of surgery and still today must hold on both. `plan`: code and operator of each procedure; `flags`:
    all flags of their entries; both are set when the procedures are resolved. They are not the procedures themselves: those point here, and
    a cycle would leave every decision to the garbage collector, which costs the 99th percentile more than the decision.
    """

    order: Order
    hospital: CompiledHospital
    matrix: Matrix | None
    now: datetime
    today: date
    first_day: date
    last_day: date
    department: str | None
    diagnoses: tuple[str, ...]
    evidence: Evidence
    asa: int | None
    child: bool
    other_patient: bool
    history: tuple[PastDecision, ...]
    plan: tuple[tuple[str, str], ...] = ()
    flags: frozenset[str] = frozenset()

    @property
    def checkpoint(self) -> Checkpoint:
        """Which document is being checked."""
        return self.order.checkpoint

    @property
    def urgency(self) -> Urgency:
        """How urgent it is, as ordered."""
        return self.order.urgency

    @property
    def grade(self) -> int | None:
        """The bypass grade."""
        return self.order.perfusion.grade if self.order.perfusion is not None else None

    @property
    def team_roles(self) -> list[TeamRole]:
        """The roles that are filled."""
        return [member.role for member in self.order.team]

    def has(self, evidence: str) -> bool:
        """Whether the order carries that evidence; a blank one is none."""
        number: str | None = getattr(self.evidence, evidence)
        return number is not None and not is_blank(number)

    def about(self) -> Mapping[str, object]:
        """The facts of the subject that texts name: the case has none beside those of its rules."""
        return {}

    def last_at(self, checkpoint: Checkpoint) -> PastDecision | None:
        """The case's last decision at a checkpoint."""
        return next((d for d in reversed(self.history) if d.checkpoint is checkpoint), None)

    def last_allowed(self, checkpoint: Checkpoint | None) -> PastDecision | None:
        """The case's last decision that allowed (or was an override), at one checkpoint or at any."""
        return next((d for d in reversed(self.history) if d.decision is not Verdict.DENY and checkpoint in (None, d.checkpoint)), None)


def order_context(
    order: Order, hospital: CompiledHospital, matrix: Matrix | None, history: CaseHistory | None, now: datetime
) -> OrderContext:
    """The order as a whole on that instant. `history` of another patient counts for nothing.

    Raises:
        MalformedCode: a diagnosis code that cannot be one.
    """
    zone = hospital.time_zone
    local_now = now.astimezone(zone)
    today = local_now.date()
    start = order.planned_start
    day = today if start is None else start.astimezone(zone).date()
    asa = order.anesthesia.asa if order.anesthesia is not None else None
    other_patient = history is not None and history.patient_id != order.patient.id
    return OrderContext(
        order,
        hospital,
        matrix,
        local_now,
        today,
        day,
        today if day < today else day,  # last_day
        hospital.catalog.department(order.department),
        tuple([normalize_diagnosis(code) for code in order.diagnoses]) if order.diagnoses else (),
        order.evidence or _NO_EVIDENCE,
        asa if asa is None or asa < MAX_JUDGED_ASA else MAX_JUDGED_ASA,
        hospital.paediatric is not None and _is_child(order.patient, hospital.paediatric, day),
        other_patient,
        () if history is None or other_patient else history.decisions,
    )


def _is_child(patient: Patient, paediatric: Paediatric, day: date) -> bool:
    return patient.birth_date is not None and full_years(patient.birth_date, day) < paediatric.under_years


class ProcedureContext(Struct, gc=False):
    """One procedure, its entries, technologies and operator. `level` is the level it is managed at: 4 where a restricted technology raises
    it, None where nothing is known of it."""

    whole: OrderContext
    procedure: Procedure
    code: str
    resolved: Resolved
    technologies: tuple[Identified, ...]
    level: int | None
    question: Question
    operator: PersonRow | None
    standings: tuple[Standing | None, ...]

    @property
    def entry(self) -> CatalogEntry | None:
        """The entry that stands for the procedure: the strictest that remains."""
        return self.resolved.entry

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


class MemberContext(Struct, gc=False):
    """One member of the team."""

    whole: OrderContext
    member: TeamMember
    person: PersonRow | None

    def about(self) -> Mapping[str, object]:
        """The facts of the subject that texts name."""
        staff: Staff | None = self.person.staff if self.person is not None else None
        return {"staff": self.member.staff, "staff_name": staff.name if staff is not None else self.member.staff}


__all__ = ["MAX_JUDGED_ASA", "MemberContext", "OrderContext", "ProcedureContext", "order_context"]
