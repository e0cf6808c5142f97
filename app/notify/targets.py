"""Where a hospital wants to be told: the `[[notify]]` tables of its hospital.toml."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

import msgspec

from app.cache.live_hospital import LiveHospital
from app.engine.calendar import in_office_hours
from app.store.hospitals import Settings

ID_CHARS = 16
"""Hexadecimal digits of a target's id: enough to tell a hospital's few targets apart."""


class Target(msgspec.Struct, frozen=True):
    """One receiver. `when`: `office` within the office's hours, `duty` outside them, `always`. `secret` signs what is sent; empty: unsigned."""

    kind: str
    url: str
    secret: str = ""
    when: str = "always"

    @property
    def id(self) -> str:
        """What it is called in the outbox. A robot's URL holds its key: it stands nowhere but in the settings."""
        return hashlib.sha256(f"{self.kind} {self.url}".encode()).hexdigest()[:ID_CHARS]


def targets_of(settings: Settings) -> tuple[Target, ...]:
    """A hospital's targets, each once."""
    found = (msgspec.convert(written, Target) for written in settings.notify)
    return tuple({(target.id, target.when): target for target in found}.values())


def target_by(settings: Settings, target_id: str) -> Target | None:
    """The target of that id; None where the hospital has it no longer."""
    return next((target for target in targets_of(settings) if target.id == target_id), None)


def due(live: LiveHospital, now: datetime) -> Iterator[str]:
    """The ids of the targets that are to be told at that instant, each once."""
    at_work = in_office_hours(now, live.hospital.office_hours, live.hospital.time_zone)
    wanted = ("always", "office" if at_work else "duty")
    yield from dict.fromkeys(target.id for target in targets_of(live.settings) if target.when in wanted)


def hours_without(settings: Settings) -> tuple[str, ...]:
    """Of `office` and `duty`, those hours in which nobody would be told."""
    told = {target.when for target in targets_of(settings)}
    return () if "always" in told else tuple(hours for hours in ("office", "duty") if hours not in told)
