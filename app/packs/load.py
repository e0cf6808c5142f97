"""Loading a hospital's pack: every file of a folder is read, held against the others, and made one value; or all that is wrong is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from app.engine.model import Person
from app.packs import records
from app.packs.hospital import Settings, read_hospital
from app.packs.problems import Problem, Problems
from app.packs.references import NOTHING, Already, Known, References
from app.packs.rows import Progress, Source, TableRows
from app.packs.sheets import open_sheet
from app.packs.tables import ALIASES, CATALOG, CREDENTIALS, GRANTS, ROSTER, STAFF, TABLES, VOLUMES, Table
from app.packs.technologies import Given, build, merge, read_technologies
from app.packs.texts import Nearest
from app.packs.toml_tables import TomlTable, parse_toml
from app.shipped import shipped

SHIPPED_PACKS = shipped("packs")
"""The packs that come with the project: national and provincial ones to build on, and demo hospitals."""

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Of one file: 400,000 grants are about 40 MiB of CSV."""

HOSPITAL_FILE, SHARED_FILE, TECHNOLOGIES_FILE = "hospital.toml", "pack.toml", "technologies.toml"
"""The second marks a pack that hospitals build on; what it holds is for people."""
DOCUMENTATION_FILES = ("thresholds.csv", "classes.csv", "high_risk.csv", "grades.csv", "indicators.csv", "README.md")
"""Files of a pack that are for people."""


class Pack(Settings, frozen=True):
    """A whole pack. `warnings`: what was noticed and does not refuse it."""

    people: tuple[Person, ...]
    folder: Path
    warnings: tuple[Problem, ...]
    tables: Mapping[str, TableRows]
    """The rows of each table that the pack has, with what people noted beside them."""
    given: Mapping[str, Given] | None
    """What the pack's own technologies.toml gives; None where it has none."""
    shared: Mapping[str, Given]
    """What the packs that it builds on give, merged."""

    def __repr__(self) -> str:
        """Short: `notify` holds secrets, and the people are many."""
        return f"Pack({self.hospital.code!r}, entries={len(self.hospital.entries)}, people={len(self.people)}, folder={str(self.folder)!r})"


def load_pack(folder: Path, *, progress: Progress | None = None, already: Already = NOTHING) -> Pack:
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
        self._references = References(already)
        self._departments: Mapping[str, str] = {}
        self._sources: dict[str, Source] = {}
        self._own: dict[str, Given] | None = None
        self._shared: dict[str, Given] = {}

    def load(self) -> Pack | None:
        _warn_of_unknown_files(self._folder, self._problems)
        settings, references = self._settings(), self._references
        if settings is not None:
            self._departments = settings.hospital.department_aliases
            references.time_zone = settings.hospital.time_zone
        aliases = records.read_aliases(self._open(ALIASES), references)
        entries = records.read_catalog(self._open(CATALOG), references)
        given = self._technologies(settings)
        technologies = build(given.values(), self._problems)
        people = self._people()
        _warn_of_unknown_teams(given.values(), references.staff, self._problems)
        if settings is None:
            return None
        hospital = msgspec.structs.replace(settings.hospital, entries=entries, aliases=aliases, technologies=technologies)
        brought = {**msgspec.structs.asdict(settings), "hospital": hospital}
        return Pack(
            **brought,
            people=people,
            folder=self._folder,
            warnings=tuple(self._problems.warnings),
            tables={kind: source.kept() for kind, source in self._sources.items()},
            given=self._own,
            shared=self._shared,
        )

    def _settings(self) -> Settings | None:
        if (self._folder / SHARED_FILE).is_file() and not (self._folder / HOSPITAL_FILE).is_file():
            zh = "缺少此文件；这是供各医院引用的公共数据包，不能作为医院导入。"
            self._problems.add(HOSPITAL_FILE, zh, "The file is missing: this is a shared pack, for hospitals to build on.")
            return None
        top = self._toml(self._folder, HOSPITAL_FILE, HOSPITAL_FILE)
        return None if top is None else read_hospital(top)

    def _technologies(self, settings: Settings | None) -> dict[str, Given]:
        """What is given of each technology, the shared packs' first."""
        merged: dict[str, Given] = {}
        known = self._references.technologies
        known.complete = settings is not None  # without its settings nobody knows what the pack builds on
        folders = [(f"{name}/", self._shared_folder(name)) for name in (settings.builds_on if settings else ())]
        if (self._folder / TECHNOLOGIES_FILE).is_file():
            folders.append(("", self._folder))
        for prefix, folder in folders:
            top = None if folder is None else self._toml(folder, TECHNOLOGIES_FILE, prefix + TECHNOLOGIES_FILE)
            if top is None:
                known.complete = False
                continue
            given = read_technologies(top)
            merged = merge(merged, given, self._problems)
            if folder is self._folder:
                self._own = given
            else:
                self._shared = merged
        known.words.update(merged)
        self._references.grantable.difference_update(merged)  # those of the file as it has them, whatever they were before
        self._references.grantable.update(given.id for given in merged.values() if given.fields.get("grantable"))
        return merged

    def _shared_folder(self, name: str) -> Path | None:
        """The folder of a shared pack: beside this one, or among those that come with the project."""
        shared = {
            path.parent.name: path.parent
            for parent in (SHIPPED_PACKS, self._folder.resolve().parent)
            for path in parent.glob(f"*/{SHARED_FILE}")
        }
        folder = shared.get(name)
        if folder is None:
            zh, en = Nearest(shared).hint(name)
            self._problems.add(HOSPITAL_FILE, f"没有公共数据包“{name}”。{zh}", f'There is no shared pack "{name}".{en}', column="builds_on")
        return folder

    def _people(self) -> tuple[Person, ...]:
        register = records.read_staff(self._open(STAFF), self._references)
        grants = records.read_grants(self._open(GRANTS), self._references)
        trained = records.read_credentials(self._open(CREDENTIALS), self._references)
        counted = records.read_volumes(self._open(VOLUMES), self._references)
        rostered = records.read_roster(self._open(ROSTER), self._references)
        return tuple(
            Person(
                staff=staff,
                grants=tuple(grants.get(number, ())),
                credentials=tuple(trained.get(number, ())),
                volumes=tuple(counted.get(number, ())),
                duty=tuple(rostered.get(number, ())),
            )
            for number, staff in register.items()
        )

    def _open(self, table: Table) -> Source:
        """The table's rows; none where the pack does not have it or, with a problem, where it cannot be read."""
        names = [name for name in table.files if (self._folder / name).is_file()]
        if len(names) > 1:
            self._problems.add(names[1], f"与 {names[0]} 重复，请只保留一个。", f"There is {names[0]} as well. Keep one of them.")
        data = _read(self._folder / names[0], names[0], self._problems) if names else None
        sheet = None if data is None else open_sheet(names[0], data, self._problems)
        source = Source(table, sheet, self._departments, self._problems, self._progress, readable=sheet is not None or not names)
        if sheet is not None:
            self._sources[table.kind] = source
        return source

    def _toml(self, folder: Path, name: str, file: str) -> TomlTable | None:
        """A file's top table; None, with a problem, where it cannot be read. `file`: what messages call it."""
        data = _read(folder / name, file, self._problems)
        return None if data is None else parse_toml(file, data, self._problems)


def _read(path: Path, file: str, problems: Problems) -> bytes | None:
    """The content of a file; None, with a problem, where it cannot be read."""
    try:
        if path.stat().st_size <= MAX_FILE_BYTES:
            return path.read_bytes()
        mebibytes = MAX_FILE_BYTES >> 20
        problems.add(file, f"文件超过 {mebibytes} MiB。", f"The file is larger than {mebibytes} MiB.")
    except FileNotFoundError:
        problems.add(file, "缺少此文件。", "The file is missing.")
    except OSError as error:
        problems.add(file, f"无法读取文件（{error.strerror}）。", f"The file cannot be read ({error.strerror}).")
    return None


def _warn_of_unknown_files(folder: Path, problems: Problems) -> None:
    known = {HOSPITAL_FILE, TECHNOLOGIES_FILE, *(name for table in TABLES.values() for name in table.files)}
    nearest = Nearest(known)
    for path in sorted(folder.iterdir()):
        # Hidden files, and what Excel puts beside a workbook that is open, are nobody's content.
        if path.name in known or path.name in DOCUMENTATION_FILES or path.name.startswith((".", "~$")):
            continue
        zh, en = nearest.hint(path.name.lower())
        problems.warn(path.name, f"未读取此文件。{zh}", f"This file was not read.{en}")


def _warn_of_unknown_teams(technologies: Iterable[Given], staff: Known, problems: Problems) -> None:
    for given in technologies:
        for number in given.fields.get("team", ()):
            if complaint := staff.complaint(number):
                problems.warn(given.file, *complaint, column=f"{given.place}.team")
