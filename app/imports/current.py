"""What a hospital has before an import: its rows with what people noted beside them and which states were set by hand."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, Select, Table, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import Credential, Duty, Entry, Grant, Hospital, ScopeType, Value, Volume
from app.packs.references import Already
from app.store import hospitals, tables
from app.store.hospitals import Values, rows_of

KEYED_KINDS = ("aliases", "staff", "grants", "credentials", "volumes", "roster")
"""Tables whose rows have an identity of their own; the catalog's are told apart by `plan_catalog`, technologies by their id."""


class Held(Value, frozen=True):
    """A row: its value (an alias: code and national code), notes, whether its state (a technology's stop) was set through the API, whether it
    was left out of a file that replaced the matrix."""

    value: Any
    notes: Mapping[str, Any]
    by_hand: bool = False
    retired: bool = False


class _Named(msgspec.Struct):
    """Of a person, the name alone."""

    name: str


class Profile(Value, frozen=True):
    """What a hospital's settings file says."""

    name: str
    time_zone: str
    province: str
    settings: hospitals.Settings


class Current(NamedTuple):
    """A hospital at one version; `profile` None where there is none yet. `keyed` has the tables that were asked for, by kind and identity.
    `scopes` are those that any row names, `names` those of everybody in the register by staff number."""

    code: str
    version: int = 0
    profile: Profile | None = None
    catalog: tuple[Held, ...] = ()
    technologies: tuple[Held, ...] = ()
    keyed: Mapping[str, Mapping[Hashable, Held]] = {}
    scopes: frozenset[tuple[str, str]] = frozenset()
    names: Mapping[str, str] = {}

    def already(self) -> Already:
        """What a file's rows may name although the file does not bring it."""
        hospital = hospital_of(self.code, self.profile, self.catalog, self.keyed.get("aliases", {}).values(), self.technologies)
        named: dict[str, set[str]] = {kind.value: {scope for of, scope in self.scopes if of == kind} for kind in ScopeType}
        included = {word for entry in hospital.entries for word in entry.includes}
        own = Already.of(hospital, self.names)
        return own._replace(
            codes=own.codes | included | named[ScopeType.CODE],
            items=own.items | named[ScopeType.ITEM],
            technologies=own.technologies | named[ScopeType.TECHNOLOGY],
            grantable=own.grantable | _granted_technologies(self.scopes),
        )


def hospital_of(
    code: str, profile: Profile | None, catalog: Iterable[Held], aliases: Iterable[Held], technologies: Iterable[Held]
) -> Hospital:
    """The engine's value of rows."""
    settings = hospitals.Settings() if profile is None else profile.settings
    return Hospital(
        code=code,
        name="" if profile is None else profile.name,
        time_zone=ZoneInfo("UTC" if profile is None else profile.time_zone),
        entries=tuple([held.value for held in catalog]),
        aliases=dict(held.value for held in aliases),
        technologies=tuple([held.value for held in technologies]),
        department_aliases=settings.department_aliases,
        policy=settings.policy,
        paediatric=settings.paediatric,
        office_hours=settings.office_hours,
    )


def identity(kind: str, value: Any) -> Hashable:
    """By what a row of a keyed table is told from the others."""
    if kind == "aliases":
        return str(value[0])
    if kind == "staff":
        return str(value.staff)
    if kind == "grants":
        return (value.staff, value.scope_type.value, value.scope, value.department, value.role.value, value.valid_from)
    if kind == "credentials":
        return (value.staff, value.technology, value.kind, value.issued_on)
    if kind == "roster":
        return (value.staff, value.starts, value.ends)
    return (value.staff, value.scope_type.value, value.scope, value.year)


async def read_current(connection: AsyncConnection, code: str, kinds: Collection[str]) -> Current:
    """What a hospital has, with the keyed tables of those kinds (aliases always)."""
    row = (await connection.execute(select(tables.hospitals).where(tables.hospitals.c.code == code))).mappings().first()
    if row is None:
        return Current(code, keyed={kind: {} for kind in KEYED_KINDS})
    settings = msgspec.json.decode(row["settings"], type=hospitals.Settings)
    return Current(
        code=code,
        version=await hospitals.version(connection, code),
        profile=Profile(row["name"], row["time_zone"], row["province"], settings),
        catalog=tuple([_entry(r) async for r in rows_of(connection, _all(tables.catalog, code).order_by(tables.catalog.c.position))]),
        technologies=tuple(
            [_technology(r) async for r in rows_of(connection, _all(tables.technologies, code).order_by(tables.technologies.c.position))]
        ),
        keyed={kind: await _keyed(connection, kind, code) for kind in KEYED_KINDS if kind == "aliases" or kind in kinds},
        scopes=await _scopes(connection, code),
        names=await _names(connection, code),
    )


async def _keyed(connection: AsyncConnection, kind: str, code: str) -> dict[Hashable, Held]:
    """A table by identity."""
    values, make = Values(), _HELD[kind]
    found: dict[Hashable, Held] = {}
    async for row in rows_of(connection, _QUERIES[kind].where(tables.metadata.tables[kind].c.hospital == code)):
        held = make(values, row)
        found[identity(kind, held.value)] = held
    return found


def _columns(table: Table, kind: type[Value], *others: str) -> Select[Any]:
    return select(*(table.c[name] for name in (*kind.__struct_fields__, *others)))


def _all(table: Table, code: str) -> Select[Any]:
    return select(table).where(table.c.hospital == code)


async def _names(connection: AsyncConnection, code: str) -> dict[str, str]:
    query = select(tables.staff.c.staff, tables.staff.c.person).where(tables.staff.c.hospital == code)
    return {row.staff: msgspec.json.decode(row.person, type=_Named).name async for row in rows_of(connection, query)}


async def _scopes(connection: AsyncConnection, code: str) -> frozenset[tuple[str, str]]:
    queries = [select(t.c.scope_type, t.c.scope).where(t.c.hospital == code).distinct() for t in (tables.grants, tables.volumes)]
    named = {(r[0], r[1]) for r in await connection.execute(union(*queries))}
    trained = select(tables.credentials.c.technology).where(tables.credentials.c.hospital == code).distinct()
    return frozenset(named | {("technology", technology) for technology in (await connection.execute(trained)).scalars()})


def _granted_technologies(scopes: Iterable[tuple[str, str]]) -> frozenset[str]:
    return frozenset(scope for kind, scope in scopes if kind == ScopeType.TECHNOLOGY)


def _notes(kept: bytes | None) -> Mapping[str, Any]:
    return dict(msgspec.json.decode(kept)) if kept else _NO_NOTES


def _entry(row: Row[Any]) -> Held:
    return Held(msgspec.json.decode(row.entry, type=Entry), _notes(row.documentation))


def _technology(row: Row[Any]) -> Held:
    return Held(hospitals.technology_of(row), _notes(row.documentation), bool(row.stopped_by_hand))


def _alias(_values: Values, row: Row[Any]) -> Held:
    return Held((row.code, row.national_code), _notes(row.documentation))


def _staff(_values: Values, row: Row[Any]) -> Held:
    return Held(hospitals.staff_of(row._mapping), _notes(row.documentation), bool(row.suspended_by_hand))


def _grant(values: Values, row: Row[Any]) -> Held:
    *columns, notes, by_hand, retired = tuple(row)
    return Held(values.grant(columns), _notes(notes), bool(by_hand), bool(retired))


def _credential(values: Values, row: Row[Any]) -> Held:
    *columns, notes = tuple(row)
    return Held(values.credential(columns), _notes(notes))


def _volume(values: Values, row: Row[Any]) -> Held:
    *columns, notes = tuple(row)
    return Held(values.volume(columns), _notes(notes))


def _duty(values: Values, row: Row[Any]) -> Held:
    *columns, notes = tuple(row)
    return Held(values.duty(columns), _notes(notes))


_NO_NOTES: Mapping[str, Any] = {}
"""What nearly all rows have."""

_HELD = {"aliases": _alias, "staff": _staff, "grants": _grant, "credentials": _credential, "volumes": _volume, "roster": _duty}

_QUERIES: Mapping[str, Select[Any]] = {
    "aliases": select(tables.aliases),
    "staff": select(tables.staff),
    "grants": _columns(tables.grants, Grant, "documentation", "state_by_hand", "retired"),
    "credentials": _columns(tables.credentials, Credential, "documentation"),
    "volumes": _columns(tables.volumes, Volume, "documentation"),
    "roster": _columns(tables.roster, Duty, "documentation"),
}

__all__ = ["KEYED_KINDS", "Current", "Held", "Profile", "hospital_of", "identity", "read_current"]
