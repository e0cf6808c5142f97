"""What is there as files: the same formats out, which import again unchanged."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from app.imports.cells_out import Cells, rows_of
from app.imports.content import shared_technologies
from app.imports.current import Current, Held
from app.imports.plan import PACK
from app.imports.plan_lists import CATALOG, TECHNOLOGIES
from app.imports.toml_out import hospital_toml, technologies_toml
from app.packs.load import HOSPITAL_FILE, SHIPPED_PACKS, TECHNOLOGIES_FILE
from app.packs.tables import TABLES

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time that a zip gives its files: the same content is the same bytes."""


class Format(StrEnum):
    """A table's format; of a pack, its tables' format."""

    CSV = "csv"
    XLSX = "xlsx"


MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "toml": "application/toml",
    "zip": "application/zip",
}


class Exported(NamedTuple):
    """A file. `suffix` tells its format."""

    suffix: str
    data: bytes


def export(kind: str, current: Current, form: Format) -> Exported:
    """The file of a kind."""
    if kind == PACK:
        return Exported("zip", _pack(current, form))
    if kind == TECHNOLOGIES:
        return Exported("toml", technologies_toml(current.technologies, shared_technologies(_builds_on(current))))
    return Exported(form.value, _table(kind, current, form))


def _builds_on(current: Current) -> tuple[str, ...]:
    """The shared packs that whoever imports the files will have: those that come with the project."""
    named = () if current.profile is None else current.profile.settings.builds_on
    return tuple(name for name in named if (SHIPPED_PACKS / name / TECHNOLOGIES_FILE).is_file())


def _table(kind: str, current: Current, form: Format) -> bytes:
    rows = rows_of(kind, _held(kind, current), current.names)
    if form is Format.CSV:
        return _csv(rows)
    from app.imports.xlsx_out import workbook_of  # see `packs.zips`

    return workbook_of(kind, rows)


def _held(kind: str, current: Current) -> Iterable[Held]:
    return current.catalog if kind == CATALOG else current.keyed[kind].values()


def _csv(rows: Iterator[Cells]) -> bytes:
    out = io.BytesIO()
    # Encoded as it comes: as one text, 40 MiB would take four times as much.
    with io.TextIOWrapper(out, encoding="utf-8", newline="") as text:
        csv.writer(text, lineterminator="\n").writerows(rows)
        text.flush()
        return out.getvalue()


def _pack(current: Current, form: Format) -> bytes:
    assert current.profile is not None
    files = {
        HOSPITAL_FILE: hospital_toml(current.code, current.profile, _builds_on(current)),
        TECHNOLOGIES_FILE: export(TECHNOLOGIES, current, form).data,
        **{f"{kind}.{form.value}": _table(kind, current, form) for kind in TABLES},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(f"{current.code}/{name}", EPOCH), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()
