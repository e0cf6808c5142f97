"""Hospitals in the database: out as engine values, in from a pack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, Select, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import (
    Credential,
    Duty,
    Entry,
    Grant,
    GrantRole,
    GrantState,
    Hospital,
    OfficeHours,
    Paediatric,
    Person,
    Policy,
    ScopeType,
    Staff,
    Technology,
    Volume,
)
from app.store import bulk, changes, tables
from app.store.changes import Mark

MAX_NUMBERS_PER_QUERY = 500
"""Staff numbers in one IN list."""

ROWS_AT_ONCE = 1_000
"""Rows that are read before others get their turn: 2 to 3 ms."""

_Kept = TypeVar("_Kept")
_SCOPE_TYPES, _ROLES, _STATES = {m.value: m for m in ScopeType}, {m.value: m for m in GrantRole}, {m.value: m for m in GrantState}


class Settings(msgspec.Struct, frozen=True):
    """What a hospital's `hospital.toml` says beside name, code and time zone, as it is kept."""

    department_aliases: dict[str, str] = {}
    policy: Policy = Policy()
    paediatric: Paediatric | None = None
    office_hours: OfficeHours = OfficeHours()
    builds_on: tuple[str, ...] = ()
    notify: tuple[dict[str, str], ...] = ()
    retention_years: int | None = None


class Itself(NamedTuple):
    """A hospital but for its people: as the engine wants it, and its settings."""

    hospital: Hospital
    settings: Settings


class Loaded(NamedTuple):
    """A hospital with its people, as its last change left it. `at`: when that was made, as the log has it; empty where it is not known."""

    itself: Itself
    people: dict[str, Person]
    version: int
    at: str = ""

    @property
    def mark(self) -> Mark:
        return Mark(self.version, self.at)


async def codes(connection: AsyncConnection) -> list[str]:
    """The hospitals there are."""
    return list((await connection.execute(select(tables.hospitals.c.code).order_by(tables.hospitals.c.code))).scalars())


async def settings(connection: AsyncConnection) -> dict[str, Settings]:
    """The settings of every hospital, by code."""
    rows = await connection.execute(select(tables.hospitals.c.code, tables.hospitals.c.settings).order_by(tables.hospitals.c.code))
    return {row.code: msgspec.json.decode(row.settings, type=Settings) for row in rows}


async def version(connection: AsyncConnection, code: str) -> int:
    """The number of the hospital's last change, 0 where there is none."""
    changes = tables.changes
    found = await connection.execute(select(func.max(changes.c.seq)).where(changes.c.hospital == code))
    return found.scalar() or 0


async def time_zone(connection: AsyncConnection, code: str) -> ZoneInfo:
    """The zone of a hospital that is there."""
    table = tables.hospitals
    return ZoneInfo((await connection.execute(select(table.c.time_zone).where(table.c.code == code))).scalar_one())


async def load(connection: AsyncConnection, code: str) -> Loaded | None:
    """Everything of a hospital, from one consistent state; None where there is no such hospital."""
    itself = await load_itself(connection, code)
    if itself is None:
        return None
    mark = await changes.mark(connection, code)
    return Loaded(itself, await load_people(connection, code, None), *mark)


async def load_itself(connection: AsyncConnection, code: str) -> Itself | None:
    """A hospital but for its people: settings, catalog, aliases and technologies; None where there is no such hospital."""
    row = (await connection.execute(select(tables.hospitals).where(tables.hospitals.c.code == code))).mappings().first()
    if row is None:
        return None
    settings = msgspec.json.decode(row["settings"], type=Settings)
    hospital = hospital_of(
        code,
        row["name"],
        ZoneInfo(row["time_zone"]),
        settings,
        entries=tuple(
            [msgspec.json.decode(r.entry, type=Entry) async for r in rows_of(connection, _all(tables.catalog, code, "position"))]
        ),
        aliases={r.code: r.national_code async for r in rows_of(connection, _all(tables.aliases, code, "code"))},
        technologies=tuple([technology_of(r) async for r in rows_of(connection, _all(tables.technologies, code, "position"))]),
    )
    return Itself(hospital, settings)


def hospital_of(
    code: str,
    name: str,
    time_zone: ZoneInfo,
    settings: Settings,
    entries: tuple[Entry, ...],
    aliases: Mapping[str, str],
    technologies: tuple[Technology, ...],
) -> Hospital:
    """A hospital as the engine wants it, from what is kept of it."""
    return Hospital(
        code=code,
        name=name,
        time_zone=time_zone,
        entries=entries,
        aliases=aliases,
        technologies=technologies,
        department_aliases=settings.department_aliases,
        policy=settings.policy,
        paediatric=settings.paediatric,
        office_hours=settings.office_hours,
    )


async def load_people(connection: AsyncConnection, code: str, numbers: Collection[str] | None) -> dict[str, Person]:
    """The rows of the grant matrix: all of them, or those of some staff numbers. Who is not in the register is not in the answer."""
    values = Values()
    held: dict[str, _Held] = defaultdict(_Held.empty)
    grants = _of(tables.grants, code, numbers, Grant).where(tables.grants.c.retired.is_(False))
    async for row in rows_of(connection, grants):
        held[row.staff].grants.append(values.grant(row))
    async for row in rows_of(connection, _of(tables.credentials, code, numbers, Credential)):
        held[row.staff].credentials.append(values.credential(row))
    async for row in rows_of(connection, _of(tables.volumes, code, numbers, Volume)):
        held[row.staff].volumes.append(values.volume(row))
    async for row in rows_of(connection, _of(tables.roster, code, numbers, Duty)):
        held[row.staff].duty.append(values.duty(row))
    people = {}
    async for row in rows_of(connection, _of(tables.staff, code, numbers)):
        mine = held[row.staff]
        person = Person(staff_of(row._mapping), *mine.sorted())
        people[row.staff] = person
    return people


async def rows_of(connection: AsyncConnection, query: Select[Any]) -> AsyncIterator[Row[Any]]:
    """A query's rows, read piece by piece: a large hospital has 400,000 grants, and the worker goes on answering meanwhile."""
    async with connection.stream(query) as result:
        async for rows in result.partitions(ROWS_AT_ONCE):
            for row in rows:
                yield row


class _Held(NamedTuple):
    """What is found of a person."""

    grants: list[Grant]
    credentials: list[Credential]
    volumes: list[Volume]
    duty: list[Duty]

    def sorted(self) -> tuple[tuple[Grant, ...], tuple[Credential, ...], tuple[Volume, ...], tuple[Duty, ...]]:
        """Each in an order of its own: that of the rows is the database's affair, and a change may move them."""
        return (
            tuple(sorted(self.grants, key=lambda one: one.id)),
            tuple(sorted(self.credentials, key=lambda one: (one.technology, one.kind, one.issued_on))),
            tuple(sorted(self.volumes, key=lambda one: (one.scope_type, one.scope, one.year))),
            tuple(sorted(self.duty, key=lambda one: (one.starts, one.ends))),
        )

    @classmethod
    def empty(cls) -> _Held:
        return cls([], [], [], [])


class Values:
    """Engine values of rows whose columns are the value's fields in their order. Texts and days that are equal are one object in memory:
    400,000 grants name a few thousand people, scopes and days."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def grant(self, columns: Iterable[Any]) -> Grant:
        """A row of `grants`. Raises `KeyError` for a word that is none of ours."""
        id_, staff, scope_type, scope, valid_from, department, role, valid_to, last_evaluated, document_no, state = columns
        return Grant(
            id_,
            self._one(staff),
            _SCOPE_TYPES[scope_type],
            self._one(scope),
            self._one(valid_from),
            self._one(department),
            _ROLES[role],
            self._one(valid_to),
            self._one(last_evaluated),
            self._one(document_no),
            _STATES[state],
        )

    def credential(self, columns: Iterable[Any]) -> Credential:
        """A row of `credentials`."""
        staff, technology, kind, issued_on, issuer = columns
        return Credential(self._one(staff), self._one(technology), self._one(kind), self._one(issued_on), self._one(issuer))

    def volume(self, columns: Iterable[Any]) -> Volume:
        """A row of `volumes`. Raises `KeyError` for a word that is none of ours."""
        staff, scope_type, scope, year, operator_cases, supervised_cases, last_case_on = columns
        return Volume(
            self._one(staff), _SCOPE_TYPES[scope_type], self._one(scope), year, operator_cases, supervised_cases, self._one(last_case_on)
        )

    def duty(self, columns: Iterable[Any]) -> Duty:
        """A row of `roster`."""
        staff, starts, ends = columns
        return Duty(self._one(staff), self._one(datetime.fromisoformat(starts)), self._one(datetime.fromisoformat(ends)))

    def _one(self, value: _Kept) -> _Kept:
        kept: _Kept = self._kept.setdefault(value, value)
        return kept


def staff_of(row: Mapping[Any, Any]) -> Staff:
    """The register's entry in a row of `staff`."""
    return msgspec.convert(msgspec.json.decode(row["person"]) | {"status": row["status"]}, Staff, strict=False)


def staff_row(hospital: str, staff: Staff) -> dict[str, Any]:
    """The row of `staff` for an entry of the register."""
    person = msgspec.to_builtins(staff)
    del person["status"]
    return {
        "hospital": hospital,
        "staff": staff.staff,
        "department": staff.department,
        "status": staff.status.value,
        "person": msgspec.json.encode(person),
    }


def grant_row(hospital: str, grant: Grant) -> dict[str, Any]:
    """The row of `grants` for a grant."""
    row = {name: getattr(grant, name) for name in Grant.__struct_fields__}
    row |= {name: row[name].value for name in ("scope_type", "role", "state")}
    return {"hospital": hospital, **row}


def duty_row(hospital: str, duty: Duty) -> dict[str, Any]:
    """The row of `roster` for a turn of duty."""
    return {"hospital": hospital, "staff": duty.staff, "starts": duty.starts.isoformat(), "ends": duty.ends.isoformat()}


async def install(connection: AsyncConnection, hospital: Hospital, people: Sequence[Person], settings: Settings, province: str) -> None:
    """Write a hospital that is not in the database yet."""
    code = hospital.code
    await connection.execute(
        tables.hospitals.insert(),
        {
            "code": code,
            "name": hospital.name,
            "time_zone": str(hospital.time_zone),
            "province": province,
            "settings": msgspec.json.encode(settings),
        },
    )
    entries = [
        {"hospital": code, "position": i, "entry": msgspec.json.encode(e), "documentation": b"{}"} for i, e in enumerate(hospital.entries)
    ]
    await _insert(connection, tables.catalog, entries)
    await _insert(connection, tables.aliases, [{"hospital": code, "code": c, "national_code": n} for c, n in hospital.aliases.items()])
    await _insert(connection, tables.technologies, [technology_row(code, i, t) for i, t in enumerate(hospital.technologies)])
    await _insert(connection, tables.staff, [staff_row(code, p.staff) for p in people])
    await _insert(connection, tables.grants, [grant_row(code, g) for p in people for g in p.grants])
    await _insert(connection, tables.credentials, [{"hospital": code, **_plain(c)} for p in people for c in p.credentials])
    await _insert(connection, tables.volumes, [{"hospital": code, **_plain(v)} for p in people for v in p.volumes])
    await _insert(connection, tables.roster, [duty_row(code, d) for p in people for d in p.duty])


def technology_row(hospital: str, position: int, technology: Technology) -> dict[str, Any]:
    """The row of `technologies` for a technology."""
    content = msgspec.to_builtins(technology)
    stopped = content.pop("stopped")
    return {
        "hospital": hospital,
        "id": technology.id,
        "position": position,
        "technology": msgspec.json.encode(content),
        "stopped": stopped,
    }


def technology_of(row: Any) -> Technology:
    """The technology in a row of `technologies`."""
    return msgspec.convert(msgspec.json.decode(row.technology) | {"stopped": bool(row.stopped)}, Technology, strict=False)


def _plain(value: Credential | Volume) -> dict[str, Any]:
    return {name: getattr(value, name).value if name == "scope_type" else getattr(value, name) for name in value.__struct_fields__}


async def _insert(connection: AsyncConnection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    await bulk.insert(connection, table, list(rows))


def _all(table: Table, code: str, order: str) -> Select[Any]:
    return select(table).where(table.c.hospital == code).order_by(table.c[order])


def _of(table: Table, code: str, numbers: Collection[str] | None, kind: type[msgspec.Struct] | None = None) -> Select[Any]:
    """The rows of everybody or of some people, by staff number; as columns the fields of a kind of value, otherwise all."""
    columns = [table] if kind is None else [table.c[name] for name in kind.__struct_fields__]
    query = select(*columns).where(table.c.hospital == code).order_by(table.c.staff)
    return query if numbers is None or len(numbers) > MAX_NUMBERS_PER_QUERY else query.where(table.c.staff.in_(sorted(numbers)))
