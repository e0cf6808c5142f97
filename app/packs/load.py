"""Loading a hospital's pack: every file of a folder read, held against the others, and made one value, or refused with all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from app.engine.model import Hospital, Person, Technology
from app.packs import records
from app.packs.hospital import Settings, read_hospital, read_shared
from app.packs.problems import PackError, Problem, Problems
from app.packs.references import Known, References
from app.packs.rows import Progress
from app.packs.sheets import open_sheet
from app.packs.tables import ALIASES, CATALOG, CREDENTIALS, GRANTS, STAFF, TABLES, VOLUMES, Table
from app.packs.technologies import Given, build, merge, read_technologies
from app.packs.texts import Nearest, hint

SHIPPED_PACKS = Path(__file__).resolve().parents[2] / "packs"
"""The packs that come with the project: national and provincial ones to build on, and demo hospitals."""

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Of one file: 400,000 grants are about 40 MiB of CSV."""

HOSPITAL_FILE, SHARED_FILE, TECHNOLOGIES_FILE = "hospital.toml", "pack.toml", "technologies.toml"
DOCUMENTATION_FILES = ("thresholds.csv", "classes.csv", "high_risk.csv", "grades.csv", "indicators.csv", "README.md")
"""Files of a pack that are for people."""


class Pack(msgspec.Struct, frozen=True):
    """A whole pack. `warnings`: what was noticed and does not refuse it. `notify`: where overrides are sent, as written in hospital.toml.
    `retention_years`: how long records are kept, None where nothing is said."""

    hospital: Hospital
    people: tuple[Person, ...]
    folder: Path
    warnings: tuple[Problem, ...] = ()
    province: str = ""
    builds_on: tuple[str, ...] = ()
    notify: tuple[Mapping[str, str], ...] = ()
    retention_years: int | None = None

    def __repr__(self) -> str:
        """Short: `notify` holds secrets, and the people are many."""
        return f"Pack({self.hospital.code!r}, entries={len(self.hospital.entries)}, people={len(self.people)}, folder={str(self.folder)!r})"


def load_pack(folder: Path, *, progress: Progress | None = None) -> Pack:
    """The pack in a folder. `progress(file, rows done, rows expected)` is called every 5,000 rows and at the end of each table.

    Raises:
        PackError: anything is wrong; it carries every problem that was found.
    """
    problems = Problems()
    loader = _Loader(folder, problems, progress)
    pack = loader.load() if folder.is_dir() else None
    if not folder.is_dir():
        problems.add(folder.name, "没有这个文件夹。", "There is no such folder.")
    if pack is None or problems.count:
        raise problems.error()
    return pack


class _Loader:
    """One loading of one pack."""

    def __init__(self, folder: Path, problems: Problems, progress: Progress | None) -> None:
        self._folder = folder
        self._problems = problems
        self._progress = progress
        self._departments: Mapping[str, str] = {}

    def load(self) -> Pack | None:
        _warn_of_unknown_files(self._folder, self._problems)
        settings = self._settings()
        self._departments = settings.departments if settings else {}
        catalog, aliases, codes = self._catalog()
        technologies, known, grantable = self._technologies(settings.builds_on if settings else (), complete=settings is not None)
        people = self._people(codes, catalog.items, known, grantable)
        _warn_of_unknown_teams(technologies, people, self._problems)
        if settings is None:
            return None
        hospital = Hospital(
            code=settings.code,
            name=settings.name,
            time_zone=settings.time_zone,
            entries=catalog.entries,
            aliases=aliases,
            technologies=technologies,
            department_aliases=settings.departments,
            policy=settings.policy,
            paediatric=settings.paediatric,
            office_hours=settings.office_hours,
        )
        return Pack(
            hospital=hospital,
            people=people,
            folder=self._folder,
            warnings=tuple(self._problems.warnings),
            province=settings.province,
            builds_on=settings.builds_on,
            notify=settings.notify,
            retention_years=settings.retention_years,
        )

    def _settings(self) -> Settings | None:
        data = _read(self._folder / HOSPITAL_FILE, HOSPITAL_FILE, self._problems)
        if data is not None:
            return read_hospital(HOSPITAL_FILE, data, self._problems)
        if (self._folder / SHARED_FILE).is_file():
            zh, en = "这是供各医院引用的公共数据包，不能作为医院导入。", "This is a shared pack for hospitals to build on; it cannot be imported as one."
        else:
            zh, en = "缺少此文件。", "The file is missing."
        self._problems.add(HOSPITAL_FILE, zh, en)
        return None

    def _catalog(self) -> tuple[records.Catalog, Mapping[str, str], Known]:
        """The catalog, the aliases, and all codes that a grant may name."""
        source = self._open(CATALOG)
        catalog = records.read_catalog(source) if source else records.Catalog()
        alias_source = self._open(ALIASES)
        aliases = records.read_aliases(alias_source) if alias_source else {}
        complete = catalog.codes.complete and (alias_source is None or alias_source.readable)
        codes = Known({*catalog.codes.words, *aliases, *aliases.values()}, complete=complete)
        if source:
            records.check_includes(source, catalog, codes)
        return catalog, aliases, codes
