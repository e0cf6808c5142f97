"""technologies.toml: what is managed on its own (restricted, prohibited, key, new projects, major surgery, under a special law).

A hospital's pack may say more about a technology that a shared pack brings, or say it otherwise. So a file is read into what it gives,
`Given`, field by field; given things are merged, and only what comes out must be a whole technology.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from app.engine.codes import MalformedCode, diagnosis_range, normalize_procedure
from app.engine.model import RESTRICTED_KINDS, TITLES, Identify, Qualification, Technology, TechnologyKind, Urgency
from app.packs.problems import Problems
from app.packs.texts import shown
from app.packs.toml_tables import TomlTable, parse_toml

T = TypeVar("T")

DOCUMENTATION_KEYS = ("names", "remarks", "diagnosis_names", "source", "note")
"""Keys of a technology that are for people. (`basis` is one as well, and is shown with findings.)"""

MAX_YEARS = 100
MAX_CASES = 1_000_000


class Given(msgspec.Struct, frozen=True):
    """What one file gives of one technology: `fields` of `Technology` by name, `place` in `file` for messages, `notes` for people."""

    id: str
    file: str
    place: str
    fields: Mapping[str, Any]
    notes: Mapping[str, Any] = {}


def read_technologies(file: str, data: bytes, problems: Problems) -> dict[str, Given] | None:
    """What a technologies.toml gives, by id and in its order; None, with a problem, where it is no TOML."""
    top = parse_toml(file, data, problems)
    if top is None:
        return None
    found: dict[str, Given] = {}
    for table in top.tables("technology") or ():
        given = _read_technology(table)
        if given is None:
            continue
        if given.id in found:
            table.problem("id", f"“{given.id}”重复。", f'"{given.id}" stands here twice.')
        found.setdefault(given.id, given)
    top.note_unknown()
    return found


def merge(shared: Mapping[str, Given], own: Mapping[str, Given], problems: Problems) -> dict[str, Given]:
    """The shared technologies with what the later pack says: a field that it gives replaces, `identify` adds."""
    merged = dict(shared)
    for identifier, given in own.items():
        before = shared.get(identifier)
        merged[identifier] = given if before is None else _added(before, given, problems)
    return merged


def _added(before: Given, given: Given, problems: Problems) -> Given:
    _check_kind(before, given, problems)
    identify = tuple(dict.fromkeys((*before.fields.get("identify", ()), *given.fields.get("identify", ()))))
    return Given(given.id, given.file, given.place, {**before.fields, **given.fields, "identify": identify}, given.notes)


def build(given: Iterable[Given], problems: Problems) -> tuple[Technology, ...]:
    """The technologies that are whole: each with a name and a kind."""
    built = []
    for one in given:
        missing = [key for key in ("name", "kind") if key not in one.fields]
        for key in missing:
            problems.add(one.file, "必填，不能为空。", "Required: it must not be empty.", column=f"{one.place}.{key}")
        if not missing:
            built.append(Technology(id=one.id, **one.fields))
    return tuple(built)


def _check_kind(before: Given, given: Given, problems: Problems) -> None:
    """What is prohibited stays so, whatever a hospital's pack calls it; less than restricted is worth a second look."""
    old, new = before.fields.get("kind"), given.fields.get("kind")
    if new is None or new is old:
        return
    place = f"{given.place}.kind"
    if old is TechnologyKind.PROHIBITED:
        problems.add(given.file, "禁止类技术不得改为其他类别。", "A prohibited technology cannot be made another kind.", column=place)
    elif old in RESTRICTED_KINDS and new not in (*RESTRICTED_KINDS, TechnologyKind.PROHIBITED):
        problems.warn(given.file, f"限制类技术被改为 {new}。", f"A restricted technology is made {new} here.", column=place)


def _read_technology(table: TomlTable) -> Given | None:
    identifier = table.text("id", required=True)
    if identifier is not None:
        table.place = f"technology {identifier}"
    fields: dict[str, Any] = {
        "name": table.text("name"),
        "kind": table.member("kind", TechnologyKind),
        "identify": _list_of(table.tables("identify"), _read_identify),
        "assessed_on": table.day("assessed_on"),
        "filed_on": table.day("filed_on"),
        "filing_no": table.text("filing_no"),
        "first_case_on": table.day("first_case_on"),
        "team": table.texts("team"),
        "grantable": table.flag("grantable"),
        "stopped": table.flag("stopped"),
        "qualification": _list_of(table.tables("qualification"), _read_qualification),
        "basis": table.text("basis"),
    }
    table.note_unknown(DOCUMENTATION_KEYS)
    if identifier is None:
        return None
    given = {key: value for key, value in fields.items() if value is not None}
    return Given(identifier, table.file, table.place, given, {key: table.raw(key) for key in DOCUMENTATION_KEYS if key in table})


def _list_of(tables: list[TomlTable] | None, read: Callable[[TomlTable], T]) -> tuple[T, ...] | None:
    return None if tables is None else tuple(read(table) for table in tables)


def _read_identify(table: TomlTable) -> Identify:
    # An empty set can never be hit: the technology would never be identified, and nothing would say so.
    codes = table.texts("codes", may_be_empty=False)
    all_of = table.text_lists("all_of")
    diagnoses = table.texts("with_diagnoses")
    if "codes" not in table and "all_of" not in table:
        table.problem("codes", "identify 须有 codes 或 all_of。", "An identify table needs codes or all_of.")
    identify = Identify(
        codes=frozenset(_converted(table, "codes", codes or (), normalize_procedure)),
        all_of=tuple(frozenset(_converted(table, "all_of", one, normalize_procedure)) for one in all_of or ()),
        with_diagnoses=tuple(_converted(table, "with_diagnoses", diagnoses or (), diagnosis_range)),
        urgency=frozenset(table.members("urgency", Urgency) or ()),
    )
    table.note_unknown()
    return identify


def _converted(table: TomlTable, key: str, words: Iterable[str], convert: Callable[[str], T]) -> list[T]:
    values = []
    for word in words:
        try:
            values.append(convert(word))
        except MalformedCode as error:
            table.problem(key, f"“{shown(word)}”不是有效编码。", f"{error}.")
    return values


def _read_qualification(table: TomlTable) -> Qualification:
    any_of, exempt = table.tables("any_of"), table.table("exempt")
    qualification = Qualification(
        years=table.integer("years", 0, MAX_YEARS),
        title=_title(table),
        years_in_title=table.integer("years_in_title", 0, MAX_YEARS),
        practice_scope=table.texts("practice_scope") or (),
        cases=table.integer("cases", 0, MAX_CASES),
        independent_cases=table.integer("independent_cases", 0, MAX_CASES),
        within_years=table.integer("within_years", 1, MAX_YEARS),
        training=table.flag("training"),
        max_idle_years=table.integer("max_idle_years", 1, MAX_YEARS),
        level=table.integer("level", 1, 4),
        any_of=tuple(_read_qualification(one) for one in any_of or ()),
        exempt=None if exempt is None else _read_qualification(exempt),
    )
    table.note_unknown()
    return qualification


def _title(table: TomlTable) -> str | None:
    title = table.text("title")
    if title is None or title in TITLES:
        return title
    choices = "、".join(TITLES)
    table.problem("title", f"“{shown(title)}”不在可选值中：{choices}。", f'"{shown(title)}" is none of the titles {choices}.')
    return None
