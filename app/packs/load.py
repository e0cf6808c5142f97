"""Loading a hospital's pack: every file of a folder is read, held against the others, and made one value; or all that is wrong is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from app.engine.model import Hospital, Person, Staff
from app.packs import records
from app.packs.hospital import Settings, read_hospital, read_shared
from app.packs.problems import Problem, Problems
from app.packs.references import Already, Known, References
from app.packs.rows import Progress
from app.packs.sheets import open_sheet
from app.packs.source import Source, TableRows
from app.packs.tables import ALIASES, CATALOG, CREDENTIALS, GRANTS, STAFF, TABLES, VOLUMES, Table
from app.packs.technologies import Given, build, merge, read_technologies
from app.packs.texts import Nearest, hint

_APP = Path(__file__).resolve().parents[1]
SHIPPED_PACKS = next((folder for folder in (_APP / "shipped_packs", _APP.parent / "packs") if folder.is_dir()), _APP.parent / "packs")
"""The packs that come with the project: national and provincial ones to build on, and demo hospitals. The first is where an installed
package has them, the second where the sources do."""

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Of one file: 400,000 grants are about 40 MiB of CSV."""

HOSPITAL_FILE, SHARED_FILE, TECHNOLOGIES_FILE = "hospital.toml", "pack.toml", "technologies.toml"
_NOTHING = Already()

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
    tables: Mapping[str, TableRows] = {}
    """The rows of each table that the pack has, with what people noted beside them."""
    given: Mapping[str, Given] | None = None
    """What the pack's own technologies.toml gives; None where it has none."""
    shared: Mapping[str, Given] = {}
    """What the packs that it builds on give, merged."""

    def __repr__(self) -> str:
        """Short: `notify` holds secrets, and the people are many."""
        return f"Pack({self.hospital.code!r}, entries={len(self.hospital.entries)}, people={len(self.people)}, folder={str(self.folder)!r})"


def load_pack(folder: Path, *, progress: Progress | None = None, already: Already = _NOTHING) -> Pack:
    """The pack in a folder. `progress(file, rows done, rows expected)` is called every 5,000 rows and at the end of each table. `already`:
    what the hospital has, for a pack that adds to it.

    Raises:
        PackError: anything is wrong; it carries every problem that was found.
    """
    problems = Problems()
    pack = None
    if folder.is_dir():
        pack = _Loader(folder, problems, progress, already).load()
    else:
        problems.add(folder.name, "没有这个文件夹。", "There is no such folder.")
    if pack is None or problems.count:
        raise problems.error()
    return pack


class _Loader:
    """One loading of one pack."""

    def __init__(self, folder: Path, problems: Problems, progress: Progress | None, already: Already) -> None:
        self._folder = folder
        self._problems = problems
        self._progress = progress
        self._departments: Mapping[str, str] = {}
        self._already = already
        self._unreadable: set[str] = set()
        self._sources: dict[str, Source] = {}
        self._own: dict[str, Given] | None = None
        self._shared: dict[str, Given] = {}

    def load(self) -> Pack | None:
        _warn_of_unknown_files(self._folder, self._problems)
        settings = self._settings()
        if settings is not None:
            self._departments = settings.departments
        catalog, aliases, codes = self._catalog()
        given, complete = self._technologies(settings.builds_on if settings else ())
        technologies = build(given.values(), self._problems)
        register, staff = self._register()
        _warn_of_unknown_teams(given.values(), staff, self._problems)
        grantable = frozenset(one.id for one in given.values() if one.fields.get("grantable")) | (self._already.grantable - given.keys())
        # Without its settings nobody knows what the pack builds on.
        known = Known({*given, *self._already.technologies}, complete=complete and settings is not None)
        people = self._people(References(staff, codes, catalog.items, known, grantable), register)
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
            tables={kind: source.kept() for kind, source in self._sources.items()},
            given=self._own,
            shared=self._shared,
        )

    def _settings(self) -> Settings | None:
        if (self._folder / HOSPITAL_FILE).is_file():
            data = _read(self._folder / HOSPITAL_FILE, HOSPITAL_FILE, self._problems)
            return None if data is None else read_hospital(HOSPITAL_FILE, data, self._problems)
        if (self._folder / SHARED_FILE).is_file():
            zh, en = (
                "这是供各医院引用的公共数据包，不能作为医院导入。",
                "This is a shared pack for hospitals to build on; it cannot be imported as one.",
            )
        else:
            zh, en = "缺少此文件。", "The file is missing."
        self._problems.add(HOSPITAL_FILE, zh, en)
        return None

    def _catalog(self) -> tuple[records.Catalog, Mapping[str, str], Known]:
        """The catalog, the aliases, and all codes that a grant may name."""
        source = self._open(CATALOG)
        catalog = records.read_catalog(source) if source else records.Catalog()
        if CATALOG.kind in self._unreadable:
            catalog.codes.complete = catalog.items.complete = False
        codes = Known(catalog.codes.words | self._already.codes, complete=catalog.codes.complete)
        catalog.items.words |= self._already.items
        alias_source = self._open(ALIASES)
        aliases = records.read_aliases(alias_source, codes) if alias_source else {}
        if ALIASES.kind in self._unreadable:
            codes.complete = False
        if source:
            records.check_includes(source, catalog, codes)
        return catalog, aliases, codes

    def _technologies(self, builds_on: tuple[str, ...]) -> tuple[dict[str, Given], bool]:
        """What is given of each technology, the shared packs' first; and whether every file of it could be read."""
        merged: dict[str, Given] = {}
        complete = True
        folders = [(f"{name}/", self._shared_folder(name)) for name in builds_on]
        for prefix, folder in (*folders, ("", self._folder)):
            given = None if folder is None else self._given(prefix, folder)
            complete = complete and given is not None
            self._shared = merged
            merged = merge(merged, given or {}, self._problems)
        return merged, complete

    def _given(self, prefix: str, folder: Path) -> dict[str, Given] | None:
        """What one technologies.toml gives; None, with a problem, where it cannot be read. A hospital need not have one."""
        file = prefix + TECHNOLOGIES_FILE
        if (folder / TECHNOLOGIES_FILE).is_file():
            data = _read(folder / TECHNOLOGIES_FILE, file, self._problems)
            given = None if data is None else read_technologies(file, data, self._problems)
            if not prefix:
                self._own = given
            return given
        if prefix:
            self._problems.add(file, "缺少此文件。", "The file is missing.")
        return {}

    def _shared_folder(self, name: str) -> Path | None:
        """The folder of a shared pack: beside this one, or among those that come with the project."""
        beside = self._folder.resolve().parent
        for parent in (beside, SHIPPED_PACKS):
            if (parent / name / SHARED_FILE).is_file():
                file = f"{name}/{SHARED_FILE}"
                data = _read(parent / name / SHARED_FILE, file, self._problems)
                if data is not None:
                    read_shared(file, data, self._problems)
                return parent / name
        shared = {path.parent.name for parent in (beside, SHIPPED_PACKS) for path in parent.glob(f"*/{SHARED_FILE}")}
        zh, en = hint(Nearest(sorted(shared)).to(name))
        self._problems.add(HOSPITAL_FILE, f"没有公共数据包“{name}”。{zh}", f'There is no shared pack "{name}".{en}', column="builds_on")
        return None

    def _people(self, references: References, register: Mapping[str, Staff]) -> tuple[Person, ...]:
        grants, credentials, volumes = self._open(GRANTS), self._open(CREDENTIALS), self._open(VOLUMES)
        by_staff = records.read_grants(grants, references) if grants else {}
        trained = records.read_credentials(credentials, references) if credentials else {}
        counted = records.read_volumes(volumes, references) if volumes else {}
        return tuple(
            Person(staff, tuple(by_staff.get(number, ())), tuple(trained.get(number, ())), tuple(counted.get(number, ())))
            for number, staff in register.items()
        )

    def _register(self) -> tuple[Mapping[str, Staff], Known]:
        source = self._open(STAFF)
        if source is None:
            return {}, Known(self._already.staff, complete=STAFF.kind not in self._unreadable)
        register, known = records.read_staff(source)
        known.words |= self._already.staff
        return register, known

    def _open(self, table: Table) -> Source | None:
        """The table's rows; None where the pack does not have it, or, with a problem, where it cannot be read."""
        names = [name for name in file_names(table) if (self._folder / name).is_file()]
        if not names:
            return None
        if len(names) > 1:
            self._problems.add(names[1], f"与 {names[0]} 重复，请只保留一个。", f"There is {names[0]} as well. Keep one of them.")
        data = _read(self._folder / names[0], names[0], self._problems)
        sheet = None if data is None else open_sheet(names[0], data, self._problems)
        if sheet is None:
            self._unreadable.add(table.kind)
            return None
        source = Source(table, sheet, self._departments, self._problems, self._progress)
        self._sources[table.kind] = source
        return source


def file_names(table: Table) -> tuple[str, str]:
    """The names that a table's file may have in a pack."""
    return f"{table.kind}.csv", f"{table.kind}.xlsx"


def _read(path: Path, file: str, problems: Problems) -> bytes | None:
    """The content of a file; None, with a problem, where it cannot be read."""
    try:
        if path.stat().st_size <= MAX_FILE_BYTES:
            return path.read_bytes()
        mebibytes = MAX_FILE_BYTES >> 20
        problems.add(file, f"文件超过 {mebibytes} MiB。", f"The file is larger than {mebibytes} MiB.")
    except OSError as error:
        problems.add(file, f"无法读取文件（{error.strerror}）。", f"The file cannot be read ({error.strerror}).")
    return None


def _warn_of_unknown_files(folder: Path, problems: Problems) -> None:
    known = {HOSPITAL_FILE, TECHNOLOGIES_FILE, *(name for table in TABLES.values() for name in file_names(table))}
    nearest = Nearest(sorted(known))
    for path in sorted(folder.iterdir()):
        # Hidden files, and what Excel puts beside a workbook that is open, are nobody's content.
        if path.name in known or path.name in DOCUMENTATION_FILES or path.name.startswith((".", "~$")):
            continue
        zh, en = hint(nearest.to(path.name.lower()))
        problems.warn(path.name, f"未读取此文件。{zh}", f"This file was not read.{en}")


def _warn_of_unknown_teams(technologies: Iterable[Given], staff: Known, problems: Problems) -> None:
    for given in technologies:
        for number in given.fields.get("team", ()):
            if number not in staff:
                place = f"{given.place}.team"
                problems.warn(given.file, f"人员表中没有工号“{number}”。", f'The register has no staff number "{number}".', column=place)
