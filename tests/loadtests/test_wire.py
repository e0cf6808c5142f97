"""What the benchmarks send: valid orders that come to what they say, and the same questions for Cerbos; and files that the import takes."""

from __future__ import annotations

import csv
import io
import json

import pytest

from app.api.orders import decode_order
from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.model import Hospital, Person, Verdict
from loadtests import wire, worlds
from loadtests.bench.office import COLUMNS, more_grants
from loadtests.bench.subjects import cerbos_body
from loadtests.wire import DENIED_EVERY, Asked, filled, order_body

GRANTS, COUNT = 2_000, 100


@pytest.fixture(scope="module")
def source() -> Hospital:
    return worlds.hospital()


@pytest.fixture(scope="module")
def people(source: Hospital) -> list[Person]:
    return list(worlds.people(source, GRANTS))


@pytest.fixture(scope="module")
def asked(source: Hospital, people: list[Person]) -> list[Asked]:
    return wire.asked(source, people, GRANTS, COUNT)


def test_bodies_are_orders_that_come_to_what_they_say(source: Hospital, asked: list[Asked]) -> None:
    hospital, matrix = CompiledHospital(source), worlds.matrix(source, GRANTS)
    for number, one in enumerate(asked):
        order = decode_order(filled(order_body(one), "abcdef", number), ())
        assert order.request_id == order.case_id == f"abcdef{number:010}"
        verdict = Verdict.ALLOW if one.allowed else Verdict.DENY
        assert decide(order, hospital, matrix, None, worlds.NOW).decision is verdict
    assert len(asked) == COUNT
    assert sum(not one.allowed for one in asked) == COUNT // DENIED_EVERY


def test_bodies_are_of_the_size_that_the_targets_are_about(asked: list[Asked]) -> None:
    sizes = [len(order_body(one)) for one in asked]
    assert 600 < min(sizes) < max(sizes) < 800


def test_cerbos_is_told_the_grants_of_the_code_and_needs_no_more(asked: list[Asked]) -> None:
    for one in asked:
        question = json.loads(filled(cerbos_body(one), "abcdef", 1))
        (resource,) = question["resources"]
        attributes = resource["resource"]["attr"]
        grants = question["principal"]["attr"]["grants"]
        covered = [
            g
            for g in grants
            if g["scope"] in (attributes["code"], attributes["item"])
            and g["state"] == "active"
            and g["department"] in ("", attributes["department"])
            and g["valid_from"] <= attributes["day"] <= (g["valid_to"] or "9999")
        ]
        assert bool(covered) is one.allowed
        assert question["requestId"] == "abcdef0000000001"


def test_further_grants_are_none_that_are_held_already(source: Hospital, people: list[Person]) -> None:
    rows = list(csv.DictReader(io.StringIO(more_grants(source, people, 500).decode())))
    assert len(rows) == 500
    assert tuple(rows[0]) == COLUMNS
    held = worlds.codes_in_force(source, people)
    assert not [row for row in rows if row["scope"] in held[row["staff"]]]
    assert len({row["staff"] for row in rows}) == GRANTS // worlds.GRANTS_EACH
