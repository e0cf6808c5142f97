"""Rules about what must be on record elsewhere: the discussion, the approval of major surgery, the report of a return to theatre."""

from __future__ import annotations

from app.engine.context import OrderContext, ProcedureContext
from app.engine.model import TechnologyKind
from app.engine.rules.found import NOTHING, Found

_FLAG_TEXTS = {
    "unplanned_reoperation": ("非计划再次手术", "unplanned return to theatre"),
    "special_identity": ("特殊身份患者", "patient of special identity"),
    "foreign": ("外籍或港澳台患者", "patient from abroad, Hong Kong, Macau or Taiwan"),
    "medico_legal": ("涉及法律问题", "medico-legal case"),
    "high_risk": ("高风险患者", "high-risk patient"),
    "dispute_risk": ("可能引起纠纷", "risk of a dispute"),
}


def mdt_missing(ctx: ProcedureContext) -> tuple[Found, ...]:
    """Level 4 without a recorded multidisciplinary discussion."""
    if ctx.level != 4 or ctx.whole.has("mdt"):
        return NOTHING
    return (Found("mdt_missing", {"level": 4}),)


def major_procedure_unapproved(ctx: ProcedureContext) -> tuple[Found, ...]:
    """On the major-surgery list, or a new project, without an approval number."""
    if (not ctx.technologies and not ctx.resolved.flags) or ctx.whole.has("major_approval"):
        return NOTHING
    listed = next((i.technology for i in ctx.technologies if i.certain and i.technology.kind is TechnologyKind.MAJOR), None)
    project = next((i.technology for i in ctx.technologies if i.certain and i.technology.kind is TechnologyKind.NEW_PROJECT), None)
    entry = next((e for e in ctx.resolved.pool if "major" in e.flags), None)
    if listed is not None:
        why = {"why_zh": f"重大手术目录：{listed.name}", "why_en": f"on the major-surgery list: {listed.name}", "technology": listed.id}
    elif project is not None:
        why = {"why_zh": f"新技术新项目：{project.name}", "why_en": f"a new project: {project.name}", "technology": project.id}
    elif entry is not None:
        why = {
            "why_zh": f"目录标为重大手术：{entry.entry.name}",
            "why_en": f"marked major in the catalog: {entry.entry.name}",
            "entry": entry.code,
        }
    else:
        return NOTHING
    return (Found("major_approval_missing", {**why}),)


def major_patient_unapproved(ctx: OrderContext) -> tuple[Found, ...]:
    """A patient flag that makes the operation major, without an approval number."""
    if not ctx.order.patient.flags:
        return NOTHING
    flags = [flag for flag in ctx.order.patient.flags if flag in ctx.hospital.policy.major_flags]
    if not flags or ctx.has("major_approval"):
        return NOTHING
    texts = [_FLAG_TEXTS.get(flag, (flag, flag)) for flag in flags]
    why = {"why_zh": "、".join(zh for zh, _ in texts), "why_en": ", ".join(en for _, en in texts)}
    return (Found("major_approval_missing", {**why, "flags": flags}),)


def unplanned_reoperation_unreported(ctx: OrderContext) -> tuple[Found, ...]:
    """Flagged as an unplanned return to theatre, without a report number."""
    if "unplanned_reoperation" not in ctx.order.patient.flags or ctx.has("unplanned_reoperation"):
        return NOTHING
    return (Found("unplanned_reoperation_unreported", {}),)
