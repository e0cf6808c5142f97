"""Rules about anesthesia and perfusion: who is there, and up to which grade."""

from __future__ import annotations

from collections.abc import Sequence

from app.engine.catalog import scope_key
from app.engine.context import MemberContext, OrderContext
from app.engine.matrix import PersonRow
from app.engine.model import ScopeType, TeamRole
from app.engine.rules.found import NOTHING, Found
from app.engine.standing import Standing, grade_standing

HIGHEST_GRADE = 5
"""ASA classes and bypass grades run from 1 to 5 (H-WAHH ch. 7)."""

GRADE_KEYS = {
    scope_type: tuple(scope_key(scope_type, grade) for grade in range(1, HIGHEST_GRADE + 1))
    for scope_type in (ScopeType.ASA, ScopeType.PERFUSION)
}
"""The scopes of the classes and grades, from 1 up."""

_ASA_KEYS, _BYPASS_KEYS = GRADE_KEYS[ScopeType.ASA], GRADE_KEYS[ScopeType.PERFUSION]

_STANDING_TEXTS = {
    "grant_missing": ("未授权", "no grant"),
    "grant_level_exceeded": ("授权级别较低", "granted for a lower one"),
    "grant_expired": ("授权已到期", "the grant has ended"),
    "grant_not_yet_valid": ("授权尚未生效", "the grant has not begun"),
    "grant_suspended": ("授权已暂停", "the grant is suspended"),
    "grant_revoked": ("授权已取消", "the grant was revoked"),
}


def anesthesia_grade(ctx: MemberContext) -> tuple[Found, ...]:
    """An anesthesiologist's privilege is below the patient's ASA class; each one named is checked."""
    asa = ctx.whole.asa
    if ctx.person is None or asa is None:
        return NOTHING
    standing = _grade_standing(ctx, ctx.person, _ASA_KEYS, asa)
    return NOTHING if standing is None else (Found("anesthesia_grade_exceeded", {"asa": asa, **_seen(standing)}),)


def perfusion_grade(ctx: MemberContext) -> tuple[Found, ...]:
    """A perfusionist's privilege is below the bypass grade; each one named is checked."""
    grade = ctx.whole.grade
    if ctx.person is None or grade is None:
        return NOTHING
    standing = _grade_standing(ctx, ctx.person, _BYPASS_KEYS, grade)
    return NOTHING if standing is None else (Found("perfusion_grade_exceeded", {"grade": grade, **_seen(standing)}),)


def anesthesia_unverified(ctx: OrderContext) -> tuple[Found, ...]:
    """The anesthesia record names no anesthesiologist, or no ASA class."""
    missing = [
        *([] if TeamRole.ANESTHESIOLOGIST in ctx.team_roles else [("anesthesiologist", "麻醉医师", "an anesthesiologist")]),
        *([] if ctx.asa is not None else [("asa", "ASA分级", "the ASA class")]),
    ]
    return _unverified("anesthesia_unverified", missing)


def perfusion_unverified(ctx: OrderContext) -> tuple[Found, ...]:
    """The anesthesia record has a bypass grade without a perfusionist or the other way round, or neither where the catalog says bypass."""
    graded, manned = ctx.grade is not None, TeamRole.PERFUSIONIST in ctx.team_roles
    if not graded and not manned and "bypass" not in ctx.flags:
        return NOTHING
    missing = [
        *([] if manned else [("perfusionist", "灌注师", "a perfusionist")]),
        *([] if graded else [("perfusion.grade", "体外循环分级", "the bypass grade")]),
    ]
    return _unverified("perfusion_unverified", missing)


def _unverified(code: str, missing: list[tuple[str, str, str]]) -> tuple[Found, ...]:
    if not missing:
        return NOTHING
    texts = {"missing_zh": "、".join(zh for _, zh, _ in missing), "missing_en": ", ".join(en for _, _, en in missing)}
    return (Found(code, {"missing": [field for field, _, _ in missing], **texts}),)


def _grade_standing(ctx: MemberContext, person: PersonRow, keys: Sequence[str], grade: int) -> Standing | None:
    whole = ctx.whole
    return grade_standing(person, keys, grade, whole.department, whole.first_day, whole.last_day)


def _seen(standing: Standing) -> dict[str, object]:
    zh, en = _STANDING_TEXTS[standing.code]
    return {"standing": standing.code, "standing_zh": zh, "standing_en": en, **standing.facts}


__all__ = ["HIGHEST_GRADE", "anesthesia_grade", "anesthesia_unverified", "perfusion_grade", "perfusion_unverified"]
