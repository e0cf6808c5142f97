"""The rows of each table as the engine's values, with the checks that look beyond one cell: what a row names, what stands twice.

Every reader goes through all rows, notes all problems, and adds to `References` what later tables may name. What it gives is only meant to
be used where there were no problems.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from typing import Any

from app.engine.model import Credential, Duty, Entry, Grant, GrantRole, GrantState, ScopeType, Staff, Volume
from app.packs.cells import SCOPES
from app.packs.problems import CellError
from app.packs.references import Known, References
from app.packs.rows import Row, Source
from app.packs.texts import folded

GRANT_ID_CHARS = 10
"""50 bits: among 400,000 grants two share an id once in 14,000 hospitals, and that is a problem that asks for an `id` column."""

_SHORT_CODE = re.compile(r"\d{2}\.\d{1,3}")


def read_aliases(source: Source, references: References) -> dict[str, str]:
    """The hospital's own code → the national one. Both may be named: a grant of either covers the other."""
    found: dict[str, tuple[str, int]] = {}
    for row in source.rows():
        codes = [row.values[key] for key in ("code", "national_code") if key in row.values]
        references.codes.words.update(codes)
        if not row.whole:
            continue
        code, national = codes
        if code == national:
            continue  # A national code that stands for itself says nothing new.
        source.keep(row, (code, national))
        earlier, earlier_row = found.setdefault(code, (national, row.number))
        if earlier != national:
            zh = f"“{code}”在第{earlier_row}行已对照到“{earlier}”，只能对照一个国家编码。"
            en = f'"{code}" already stands for "{earlier}" in row {earlier_row}; one code has one national code.'
            source.problem(row.number, "national_code", zh, en)
    references.codes.complete &= source.whole
    # An alias is followed one step: a rule written in the code at the end of a chain would not catch the one at its beginning.
    for code, (national, number) in found.items():
        if national in found:
            zh = f"“{national}”本身又有对照，请把“{code}”直接对照到国家编码。"
            source.problem(number, "national_code", zh, f'"{national}" has an alias itself. Give "{code}" its national code.')
    return {code: national for code, (national, _) in found.items()}


def read_catalog(source: Source, references: References) -> tuple[Entry, ...]:
    """The entries, once the aliases are read: what an entry includes may be named by national code."""
    entries: list[Entry] = []
    included: list[tuple[int, str]] = []
    codes, items = references.codes, references.items
    for row in source.rows():
        values = row.values
        codes.words.update([values["code"]] if "code" in values else ())
        items.words.update([values["item"]] if "item" in values else ())
        included.extend((row.number, word) for word in values.get("includes", ()))
        if "departments" in values:
            values["departments"] = tuple(dict.fromkeys(map(source.department, values["departments"])))
        if row.whole:
            entries.append(entry := Entry(**values))
            source.keep(row, entry)
    codes.complete &= source.whole
    items.complete &= source.whole
    either = Known("目录中没有编码或授权项目", "The catalog has no code or item", codes.words | items.words)
    either.complete = codes.complete and items.complete
    for number, word in included:
        if complaint := either.complaint(word):
            source.problem(number, "includes", *complaint)
    _warn_of_short_codes(source, [entry.code for entry in entries])
    return tuple(entries)


def read_staff(source: Source, references: References) -> dict[str, Staff]:
    """The register by staff number. Numbers of refused rows may be named too."""
    register: dict[str, Staff] = {}
    first = _Once(source, "staff")
    for row in source.rows():
        values = row.values
        if "staff" in values:
            references.staff.words.add(values["staff"])
            first.check(row.number, values["staff"], f"工号“{values['staff']}”", f'Staff number "{values["staff"]}"')
        if "department" in values:
            values["department"] = source.department(values["department"])
        if row.whole:
            source.keep(row, register.setdefault(values["staff"], Staff(**values)))
    references.names.update({number: staff.name for number, staff in register.items()})
    references.staff.complete &= source.whole
    return register


def read_grants(source: Source, references: References) -> Mapping[str, list[Grant]]:
    """The grants by staff number, in the order of the table."""
    found: dict[str, list[Grant]] = defaultdict(list)
    identities, ids = _Once(source, "scope"), _Once(source, "id")
    for row in source.rows():
        values = row.values
        _check_person(row, source, references)
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
    for row in source.rows():
        values = row.values
        _check_person(row, source, references)
        if "technology" in values and (complaint := references.technologies.complaint(values["technology"])):
            source.problem(row.number, "technology", *complaint)
        if row.whole:
            key = (values["staff"], values["technology"], values["kind"], values["issued_on"])
            first.check(row.number, key, "相同的记录", "The same record")
            found[values["staff"]].append(credential := Credential(**values))
            source.keep(row, credential)
    return found


def read_volumes(source: Source, references: References) -> Mapping[str, list[Volume]]:
    """Yearly numbers of operations by staff number. Numbers that stood twice would count twice."""
    found: dict[str, list[Volume]] = defaultdict(list)
    first = _Once(source, "scope")
    for row in source.rows():
        values = row.values
        _check_person(row, source, references)
        scope = _scope(row, source, references)
        if row.whole and scope is not None:
            first.check(row.number, (values["staff"], values["scope_type"], scope, values["year"]), "相同的年度记录", "The same year")
            found[values["staff"]].append(volume := Volume(**values))
            source.keep(row, volume)
    return found


def read_roster(source: Source, references: References) -> Mapping[str, list[Duty]]:
    """Who is on duty when, by staff number. A time without offset is by the hospital's clock."""
    found: dict[str, list[Duty]] = defaultdict(list)
    first = _Once(source, "from")
    for row in source.rows():
        values = row.values
        _check_person(row, source, references)
        for field in ("starts", "ends"):
            if field in values:
                values[field] = _in_utc(values[field], references.time_zone)
        if "starts" in values and "ends" in values and values["ends"] <= values["starts"]:
            source.problem(row.number, "to", "值班结束须晚于值班开始。", "Duty must end after it starts.")
        if row.whole:
            duty = Duty(**values)
            first.check(row.number, duty, "相同的值班", "The same duty")
            found[duty.staff].append(duty)
            source.keep(row, duty)
    return found


def _in_utc(moment: datetime, zone: tzinfo) -> datetime:
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


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


def _check_person(row: Row, source: Source, references: References) -> None:
    """People are identified by staff number. A name beside it is for the reader's eye and leaves the row here; where it is not that of the
    register, one of the two is wrong."""
    name, staff = row.values.pop("name", None), row.values.get("staff")
    if staff is None:
        return
    if complaint := references.staff.complaint(staff):
        source.problem(row.number, "staff", *complaint)
    registered = references.names.get(staff)
    if name is not None and registered is not None and folded(name) != folded(registered):
        zh = f"工号“{staff}”在人员表中是“{registered}”，不是“{name}”：人员以工号识别，工号或姓名有误。"
        en = f'Staff number "{staff}" is "{registered}" in the register, not "{name}". People are identified by number: it or the name is wrong.'
        source.problem(row.number, "name", zh, en)


def _scope(row: Row, source: Source, references: References) -> str | None:
    """The scope as its type has it, which also goes into the row's values; None, with a problem, where it is none."""
    scope_type, cell = row.values.get("scope_type"), row.values.get("scope")
    if scope_type is None or cell is None:
        return None
    try:
        scope = row.values["scope"] = SCOPES[scope_type](cell)
    except CellError as error:
        source.problem(row.number, "scope", *error.texts)
        return None
    if scope_type in references.by_scope and (complaint := references.by_scope[scope_type].complaint(scope)):
        if row.values.get("state") in (GrantState.SUSPENDED, GrantState.REVOKED):
            # What somebody once held may have left the catalog; that it was taken away must survive all the same.
            source.warn("scope", *complaint, row=row.number)
        else:
            source.problem(row.number, "scope", *complaint)
    return scope


def _check_grantable(row: Row, source: Source, references: References) -> None:
    scope = row.values.get("scope")
    if row.values.get("scope_type") is not ScopeType.TECHNOLOGY or scope not in references.technologies.words:
        return
    if scope not in references.grantable:
        zh = f"技术“{scope}”不能整体授权（grantable 未设为 true），请按编码或授权项目授权。"
        en = f'Technology "{scope}" cannot be granted as such (it is not grantable). Grant codes or items.'
        source.problem(row.number, "scope", zh, en)


def _check_period(row: Row, source: Source) -> None:
    first, last = row.values.get("valid_from"), row.values.get("valid_to")
    if first is not None and last is not None and last < first:
        zh, en = f"授权截止 {last} 早于授权起始 {first}。", f"The grant ends on {last}, before it begins on {first}."
        source.problem(row.number, "valid_to", zh, en)


def _warn_of_short_codes(source: Source, codes: list[str]) -> None:
    """A spreadsheet that took 35.9600 for a number writes 35.96 into the CSV, and no order would ever find that entry. Hospitals that
    do use the short international codes need not mind."""
    short = sorted({code for code in codes if _SHORT_CODE.fullmatch(code)})
    if short and len(short) < len(set(codes)):
        zh = f"有 {len(short)} 个编码小数点后不足四位（如 {short[0]}），请确认末尾的 0 没有被表格软件删去。"
        en = f"{len(short)} codes have fewer than four digits after the point (such as {short[0]}): make sure that a spreadsheet did not cut off zeros."
        source.warn("code", zh, en)
