"""What the engine judges by as bytes (msgpack), and back: one person's row, and a hospital but for its people."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import msgspec

from app.cache.layout import digest
from app.engine.model import Entry, Person, Staff, Technology
from app.store.hospitals import Itself, Settings, Values, duty_row, hospital_of

_Day = date | None
_Grant = tuple[str, str, str, str, date, str, str, _Day, _Day, str, str]
_Credential = tuple[str, str, str, date, str]
_Volume = tuple[str, str, str, int, int, int, _Day]
_Duty = tuple[str, str, str]


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A person's row as it is packed: the values' fields in their order."""

    staff: Staff
    grants: tuple[_Grant, ...]
    credentials: tuple[_Credential, ...]
    volumes: tuple[_Volume, ...]
    duty: tuple[_Duty, ...]


class _Itself(msgspec.Struct, frozen=True, array_like=True):
    code: str
    name: str
    time_zone: str
    settings: Settings
    entries: tuple[Entry, ...]
    aliases: dict[str, str]
    technologies: tuple[Technology, ...]


LAYOUT = digest(_Row, _Itself, Person)
"""What bytes of this version are like. Those of another one are not to be read."""

_pack = msgspec.msgpack.Encoder(order="deterministic").encode
_row = msgspec.msgpack.Decoder(_Row).decode
_itself = msgspec.msgpack.Decoder(_Itself).decode
_fields = msgspec.structs.astuple


def pack_person(person: Person) -> bytes:
    """A person's row as bytes."""
    duty = [tuple(duty_row("", turn).values())[1:] for turn in person.duty]
    return _pack(
        (
            person.staff,
            [_fields(g) for g in person.grants],
            [_fields(c) for c in person.credentials],
            [_fields(v) for v in person.volumes],
            duty,
        )
    )


def unpack_person(packed: bytes, values: Values) -> Person:
    """The row in bytes; `values` keeps texts and days that are equal as one object. Raises `msgspec.MsgspecError`, `KeyError` or `ValueError` for what is none."""
    row = _row(packed)
    return Person(
        row.staff,
        tuple([values.grant(columns) for columns in row.grants]),
        tuple([values.credential(columns) for columns in row.credentials]),
        tuple([values.volume(columns) for columns in row.volumes]),
        tuple([values.duty(columns) for columns in row.duty]),
    )


def pack_itself(itself: Itself) -> bytes:
    """A hospital but for its people as bytes."""
    hospital = itself.hospital
    fields = (hospital.entries, dict(hospital.aliases), hospital.technologies)
    return _pack((hospital.code, hospital.name, str(hospital.time_zone), itself.settings, *fields))


def unpack_itself(packed: bytes) -> Itself:
    """The hospital in bytes. Raises `msgspec.MsgspecError` for what is none."""
    one = _itself(packed)
    hospital = hospital_of(one.code, one.name, ZoneInfo(one.time_zone), one.settings, one.entries, one.aliases, one.technologies)
    return Itself(hospital, one.settings)
