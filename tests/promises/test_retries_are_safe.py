"""Promise 6: retries are safe. One request id is one decision, across workers and restarts, also where copies arrive at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.telemetry.logs import FLUSH_SECONDS
from tests.served import Reply, Served, an_order, call, served

COPIES = 20
ROUNDS = 10


@pytest.fixture(scope="module")
def service(store_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("retries") / "var", store_template, workers="2") as made:
        yield made


def test_copies_that_arrive_at_once_are_one_decision(service: Served, keys: dict[str, str]) -> None:
    for number in range(ROUNDS):
        order = an_order(f"R-{number}")
        replies = _at_once(service, keys["his"], [order] * COPIES)
        assert {reply.status for reply in replies} == {200}
        assert len({reply.json["decision_id"] for reply in replies}) == 1
        assert sorted(reply.json["replayed"] for reply in replies) == [False] + [True] * (COPIES - 1)
    assert service.rows("SELECT count(*), count(DISTINCT request_id) FROM decisions WHERE request_id LIKE 'R-%'") == [(ROUNDS, ROUNDS)]
    time.sleep(4 * FLUSH_SECONDS)
    assert {line["worker"] for line in service.logged() if line["event"] == "request"} == {0, 1}


def test_a_retry_after_a_restart_gives_the_first_answer(service: Served, keys: dict[str, str]) -> None:
    order = an_order("AGAIN-1")
    first = service.call("POST", "/v1/check", keys["his"], order)
    service.kill()
    service.start()
    replies = _at_once(service, keys["his"], [order] * COPIES)
    assert {reply.body for reply in replies} == {first.body.replace(b'"replayed":false', b'"replayed":true')}


def test_white_space_and_key_order_are_no_other_content(service: Served, keys: dict[str, str]) -> None:
    order = an_order("WHITE-1")
    first = service.call("POST", "/v1/check", keys["his"], order).json
    again = service.call("POST", "/v1/check", keys["his"], dict(reversed(order.items()))).json
    assert (again["replayed"], again["decision_id"]) == (True, first["decision_id"])


def test_the_same_id_with_other_content_is_a_conflict_whoever_is_first(service: Served, keys: dict[str, str]) -> None:
    other = an_order("OTHER-1", department="心内科")
    replies = _at_once(service, keys["his"], [an_order("OTHER-1"), other] * (COPIES // 2))
    assert sorted(reply.status for reply in replies) == [200] * (COPIES // 2) + [409] * (COPIES // 2)
    assert len({reply.json["decision_id"] for reply in replies if reply.status == 200}) == 1


def test_another_client_has_request_ids_of_its_own(service: Served, keys: dict[str, str]) -> None:
    one, other = (service.call("POST", "/v1/check", keys[role], an_order("CLIENT-1")).json for role in ("his", "anesthesia"))
    assert one["decision_id"] != other["decision_id"]
    assert not other["replayed"]


def _at_once(service: Served, key: str, orders: list[dict[str, Any]]) -> list[Reply]:
    """Send orders at the same moment, each on a connection of its own that is open already."""
    barrier = threading.Barrier(len(orders))
    replies: list[Reply] = []

    def send(order: dict[str, Any]) -> None:
        connection = service.connect()
        connection.connect()
        barrier.wait()
        replies.append(call(connection, "POST", "/v1/check", key, order))
        connection.close()

    threads = [threading.Thread(target=send, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == len(orders)
    return replies
