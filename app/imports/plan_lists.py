"""What a file does to the catalog and to the technologies, which are kept in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from app.engine.codes import normalize_name
from app.engine.model import Entry, Message
from app.imports.current import Held
from app.imports.plan_rows import taken
from app.imports.steps import Action, Mode, Step
from app.packs.problems import Problems
from app.packs.rows import Kept, TableRows
from app.packs.technologies import Given, build, merge

_STOPPED_BY_HAND = Message(zh="已在系统中停用，文件不能恢复。", en="Stopped through the API; a file does not undo that.")

CATALOG, TECHNOLOGIES = "catalog", "technologies"


def plan_catalog(held: Sequence[Held], content: TableRows, mode: Mode) -> tuple[list[Step], tuple[Held, ...]]:
    """The steps, and the catalog that comes of them: in the file's order where it replaces, otherwise with new rows at the end.

    One code stands in several entries. A row means the entry of the same code, departments, service and name (of several such the one that is
    most like it); failing that, the only one of its code and departments that no other row means, where the row is the only such one too.
    """
    pairs = _pairs(held, content.rows)
    steps, found = [], list(held)
    after: Held
    for row in content.rows:
        place = pairs.get(row.number)
        before = None if place is None else held[place]
        after = Held(row.value, row.notes) if before is None else taken(before, row, content)
        action = Action.ADDED if before is None else Action.UNCHANGED if before == after else Action.CHANGED
        steps.append(Step(action, CATALOG, _entry_subject(row.value), row.number, before, after))
        if place is None:
            found.append(after)
        else:
            found[place] = after
    if mode is Mode.MERGE:
        return steps, tuple(found)
    named = set(pairs.values())
    steps += [
        Step(Action.RETIRED, CATALOG, _entry_subject(one.value), None, one, None) for place, one in enumerate(held) if place not in named
    ]
    return steps, tuple([step.after for step in steps if step.after is not None])


def _entry_subject(entry: Entry) -> str:
    return f"{entry.code} {';'.join(entry.departments)}".strip()


def _pairs(held: Sequence[Held], rows: Iterable[Kept]) -> dict[int, int]:
    """Row number → place of the entry that it means."""
    pairs: dict[int, int] = {}
    _pair(pairs, held, rows, _full_key, only_single=False)
    _pair(pairs, held, rows, _short_key, only_single=True)
    return pairs


def _pair(
    pairs: dict[int, int], held: Sequence[Held], rows: Iterable[Kept], key: Callable[[Entry], Hashable], *, only_single: bool
) -> None:
    taken_places = set(pairs.values())
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, one in enumerate(held):
        if place not in taken_places:
            places[key(one.value)].append(place)
    wanting: dict[Hashable, list[Kept]] = defaultdict(list)
    for row in rows:
        if row.number not in pairs:
            wanting[key(row.value)].append(row)
    for wanted, of_key in wanting.items():
        free = places.get(wanted, [])
        if only_single and (len(of_key) != 1 or len(free) != 1):
            continue
        # Rows that fit best choose first, so that equal ones find each other whatever else changed.
        ranked = sorted(((-_likeness(held[p], row), row.number, p) for row in of_key for p in free), key=lambda choice: choice)
        for _, number, place in ranked:
            if number not in pairs and place in free:
                pairs[number] = place
                free.remove(place)


def _full_key(entry: Entry) -> Hashable:
    return (entry.code, frozenset(entry.departments), entry.service, normalize_name(entry.name))


def _short_key(entry: Entry) -> Hashable:
    return (entry.code, frozenset(entry.departments))


def _likeness(held: Held, row: Kept) -> int:
    """Fields that are equal; notes decide between entries that are equal in all of them."""
    same: int = sum(getattr(held.value, field) == getattr(row.value, field) for field in Entry.__struct_fields__)
    return 2 * same + int(held.notes == row.notes)


def plan_technologies(
    held: Sequence[Held], given: Mapping[str, Given] | None, shared: Mapping[str, Given], mode: Mode, problems: Problems
) -> tuple[list[Step], tuple[Held, ...]]:
    """The steps, and the technologies that come of them. `given`: the hospital's file, None where there is none; `shared`: what the packs give
    that it builds on. A technology in the file is what both say together, whatever it was before; one that only a shared pack brings comes
    in where it is new, and is as the shared pack has it where the file replaces."""
    by_id = {one.value.id: one for one in held}
    replaces = mode is Mode.REPLACE and given is not None
    made = {technology.id: technology for technology in build(merge(shared, given or {}, problems).values(), problems)}
    found = dict(by_id)
    steps = []
    for identifier, technology in made.items():
        before = by_id.get(identifier)
        named = given is not None and identifier in given
        if before is not None and not named and not replaces:
            continue
        notes = given[identifier].notes if given is not None and named else {}
        step = _technology_step(before, technology, notes)
        steps.append(step)
        assert step.after is not None
        found[identifier] = step.after
    for identifier in (found.keys() - made.keys()) if replaces else ():
        step = _absent_technology(by_id[identifier])
        steps.append(step)
        if step.after is None:
            del found[identifier]
    return steps, tuple(found.values())


def _technology_step(before: Held | None, technology: Any, notes: Mapping[str, Any]) -> Step:
    if before is None:
        return Step(Action.ADDED, TECHNOLOGIES, technology.id, None, None, Held(technology, notes))
    why = None
    if before.by_hand and before.value.stopped and not technology.stopped:
        technology, why = replace(technology, stopped=True), _STOPPED_BY_HAND
    after = replace(before, value=technology, notes=notes)
    action = Action.UNCHANGED if after == before else Action.CHANGED
    return Step(Action.KEPT if why is not None else action, TECHNOLOGIES, technology.id, None, before, after, why)


def _absent_technology(before: Held) -> Step:
    if before.by_hand and before.value.stopped:
        return Step(Action.KEPT, TECHNOLOGIES, before.value.id, None, before, before, _STOPPED_BY_HAND)
    return Step(Action.RETIRED, TECHNOLOGIES, before.value.id, None, before, None)
