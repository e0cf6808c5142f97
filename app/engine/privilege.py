"""The bare question: do this person's grants cover this code? Yes or no, for greying out what somebody may not order anyway.

It looks at grants alone. Register, licence, technologies' demands, evidence and the case are for `engine.decide`: a yes here is not an allow.
"""

from __future__ import annotations

from datetime import date

from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.standing import Question, is_granted
from app.engine.technologies import RAISED_LEVEL, raises_level


def is_privileged(hospital: CompiledHospital, matrix: Matrix, staff: str, code: str, department: str, day: date) -> bool:
    """Whether the person holds a grant in order, on that day, for every entry that the code means in that department.

    A technology that needs a diagnosis counts as identified; only its effect on the level is looked at. `department` is the hospital's own
    name. Raises `MalformedCode` for what cannot be a code.
    """
    row = matrix.rows.get(staff)
    catalog = hospital.catalog
    resolved = catalog.ready(code, department) or catalog.ready(catalog.canonical(code), department)
    if row is None or resolved is None:
        return False
    level = resolved.level or RAISED_LEVEL
    if resolved.watch and raises_level(hospital.technologies.identify([resolved.watch], None, None)[0]):
        level = RAISED_LEVEL
    question = Question(department, day, day, level)
    for entry in resolved.entries:
        if not is_granted(row.held, entry, question):
            return False
    return bool(resolved.entries)
