"""An import's plan: what it does, held against what is there. Nothing is written here."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from app.imports import loosening
from app.imports.content import Content
from app.imports.current import KEYED_KINDS, Current, Held, Profile, hospital_of
from app.imports.plan_lists import CATALOG, TECHNOLOGIES, plan_catalog, plan_technologies
from app.imports.plan_rows import plan_rows
from app.imports.steps import Action, Loosening, Mode, Step
from app.packs.problems import Problem, Problems
from app.packs.tables import TABLES

PACK, HOSPITAL = "pack", "hospital"
IMPORT_KINDS = (*TABLES, TECHNOLOGIES, PACK)

MAX_PEOPLE = 500
"""Beyond so many people a worker reads the whole hospital again instead of their rows."""


class Plan(NamedTuple):
    """What an import does. `tables`: those that the file brings, in the order of their steps. `catalog`, `technologies`, `profile`: as they are
    to be, None where nothing of them changes."""

    kind: str
    mode: Mode
    tables: tuple[str, ...]
    steps: tuple[Step, ...]
    loosening: tuple[Loosening, ...]
    warnings: tuple[Problem, ...]
    catalog: tuple[Held, ...] | None
    technologies: tuple[Held, ...] | None
    profile: Profile | None

    @property
    def writes(self) -> bool:
        """Whether anything changes."""
        return any(step.writes for step in self.steps)

    @property
    def people(self) -> tuple[str, ...] | None:
        """The staff numbers whose rows change; None where more than people's rows do, or many people's."""
        tables = {step.table for step in self.steps if step.writes}
        if not tables <= {"staff", "grants", "credentials", "volumes", "roster"}:
            return None
        numbers = {held.value.staff for step in self.steps if step.writes for held in (step.before, step.after) if held is not None}
        return tuple(sorted(numbers)) if len(numbers) <= MAX_PEOPLE else None


def needed_tables(kind: str) -> Collection[str]:
    """The tables to read for an import of that kind."""
    return KEYED_KINDS if kind == PACK else (kind,)


def make_plan(kind: str, mode: Mode, content: Content, current: Current) -> Plan:
    """The plan.

    Raises:
        PackError: the file contradicts what is there.
    """
    problems = Problems()
    steps = _profile_steps(content, current)
    catalog, technologies = current.catalog, current.technologies
    if CATALOG in content.tables:
        found, catalog = plan_catalog(current.catalog, content.tables[CATALOG], mode)
        steps += found
    if content.shared is not None:
        found, technologies = plan_technologies(current.technologies, content.given, content.shared, mode, problems)
        steps += found
    for name in KEYED_KINDS:
        if name in content.tables:
            steps += plan_rows(current.keyed[name], content.tables[name], mode, problems)
    if problems.count:
        raise problems.error()
    return Plan(
        kind=kind,
        mode=mode,
        tables=_tables(content),
        steps=tuple(steps),
        loosening=tuple(_loosening(content, current, steps, catalog, technologies)),
        warnings=(*content.warnings, *problems.warnings),
        catalog=catalog if _writes(steps, CATALOG) else None,
        technologies=technologies if _writes(steps, TECHNOLOGIES) else None,
        profile=content.profile if _writes(steps, HOSPITAL) else None,
    )


def _tables(content: Content) -> tuple[str, ...]:
    own = (HOSPITAL,) if content.profile is not None else ()
    named = (TECHNOLOGIES,) if content.shared is not None else ()
    return (*own, *(kind for kind in TABLES if kind in content.tables), *named)


def _writes(steps: list[Step], table: str) -> bool:
    return any(step.table == table and step.writes for step in steps)


def _profile_steps(content: Content, current: Current) -> list[Step]:
    if content.profile is None:
        return []
    before = None if current.profile is None else Held(current.profile, {})
    after = Held(content.profile, {})
    action = Action.ADDED if before is None else Action.UNCHANGED if before == after else Action.CHANGED
    return [Step(action, HOSPITAL, current.code, None, before, after)]


def _loosening(
    content: Content, current: Current, steps: list[Step], catalog: tuple[Held, ...], technologies: tuple[Held, ...]
) -> list[Loosening]:
    if current.profile is None:
        return []  # before there was no hospital, and nothing was allowed or denied
    aliases = dict(current.keyed["aliases"])
    for step in steps:
        if step.table == "aliases":
            aliases.pop(step.subject, None)
            if step.after is not None:
                aliases[step.subject] = step.after
    profile: Any = content.profile or current.profile
    old = hospital_of(current.code, current.profile, current.catalog, current.keyed["aliases"].values(), current.technologies)
    new = hospital_of(current.code, profile, catalog, aliases.values(), technologies)
    today = datetime.now(UTC).astimezone(ZoneInfo(profile.time_zone)).date()
    grants = current.keyed.get("grants", {}).values()
    return [*loosening.of_hospital(old, new), *loosening.of_people(steps, grants, new, today)]
