"""What an import would allow that is not allowed now: listed apart, and done only when confirmed.

Adding a grant or a catalog entry is no loosening: it is what imports are for. A technology or a code of it less, a stop gone, a level lowered, a
milder policy is, and so is giving back what a person holds suspended or revoked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date

from msgspec.structs import replace

from app.engine.catalog import scope_key
from app.engine.codes import parts_of
from app.engine.hospital import CompiledHospital
from app.engine.model import (
    RESTRICTED_KINDS,
    Checkpoint,
    Grant,
    GrantState,
    Hospital,
    Identify,
    Message,
    ScopeType,
    StaffStatus,
    Technology,
    TechnologyKind,
    Urgency,
)
from app.engine.reach import GRADED, held_back
from app.engine.reasons import REASONS, stricter
from app.imports.current import Held
from app.imports.steps import Loosening, Step

WEIGHED_FLAGS = {"stopped": "停止开展", "major": "重大手术", "bypass": "体外循环"}
"""Flags of an entry that ask for something of an order."""


def of_hospital(old: Hospital, new: Hospital) -> list[Loosening]:
    """What is milder in catalog, aliases, technologies and policy."""
    return [*_of_catalog(old, new), *_of_aliases(old, new), *_of_technologies(old, new), *_of_policy(old, new)]


def of_people(steps: Iterable[Step], held: Iterable[Held], hospital: Hospital, today: date) -> list[Loosening]:
    """What is given back to people: staff and grants that a file makes active again, and grants for what somebody holds suspended or revoked.
    `held`: all grants before the import."""
    stopped: dict[str, list[Grant]] = defaultdict(list)
    for one in held:
        if one.value.state is not GrantState.ACTIVE:
            stopped[one.value.staff].append(one.value)
    reach: Reach | None = None
    found = []
    for step in steps:
        if step.table == "staff" and _resumed_person(step):
            message = Message(zh=f"{step.subject} 恢复权限。", en=f"{step.subject} gets all privileges back.")
            found.append(Loosening("staff_resumed", step.table, step.subject, message))
        elif step.table == "grants" and _resumed_grant(step):
            message = Message(zh=f"授权 {step.subject} 恢复。", en=f"Grant {step.subject} is resumed.")
            found.append(Loosening("grant_resumed", step.table, step.subject, message))
        elif step.table == "grants" and (grant := _given(step)) is not None and grant.staff in stopped:
            reach = reach or Reach(CompiledHospital(hospital))
            again = reach.held_back(grant, [o for o in stopped[grant.staff] if o.id != grant.id], today)
            if again:
                found.append(_granted_again(grant, again))
    return found


class Reach:
    """What grants reach in a hospital, for asking about very many of them. The exact look goes through the whole catalog, a millisecond and more
    for one grant of 400,000; before it, whether two scopes have any entry in common is looked up."""

    def __init__(self, hospital: CompiledHospital) -> None:
        self._hospital = hospital
        self._entries: dict[str, set[int]] = defaultdict(set)
        technologies = [
            (scope_key(ScopeType.TECHNOLOGY, t.id), frozenset().union(*(way.codes.union(*way.all_of) for way in t.identify)))
            for t in hospital.source.technologies
            if t.grantable
        ]
        for place, entry in enumerate(hospital.catalog.entries):
            identified = [key for key, codes in technologies if not codes.isdisjoint(entry.watch)]
            for key in (*(cover.key for cover in entry.covers), *entry.level_covers, *identified):
                self._entries[key].add(place)

    def held_back(self, grant: Grant, others: Iterable[Grant], today: date) -> tuple[Grant, ...]:
        """As `engine.reach.held_back`."""
        near = [other for other in others if self._may_meet(grant, other)]
        return held_back(grant, near, self._hospital, today) if near else ()

    def _may_meet(self, one: Grant, other: Grant) -> bool:
        if one.scope_type in GRADED:
            return one.scope_type is other.scope_type
        key, other_key = scope_key(one.scope_type, one.scope), scope_key(other.scope_type, other.scope)
        return key == other_key or not self._entries.get(key, _NOTHING).isdisjoint(self._entries.get(other_key, _NOTHING))


_NOTHING: frozenset[int] = frozenset()


def _resumed_person(step: Step) -> bool:
    if step.before is None or step.after is None:
        return False
    return step.before.value.status is not StaffStatus.ACTIVE and step.after.value.status is StaffStatus.ACTIVE


def _resumed_grant(step: Step) -> bool:
    if step.before is None or step.after is None:
        return False
    return step.before.value.state is GrantState.SUSPENDED and step.after.value.state is GrantState.ACTIVE


def _given(step: Step) -> Grant | None:
    """The grant that a step makes active, or lets run longer."""
    if step.after is None or step.after.retired:
        return None
    grant: Grant = step.after.value
    if grant.state is not GrantState.ACTIVE:
        return None
    if step.before is None or step.before.retired:
        return grant
    before: Grant = step.before.value
    longer = before.valid_to is not None and (grant.valid_to is None or grant.valid_to > before.valid_to)
    return grant if longer else None


def _granted_again(grant: Grant, again: Iterable[Grant]) -> Loosening:
    named = ", ".join(f"{o.id} ({o.state})" for o in again)
    message = Message(
        zh=f"{grant.staff} 的 {grant.scope} 已被暂停或撤销（{named}），现重新授权。",
        en=f"{grant.staff} holds {grant.scope} suspended or revoked ({named}) and would be granted it again.",
    )
    return Loosening("granted_again", "grants", grant.id, message)


def _of_catalog(old: Hospital, new: Hospital) -> Iterator[Loosening]:
    """For every code and department in both catalogs: the strictest entry's level, and all entries' flags."""
    before, after = _strictest(old), _strictest(new)
    for (code, department), (level, flags) in before.items():
        if (code, department) not in after:
            continue
        new_level, new_flags = after[code, department]
        subject = f"{code} {department}".strip()
        if new_level < level:
            message = Message(zh=f"{subject} 由 {level} 级降为 {new_level} 级。", en=f"{subject} goes from level {level} to {new_level}.")
            yield Loosening("level_lowered", "catalog", subject, message)
        for flag, zh in WEIGHED_FLAGS.items():
            if flag in flags - new_flags:
                what = "stop_gone" if flag == "stopped" else "flag_gone"
                yield Loosening(what, "catalog", subject, Message(zh=f"{subject} 不再标为{zh}。", en=f'{subject} is no longer "{flag}".'))


def _strictest(hospital: Hospital) -> dict[tuple[str, str], tuple[int, frozenset[str]]]:
    found: dict[tuple[str, str], tuple[int, frozenset[str]]] = {}
    for entry in hospital.entries:
        for department in entry.departments or ("",):
            level, flags = found.get((entry.code, department), (0, frozenset()))
            found[entry.code, department] = (max(level, entry.level), flags | entry.flags)
    return found


def _of_aliases(old: Hospital, new: Hospital) -> Iterator[Loosening]:
    """An alias that tied a code to a rule written in the national one."""
    ruled = frozenset().union(*(codes for t in new.technologies for way in t.identify for codes in (way.codes, *way.all_of)))
    for code, national in old.aliases.items():
        if new.aliases.get(code) != national and not ruled.isdisjoint({national, *parts_of(national)}):
            zh, en = f"{code} 不再对照到受管理的 {national}。", f"{code} no longer stands for {national}, which a technology names."
            yield Loosening("alias_gone", "aliases", code, Message(zh=zh, en=en))


def _of_technologies(old: Hospital, new: Hospital) -> Iterator[Loosening]:
    after = {technology.id: technology for technology in new.technologies}
    for before in old.technologies:
        name = f"{before.id} {before.name}"
        technology = after.get(before.id)
        if technology is None:
            zh, en = f"不再管理技术 {name}。", f"Technology {name} is no longer managed."
            yield Loosening("technology_gone", "technologies", before.id, Message(zh=zh, en=en))
            continue
        for what, zh, en in _milder(before, technology):
            yield Loosening(what, "technologies", before.id, Message(zh=f"技术 {name}：{zh}", en=f"Technology {name}: {en}"))


def _milder(old: Technology, new: Technology) -> Iterator[tuple[str, str, str]]:
    if old.stopped and not new.stopped:
        yield "stop_gone", "不再停用。", "it is no longer stopped."
    if _weight(new.kind) < _weight(old.kind):
        yield "kind_lowered", f"类别由 {old.kind} 改为 {new.kind}。", f"its kind goes from {old.kind} to {new.kind}."
    if not all(any(_as_wide(now, way) for now in new.identify) for way in old.identify):
        yield "identified_less", "识别它的编码或条件减少。", "fewer codes or conditions identify it."
    if any(asked not in new.qualification for asked in old.qualification):
        yield "qualification_changed", "对术者的资质要求有变。", "what its operator must hold changes."
    if new.grantable and not old.grantable:
        yield "grantable", "可整体授权。", "it can be granted as such."


def _weight(kind: TechnologyKind) -> int:
    if kind is TechnologyKind.PROHIBITED:
        return 3
    if kind in RESTRICTED_KINDS or kind is TechnologyKind.SPECIAL_LAW:
        return 2
    return 1


def _as_wide(new: Identify, old: Identify) -> bool:
    """Whether whatever the old way identifies the new one does too."""
    conditions = not new.with_diagnoses or (bool(old.with_diagnoses) and set(new.with_diagnoses) >= set(old.with_diagnoses))
    urgencies = not new.urgency or (bool(old.urgency) and new.urgency >= old.urgency)
    if new.all_of and not (len(new.all_of) == len(old.all_of) and all(n >= o for n, o in zip(new.all_of, old.all_of, strict=True))):
        return False
    codes = not new.codes or (bool(old.codes) and new.codes >= old.codes)
    return conditions and urgencies and codes


def _of_policy(old: Hospital, new: Hospital) -> Iterator[Loosening]:
    before, after = CompiledHospital(replace(old, entries=(), technologies=())), CompiledHospital(replace(new, entries=(), technologies=()))
    for code in REASONS:
        for checkpoint in Checkpoint:
            milder = [u for u in Urgency if _is_milder(before, after, code, checkpoint, u)]
            if milder:
                where = f"{code} ({checkpoint}, {', '.join(milder)})"
                yield _policy(code, f"{where} 放宽。", f"{where} becomes milder.")
    if old.policy.order_right and not new.policy.order_right:
        yield _policy("order_right", "不再区分开单权。", "the right to order is no longer separate.")
    if gone := old.policy.major_flags - new.policy.major_flags:
        listed = ", ".join(sorted(gone))
        yield _policy("major_flags", f"不再视为重大手术：{listed}。", f"no longer make an operation major: {listed}.")
    if old.paediatric is not None and not _covers_children(old, new):
        yield _policy("paediatric", "儿童的条目不再全部计入。", "fewer children's entries count.")


def _is_milder(before: CompiledHospital, after: CompiledHospital, code: str, checkpoint: Checkpoint, urgency: Urgency) -> bool:
    old, new = before.disposition(code, checkpoint, urgency), after.disposition(code, checkpoint, urgency)
    return old is not new and stricter(old, new) is old


def _covers_children(old: Hospital, new: Hospital) -> bool:
    was, now = old.paediatric, new.paediatric
    if was is None or now is None:
        return was is None
    return now.under_years >= was.under_years and now.departments >= was.departments


def _policy(subject: str, zh: str, en: str) -> Loosening:
    return Loosening("policy", "hospital", subject, Message(zh=zh, en=en))
