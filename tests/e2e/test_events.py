"""Event streams of a service in processes of its own: nothing is lost when workers are killed, and nothing holds up a stop."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

from tests.served import Served, an_order, served

CHECKS = 120
GIVE_UP_SECONDS = 120


class Follower(threading.Thread):
    """A reader as an office's screen is one: whenever it is cut off it comes back with the last id that it has."""

    def __init__(self, service: Served, key: str) -> None:
        super().__init__(daemon=True)
        self._service = service
        self._key = key
        self.last_id: str | None = None
        self.decisions: list[str] = []
        self.cut_off = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self._follow()
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            self.cut_off += 1

    def _follow(self) -> None:
        with closing(self._service.connect()) as connection:
            self._read(connection)

    def _read(self, connection: http.client.HTTPConnection) -> None:
        headers = {"Authorization": f"Bearer {self._key}"} | ({} if self.last_id is None else {"Last-Event-ID": self.last_id})
        connection.request("GET", "/v1/events?kinds=decision", headers=headers)
        pending: dict[str, str] = {}
        with connection.getresponse() as answer:
            while answer.status == 200 and not self.stop.is_set() and (line := answer.readline()):
                if line == b"\n":
                    self._take(pending)
                    pending = {}
                elif not line.startswith(b":"):
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    pending[name] = value

    def _take(self, event: dict[str, str]) -> None:
        self.last_id = event.get("id", self.last_id)
        if "data" in event:
            self.decisions.append(json.loads(event["data"])["decision_id"])


def _until(service: Served, follower: Follower, count: int) -> None:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while len(follower.decisions) < count:
        assert time.monotonic() < give_up, (len(follower.decisions), count, service.err.read_text(encoding="utf-8")[-2000:])
        time.sleep(0.02)


def test_no_event_is_lost_or_comes_twice_while_workers_are_killed(tmp_path: Path, store_template: Path, keys: dict[str, str]) -> None:
    with served(tmp_path / "var", store_template, workers="2") as service:
        follower = Follower(service, keys["anesthesia"])
        follower.start()
        while follower.last_id is None:
            time.sleep(0.02)
        for number in range(CHECKS):
            while True:
                try:
                    assert service.call("POST", "/v1/check", keys["his"], an_order(f"F-{number}")).status == 200
                    break
                except (OSError, http.client.HTTPException):  # the connection came to a worker that is gone
                    continue
            if number in (CHECKS // 3, CHECKS // 2):
                for process in service.workers():
                    os.kill(process, signal.SIGKILL)
        _until(service, follower, CHECKS)
        follower.stop.set()
        service.stop()  # which ends the stream that it still reads
        follower.join()
        recorded = [ref for (ref,) in service.rows("SELECT ref FROM chain WHERE kind = 'decision' ORDER BY number")]
    assert follower.decisions == recorded
    assert follower.cut_off >= 2


def test_an_open_stream_does_not_hold_up_a_stop(tmp_path: Path, store_template: Path, keys: dict[str, str]) -> None:
    with served(tmp_path / "var", store_template, workers="2", stop_seconds="600") as service, ExitStack() as opened:
        answers = []
        for _ in range(8):
            connection = opened.enter_context(closing(service.connect()))
            connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {keys['ops']}"})
            answers.append(opened.enter_context(connection.getresponse()))
            assert answers[-1].readline().startswith(b"retry: ")
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        for answer in answers:
            answer.read()  # to its proper end: a broken one would raise
        assert "killed" not in service.err.read_text(encoding="utf-8")
