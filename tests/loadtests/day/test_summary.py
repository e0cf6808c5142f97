"""The hours and the summary."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from loadtests.day.hours import SPANS, Work, next_work, span_at, users_in
from loadtests.day.summary import COLUMNS, Kind, Row, Run, Tally, markdown, percentile, write

ORDER, RETRY = Kind("order", "order"), Kind("order", "retry")
RUN = Run("http://gateway", "2026-11-22T12:00:00+00:00", 2.0, 20, 7, {"order": 3})


@pytest.fixture
def tally() -> Tally:
    seen = Tally()
    for milliseconds in (1.0, 3.0, 2.0):
        seen.answered(ORDER, milliseconds)
    seen.judged(ORDER, [])
    return seen


def test_the_day_goes_from_noon_to_noon() -> None:
    assert span_at(0, 2) == SPANS[0]
    assert span_at(119.9, 2) == SPANS[-1]
    assert span_at(120, 2) is None
    assert {work for span in SPANS for work in span.works} == set(Work)
    assert [span.until for span in SPANS] == sorted(span.until for span in SPANS)


def test_somebody_is_always_there_and_does_what_the_hour_asks_for() -> None:
    assert all(users_in(span, 1) == 1 for span in SPANS)
    chance = random.Random(1)
    assert all({next_work(span, chance) for _ in range(500)} == set(span.works) for span in SPANS)


def test_percentiles_are_values_that_were_seen() -> None:
    ordered = [float(n) for n in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([4.0], 0.5) == percentile([4.0], 0.99) == 4.0


def test_a_row_for_each_kind(tally: Tally) -> None:
    tally.shed(RETRY)
    tally.answered(RETRY, 5.0, degraded=True)
    assert tally.rows == [
        Row("order", "order", 3, 2.0, 3.0, 3.0, 3.0, 0, 0, 0, 0),
        Row("order", "retry", 1, 5.0, 5.0, 5.0, 5.0, 0, 1, 0, 1),
    ]
    assert len(Row._fields) == len(COLUMNS)


def test_what_is_shed_is_no_error(tally: Tally) -> None:
    tally.shed(ORDER)
    assert tally.clean


def test_a_wrong_answer_is_told_at_once_and_spoils_the_day(tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    tally.judged(ORDER, ["allow where deny was due"])
    assert not tally.clean
    assert "WRONG ANSWER order order: allow where deny was due" in capsys.readouterr().err


def test_an_error_spoils_the_day_also_where_nothing_else_came(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    assert not tally.clean
    tally.failed(ORDER, "500")
    assert not tally.clean
    assert tally.rows == [Row("order", "order", 0, None, None, None, None, 1, 0, 0, 0)]
    assert "ERROR order order: 500" in capsys.readouterr().err


def test_the_summary_is_written_as_it_is_told(tally: Tally, tmp_path: Path) -> None:
    tally.judged(ORDER, ["allow where deny was due"])
    text = markdown(RUN, tally)
    assert "| order | order | 3 | 2.0 | 3.0 | 3.0 | 3.0 | 0 | 0 | 1 | 0 |" in text
    assert "- WRONG ANSWER order order: allow where deny was due" in text
    write(tmp_path / "day.md", RUN, tally)
    assert (tmp_path / "day.md").read_text(encoding="utf-8") == text
    write(tmp_path / "day.json", RUN, tally)
    told = json.loads((tmp_path / "day.json").read_text(encoding="utf-8"))
    assert (told["clean"], told["rows"][0]["wrong"], told["reached"]) == (False, 1, {"order": 3})
