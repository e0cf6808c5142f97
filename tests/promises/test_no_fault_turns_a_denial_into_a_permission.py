"""Real services while PostgreSQL is killed, frozen, cut off or does not answer: who was suspended stays so, whatever is started anew meanwhile; by a
damaged snapshot nobody starts, by an old one nothing is allowed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from app.cache import snapshot as module
from app.cache.snapshot import Snapshot
from tests.served import Reply, Served, an_order, served
from tests.servers import Postgres, Proxy, postgres, proxy

SUSPENDED, PRIVILEGED = "100302", "100007"
CODE, DEPARTMENT = "35.71001", "胸心外科"
BECAUSE = {"reason": "并发症率复核", "by": "900001"}
GIVE_UP_SECONDS = 90.0
ROUNDS = 20


class Fault(NamedTuple):
    """What happens to PostgreSQL, and how it ends."""

    name: str
    begin: Callable[[Postgres, Proxy], None]
    end: Callable[[Postgres, Proxy], None]


FAULTS = (
    Fault("killed", lambda server, way: server.kill(), lambda server, way: server.start()),
    Fault("frozen", lambda server, way: server.freeze(), lambda server, way: server.thaw()),
    Fault("cut off", lambda server, way: way.cut(), lambda server, way: way.heal()),
    Fault("silent", lambda server, way: way.hang(), lambda server, way: way.heal()),
)


class Hospital:
    """What the test asks of a service."""

    def __init__(self, service: Served) -> None:
        self.service = service
        self.keys = service.demo_keys()
        self.asked = 0

    def privileges(self, staff: str) -> Reply:
        return self.service.call("GET", f"/v1/staff/{staff}/privileges?code={CODE}&department={quote(DEPARTMENT)}", self.keys["his"])

    def may(self, staff: str) -> tuple[bool, bool]:
        """Whether somebody may do the operation, and whether the answer is marked as degraded."""
        reply = self.privileges(staff)
        assert reply.status == 200, reply.body
        return reply.json["allowed"], reply.json["matrix"]["degraded"]

    def check(self, staff: str, **changes: Any) -> tuple[int, Any]:
        """A check's status and its answer. 503: it could not be recorded."""
        self.asked += 1
        changes |= {"requester": staff, "evidence": {"special_approval": "示例-1"}}
        order = an_order(
            f"{self.service.port}-{time.monotonic_ns()}-{self.asked}", procedures=[{"code": CODE, "operator": staff}], **changes
        )
        reply = self.service.call("POST", "/v1/check", self.keys["his"], order)
        assert reply.status in (200, 503), reply.body
        return reply.status, reply.json

    def change(self, path: str) -> int:
        return self.service.call("POST", path, self.keys["medical_affairs"], BECAUSE).status

    def ready(self) -> Any:
        return self.service.call("GET", "/readyz").json

    def until(self, holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while not holds():
            assert time.monotonic() < give_up, self.service.err.read_text(encoding="utf-8")
            time.sleep(0.05)

    def nothing_is_allowed_that_was_denied(self) -> None:
        """Asked again and again, of every worker."""
        for _ in range(ROUNDS):
            allowed, degraded = self.may(SUSPENDED)
            assert not allowed
            assert degraded
            assert self.may(PRIVILEGED) == (True, True)
        status, answer = self.check(SUSPENDED)
        assert status == 503 or (answer["decision"], answer["matrix"]["degraded"]) == ("deny", True)
        assert self.change(f"/v1/staff/{SUSPENDED}/resume") == 503


class Place(NamedTuple):
    server: Postgres
    way: Proxy
    hospital: Hospital
    snapshot: Snapshot


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service of two workers on a PostgreSQL of its own."""
    folder = tmp_path_factory.mktemp("faults")
    with postgres(folder / "server") as server, proxy(server.port) as way:
        server.execute("CREATE DATABASE surgate")
        with served(folder / "var", demo="1", workers="2", database_url=server.url("surgate", way.port), reach_seconds="0.5") as service:
            yield Place(server, way, Hospital(service), Snapshot(service.var / "snapshot"))


@pytest.fixture
def place(running: Place) -> Place:
    """The same with somebody suspended, which the snapshot knows."""
    hospital = running.hospital
    if hospital.service.process is None or hospital.service.process.poll() is not None:
        hospital.service.start()
    hospital.until(lambda: is_over(hospital))
    if hospital.may(SUSPENDED)[0]:
        assert hospital.change(f"/v1/staff/{SUSPENDED}/suspend") == 200
    hospital.until(lambda: _knows(running.snapshot))
    assert hospital.may(PRIVILEGED) == (True, False)
    return running


def _knows(snapshot: Snapshot) -> bool:
    index = snapshot.index()
    if index is None or "wahh" not in index.hospitals:
        return False
    return snapshot.hospital(index, "wahh").loaded.people[SUSPENDED].staff.status == "suspended"


@contextmanager
def away(place: Place, fault: Fault) -> Iterator[None]:
    fault.begin(place.server, place.way)
    try:
        yield
    finally:
        fault.end(place.server, place.way)


def is_degraded(hospital: Hospital) -> bool:
    """Whether every worker is. One tells of itself: enough of them in a row are asked."""
    return all(hospital.may(SUSPENDED)[1] for _ in range(ROUNDS))


def is_over(hospital: Hospital) -> bool:
    return not any(hospital.may(SUSPENDED)[1] or hospital.ready()["degraded"] for _ in range(ROUNDS))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_who_was_suspended_stays_so_while_postgresql_is(place: Place, fault: Fault) -> None:
    hospital, service = place.hospital, place.hospital.service
    with away(place, fault):
        hospital.until(lambda: is_degraded(hospital))
        hospital.nothing_is_allowed_that_was_denied()
        assert hospital.ready()["status"] == "ready"
        service.kill()
        service.start()  # from the snapshot
        assert "snapshot" in service.out.read_text(encoding="utf-8")
        hospital.nothing_is_allowed_that_was_denied()
    hospital.until(lambda: is_over(hospital))
    assert not hospital.may(SUSPENDED)[0]
    assert hospital.change(f"/v1/staff/{SUSPENDED}/resume") == 200
    assert {hospital.may(SUSPENDED) for _ in range(ROUNDS)} == {(True, False)}
    hospital.until(lambda: hospital.check(SUSPENDED)[0] == 200)
    status, answer = hospital.check(SUSPENDED)
    assert (status, answer["decision"], answer["matrix"]["degraded"]) == (200, "allow", False)


def test_nobody_starts_from_a_damaged_snapshot(place: Place) -> None:
    service = place.hospital.service
    file = place.snapshot.folder / "wahh.hospital"
    assert service.stop() == 0
    with away(place, FAULTS[0]):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(AssertionError, match=r"no snapshot"):
            service.start()
        assert service.wait() != 0
        assert "damaged" in service.out.read_text(encoding="utf-8") + service.err.read_text(encoding="utf-8")
    service.start()
    assert place.hospital.may(SUSPENDED) == (False, False)


def test_nothing_is_allowed_by_an_old_snapshot(place: Place) -> None:
    hospital, service = place.hospital, place.hospital.service
    assert service.stop() == 0
    index = place.snapshot.index()
    assert index is not None
    long_ago = {code: replace(kept, as_of=datetime.now(UTC) - timedelta(hours=13)) for code, kept in index.hospitals.items()}
    module._put(place.snapshot.folder / "index", [module._encode(replace(index, hospitals=long_ago))])
    with away(place, FAULTS[0]):
        service.start()
        for _ in range(ROUNDS):
            for staff in (SUSPENDED, PRIVILEGED):
                assert hospital.privileges(staff).status == 503
        status, answer = hospital.check(PRIVILEGED)
        assert status == 503 or (answer["decision"], answer["overridable"], answer["matrix"]) == ("deny", True, None)
        assert not hospital.ready()["matrix"][0]["usable"]
    # For a moment, while it is read anew, the hospital is not in memory.
    hospital.until(lambda: any(one["usable"] for one in hospital.ready()["matrix"]))
    hospital.until(lambda: is_over(hospital))
    assert hospital.may(PRIVILEGED) == (True, False)
