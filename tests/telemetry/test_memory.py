"""Counters that outlive their worker, joined over workers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry import families
from app.telemetry.exposition import render
from app.telemetry.memory import CELLS, Memory
from app.telemetry.meters import Counter, Histogram, Meters


def _samples(memory: Memory, folder: Path | None) -> dict[tuple[str, tuple[str, ...]], float]:
    text = render(memory, folder, "")[0].decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.values()))): sample.value for sample in samples}


def test_workers_are_summed_and_gauges_told_of_each(tmp_path: Path) -> None:
    memories = [Memory(tmp_path, slot) for slot in range(3)]
    for memory in memories:
        meters = Meters(memory)
        meters.request("GET", "/healthz", 200, 0.003)
        meters.confirmed({"wahh": SimpleNamespace(version=7 + memory.slot)}, datetime.now(UTC))
    read = _samples(memories[0], tmp_path)
    assert read["surgate_http_requests_total", ("/healthz", "200", "GET")] == 3
    assert read["surgate_http_request_seconds_bucket", ("/healthz", "0.0025")] == 0
    assert read["surgate_http_request_seconds_bucket", ("/healthz", "0.005")] == 3
    assert read["surgate_http_request_seconds_bucket", ("+Inf", "/healthz")] == 3
    assert abs(read["surgate_http_request_seconds_sum", ("/healthz",)] - 0.009) < 1e-9
    assert [read["surgate_matrix_version", (str(slot), "wahh")] for slot in range(3)] == [7, 8, 9]
    assert read["surgate_matrix_age_seconds", ("2",)] < 5


def test_a_worker_that_follows_goes_on_from_the_counters_but_not_from_the_gauges(tmp_path: Path) -> None:
    killed = Meters(Memory(tmp_path))
    killed.replays.add(5)
    killed.in_flight.add(3)
    killed.admission.observe(0.2)
    next_one = Meters(Memory(tmp_path))
    next_one.replays.add()
    read = _samples(next_one.memory, tmp_path)
    assert read["surgate_replays_total", ()] == 6
    assert read["surgate_http_requests_in_flight", ("0",)] == 0
    assert read["surgate_check_part_seconds_count", ("admission",)] == 1
    assert read["surgate_worker_starts_total", ()] == 2


def test_what_every_worker_counts_alike_is_told_once_and_never_summed(tmp_path: Path) -> None:
    counted = [SimpleNamespace(hospital="wahh", state="reported", waiting=3, overdue=2)]
    first, second, _started = (Meters(Memory(tmp_path, slot)) for slot in range(3))
    for meters in (first, second):
        meters.overrides_waiting(["wahh", "other"], counted)
    read = _samples(first.memory, tmp_path)
    assert read["surgate_overrides_open", ("reported", "wahh")] == 3
    assert [read["surgate_overrides_overdue", (hospital,)] for hospital in ("wahh", "other")] == [2, 0]
    for meters in (first, second):
        meters.overrides_waiting(["wahh", "other"], [])
    read = _samples(first.memory, tmp_path)
    assert (read["surgate_overrides_open", ("reported", "wahh")], read["surgate_overrides_overdue", ("wahh",)]) == (0, 0)


def test_a_commit_that_fails_is_counted_as_such(tmp_path: Path) -> None:
    meters = Meters(Memory(tmp_path))
    with pytest.raises(OSError), meters.commit(2, lambda: 0):
        raise OSError
    read = _samples(meters.memory, tmp_path)
    assert read["surgate_commit_failures_total", ()] == 1
    assert read["surgate_commit_records_count", ()] == 0


def test_a_name_that_is_not_written_whole_yet_is_left_out(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    Counter(memory, families.REPLAYS).add()
    with (tmp_path / "worker-0.names").open("ab") as file:
        file.write(b'["surgate_decisions",["order"')
    assert _samples(memory, tmp_path) == _samples(memory, None)


def test_beyond_the_room_nothing_is_counted_and_nothing_fails() -> None:
    memory = Memory()
    for number in range(CELLS + 10):
        Counter(memory, families.REASONS, str(number)).add()
    Histogram(memory, families.PARTS, "engine").observe(1)
    assert len(list(memory.read())) == CELLS


def test_a_histogram_counts_a_value_on_its_bound_below_it() -> None:
    memory = Memory()
    histogram = Histogram(memory, families.COMMIT_RECORDS)
    for value in (1, 2, 3, 1000):
        histogram.observe(value)
    read = _samples(memory, None)
    assert [read["surgate_commit_records_bucket", (bound,)] for bound in ("1.0", "2.0", "4.0", "256.0", "+Inf")] == [1, 2, 3, 3, 4]
    assert read["surgate_commit_records_sum", ()] == 1006
