"""A service that is killed in the middle: what the office was to be told is in the database, and goes out after the start, in order."""

from __future__ import annotations

import os
import shutil
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.notify.receiver import Receiver, aim, fine, until_in_this_thread
from tests.served import Served, an_order, served
from tests.service.orders import EXPIRED

COUNT = 8


def emergency(number: int) -> dict[str, Any]:
    declaration = {
        "lifesaving": True,
        "no_privileged_operator": True,
        "reason_code": "airway",
        "reason": "气道梗阻，血氧持续下降",
        "declared_by": EXPIRED,
    }
    procedures = [{"code": "35.71001", "operator": EXPIRED}]
    return an_order(f"E-{number}", urgency="emergency", emergency=declaration, procedures=procedures)


def overrides(service: Served, key: str, numbers: range) -> list[str]:
    """Overrides opened one after the other; their ids."""
    found = []
    for number in numbers:
        answered = service.call("POST", "/v1/check", key, emergency(number))
        assert answered.json["decision"] == "override", answered.body
        found.append(answered.json["override"]["id"])
    return found


def aimed(tmp_path: Path, store_template: Path, receiver: Receiver) -> Path:
    store = tmp_path / "aimed.db"
    shutil.copyfile(store_template, store)
    aim(store, {"kind": "webhook", "url": receiver.url("/a?key=hush")}, {"kind": "webhook", "url": receiver.url("/b"), "secret": "s"})
    return store


def test_killed_in_the_middle_it_tells_everything_after_the_start(
    tmp_path: Path, store_template: Path, receiver: Receiver, keys: dict[str, str]
) -> None:
    receiver.behave = lambda _received: (500, b"")
    with served(tmp_path / "var", aimed(tmp_path, store_template, receiver), workers="2", notify_retry_seconds="0.05") as service:
        opened = overrides(service, keys["his"], range(COUNT))
        until_in_this_thread(lambda: len(receiver.received) >= 4)
        service.kill()
        assert service.rows("SELECT count(*) FROM outbox WHERE state = 'waiting'") == [(2 * COUNT,)]
        receiver.behave = fine
        service.start()
        until_in_this_thread(lambda: service.rows("SELECT count(*) FROM outbox WHERE state <> 'sent'") == [(0,)])
        assert "hush" not in service.err.read_text(encoding="utf-8")
    told: dict[str, set[str]] = defaultdict(set)
    for one in receiver.acknowledged:
        told[one.path].add(one.json["override_id"])
    assert told == {"/a?key=hush": set(opened), "/b": set(opened)}


def test_when_the_worker_that_delivers_is_killed_another_one_goes_on(
    tmp_path: Path, store_template: Path, receiver: Receiver, keys: dict[str, str]
) -> None:
    with served(tmp_path / "var", aimed(tmp_path, store_template, receiver), workers="2", notify_retry_seconds="0.05") as service:
        until_in_this_thread(lambda: bool(service.rows("SELECT worker FROM duties WHERE name = 'deliver'")))
        (holder,) = service.rows("SELECT worker FROM duties WHERE name = 'deliver'")[0]
        os.kill(int(holder.split("-")[0]), signal.SIGKILL)
        opened: list[str] = []
        for number in range(COUNT):  # a connection may come to the worker that is gone
            while len(opened) == number:
                try:
                    opened += overrides(service, keys["his"], range(number, number + 1))
                except OSError:
                    continue
        until_in_this_thread(lambda: service.rows("SELECT count(*) FROM outbox WHERE state <> 'sent'") == [(0,)])
        assert service.rows("SELECT worker FROM duties WHERE name = 'deliver'") != [(holder,)]
    assert {one.json["override_id"] for one in receiver.acknowledged} == set(opened)
