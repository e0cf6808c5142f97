"""A grant that is entered by hand, read by the same reader as a row of `grants.csv`: what a file may not say, a call may not, nor what a file is
warned of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.engine.model import Grant, Hospital, ScopeType
from app.errors import BadInput, FieldError
from app.packs.cells import NumberedCells
from app.packs.problems import Problem, Problems
from app.packs.records import read_grants
from app.packs.references import References
from app.packs.rows import Source
from app.packs.sheets import Sheet
from app.packs.tables import GRANTS

UNKNOWN, INVALID = "unknown", "invalid"


def read_grant(columns: Mapping[str, object], hospital: Hospital, names: Mapping[str, str]) -> Grant:
    """The grant in the columns of `grants.csv`, with its id. `names`: of the people in the register, by
    staff number.

    Raises:
        BadInput: a column does not hold what it must, or names what the hospital does not have; the nearest that it has is suggested.
    """
    references = References.of(hospital, names)
    problems = Problems()
    sheet = Sheet("", _rows(columns), 1, problems, padded=False)
    found = read_grants(Source(GRANTS, sheet, hospital.department_aliases, problems), references)
    # A file is only warned of a scope that is not known here where it says that the grant is suspended or revoked: a call is refused as well.
    if wrong := [*problems.found, *problems.warnings]:
        raise BadInput([_field_error(problem, columns, references) for problem in wrong])
    return next(iter(found.values()))[0]


def _rows(columns: Mapping[str, object]) -> Iterator[NumberedCells]:
    yield 1, tuple(columns)
    yield 2, tuple(columns.values())


def _field_error(problem: Problem, columns: Mapping[str, object], references: References) -> FieldError:
    code = UNKNOWN if _is_unknown(problem.column, columns, references) else INVALID
    return FieldError(problem.column or "", code, f"{problem.message_zh} / {problem.message_en}")


def _is_unknown(column: str | None, columns: Mapping[str, object], references: References) -> bool:
    if column == "staff":
        return True
    known = references.by_scope.get(ScopeType(str(columns["scope_type"]))) if column == "scope" else None
    return known is not None and known.complaint(str(columns["scope"])) is not None
