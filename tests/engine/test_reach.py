"""What a grant reaches: which others still cover its scope, and which suspended ones a new grant would give back."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from app.engine.hospital import CompiledHospital
from app.engine.model import Entry, Grant, Technology
from app.engine.reach import held_back, still_covering
from tests.cases.world import world

TODAY = date(2026, 11, 22)


def _entry(code: str, level: int, item: str, departments: tuple[str, ...] = (), includes: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"code": code, "name": code, "level": level, "item": item, "departments": departments, "includes": includes}


def _hospital() -> CompiledHospital:
    hospital = world({}).hospital
    entries = [
        _entry("35.1000", 3, "A3"),
        _entry("35.1001", 4, "A3"),
        _entry("35.2000", 2, "B2", ("胸心外科",)),
        _entry("35.2000", 3, "B3", ("小儿外科",)),
        _entry("35.3000", 4, "C4", includes=("35.1000",)),
        _entry("35.4001", 1, "D1"),
    ]
    technology = {"id": "T1", "name": "T1", "kind": "key", "grantable": True, "identify": [{"all_of": [["35.1000"], ["35.9999"]]}]}
    made = msgspec.structs.replace(
        hospital,
        entries=msgspec.convert(entries, tuple[Entry, ...]),
        aliases={"35.4001": "35.4000"},
        technologies=msgspec.convert([technology], tuple[Technology, ...]),
    )
    return CompiledHospital(made)


COMPILED = _hospital()


def _grant(scope_type: str, scope: str, **more: Any) -> Grant:
    row = {"id": f"{scope_type}:{scope}", "staff": "1", "scope_type": scope_type, "scope": scope, "valid_from": "2026-01-01"}
    return msgspec.convert(row | more, Grant)


@pytest.mark.parametrize(
    ("grant", "other", "covers"),
    [
        (_grant("code", "35.1000"), _grant("item", "A3"), "whole"),
        (_grant("item", "A3"), _grant("code", "35.1000"), "part"),
        (_grant("code", "35.1000"), _grant("code", "35.3000"), "whole"),
        (_grant("code", "35.3000"), _grant("code", "35.1000"), "part"),
        (_grant("code", "35.1000"), _grant("code", "35.1001"), None),
        (_grant("code", "35.4001"), _grant("code", "35.4000"), "whole"),
        (_grant("code", "35.4001"), _grant("level", "1"), "whole"),
        (_grant("code", "35.2000"), _grant("level", "2"), "part"),
        (_grant("level", "2"), _grant("level", "1"), "part"),
        (_grant("level", "1"), _grant("level", "2"), "whole"),
        (_grant("code", "35.1000"), _grant("technology", "T1"), "whole"),
        (_grant("code", "35.2000"), _grant("code", "35.2000", id="2", department="胸心外科"), "part"),
        (_grant("code", "35.2000", department="小儿外科"), _grant("code", "35.2000", id="2", department="胸心外科"), None),
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2", department="胸心外科"), "part"),
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2", valid_to="2026-11-21"), None),
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2", valid_to="2026-11-22"), "whole"),
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2", valid_from="2026-12-01"), "whole"),
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2", state="suspended"), None),
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2", role="requester"), None),
        (_grant("code", "35.1001"), _grant("code", "35.1001", id="2", valid_from="2024-01-01"), None),
        (_grant("code", "35.1001"), _grant("code", "35.1001", id="2", valid_from="2024-01-01", last_evaluated="2026-01-01"), "whole"),
        (_grant("asa", "4"), _grant("asa", "2"), "part"),
        (_grant("asa", "2"), _grant("asa", "4"), "whole"),
        (_grant("asa", "2"), _grant("perfusion", "4"), None),
        (_grant("asa", "2", department="麻醉科"), _grant("asa", "4", department="心内科"), None),
        (_grant("code", "35.8888"), _grant("code", "35.8888", id="2"), "whole"),
    ],
)
def test_what_still_covers_a_scope(grant: Grant, other: Grant, covers: str | None) -> None:
    found = still_covering(msgspec.structs.replace(grant, state="suspended"), [grant, other], COMPILED, TODAY)
    assert [(f.grant.id, f.covers) for f in found] == ([] if covers is None else [(other.id, covers)])


@pytest.mark.parametrize(
    ("new", "held", "back"),
    [
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2", state="revoked", valid_to="2020-01-01"), True),
        (_grant("code", "35.1000", department="胸心外科"), _grant("code", "35.1000", id="2", state="suspended", department="心内科"), True),
        (_grant("item", "A3"), _grant("code", "35.1000", state="suspended"), True),
        (_grant("code", "35.1000"), _grant("item", "A3", state="suspended"), True),
        (_grant("code", "35.4000"), _grant("code", "35.4001", state="revoked"), True),
        (_grant("code", "35.1001"), _grant("code", "35.1000", state="revoked"), False),
        (_grant("code", "35.1000"), _grant("code", "35.1000", id="2"), False),
        (_grant("code", "35.1000", role="requester"), _grant("code", "35.1000", id="2", state="revoked"), False),
        (_grant("asa", "2"), _grant("asa", "4", state="suspended"), True),
        (_grant("asa", "2"), _grant("level", "2", state="suspended"), False),
    ],
)
def test_what_a_new_grant_would_give_back(new: Grant, held: Grant, back: bool) -> None:
    assert held_back(new, [held], COMPILED, TODAY) == ((held,) if back else ())
