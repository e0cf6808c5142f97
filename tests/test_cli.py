"""`surgate check`, `explain` and `validate` on the shipped pack, as somebody at a terminal runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main

WAHH = str(Path(__file__).parent.parent / "packs" / "wahh")
NOW = ["--now", "2026-11-22T09:00:00+08:00"]


def _order(**changes: Any) -> dict[str, Any]:
    order = {
        "request_id": "R-1",
        "checkpoint": "order",
        "case_id": "C-1",
        "department": "胸心外科",
        "urgency": "elective",
        "planned_start": "2026-11-23T08:00:00+08:00",
        "patient": {"id": "P-1"},
        "procedures": [{"code": "35.71001", "operator": "100007"}],
    }
    return order | changes


def _run(command: str, content: Any, *options: str) -> Result:
    body = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return CliRunner().invoke(main, [command, "-", "--pack", WAHH, *NOW, *options], input=body)


def test_allowed() -> None:
    result = _run("check", _order())
    assert (result.exit_code, "允许 allow" in result.output) == (0, True)


def test_denied_with_the_reason_and_who_may() -> None:
    result = _run("check", _order(procedures=[{"code": "35.71001", "operator": "100234"}]))
    assert result.exit_code == 1
    assert "2026-09-30 到期" in result.output
    assert "100007" in result.output


def test_json_is_the_contracts_answer() -> None:
    result = _run("check", _order(procedures=[{"code": "35.71001", "operator": "100234"}]), "--json")
    answer = json.loads(result.output)
    assert answer["decision"] == "deny"
    finding = answer["procedures"][0]["findings"][0]
    assert (finding["code"], finding["facts"]["valid_to"]) == ("grant_expired", "2026-09-30")


def test_a_list_is_one_cases_checkpoints() -> None:
    result = _run("check", [_order(), _order(request_id="R-2", checkpoint="notice")])
    assert result.exit_code == 0, result.output
    assert _run("check", _order(checkpoint="notice")).exit_code == 1


def test_explain_tells_of_every_rule() -> None:
    result = _run("explain", _order(procedures=[{"code": "35.71001", "operator": "999999"}]))
    assert result.exit_code == 1
    assert "staff_unknown" in result.output
    assert "not_judged" in result.output
    trace = json.loads(_run("explain", _order(), "--json").output)["trace"]
    assert {"operator_grant", "mdt_missing", "prohibited_technology"} <= {step["rule"] for step in trace}
    assert all(step["outcome"] == "passed" for step in trace)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "JSON"),
        (_order(surgeon="1"), "surgeon"),
        (_order(procedures=[{"code": "35.71001+", "operator": "1"}]), "procedures[0].code"),
        ([_order(), _order(patient={"id": "P-2"})], "case_id"),
    ],
)
def test_bad_input_names_the_field_and_exits_with_2(content: Any, named: str) -> None:
    result = _run("check", content)
    assert result.exit_code == 2
    assert named in result.output


@pytest.mark.parametrize("now", ["yesterday", "2026-11-22T09:00:00"])
def test_a_time_that_is_none(now: str) -> None:
    result = CliRunner().invoke(main, ["check", "-", "--pack", WAHH, "--now", now], input=json.dumps(_order()))
    assert result.exit_code == 2
    assert "--now" in result.output


def test_validate_counts_and_lists_problems(tmp_path: Path) -> None:
    good = CliRunner().invoke(main, ["validate", WAHH])
    assert good.exit_code == 0
    assert "catalog entries 498" in good.output
    (tmp_path / "hospital.toml").write_text('code = "x"\nname = "x"\ntime_zone = "Mars/Base"\n', encoding="utf-8")
    (tmp_path / "catalog.csv").write_text("code,name,level\n35.710+,修补,9\n", encoding="utf-8")
    bad = CliRunner().invoke(main, ["validate", str(tmp_path)])
    assert bad.exit_code == 2
    for named in ("time_zone", "catalog.csv", "level", "code"):
        assert named in bad.output
