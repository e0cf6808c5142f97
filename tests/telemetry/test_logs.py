"""Log lines are JSON, and never quote what an error quotes."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from app.telemetry.logs import AccessLog, JsonFormatter, request_id


def test_of_an_exception_the_type_and_the_place_are_told_not_its_text() -> None:
    try:
        raise ValueError("patient P0091823")
    except ValueError:
        record = logging.LogRecord("surgate.http", logging.ERROR, __file__, 1, "a defect in %s", ("check",), sys.exc_info())
    token = request_id.set("R-1")
    line = json.loads(JsonFormatter(3).format(record))
    request_id.reset(token)
    assert (line["event"], line["error"], line["request_id"], line["worker"]) == ("a defect in check", "ValueError", "R-1", 3)
    assert line["where"][0].endswith("test_of_an_exception_the_type_and_the_place_are_told_not_its_text")
    assert "P0091823" not in json.dumps(line)


def test_what_is_added_to_a_record_is_in_the_line() -> None:
    record = logging.makeLogRecord({"msg": "worker ended", "slot": 1, "code": -9})
    line = json.loads(JsonFormatter(None).format(record))
    assert (line["slot"], line["code"], "worker" in line) == (1, -9, False)


def test_access_lines_are_written_in_groups_and_none_is_lost() -> None:
    written: list[bytes] = []

    async def use() -> None:
        log = AccessLog(1, written.append)
        for number in range(5000):
            log.add(f"R-{number}", "POST", "/v1/check", 200, 0.0012, "abc")
        log.flush()

    asyncio.run(use())
    lines = [json.loads(line) for line in b"".join(written).splitlines()]
    assert [line["request_id"] for line in lines] == [f"R-{number}" for number in range(5000)]
    assert len(written) < 10
    assert (lines[0]["status"], lines[0]["ms"], lines[0]["key"], lines[0]["event"]) == (200, 1.2, "abc", "request")
