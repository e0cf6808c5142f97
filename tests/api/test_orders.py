"""From bytes to an order: good ones are tidied, bad ones refused with every wrong field named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.orders import convert_order, decode_order
from app.engine.model import STANDARD_FLAGS, Checkpoint, Evidence
from app.errors import BadInput

GOOD: dict[str, Any] = {
    "request_id": "HIS-20261122-000123",
    "checkpoint": "notice",
    "case_id": "S2026112200017",
    "department": "胸心外科",
    "urgency": "elective",
    "planned_start": "2026-11-23T08:00:00+08:00",
    "requester": "100234",
    "patient": {"id": "P0091823", "birth_date": None, "flags": []},
    "diagnoses": ["Q21.100"],
    "procedures": [{"code": "35.71001", "operator": "100234", "item": None, "service": "A000001330", "name": "房间隔缺损修补术"}],
    "team": [{"staff": "100377", "role": "first_assistant"}, {"staff": "200018", "role": "anesthesiologist"}],
    "anesthesia": {"asa": 3},
    "perfusion": {"grade": 2},
    "evidence": {"mdt": "MDT-20261120-4", "major_approval": None, "special_approval": None, "unplanned_reoperation": None},
    "emergency": None,
}


def _decode(content: Any) -> Any:
    return decode_order(msgspec.json.encode(content), STANDARD_FLAGS)


def _refused(content: Any) -> dict[str, str]:
    with pytest.raises(BadInput) as refused:
        _decode(content)
    with pytest.raises(BadInput) as converted:
        convert_order(content, STANDARD_FLAGS)
    assert refused.value.errors == converted.value.errors
    assert all(error.message for error in refused.value.errors)
    return {error.field: error.code for error in refused.value.errors}


def test_the_contracts_example() -> None:
    order = _decode(GOOD)
    assert order.checkpoint is Checkpoint.NOTICE
    assert order.procedures[0].service == "A000001330"
    assert order.planned_start.isoformat() == "2026-11-23T08:00:00+08:00"


def test_only_what_is_required() -> None:
    required = ("request_id", "checkpoint", "case_id", "department", "urgency", "patient", "procedures")
    order = _decode({name: GOOD[name] for name in required} | {"procedures": [{"code": "35.71001", "operator": "1"}]})
    assert (order.planned_start, order.team, order.emergency) == (None, (), None)


def test_blanks_and_width_of_ids_are_dropped_and_blank_evidence_is_none() -> None:
    order = _decode(
        GOOD
        | {
            "case_id": " S1 ",
            "requester": "  ",
            "patient": {"id": "　P1"},
            "procedures": [{"code": "35.71001", "operator": "１００２３４ "}],
            "evidence": {"mdt": "  "},
        }
    )
    assert (order.case_id, order.requester, order.patient.id, order.procedures[0].operator) == ("S1", None, "P1", "100234")
    assert order.evidence == Evidence()


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"surgeon": "1"}, {"surgeon": "unknown_field"}),
        ({"evidence": {"mtd": "M"}}, {"evidence.mtd": "unknown_field"}),
        ({"urgency": "soon"}, {"urgency": "invalid"}),
        ({"checkpoint": None}, {"checkpoint": "invalid"}),
        ({"procedures": []}, {"procedures": "length"}),
        ({"procedures": [{"code": "35.71001"}]}, {"procedures[0].operator": "missing"}),
        ({"procedures": [{"code": "35.71001", "operator": "1"}] * 31}, {"procedures": "length"}),
        ({"procedures": "35.71001"}, {"procedures": "invalid"}),
        ({"procedures": [{"code": "35.71001+", "operator": "1"}]}, {"procedures[0].code": "malformed_code"}),
        ({"diagnoses": ["Q21.100", "hole"]}, {"diagnoses[1]": "malformed_code"}),
        ({"planned_start": "2026-02-30T08:00:00+08:00"}, {"planned_start": "invalid"}),
        ({"planned_start": "2026-11-23T08:00:00"}, {"planned_start": "invalid"}),
        ({"planned_start": "9999-12-31T23:00:00Z"}, {"planned_start": "implausible"}),
        ({"planned_start": "0001-01-01T00:00:00+14:00"}, {"planned_start": "implausible"}),
        ({"patient": {"id": "P", "birth_date": "2026-13-01"}}, {"patient.birth_date": "invalid"}),
        ({"patient": {"id": "P", "flags": ["vip"]}}, {"patient.flags[0]": "unknown_flag"}),
        ({"patient": {"id": "   "}}, {"patient.id": "blank"}),
        ({"case_id": "C\n1", "patient": {"id": "P\0"}}, {"case_id": "control_character", "patient.id": "control_character"}),
        ({"team": [{"staff": "1\x7f", "role": "assistant"}]}, {"team[0].staff": "control_character"}),
        ({"patient": []}, {"patient": "type"}),
        ({"team": [{"staff": "1", "role": "surgeon"}]}, {"team[0].role": "invalid"}),
        ({"anesthesia": {"asa": 7}}, {"anesthesia.asa": "invalid"}),
        ({"anesthesia": {"asa": 3.5}}, {"anesthesia.asa": "invalid"}),
        ({"perfusion": {"grade": 0}}, {"perfusion.grade": "invalid"}),
        ({"emergency": {"lifesaving": "yes"}}, {"emergency.lifesaving": "invalid"}),
        ({"request_id": "R" * 65}, {"request_id": "invalid"}),
    ],
)
def test_bad_input_names_the_field(change: dict[str, Any], refused: dict[str, str]) -> None:
    assert _refused(GOOD | change) == refused


def test_an_id_that_grows_when_it_is_normalized_is_refused() -> None:
    """PostgreSQL would not take it, and the answer on it would not be in the record."""
    long = "㌀" * 17
    assert _refused(GOOD | {"case_id": long, "patient": {"id": long}}) == {"case_id": "too_long", "patient.id": "too_long"}
    assert _decode(GOOD | {"case_id": "㌀" * 16}).case_id == "アパート" * 16


def test_every_wrong_field_at_once() -> None:
    bad = GOOD | {"surgeon": "1", "urgency": "soon", "anesthesia": {"asa": 9}, "procedures": [{"operator": "1"}]}
    del bad["case_id"]
    assert set(_refused(bad)) == {"surgeon", "urgency", "anesthesia.asa", "procedures[0].code", "case_id"}


def test_what_lies_beyond_the_longest_list_is_not_looked_at() -> None:
    refused = _refused(GOOD | {"procedures": [{"code": "35.71001"}] * 40})
    assert refused == {"procedures": "length"} | {f"procedures[{i}].operator": "missing" for i in range(30)}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"request_id": "\xff"}'])
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        decode_order(body, STANDARD_FLAGS)
    assert refused.value.malformed


@pytest.mark.parametrize("content", [None, 1, "x", [], {}, [GOOD]])
def test_json_that_is_no_order(content: Any) -> None:
    assert _refused(content)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(GOOD)) | st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(GOOD)), _JSON)
def test_any_value_in_any_field_gives_an_order_or_a_named_error(field: str, value: Any) -> None:
    try:
        _decode(GOOD | {field: value})
    except BadInput as refused:
        assert not refused.malformed
        assert all(error.field.startswith(field) for error in refused.errors)
