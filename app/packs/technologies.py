"""technologies.toml: what is managed on its own (restricted, prohibited, key, new projects, major surgery, under a special law).

A hospital's pack may say more about a technology that a shared pack brings, or say it otherwise. So a file is read into what it gives,
`Given`, field by field; given things are merged, and only what comes out must be a whole technology.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, TypeVar

import msgspec

from app.engine.codes import MalformedCode, diagnosis_range, normalize_procedure
from app.engine.model import RESTRICTED_KINDS, TITLES, Identify, Qualification, Technology, TechnologyKind, Urgency
from app.packs.problems import Problems
from app.packs.texts import shown
from app.packs.toml_tables import TomlTable

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


def read_technologies(top: TomlTable) -> dict[str, Given]:
    """What a technologies.toml gives, by id and in its order."""
    found: dict[str, Given] = {}

    def read(table: TomlTable) -> None:
        identifier = table.text("id", required=True)
        table.place = f"technology {identifier}" if identifier else table.place
        fields = _read_fields(table)
        if identifier in found:
            table.problem("id", f"“{identifier}”重复。", f'"{identifier}" stands here twice.')
        elif identifier:
            notes = {key: table.raw(key) for key in DOCUMENTATION_KEYS if key in table}
            found[identifier] = Given(identifier, table.file, table.place, fields, notes)

    top.each("technology", read)
    top.note_unknown()
    return found


def merge(shared: Mapping[str, Given], own: Mapping[str, Given], problems: Problems) -> dict[str, Given]:
    """The shared technologies with what the later pack says: a field that it gives replaces, `identify` adds."""
    merged = dict(shared)
    for identifier, given in own.items():
        before = merged.get(identifier)
        if before is not None:
            _check_kind(before, given, problems)
            identify = tuple(dict.fromkeys((*before.fields.get("identify", ()), *given.fields.get("identify", ()))))
            given = msgspec.structs.replace(given, fields={**before.fields, **given.fields, "identify": identify})
        merged[identifier] = given
    return merged


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


def _read_fields(table: TomlTable) -> dict[str, Any]:
    table.ignore(*DOCUMENTATION_KEYS)
    fields = {
        "name": table.text("name"),
        "kind": table.word("kind", TechnologyKind),
        "identify": table.each("identify", _read_identify),
        "assessed_on": table.get("assessed_on", date),
        "filed_on": table.get("filed_on", date),
        "filing_no": table.text("filing_no"),
        "first_case_on": table.get("first_case_on", date),
        "team": table.texts("team"),
        "grantable": table.get("grantable", bool),
        "stopped": table.get("stopped", bool),
        "qualification": table.each("qualification", _read_qualification),
        "basis": table.text("basis"),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _read_identify(table: TomlTable) -> Identify:
    # An empty set can never be hit: the technology would never be identified, and nothing would say so.
    if "codes" not in table and "all_of" not in table:
        table.problem("codes", "identify 须有 codes 或 all_of。", "An identify table needs codes or all_of.")
    return Identify(
        codes=frozenset(_converted(table, "codes", table.texts("codes", filled=True), normalize_procedure)),
        all_of=tuple(frozenset(_converted(table, "all_of", codes, normalize_procedure)) for codes in table.text_lists("all_of")),
        with_diagnoses=tuple(_converted(table, "with_diagnoses", table.texts("with_diagnoses"), diagnosis_range)),
        urgency=frozenset(table.words("urgency", Urgency)),
    )


def _converted(table: TomlTable, key: str, words: Iterable[str] | None, convert: Callable[[str], T]) -> list[T]:
    values = []
    for word in words or ():
        try:
            values.append(convert(word))
        except MalformedCode as error:
            table.problem(key, f"“{shown(word)}”不是有效编码。", f"{error}.")
    return values


def _read_qualification(table: TomlTable) -> Qualification:
    return Qualification(
        years=table.integer("years", 0, MAX_YEARS),
        title=table.word("title", TITLES),
        years_in_title=table.integer("years_in_title", 0, MAX_YEARS),
        practice_scope=table.texts("practice_scope") or (),
        cases=table.integer("cases", 0, MAX_CASES),
        independent_cases=table.integer("independent_cases", 0, MAX_CASES),
        within_years=table.integer("within_years", 1, MAX_YEARS),
        training=table.get("training", bool),
        max_idle_years=table.integer("max_idle_years", 1, MAX_YEARS),
        level=table.integer("level", 1, 4),
        any_of=table.each("any_of", _read_qualification) or (),
        exempt=None if table.get("exempt", dict) is None else _read_qualification(table.table("exempt")),
    )
