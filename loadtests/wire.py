"""Orders as a hospital's system sends them, made beforehand, one line each, to be sent any number of times: where `MARK` stands, whoever sends puts an
id of the same length, another one each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from app.engine.model import Entry, Grant, Hospital, Order, Person
from loadtests import worlds
from loadtests.worlds import Question

MARK = b"@" * 16
TAG_CHARS = 6
"""Of an id the first characters are the run's own, the rest is a number."""

DENIED_EVERY = 20
"""One order in 20 is denied, as a hospital denies few."""


class Asked(NamedTuple):
    """One order, what it comes to, and what another program is to be told that knows no matrix: the catalog's entry and the operator's grants of it, in
    force or not."""

    order: Order
    allowed: bool
    entry: Entry
    grants: tuple[Grant, ...]


def asked(of: Hospital, people: Sequence[Person], grants: int, count: int) -> list[Asked]:
    """Typical orders about surgeons all over the matrix of so many grants, shuffled."""
    held = worlds.codes_in_force(of, people)
    questions = worlds.questions(of, held, 2 * count)
    denied = [q for q in questions if not q.allowed][: count // DENIED_EVERY]
    chosen = [q for q in questions if q.allowed][: count - len(denied)] + denied
    Random(count).shuffle(chosen)
    by_number = {person.staff.staff: person for person in people}
    entries = {entry.code: entry for entry in of.entries}
    orders = worlds.typical_orders(chosen, grants)
    return [_asked(order, question, entries[question.code], by_number) for order, question in zip(orders, chosen, strict=True)]


def _asked(order: Order, question: Question, entry: Entry, people: dict[str, Person]) -> Asked:
    (procedure,) = order.procedures
    mark = MARK.decode()
    sent = replace(order, request_id=mark, case_id=mark, procedures=(replace(procedure, service=entry.service, name=entry.name),))
    grants = tuple(g for g in people[question.surgeon].grants if g.scope in (entry.code, entry.item))
    return Asked(sent, question.allowed, entry, grants)


def order_body(one: Asked) -> bytes:
    """The body of POST /v1/check."""
    return msgspec.json.encode(one.order)


def write_bodies(file: Path, bodies: Iterable[bytes]) -> Path:
    """A file with one body per line."""
    file.write_bytes(b"".join(body + b"\n" for body in bodies))
    return file


def filled(body: bytes, tag: str, number: int) -> bytes:
    """A body with an id. `tag`: of `TAG_CHARS` characters."""
    return body.replace(MARK, id_of(tag, number))


def id_of(tag: str, number: int) -> bytes:
    """The id that a run puts into the body that it sends as so manieth."""
    return f"{tag}{number:0{len(MARK) - TAG_CHARS}}".encode()
