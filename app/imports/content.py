"""What a file says: a table, technologies, or a whole pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from app.imports.current import Current, Profile
from app.packs import records
from app.packs.load import SHIPPED_PACKS, TECHNOLOGIES_FILE, Pack
from app.packs.problems import Problem, Problems
from app.packs.references import References
from app.packs.rows import Progress, Source, TableRows
from app.packs.sheets import open_sheet
from app.packs.tables import TABLES
from app.packs.technologies import Given, merge, read_technologies
from app.packs.toml_tables import parse_toml
from app.packs.zips import is_workbook
from app.store import hospitals

_READERS: Mapping[str, Callable[[Source, References], Any]] = {
    "aliases": records.read_aliases,
    "catalog": records.read_catalog,
    "staff": records.read_staff,
    "grants": records.read_grants,
    "credentials": records.read_credentials,
    "volumes": records.read_volumes,
    "roster": records.read_roster,
}


class Content(NamedTuple):
    """A file's content. `shared`: what the packs bring that the hospital builds on, where technologies are concerned, otherwise None."""

    tables: Mapping[str, TableRows] = {}
    given: Mapping[str, Given] | None = None
    shared: Mapping[str, Given] | None = None
    profile: Profile | None = None
    warnings: tuple[Problem, ...] = ()


def read_table(kind: str, data: bytes, current: Current, progress: Progress | None = None) -> Content:
    """The rows of a table's file, CSV or XLSX, told by its content.

    Raises:
        PackError: anything is wrong with it.
    """
    problems = Problems()
    sheet = open_sheet(f"{kind}.{'xlsx' if is_workbook(data) else 'csv'}", data, problems)
    rows = None
    if sheet is not None:
        departments = {} if current.profile is None else current.profile.settings.department_aliases
        source = Source(TABLES[kind], sheet, departments, problems, progress)
        _READERS[kind](source, References(current.already()))
        rows = source.kept()
    if rows is None or problems.count:
        raise problems.error()
    return Content({kind: rows}, warnings=tuple(problems.warnings))


def read_technologies_file(data: bytes, current: Current) -> Content:
    """A technologies.toml. Raises `PackError`."""
    problems = Problems()
    top = parse_toml(TECHNOLOGIES_FILE, data, problems)
    given = None if top is None else read_technologies(top)
    builds_on = () if current.profile is None else current.profile.settings.builds_on
    shared = shared_technologies(builds_on)
    if given is None or problems.count:
        raise problems.error()
    return Content(given=given, shared=shared, warnings=tuple(problems.warnings))


def shared_technologies(builds_on: tuple[str, ...]) -> dict[str, Given]:
    """What the packs that come with the project give; one that lay beside a hospital's own folder is not among them, and what it brought is
    the hospital's own by now."""
    problems = Problems()
    merged: dict[str, Given] = {}
    for name in builds_on:
        path = SHIPPED_PACKS / name / TECHNOLOGIES_FILE
        if path.is_file():
            top = parse_toml(f"{name}/{TECHNOLOGIES_FILE}", path.read_bytes(), problems)
            merged = merge(merged, {} if top is None else read_technologies(top), problems)
    return merged


def of_pack(pack: Pack, current: Current) -> Content:
    """A loaded pack. A target of notifications that is written without its secret keeps the one that is stored."""
    hospital = pack.hospital
    stored = () if current.profile is None else current.profile.settings.notify
    settings = hospitals.Settings(
        department_aliases=dict(hospital.department_aliases),
        policy=hospital.policy,
        paediatric=hospital.paediatric,
        office_hours=hospital.office_hours,
        builds_on=pack.builds_on,
        notify=tuple([_with_secret(dict(target), stored) for target in pack.notify]),
        retention_years=pack.retention_years,
    )
    profile = Profile(hospital.name, str(hospital.time_zone), pack.province, settings)
    return Content(pack.tables, pack.given, pack.shared, profile, pack.warnings)


def _with_secret(target: dict[str, str], stored: tuple[dict[str, str], ...]) -> dict[str, str]:
    if "secret" in target:
        return target
    same = next((s for s in stored if s.get("kind") == target["kind"] and s.get("url") == target["url"] and "secret" in s), None)
    return target if same is None else {**target, "secret": same["secret"]}
