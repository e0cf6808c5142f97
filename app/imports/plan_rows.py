"""What a file does to a table whose rows have an identity: aliases, staff, grants, credentials, volumes, roster.

A column that the file does not have says nothing: an existing row keeps what it has there. A state that was set through the API is never undone
by a file that says `active`, and a revoked grant stays as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from app.engine.model import Duty, Grant, GrantState, Message, Staff, StaffStatus
from app.imports.current import Held, identity
from app.imports.steps import Action, Mode, Step
from app.packs.problems import Problems
from app.packs.rows import Kept, TableRows

_SUSPENDED_BY_HAND = Message(zh="已在系统中暂停，文件不能恢复。", en="Suspended through the API; a file does not undo that.")
_REVOKED = Message(zh="授权已撤销，不可恢复。", en="The grant is revoked, which is final.")


def plan_rows(held: Mapping[Hashable, Held], content: TableRows, mode: Mode, problems: Problems) -> list[Step]:
    """One step per row of the file, and in replace mode one per row that the file does not have."""
    steps = []
    seen: set[Hashable] = set()
    ids = {one.value.id: key for key, one in held.items()} if content.kind == "grants" else {}
    for row in content.rows:
        key = identity(content.kind, row.value)
        if key in seen:
            continue  # an alias may stand twice
        seen.add(key)
        before = held.get(key)
        if before is None and content.kind == "grants" and row.value.id in ids:
            _refuse_id(content, row, held[ids[row.value.id]].value, problems)
        steps.append(_step(content, row, before))
    if mode is Mode.REPLACE:
        steps.extend(_absent(content.kind, held, seen))
    return steps


def taken(before: Held, row: Kept, content: TableRows) -> Held:
    """The row as the file's columns make it."""
    value = row.value
    if not isinstance(value, tuple):
        value = replace(before.value, **{field: getattr(value, field) for field in content.fields if field != "id"})
    return replace(before, value=value, notes=_notes(before, row, content), retired=False)


def _notes(before: Held, row: Kept, content: TableRows) -> Mapping[str, Any]:
    return {name: note for name, note in before.notes.items() if name not in content.notes} | dict(row.notes)


def _step(content: TableRows, row: Kept, before: Held | None) -> Step:
    if before is None:
        return Step(Action.ADDED, content.kind, subject_of(row.value), row.number, None, Held(row.value, row.notes))
    after = taken(before, row, content)
    after, why = _settled(before, after)
    action = Action.KEPT if why is not None else _action(before, after)
    return Step(action, content.kind, subject_of(before.value), row.number, before, after, why)


def _action(before: Held, after: Held) -> Action:
    if before == after:
        return Action.UNCHANGED
    return Action.ADDED if before.retired else Action.CHANGED


def _settled(before: Held, after: Held) -> tuple[Held, Message | None]:
    """The row with the state that stands, and why where that is not the file's."""
    value = before.value
    if isinstance(value, Grant):
        if value.state is GrantState.REVOKED:
            stays = replace(after, value=value)
            return stays, None if after.value == value else _REVOKED
        if before.by_hand and value.state is GrantState.SUSPENDED and after.value.state is GrantState.ACTIVE:
            return replace(after, value=replace(after.value, state=GrantState.SUSPENDED)), _SUSPENDED_BY_HAND
    if isinstance(value, Staff) and before.by_hand and after.value.status is StaffStatus.ACTIVE:
        return replace(after, value=replace(after.value, status=StaffStatus.SUSPENDED)), _SUSPENDED_BY_HAND
    return after, None


def _absent(kind: str, held: Mapping[Hashable, Held], seen: set[Hashable]) -> Iterator[Step]:
    """What becomes of rows that a replacing file does not have: staff have left, a grant is set aside but remembered, others go."""
    for key, before in held.items():
        if key in seen or before.retired:
            continue
        action, after, why = Action.RETIRED, None, None
        if kind == "grants" and before.value.state is GrantState.REVOKED:
            action, after, why = Action.KEPT, before, _REVOKED
        elif kind == "grants":
            after = replace(before, retired=True)
        elif kind == "staff":
            if before.value.status is StaffStatus.LEFT:
                continue
            after = replace(before, value=replace(before.value, status=StaffStatus.LEFT))
        yield Step(action, kind, subject_of(before.value), None, before, after, why)


def subject_of(value: Any) -> str:
    """What a row is called in a diff."""
    if isinstance(value, tuple):
        return str(value[0])
    if isinstance(value, Grant):
        return value.id
    if isinstance(value, Staff):
        return value.staff
    if isinstance(value, Duty):
        return f"{value.staff} {value.starts.isoformat()}"
    place = (value.staff, value.technology, value.kind) if hasattr(value, "issued_on") else (value.staff, value.scope, str(value.year))
    return " ".join(place)


def _refuse_id(content: TableRows, row: Kept, other: Grant, problems: Problems) -> None:
    place = f"{other.staff} {other.scope_type}:{other.scope} {other.valid_from}"
    problems.add(
        content.file,
        f"授权编号“{row.value.id}”已属于另一授权（{place}）。",
        f'Grant id "{row.value.id}" belongs to another grant ({place}).',
        row=row.number,
        column="id" if "id" in content.fields else "scope",
    )
