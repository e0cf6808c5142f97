"""The bare question of grants agrees with the full decision wherever nothing but grants is at stake."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import MatrixState
from app.engine.privilege import is_privileged
from tests.cases.world import world


@pytest.mark.parametrize(
    ("changes", "code", "department", "privileged"),
    [
        ({}, "35.71001", "胸心外科", True),
        ({}, "３５．７１００１", "胸心外科", True),
        ({}, "35.71001", "小儿外科", False),
        ({}, "35.71001", "心内科", False),
        ({}, "36.06001", "胸心外科", False),  # two grades, granted for one
        ({}, "86.22001", "胸心外科", True),  # a level grant
        ({}, "39.65001", "胸心外科", True),
        ({"people.100001.grants.3.scope": "86.22001"}, "39.65001", "胸心外科", False),  # raised to level 4, only a level grant
        ({"people.100001.grants.0.valid_to": date(2026, 11, 22)}, "35.71001", "胸心外科", False),
        ({}, "99.99001", "胸心外科", False),
    ],
)
def test_is_privileged(changes: dict[str, Any], code: str, department: str, privileged: bool) -> None:
    made = world(changes)
    assert made.people is not None
    matrix = Matrix(made.people.values(), MatrixState(1, made.now))
    assert is_privileged(CompiledHospital(made.hospital), matrix, "100001", code, department, date(2026, 11, 23)) is privileged
    assert not is_privileged(CompiledHospital(made.hospital), matrix, "999999", code, department, date(2026, 11, 23))
