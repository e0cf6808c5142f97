"""Importing a pack from a folder: makes the hospital where it is new."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from app.engine.model import Value
from app.imports.content import Content, of_pack
from app.imports.current import Current
from app.imports.diff import Diff
from app.imports.plan import PACK
from app.imports.run import Job, run
from app.imports.steps import Loosening, Mode
from app.packs.hospital import Settings, read_hospital
from app.packs.load import HOSPITAL_FILE, load_pack
from app.packs.problems import Problems
from app.packs.rows import Progress
from app.packs.toml_tables import parse_toml
from app.store.database import Database


class ImportResult(Value, frozen=True):
    """What an import did, or, `applied` False, would do. `made`: the hospital is new. `version`: the matrix version afterwards. `counts` are
    of all tables, `diff` tells everything."""

    hospital: str
    name: str
    made: bool
    applied: bool
    version: int
    counts: dict[str, int]
    loosening: tuple[Loosening, ...]
    warnings: tuple[str, ...]
    diff: Diff


async def import_pack(
    database: Database,
    folder: Path,
    dry_run: bool = False,
    *,
    mode: Mode = Mode.MERGE,
    confirm: bool = False,
    by: str = "surgate import",
    progress: Progress | None = None,
) -> ImportResult:
    """Import the pack in a folder; all or nothing, in force on every worker on return. `progress` is called from another thread.

    Raises:
        PackError: something is wrong with it, or contradicts what is there; it carries every problem.
        NeedsConfirmation: it loosens something, and `confirm` is not set.
    """
    settings = await asyncio.to_thread(settings_of, folder)
    job = Job(settings.hospital.code, PACK, by, mode, dry_run, confirm)
    diff = await run(database, job, lambda current: read_folder(folder, current, progress))
    return ImportResult(
        hospital=settings.hospital.code,
        name=settings.hospital.name,
        made=diff.made,
        applied=diff.applied,
        version=diff.matrix_version,
        counts=msgspec.to_builtins(diff.counts),
        loosening=diff.loosening,
        warnings=diff.warnings,
        diff=diff,
    )


def read_folder(folder: Path, current: Current, progress: Progress | None = None) -> Content:
    """What the pack in a folder says to a hospital. Raises `PackError`."""
    return of_pack(load_pack(folder, progress=progress, already=current.already()), current)


def settings_of(folder: Path) -> Settings:
    """Which hospital a pack belongs to. Raises `PackError` where its hospital.toml does not say."""
    problems = Problems()
    path = folder / HOSPITAL_FILE
    top = parse_toml(HOSPITAL_FILE, path.read_bytes(), problems) if path.is_file() else None
    settings = None if top is None else read_hospital(top)
    if settings is None:
        load_pack(folder)  # says everything that is wrong, this file among it
        raise problems.error()
    return settings
