"""What the day has to know of a hospital, read from the gateway itself with the keys that its callers have.

Who may do what is asked for today and for the day of surgery, and only what holds on both is used: so a run over midnight stays right.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

PROCEDURES = 60
"""Procedures that are operated on that day, each in one department."""

EXPIRED = 10
"""Of them at most so many for which somebody's grant has ended."""

ASKED_PEOPLE = 6
"""People that are asked about for each procedure, to find some who may not perform it."""

PLACED = 12
"""Anesthesiologists, and perfusionists, who serve that day."""

OPERATING = ("physician", "multi_site")
READ_SECONDS = 60.0


class Unfit(Exception):
    """What a day needs is not there: the text says what."""


class Keys(NamedTuple):
    """A key of each caller: roles `his`, `anesthesia` and `medical_affairs`, of one hospital."""

    his: str
    anesthesia: str
    office: str


class Lacking(NamedTuple):
    """A surgeon who may not perform a procedure. `reasons`: reason codes, one of which must be in the answer; `liftable`: whether an emergency
    declaration lifts them all."""

    staff: str
    reasons: frozenset[str]
    liftable: bool


class Procedure(NamedTuple):
    """A procedure in a department. `able`: staff numbers of those who may perform it; `elsewhere`: a department that the catalog does not list it
    for, empty where every one is."""

    code: str
    department: str
    bypass: bool
    able: tuple[str, ...]
    lacking: tuple[Lacking, ...]
    elsewhere: str


class Placed(NamedTuple):
    """Who serves in the theatre, and up to which ASA class or bypass grade."""

    staff: str
    grade: int


@dataclass(frozen=True)
class Hospital:
    """The day's hospital. `today`: the hospital's day when it was read; operations are on the next one."""

    today: date
    zone: timezone
    procedures: tuple[Procedure, ...]
    anesthesiologists: tuple[Placed, ...]
    perfusionists: tuple[Placed, ...]

    @property
    def surgery_day(self) -> date:
        return self.today + timedelta(days=1)


def read_hospital(url: str, keys: Keys, chance: random.Random) -> Hospital:
    """Ask the gateway for all of it.

    Raises:
        Unfit: it has no procedure with somebody who may and somebody who may not perform it, or nobody for the anesthesia.
        httpx.HTTPError: it can't be asked, or refuses.
    """
    with httpx.Client(base_url=url, timeout=READ_SECONDS) as client:
        return _Reader(client, keys, chance).read()


class _Reader:
    """One reading: the tables first, then questions about single people and procedures."""

    def __init__(self, client: httpx.Client, keys: Keys, chance: random.Random) -> None:
        self._client = client
        self._keys = keys
        self._chance = chance
        self._staff = [row for row in self._table("staff") if row["status"] in ("", "active")]
        self._catalog = self._table("catalog")
        self._grants = self._table("grants")
        self._of_technologies = {row["staff"] for row in self._grants if row["scope_type"] == "technology"}
        self._departments = sorted({row["department"] for row in self._staff if row["kind"] in OPERATING and row["department"]})

    def read(self) -> Hospital:
        if not self._staff:
            raise Unfit("no active staff in the register")
        seen = self._ask(f"/v1/staff/{_path(self._staff[0]['staff'])}/privileges")
        now = datetime.fromisoformat(seen["matrix"]["as_of"])
        today = date.fromisoformat(seen["on"])
        days = (today, today + timedelta(days=1))
        anesthesiologists = tuple(self._placed("anesthesiologist", "asa", days))
        perfusionists = tuple(self._placed("perfusionist", "perfusion", days))
        procedures = tuple(self._procedures(days, bypass=bool(perfusionists)))
        if not anesthesiologists:
            raise Unfit("nobody holds a grant for an ASA class: no anesthesia record can be allowed")
        if not any(procedure.lacking for procedure in procedures):
            raise Unfit("no procedure was found with somebody who may perform it and somebody who may not")
        zone = timezone(now.utcoffset() or timedelta())
        return Hospital(today, zone, procedures, anesthesiologists, perfusionists)

    def _procedures(self, days: Sequence[date], *, bypass: bool) -> Iterator[Procedure]:
        expired = self._expired_codes(days[0])
        rows = [row for row in self._catalog if bypass or "bypass" not in row["flags"]]
        self._chance.shuffle(rows)
        first = [row for row in rows if row["code"] in expired][:EXPIRED]
        done: set[tuple[str, str]] = set()
        for row in first + rows:
            if len(done) == PROCEDURES:
                return
            listed = [name for name in row["department"].split(";") if name]
            department = self._chance.choice(listed or self._departments)
            if (row["code"], department) in done:
                continue
            procedure = self._procedure(row, department, listed, expired.get(row["code"], set()), days)
            if procedure is not None:
                done.add((row["code"], department))
                yield procedure

    def _expired_codes(self, today: date) -> dict[str, set[str]]:
        """Code → staff numbers of grants that have ended."""
        found: dict[str, set[str]] = {}
        for row in self._grants:
            if row["scope_type"] == "code" and row["state"] in ("", "active") and row["valid_to"] and row["valid_to"] < today.isoformat():
                found.setdefault(row["scope"], set()).add(row["staff"])
        return found

    def _procedure(
        self, row: Mapping[str, str], department: str, listed: Sequence[str], expired: set[str], days: Sequence[date]
    ) -> Procedure | None:
        """The procedure with who may perform it; None where nobody may."""
        code = row["code"]
        on_both = [set(self._operators(code, department, day)) for day in days]
        able = set.intersection(*on_both)
        if not able:
            return None
        own = [one["staff"] for one in self._staff if one["kind"] in OPERATING and one["department"] == department]
        others = [one["staff"] for one in self._staff if one["kind"] in OPERATING and one["department"] != department]
        asked = sorted(expired) + self._some(own, ASKED_PEOPLE - 1) + self._some(others, 1)
        may_lack = [staff for staff in dict.fromkeys(asked) if not any(staff in each for each in on_both)]
        lacking = [found for staff in may_lack if (found := self._lacking(staff, code, department, days)) is not None]
        elsewhere = next((name for name in self._departments if listed and self._not_listed(code, name, days[1])), "")
        return Procedure(code, department, "bypass" in row["flags"], tuple(sorted(able)), tuple(lacking), elsewhere)

    def _some(self, staff: Sequence[str], count: int) -> list[str]:
        return self._chance.sample(staff, min(count, len(staff)))

    def _operators(self, code: str, department: str, day: date) -> Iterator[str]:
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = self._ask(f"/v1/procedures/{_path(code)}/operators", department=department, on=day.isoformat(), **more)
            yield from (one["staff"] for one in page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _lacking(self, staff: str, code: str, department: str, days: Sequence[date]) -> Lacking | None:
        """Why a person may not; None where that is not for want of a grant alone. A grant for a technology may count for an order where it does not
        for a look-up: those who hold one are left out."""
        if staff in self._of_technologies:
            return None
        reasons: list[frozenset[str]] = []
        liftable = True
        for day in days:
            answer = self._ask(f"/v1/staff/{_path(staff)}/privileges", code=code, department=department, on=day.isoformat())
            denying = [found for found in answer["findings"] if found["disposition"] in ("final", "overridable")]
            reasons.append(frozenset(found["code"] for found in denying if found["code"].startswith("grant_")))
            liftable = liftable and all(found["disposition"] == "overridable" for found in denying)
            if answer["allowed"]:
                return None
        common = frozenset.intersection(*reasons)
        return Lacking(staff, common, liftable) if common else None

    def _not_listed(self, code: str, department: str, day: date) -> bool:
        answer = self._ask(f"/v1/procedures/{_path(code)}/operators", department=department, on=day.isoformat(), limit="1")
        return any(found["code"] == "department_not_listed" and found["disposition"] != "obligation" for found in answer["findings"])

    def _placed(self, kind: str, scope_type: str, days: Sequence[date]) -> Iterator[Placed]:
        """Those of a kind with the highest grade that they hold for every department on each day."""
        for one in [row for row in self._staff if row["kind"] == kind][:PLACED]:
            grades = []
            for day in days:
                answer = self._ask(f"/v1/staff/{_path(one['staff'])}/privileges", on=day.isoformat())
                held = [g["grade"] for g in answer["grades"] if g["scope_type"] == scope_type and not g["department"]]
                grades.append(max(held, default=0))
            if min(grades):
                yield Placed(one["staff"], min(grades))

    def _table(self, kind: str) -> list[dict[str, str]]:
        answer = self._get(f"/v1/exports/{kind}", self._keys.office)
        return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))

    def _ask(self, path: str, **asked: str) -> Any:
        return self._get(path, self._keys.his, asked).json()

    def _get(self, path: str, key: str, asked: Mapping[str, str] | None = None) -> httpx.Response:
        answer = self._client.get(path, params=asked, headers={"Authorization": f"Bearer {key}"})
        answer.raise_for_status()
        return answer


def _path(text: str) -> str:
    return quote(text, safe="")
