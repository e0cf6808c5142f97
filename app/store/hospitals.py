"""Hospitals in the database: out as engine values, in from a pack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Select, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import Credential, Entry, Grant, Hospital, OfficeHours, Paediatric, Person, Policy, Staff, Technology, Volume
from app.store import tables

MAX_NUMBERS_PER_QUERY = 500
"""Staff numbers in one IN list."""


class Settings(msgspec.Struct, frozen=True):
    """What a hospital's `hospital.toml` says beside name, code and time zone, as it is kept."""

    department_aliases: dict[str, str] = {}
    policy: Policy = Policy()
    paediatric: Paediatric | None = None
    office_hours: OfficeHours = OfficeHours()
    builds_on: tuple[str, ...] = ()
    notify: tuple[dict[str, str], ...] = ()
    retention_years: int | None = None


class Loaded(NamedTuple):
    """A hospital as the engine wants it, at one version."""

    hospital: Hospital
    people: dict[str, Person]
    version: int
    settings: Settings


async def codes(connection: AsyncConnection) -> list[str]:
    """The hospitals there are."""
    return list((await connection.execute(select(tables.hospitals.c.code).order_by(tables.hospitals.c.code))).scalars())


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
    row = (await connection.execute(select(tables.hospitals).where(tables.hospitals.c.code == code))).mappings().first()
    if row is None:
        return None
    settings = msgspec.json.decode(row["settings"], type=Settings)
    hospital = Hospital(
        code=code,
        name=row["name"],
        time_zone=ZoneInfo(row["time_zone"]),
        entries=tuple([msgspec.json.decode(r.entry, type=Entry) for r in await _rows(connection, tables.catalog, code, "position")]),
        aliases={r.code: r.national_code for r in await _rows(connection, tables.aliases, code, "code")},
        technologies=tuple([technology_of(r) for r in await _rows(connection, tables.technologies, code, "position")]),
        department_aliases=settings.department_aliases,
        policy=settings.policy,
        paediatric=settings.paediatric,
        office_hours=settings.office_hours,
    )
    return Loaded(hospital, await load_people(connection, code, None), await version(connection, code), settings)


async def load_people(connection: AsyncConnection, code: str, numbers: Collection[str] | None) -> dict[str, Person]:
    """The rows of the grant matrix: all of them, or those of some staff numbers. Who is not in the register is not in the answer."""
    if numbers is not None and len(numbers) > MAX_NUMBERS_PER_QUERY:
        numbers = None
    held: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for table, kind in ((tables.grants, Grant), (tables.credentials, Credential), (tables.volumes, Volume)):
        query = _of(table, code, numbers)
        if table is tables.grants:
            query = query.where(tables.grants.c.retired.is_(False))
        for row in (await connection.execute(query)).mappings():
            value = msgspec.convert({name: row[name] for name in kind.__struct_fields__}, kind)
            held[row["staff"]][table.name].append(value)
    people = {}
    for row in (await connection.execute(_of(tables.staff, code, numbers))).mappings():
        mine = held[row["staff"]]
        people[row["staff"]] = Person(
            staff=staff_of(row), grants=tuple(mine["grants"]), credentials=tuple(mine["credentials"]), volumes=tuple(mine["volumes"])
        )
    return people


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
    made = list(rows)
    if made:
        await connection.execute(table.insert(), made)


async def _rows(connection: AsyncConnection, table: Table, code: str, order: str) -> Sequence[Any]:
    return (await connection.execute(select(table).where(table.c.hospital == code).order_by(table.c[order]))).all()


def _of(table: Table, code: str, numbers: Collection[str] | None) -> Select[Any]:
    mine = table.c.hospital == code
    return select(table).where(mine if numbers is None else and_(mine, table.c.staff.in_(sorted(numbers))))
