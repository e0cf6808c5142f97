"""`surgate serve` from nothing, as `make serve` starts it: the demo, its keys, an order denied and one allowed; and how it stops."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.served import ROOT, Served, an_order, call, served

ROLES = {"his", "anesthesia", "medical_affairs", "ops", "auditor", "admin"}
EXAMPLE = json.loads((ROOT / "docs" / "example-order.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("demo") / "var", demo="1", workers="2") as made:
        yield made


def test_the_printed_command_works_as_it_stands_and_is_denied(demo: Served) -> None:
    command = next(line for line in demo.out.read_text(encoding="utf-8").splitlines() if line.startswith("curl "))
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True)
    answer = json.loads(ran.stdout)
    assert (answer["decision"], answer["procedures"][0]["findings"][0]["code"]) == ("deny", "grant_expired")


def test_the_same_order_by_who_holds_the_grant_is_allowed(demo: Served) -> None:
    order = json.loads(json.dumps(EXAMPLE).replace("100234", "100007")) | {"request_id": "R-allowed", "case_id": "C-allowed"}
    assert demo.call("POST", "/v1/check", demo.demo_keys()["his"], order).json["decision"] == "allow"


def test_head_answers_as_get_does_without_the_body(demo: Served) -> None:
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/v1/decisions", 401), ("/v1/check", 405)):
        with closing(demo.connect()) as connection:
            connection.request("HEAD", path)
            answered = connection.getresponse()
            assert (answered.status, answered.read(), int(answered.headers["content-length"]) > 0) == (status, b"", True), path


def test_demo_keys_are_for_their_owner_only_and_one_for_each_role(demo: Served) -> None:
    file = demo.var / "demo-keys.json"
    assert (file.stat().st_mode & 0o777, set(demo.demo_keys())) == (0o600, ROLES)
    assert demo.call("GET", "/v1/keys", demo.demo_keys()["admin"]).status == 200
    assert demo.call("GET", "/v1/keys", demo.demo_keys()["ops"]).status == 403


def test_counters_are_joined_over_workers_and_do_not_fall_when_one_is_killed(demo: Served) -> None:
    connections = [demo.connect() for _ in range(8)]
    before = _metrics(demo).get('surgate_decisions_total{checkpoint="order",decision="allow"}', 0.0)
    for number, connection in enumerate(connections):
        assert call(connection, "POST", "/v1/check", demo.demo_keys()["his"], an_order(f"M-{number}")).status == 200
        connection.close()
    allowed = 'surgate_decisions_total{checkpoint="order",decision="allow"}'
    assert _metrics(demo)[allowed] == before + len(connections)
    starts = _metrics(demo)["surgate_worker_starts_total"]
    os.kill(demo.workers()[0], signal.SIGKILL)
    deadline = time.monotonic() + 30
    ages = {f'surgate_matrix_age_seconds{{worker="{n}"}}' for n in (0, 1)}
    while not ages <= set(after := _metrics_or_nothing(demo)) or after["surgate_worker_starts_total"] != starts + 1:
        assert time.monotonic() < deadline, "the worker is not started anew"
        time.sleep(0.1)
    assert after[allowed] == before + len(connections)
    assert after['surgate_check_part_seconds_count{part="record"}'] >= after[allowed]
    assert after["surgate_commit_records_sum"] >= after[allowed]
    assert {f'surgate_matrix_version{{hospital="wahh",worker="{n}"}}' for n in (0, 1)} <= set(after)
    assert all(after[age] < 10 for age in ages)


def test_a_request_has_an_id_and_one_log_line_without_patient_identifiers(demo: Served) -> None:
    reply = demo.call("POST", "/v1/check", demo.demo_keys()["his"], an_order("L-1"), X_Request_Id="trace-4711")
    assert reply.headers["x-request-id"] == "trace-4711"
    made = demo.call("GET", "/v1/cases/C-L-1", demo.demo_keys()["auditor"], X_Request_Id="not one of ours\t")
    assert len(made.headers["x-request-id"]) == 36
    time.sleep(0.5)
    lines = demo.logged()
    mine = next(line for line in lines if line.get("request_id") == "trace-4711")
    assert (mine["method"], mine["route"], mine["status"]) == ("POST", "/v1/check", 200)
    assert demo.demo_keys()["his"].startswith(f"sg_{mine['key']}_")
    assert next(line for line in lines if line.get("request_id") == made.headers["x-request-id"])["route"].startswith("/v1/cases/{case_id")
    text = demo.err.read_text(encoding="utf-8")
    assert not [secret for secret in ("PATIENT-4711", "C-L-1", demo.demo_keys()["his"], EXAMPLE["patient"]["id"]) if secret in text]


def test_keys_are_kept_over_a_restart_and_only_what_opens_no_more_is_made_anew(tmp_path: Path, store_template: Path) -> None:
    with served(tmp_path / "var", store_template, demo="1") as service:
        first = service.demo_keys()
        his = first["his"].split("_")[1]
        assert service.call("DELETE", f"/v1/keys/{his}", first["admin"]).status == 200
        assert service.stop() == 0
        service.start()
        second = service.demo_keys()
        assert second["his"] != first["his"]
        assert {role: second[role] for role in ROLES - {"his"}} == {role: first[role] for role in ROLES - {"his"}}
        assert service.call("POST", "/v1/check", second["his"], an_order("R-1")).status == 200


def test_told_to_stop_it_answers_what_is_in_flight_and_refuses_what_is_new(
    tmp_path: Path, store_template: Path, keys: dict[str, str]
) -> None:
    with served(tmp_path / "var", store_template, workers="2", lease_seconds="10") as service:
        answered: dict[str, bytes] = {}
        threads = [threading.Thread(target=_send, args=(service, keys["his"], f"S-{n}", answered)) for n in range(24)]
        holder = sqlite3.connect(service.store, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")  # nobody can commit: what is sent now stays in flight
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        assert not answered
        service.signal(signal.SIGTERM)
        _until_refused(service)
        holder.execute("ROLLBACK")
        holder.close()
        for thread in threads:
            thread.join()
        assert service.wait() == 0
        assert len(answered) == len(threads)
        assert dict(service.rows("SELECT request_id, answer FROM decisions")) == answered
        assert service.rows("SELECT count(*) FROM workers") == [(0,)]


def test_stopped_under_load_it_ends_cleanly_and_soon(tmp_path: Path, store_template: Path, keys: dict[str, str]) -> None:
    with served(tmp_path / "var", store_template, workers="2") as service:
        answered: dict[str, bytes] = {}
        stop = threading.Event()
        threads = [threading.Thread(target=_load, args=(service, keys["his"], f"S{n}", answered, stop)) for n in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        assert service.stop() == 0
        stop.set()
        for thread in threads:
            thread.join()
        assert answered
        recorded = dict(service.rows("SELECT request_id, answer FROM decisions"))
        assert {request_id: recorded.get(request_id) for request_id in answered} == answered


def _send(service: Served, key: str, request_id: str, answered: dict[str, bytes]) -> None:
    reply = service.call("POST", "/v1/check", key, an_order(request_id))
    assert reply.status == 200
    answered[request_id] = reply.body


def _load(service: Served, key: str, prefix: str, answered: dict[str, bytes], stop: threading.Event) -> None:
    connection = service.connect()
    sent = 0
    try:
        while not stop.is_set():
            sent += 1
            reply = call(connection, "POST", "/v1/check", key, an_order(f"{prefix}-{sent}"))
            assert reply.status == 200
            answered[f"{prefix}-{sent}"] = reply.body
    except (OSError, http.client.HTTPException):
        pass  # refused: it stops
    finally:
        connection.close()


def _until_refused(service: Served) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            service.call("GET", "/healthz")
        except (ConnectionError, http.client.RemoteDisconnected):
            return
        time.sleep(0.05)
    raise AssertionError("it still takes new requests")


def _metrics(service: Served) -> dict[str, float]:
    text = service.call("GET", "/metrics").body.decode()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))}


def _metrics_or_nothing(service: Served) -> dict[str, float]:
    """Nothing where the connection came to the worker that was killed."""
    try:
        return _metrics(service)
    except (OSError, http.client.HTTPException):
        return {}
