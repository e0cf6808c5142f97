"""The rows of each table as the engine's values, with the checks that look beyond one cell: what a row names, what stands twice.

Every reader goes through all rows and notes all problems; what it gives is only meant to be used where there were none.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from app.engine.model import Credential, Entry, Grant, GrantRole, ScopeType, Staff, Volume
from app.packs.cells import SCOPES
from app.packs.problems import CellError
from app.packs.references import Known, References
from app.packs.rows import Row
from app.packs.sheets import is_blank
from app.packs.source import Source
from app.packs.texts import shown

GRANT_ID_CHARS = 10
"""50 bits: among 400,000 grants two share an id once in 14,000 hospitals, and that is a problem that asks for an `id` column."""

_SHORT_CODE = re.compile(r"\d{2}\.\d{1,3}")


class Catalog(msgspec.Struct):
    """The catalog as read. `includes`: row and word of everything that entries say they cover, to be checked once all codes are known."""

    entries: tuple[Entry, ...] = ()
    codes: Known = msgspec.field(default_factory=Known)
    items: Known = msgspec.field(default_factory=Known)
    includes: tuple[tuple[int, str], ...] = ()


def read_catalog(source: Source) -> Catalog:
    entries: list[Entry] = []
    codes, items = Known(), Known()
    includes: list[tuple[int, str]] = []
    for row in source.rows:
        values = row.values
        _remember(codes, values.get("code"))
        _remember(items, values.get("item"))
        includes.extend((row.number, word) for word in values.get("includes", ()))
        if "departments" in values:
            values["departments"] = tuple(dict.fromkeys(map(source.department, values["departments"])))
        if row.whole:
            entries.append(Entry(**values))
            source.keep(row, entries[-1])
    codes.complete = items.complete = source.whole
    _warn_of_short_codes(source, [entry.code for entry in entries])
    return Catalog(tuple(entries), codes, items, tuple(includes))


def check_includes(source: Source, catalog: Catalog, codes: Known) -> None:
    for row, word in catalog.includes:
        if word not in catalog.items and word not in codes:
            zh, en = Known({*catalog.items.words, *codes.words}).hint(word)
            source.problem(row, "includes", f"目录中没有编码或授权项目“{word}”。{zh}", f'The catalog has no code or item "{word}".{en}')


def read_aliases(source: Source, codes: Known) -> dict[str, str]:
    """The hospital's own code → the national one. Both sides join the known codes: a grant of either covers the other."""
    found: dict[str, tuple[str, int]] = {}
    for row in source.rows:
        _remember(codes, row.values.get("code"))
        _remember(codes, row.values.get("national_code"))
        if not row.whole:
            continue
        code, national = row.values["code"], row.values["national_code"]
        source.keep(row, (code, national))
        if code == national:
            source.problem(row.number, "national_code", f"“{code}”对照到了自身。", f'"{code}" is an alias of itself.')
        earlier, earlier_row = found.setdefault(code, (national, row.number))
        if earlier != national:
            source.problem(
                row.number,
                "national_code",
                f"“{code}”在第{earlier_row}行已对照到“{earlier}”，只能对照一个国家编码。",
                f'"{code}" already stands for "{earlier}" in row {earlier_row}; one code has one national code.',
            )
    codes.complete = codes.complete and source.whole
    _check_chains(source, found)
    return {code: national for code, (national, _) in found.items()}


def _check_chains(source: Source, aliases: Mapping[str, tuple[str, int]]) -> None:
    """An alias is followed one step: a rule written in the code at the end of a chain would not catch the one at its beginning."""
    for code, (national, number) in aliases.items():
        if national != code and national in aliases:
            source.problem(
                number,
                "national_code",
                f"“{national}”本身又有对照，请把“{code}”直接对照到国家编码。",
                f'"{national}" has an alias itself. Give "{code}" its national code.',
            )


def read_staff(source: Source) -> tuple[dict[str, Staff], Known]:
    """The register by staff number, and all numbers in it, those of refused rows too."""
    register: dict[str, Staff] = {}
    known = Known()
    first = _Once(source, "staff")
    for row in source.rows:
        values = row.values
        if "staff" in values:
            _remember(known, values["staff"])
            first.check(row.number, values["staff"], f"工号“{values['staff']}”", f'Staff number "{values["staff"]}"')
        if "department" in values:
            values["department"] = source.department(values["department"])
        if row.whole:
            source.keep(row, register.setdefault(values["staff"], Staff(**values)))
    known.complete = source.whole
    return register, known


def read_grants(source: Source, references: References) -> Mapping[str, list[Grant]]:
    """The grants by staff number, in the order of the table."""
    found: dict[str, list[Grant]] = defaultdict(list)
    identities, ids = _Once(source, "scope"), _Once(source, "id")
    for row in source.rows:
        values = row.values
        _check_staff(row, source, references)
        scope = _scope(row, source, references)
        _check_grantable(row, source, references)
        _check_period(row, source)
        if "department" in values:
            values["department"] = source.department(values["department"])
        if not row.whole or scope is None:
            continue
        identity = _identity(values)
        grant_id = values.setdefault("id", grant_id_of(identity))
        if identities.check(row.number, identity, "相同的授权", "The same grant"):
            ids.check(row.number, grant_id, f"授权编号“{grant_id}”", f'Grant id "{grant_id}"')
        found[values["staff"]].append(grant := Grant(**values))
        source.keep(row, grant)
    return found


def read_credentials(source: Source, references: References) -> Mapping[str, list[Credential]]:
    """Trainings and exemptions by staff number."""
    found: dict[str, list[Credential]] = defaultdict(list)
    first = _Once(source, "technology")
    for row in source.rows:
        values = row.values
        _check_staff(row, source, references)
        technology = values.get("technology")
        if technology is not None and (unknown := references.unknown_scope(ScopeType.TECHNOLOGY, technology)):
            source.problem(row.number, "technology", *unknown)
        if row.whole:
            first.check(
                row.number, tuple(values[key] for key in ("staff", "technology", "kind", "issued_on")), "相同的记录", "The same record"
            )
            found[values["staff"]].append(credential := Credential(**values))
            source.keep(row, credential)
    return found


def read_volumes(source: Source, references: References) -> Mapping[str, list[Volume]]:
    """Yearly numbers of operations by staff number. Numbers that stood twice would count twice."""
    found: dict[str, list[Volume]] = defaultdict(list)
    first = _Once(source, "scope")
    for row in source.rows:
        values = row.values
        _check_staff(row, source, references)
        scope = _scope(row, source, references)
        if row.whole and scope is not None:
            first.check(
                row.number, tuple(values[key] for key in ("staff", "scope_type", "scope", "year")), "相同的年度记录", "The same year"
            )
            found[values["staff"]].append(volume := Volume(**values))
            source.keep(row, volume)
    return found


def grant_id_of(identity: tuple[str, ...]) -> str:
    """A grant's id: made of what identifies it (staff, scope type, scope, department, role, first day), so that the same grant has the same
    id however often, and from whatever file, it is imported."""
    digest = blake2b("\x1f".join(identity).encode(), digest_size=8).digest()
    return "G-" + base64.b32encode(digest).decode()[:GRANT_ID_CHARS]


def _identity(values: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        values["staff"],
        str(values["scope_type"]),
        values["scope"],
        values.get("department", ""),
        str(values.get("role", GrantRole.OPERATOR)),
        values["valid_from"].isoformat(),
    )


class _Once:
    """Notes what stands a second time, and where it stood first."""

    def __init__(self, source: Source, column: str) -> None:
        self._source = source
        self._column = column
        self._rows: dict[Hashable, int] = {}

    def check(self, row: int, key: Hashable, zh: str, en: str) -> bool:
        """Whether this is the first time."""
        first = self._rows.setdefault(key, row)
        if first != row:
            self._source.problem(row, self._column, f"{zh}在第{first}行已有。", f"{en} stands in row {first} already.")
        return first == row


def _remember(known: Known, word: str | None) -> None:
    if word is not None:
        known.words.add(word)


def _check_staff(row: Row, source: Source, references: References) -> None:
    staff = row.values.get("staff")
    if staff is not None and staff not in references.staff:
        source.problem(row.number, "staff", f"人员表中没有工号“{shown(staff)}”。", f'The register has no staff number "{shown(staff)}".')


def _scope(row: Row, source: Source, references: References) -> str | None:
    """The scope as its type has it, which also goes into the row's values; None, with a problem, where it is none."""
    scope_type, cell = row.values.get("scope_type"), row.values.get("scope")
    if scope_type is None or is_blank(cell):
        return None
    try:
        scope = SCOPES[scope_type](cell)
    except CellError as error:
        source.problem(row.number, "scope", error.message.zh, error.message.en)
        return None
    row.values["scope"] = scope
    if unknown := references.unknown_scope(scope_type, scope):
        source.problem(row.number, "scope", *unknown)
    return scope


def _check_grantable(row: Row, source: Source, references: References) -> None:
    scope = row.values.get("scope")
    if row.values.get("scope_type") is not ScopeType.TECHNOLOGY or scope not in references.technologies.words:
        return
    if scope not in references.grantable:
        source.problem(
            row.number,
            "scope",
            f"技术“{scope}”不能整体授权（grantable 未设为 true），请按编码或授权项目授权。",
            f'Technology "{scope}" cannot be granted as such (it is not grantable). Grant codes or items.',
        )


def _check_period(row: Row, source: Source) -> None:
    first, last = row.values.get("valid_from"), row.values.get("valid_to")
    if first is not None and last is not None and last < first:
        source.problem(
            row.number, "valid_to", f"授权截止 {last} 早于授权起始 {first}。", f"The grant ends on {last}, before it begins on {first}."
        )


def _warn_of_short_codes(source: Source, codes: list[str]) -> None:
    """A spreadsheet that took 35.9600 for a number writes 35.96 into the CSV, and no order would ever find that entry. Hospitals that
    do use the short international codes need not mind."""
    short = sorted({code for code in codes if _SHORT_CODE.fullmatch(code)})
    if short and len(short) < len(set(codes)):
        source.warning(
            None,
            "code",
            f"有 {len(short)} 个编码小数点后不足四位（如 {short[0]}），请确认末尾的 0 没有被表格软件删去。",
            f"{len(short)} codes have fewer than four digits after the point (such as {short[0]}): make sure that a spreadsheet did not cut off zeros.",
        )
