"""Rules about technologies: prohibited, stopped, restricted, under a special law, new projects, and what they ask of the operator."""

from __future__ import annotations

from collections.abc import Iterator

from app.engine.calendar import add_working_days
from app.engine.context import ProcedureContext
from app.engine.model import Disposition, Technology, TechnologyKind
from app.engine.qualification import asks_training, is_exempt, unmet
from app.engine.rules.found import NOTHING, Found
from app.engine.technologies import Identified

FILING_WORKING_DAYS = 15
"""A restricted technology is filed within 15 working days of its first case (MTM-2018 art. 11)."""


def prohibited_technology(ctx: ProcedureContext) -> tuple[Found, ...]:
    """The order is a prohibited technology."""
    if not ctx.technologies:
        return NOTHING
    return tuple(Found("prohibited_technology", _named(t)) for t in _certain(ctx) if t.kind is TechnologyKind.PROHIBITED)


def technology_stopped(ctx: ProcedureContext) -> tuple[Found, ...]:
    """The hospital has stopped this technology or this procedure."""
    if not ctx.technologies and not ctx.resolved.flags:
        return NOTHING
    stopped = [Found("technology_stopped", {**_named(t), "stopped_name": t.name}) for t in _certain(ctx) if t.stopped]
    entry = next((e for e in ctx.resolved.pool if "stopped" in e.flags), None)
    if entry is not None:
        stopped.append(Found("technology_stopped", {"entry": entry.code, "stopped_name": entry.entry.name}))
    return tuple(stopped)


def restricted_not_assessed(ctx: ProcedureContext) -> tuple[Found, ...]:
    """A restricted technology without self-assessment and ethics review on record by the day of surgery."""
    if not ctx.technologies:
        return NOTHING
    return tuple(
        Found("restricted_not_assessed", {**_named(t), "assessed_on": _day(t.assessed_on)})
        for t in _restricted(ctx)
        if not _assessed(ctx, t)
    )


def restricted_filing_due(ctx: ProcedureContext) -> tuple[Found, ...]:
    """Assessed, first case done or starting, not filed by the day of surgery. After 15 working days it denies."""
    if not ctx.technologies:
        return NOTHING
    found = []
    for technology in _restricted(ctx):
        day = ctx.whole.first_day
        filed = technology.filed_on is not None and technology.filed_on <= day
        if filed or not _assessed(ctx, technology):
            continue
        first = technology.first_case_on if technology.first_case_on is not None and technology.first_case_on <= day else day
        due = add_working_days(first, FILING_WORKING_DAYS, ctx.whole.hospital.office_hours)
        facts = {**_named(technology), "first_case_on": first.isoformat(), "due_on": due.isoformat()}
        found.append(Found("restricted_filing_due", facts, default=Disposition.OVERRIDABLE if day > due else None))
    return tuple(found)


def special_approval_missing(ctx: ProcedureContext) -> tuple[Found, ...]:
    """Organ transplant, assisted reproduction, cell therapy: no approval number."""
    if not ctx.technologies or ctx.whole.has("special_approval"):
        return NOTHING
    return tuple(Found("special_approval_missing", _named(t)) for t in _certain(ctx) if t.kind is TechnologyKind.SPECIAL_LAW)


def diagnosis_missing(ctx: ProcedureContext) -> tuple[Found, ...]:
    """Codes that are a technology with certain diagnoses, and the order carries none. Where it may be a prohibited one, that is final."""
    if not ctx.technologies:
        return NOTHING
    return tuple(
        Found(
            "diagnosis_missing",
            _named(i.technology),
            at_least=Disposition.FINAL if i.technology.kind is TechnologyKind.PROHIBITED else None,
        )
        for i in ctx.technologies
        if not i.certain
    )


def restricted_training_missing(ctx: ProcedureContext) -> tuple[Found, ...]:
    """A restricted or key technology, and the operator has neither training nor exemption on record by the day of surgery."""
    operator, day = ctx.operator, ctx.whole.first_day
    if operator is None or not ctx.technologies:
        return NOTHING
    return tuple(
        Found("restricted_training_missing", _named(t))
        for t in _demanding(ctx)
        if asks_training(t, ctx.level) and not operator.trained(t.id, day) and not is_exempt(operator, t, _counted(ctx, t), ctx.level, day)
    )


def qualification_unmet(ctx: ProcedureContext) -> tuple[Found, ...]:
    """A restricted or key technology with a qualification, and the operator's years, title, cases or idle time fall short of it."""
    operator, day = ctx.operator, ctx.whole.first_day
    if operator is None or not ctx.technologies:
        return NOTHING
    found = []
    for technology in _demanding(ctx):
        lacking = unmet(operator, technology, _counted(ctx, technology), ctx.level, day)
        if lacking:
            texts = {"unmet_zh": "；".join(s.zh for s in lacking), "unmet_en": "; ".join(s.en for s in lacking)}
            found.append(Found("qualification_unmet", {**_named(technology), **texts, "unmet": [s.facts() for s in lacking]}))
    return tuple(found)


def new_project_team_only(ctx: ProcedureContext) -> tuple[Found, ...]:
    """A new-technology project, and the operator is not on its team."""
    if not ctx.technologies or ctx.operator is None:
        return NOTHING
    return tuple(
        Found("new_project_team_only", _named(t))
        for t in _certain(ctx)
        if t.kind is TechnologyKind.NEW_PROJECT and ctx.procedure.operator not in t.team
    )


def _certain(ctx: ProcedureContext) -> Iterator[Technology]:
    return (i.technology for i in ctx.technologies if i.certain)


def _restricted(ctx: ProcedureContext) -> Iterator[Technology]:
    return (i.technology for i in ctx.technologies if i.certain and i.restricted)


def _demanding(ctx: ProcedureContext) -> Iterator[Technology]:
    return (i.technology for i in ctx.technologies if i.certain and _demands(i))


def _demands(identified: Identified) -> bool:
    return identified.restricted or identified.technology.kind is TechnologyKind.KEY


def _counted(ctx: ProcedureContext, technology: Technology) -> frozenset[str]:
    return ctx.whole.hospital.technologies.counted[technology.id]


def _assessed(ctx: ProcedureContext, technology: Technology) -> bool:
    return technology.assessed_on is not None and technology.assessed_on <= ctx.whole.first_day


def _named(technology: Technology) -> dict[str, object]:
    return {"technology": technology.id, "technology_name": technology.name}


def _day(day: object) -> str | None:
    return None if day is None else str(day)
