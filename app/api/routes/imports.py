"""Files in: tables, technologies, a whole pack. All or nothing, with a diff; dry runs write nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf
from pydantic import Field

from app.api.http import acting_person, answer, caller, gateway_of
from app.api.queries import Query
from app.api.uploads import TABLE_TYPES, TOML_TYPES, ZIP_TYPES, read_upload
from app.errors import BadInput, NotFound, RowError
from app.imports.content import Content, read_table, read_technologies_file
from app.imports.current import Current
from app.imports.formats import unpacked
from app.imports.pack import read_folder, settings_of
from app.imports.plan import IMPORT_KINDS, PACK
from app.imports.plan_lists import TECHNOLOGIES
from app.imports.run import Job, run
from app.imports.steps import Mode
from app.packs.load import HOSPITAL_FILE
from app.packs.problems import PackError, Problem
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/imports", tags=["imports and exports"])

Text = Annotated[str, Field(max_length=500)]


class ImportAsked(Query):
    """How a file is taken. A misspelt `dry_run` is refused: it must not import in earnest."""

    dry_run: bool = False
    mode: Mode = Mode.MERGE
    confirm: bool = False
    by: Annotated[str | None, Field(max_length=64)] = None
    reason: Text = ""
    document_no: Text = ""


@router.post(
    "/{kind}", summary="Import a file: catalog, aliases, staff, grants, credentials, volumes, roster, technologies, or a whole pack"
)
async def import_file(
    request: Request, kind: str, asked: Annotated[ImportAsked, QueryOf()], key: Annotated[Key, caller(Role.MEDICAL_AFFAIRS)]
) -> Response:
    """Rows are counted as a spreadsheet shows them: the heading is row 1. `merge` adds and changes, `replace` also retires what is absent.
    What loosens something is listed apart and needs `confirm=true` (409 without). `by`: the staff number of who imports."""
    if kind not in IMPORT_KINDS:
        raise NotFound(f"没有此类导入 / no import of {kind[:64]!r}; there are {', '.join(IMPORT_KINDS)}")
    author = acting_person(key, asked.by) if asked.by or key.staff else key.client
    job = Job(key.hospital, kind, author, asked.mode, asked.dry_run, asked.confirm, asked.reason, asked.document_no)
    gateway = gateway_of(request)
    with gateway.files.place(key.hospital):
        data = await read_upload(request, ZIP_TYPES if kind == PACK else TOML_TYPES if kind == TECHNOLOGIES else TABLE_TYPES)
        try:
            async with gateway.files.turn(key.hospital):
                return answer(await run(gateway.database, job, _reader(kind, data)))
        except PackError as error:
            raise bad_file(error) from None


def _reader(kind: str, data: bytes) -> Callable[[Current], Content]:
    if kind == TECHNOLOGIES:
        return lambda current: read_technologies_file(data, current)
    if kind == PACK:
        return lambda current: _read_pack(data, current)
    return lambda current: read_table(kind, data, current)


def _read_pack(data: bytes, current: Current) -> Content:
    with unpacked(data) as folder:
        code = settings_of(folder).hospital.code
        if code != current.code:
            zh, en = f"数据包属于“{code}”，密钥属于“{current.code}”。", f'The pack is of "{code}", the key of "{current.code}".'
            raise PackError([Problem(HOSPITAL_FILE, None, "code", zh, en)])
        return read_folder(folder, current)


def bad_file(error: PackError) -> BadInput:
    """The answer to a file that is not taken: every problem of it."""
    return BadInput([_row_error(problem) for problem in error.problems])


def _row_error(problem: Problem) -> RowError:
    place = problem.column or ""
    if problem.row is not None:
        place = f"rows[{problem.row}].{place}".rstrip(".")
    message = f"{problem.message_zh} / {problem.message_en}"
    return RowError(place or problem.file, "invalid", message, problem.file, problem.row, problem.column)
