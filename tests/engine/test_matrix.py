"""A matrix of which some rows are replaced is the one that would be built anew."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from app.engine.matrix import Matrix, PersonRow
from app.engine.model import MatrixState, Person
from tests.properties import hospitals

ROUNDS = 40


def _content(matrix: Matrix) -> Any:
    """Everything that a look-up can see."""
    rows = {number: {name: getattr(row, name) for name in PersonRow.__slots__} for number, row in matrix.rows.items()}
    return matrix.state, rows, {key: dict(held) for key, held in matrix.holders.items()}, matrix.rostered


def _built(people: Mapping[str, Person], version: int) -> Matrix:
    return Matrix(people.values(), MatrixState(version, hospitals.NOW))


@pytest.mark.parametrize("seed", range(60))
def test_replacing_rows_gives_the_matrix_that_is_built_anew(seed: int) -> None:
    rng = Random(seed)
    hospital = hospitals.random_hospital(rng)
    people = hospitals.random_people(rng, hospital)
    matrix = _built(people, 0)
    for version in range(1, ROUNDS):
        before, was = _content(matrix), matrix
        others = hospitals.random_people(rng, hospital)
        changed = {number: others[number] for number in others if rng.random() < 0.4}
        gone = tuple(number for number in people if number not in changed and rng.random() < 0.2)
        people = {number: person for number, person in people.items() if number not in gone} | changed
        matrix = matrix.replace(changed.values(), gone, MatrixState(version, hospitals.NOW))
        assert _content(matrix) == _content(_built(people, version))
        assert _content(was) == before


def test_a_scope_that_nobody_holds_any_more_is_forgotten() -> None:
    rng = Random(1)
    hospital = hospitals.random_hospital(rng)
    people = hospitals.random_people(rng, hospital)
    state = MatrixState(2, hospitals.NOW)
    assert not _built(people, 1).replace((), people, state).holders
    assert not _built(people, 1).replace([replace(p, grants=()) for p in people.values()], (), state).holders


def test_who_was_never_there_can_go() -> None:
    rng = Random(2)
    people = hospitals.random_people(rng, hospitals.random_hospital(rng))
    matrix = _built(people, 1)
    assert _content(matrix.replace((), ("nobody",), matrix.state)) == _content(matrix)
