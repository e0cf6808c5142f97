"""The small hospital of `base.yaml`, and how a case changes a little of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import yaml

from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import CaseHistory, Decision, Hospital, MatrixState, Order, Person

HERE = Path(__file__).parent
ZONE = ZoneInfo("Asia/Shanghai")


class World(NamedTuple):
    """Everything that a decision is made from."""

    order: Order
    hospital: Hospital
    people: dict[str, Person] | None
    history: CaseHistory | None
    now: datetime

    def decide(self) -> Decision:
        """The compiled engine's decision."""
        matrix = None if self.people is None else Matrix(self.people.values(), MatrixState(1, self.now))
        return decide(self.order, CompiledHospital(self.hospital), matrix, self.history, self.now)


def world(changes: Mapping[str, Any]) -> World:
    """The base with the values at some dotted paths replaced; a path that does not exist is a mistake in the case, but for a last name."""
    content = copy.deepcopy(_base())
    for path, value in changes.items():
        _put(content, path.split("."), copy.deepcopy(value))
    people = content["people"]
    return World(
        order=msgspec.convert(content["order"], Order),
        hospital=msgspec.convert(content["hospital"] | {"time_zone": ZONE}, Hospital, dec_hook=lambda kind, value: value),
        people=None if people is None else {number: msgspec.convert(person, Person) for number, person in people.items()},
        history=None if content["history"] is None else msgspec.convert(content["history"], CaseHistory),
        now=content["now"],
    )


def read(name: str) -> Any:
    """A YAML file beside this one."""
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


@cache
def _base() -> Any:
    return read("base.yaml")


def _put(content: Any, path: list[str], value: Any) -> None:
    for name in path[:-1]:
        content = content[int(name)] if isinstance(content, list) else content[name]
    if isinstance(content, list):
        content[int(path[-1])] = value
    else:
        content[path[-1]] = value
