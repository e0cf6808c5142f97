"""Only who should, sees: a key belongs to one hospital and its roles are the least; for every route there is.

Two hospitals live in one store: `wahh`, and `other`, which has the same staff numbers, catalog, grants, request ids and case ids. Keys of every
role of `other` send to every route what is aimed at `wahh`, with its ids guessed right.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import select

from app.imports.pack import import_pack
from app.main import Gateway
from app.settings import Settings
from app.store import changes, outbox, tables
from app.store import keys as key_store
from app.store.keys import Role
from tests.notify.receiver import until
from tests.promises.other_hospital import SURGEONS, other_pack
from tests.service.conftest import PACK, bearer, client, gateway, keys_fixture, shared, store
from tests.service.conftest import settings as usual_settings
from tests.service.orders import EXPIRED, order
from tests.service.reviews import declaration
from tests.service.test_events import reading

__all__ = ["client", "gateway", "keys_fixture", "shared", "store", "usual_settings"]

pytestmark = pytest.mark.anyio

PATIENT = "PATIENT-OF-WAHH"
CLIENT = "his"
CASE, OVERRIDE_CASE = "CASE-1", "CASE-2"
REQUEST = "REQUEST-1"
EVERYBODYS_STAFF, EVERYBODYS_TECHNOLOGY = "100012", "G09"
OPEN = frozenset[Role]()
HIS, ANESTHESIA, OFFICE, OPS, AUDITOR, ADMIN = (
    Role.HIS,
    Role.ANESTHESIA,
    Role.MEDICAL_AFFAIRS,
    Role.OPS,
    Role.AUDITOR,
    Role.ADMIN,
)
ANY = frozenset(Role)


class World(NamedTuple):
    """What there is of `wahh`, the keys of both hospitals by role, and clients on this machine and elsewhere."""

    gateway: Gateway
    client: httpx.AsyncClient
    stranger: httpx.AsyncClient
    mine: dict[str, str]
    others: dict[str, str]
    decision: str
    override: str
    grant: str
    shared_grant: str
    notification: int
    key: str
    cursors: dict[str, str]

    def marks(self) -> list[str]:
        """What no answer to `other` may hold."""
        people = self.gateway.live.hospitals["wahh"].people
        names = [people[number].staff.name for number in SURGEONS]
        return [PATIENT, "wahh", "武汉亚洲心脏病医院", self.decision, self.override, self.grant, self.key, *names]


class Ask(NamedTuple):
    """One request, and what `other` is answered where the role allows the route at all."""

    path: str
    status: int | Collection[int]
    body: Any = None
    file: tuple[bytes, str] | None = None


class Route(NamedTuple):
    """Which roles a route is for (`admin` may do everything), and what is sent to it. Empty: it needs no key."""

    roles: frozenset[Role]
    asks: Callable[[World], list[Ask]]


def because(**more: Any) -> dict[str, Any]:
    return {"reason": "隔离测试", "document_no": "X-1", "by": "100001"} | more


def asking(path: str, status: int | Collection[int] = 200, body: Any = None) -> Callable[[World], list[Ask]]:
    """The same request whatever there is; `{name}` in the path is a field of the world."""
    return lambda world: [Ask(path.format(**world._asdict()), status, body)]


def steps(step: str, body: Any) -> Callable[[World], list[Ask]]:
    return asking("/v1/overrides/{override}/" + step, 404, body)


def stepping(step: str, body: Any) -> Callable[[World], list[Ask]]:
    """A step of a grant that `wahh` alone has, and of one that both have by the same id."""
    return lambda world: [
        Ask(f"/v1/grants/{world.grant}/{step}", 404, body),
        Ask(f"/v1/grants/{world.shared_grant}/{step}", {200, 409}, body),
    ]


def same_order(**changed: Any) -> dict[str, Any]:
    """An order under the request id and the case that `wahh` has used, for another patient."""
    return order(**{"request_id": REQUEST, "case_id": CASE, "patient": {"id": "PATIENT-OF-OTHER"}} | changed)


def a_grant() -> dict[str, Any]:
    return because(
        staff=EVERYBODYS_STAFF, scope_type="code", scope="35.71001", department="胸心外科", valid_from="2026-01-01", confirm=True
    )


def packs(_world: World) -> list[Ask]:
    """The pack of `wahh`, by its name, as a zip; and a table."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for file in PACK.iterdir():
            text = file.read_bytes()
            packed.writestr(f"pack/{file.name}", text if file.name == "hospital.toml" else text.splitlines(keepends=True)[0])
    aliases = b"code,national_code\n35.71001,35.7100\n"
    return [
        Ask("/v1/imports/pack?by=100001&confirm=true", 422, file=(out.getvalue(), "application/zip")),
        Ask("/v1/imports/aliases?by=100001&confirm=true", 200, file=(aliases, "text/csv")),
    ]


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/healthz"): Route(OPEN, asking("/healthz")),
    ("GET", "/readyz"): Route(frozenset({OPS}), asking("/readyz")),
    ("GET", "/metrics"): Route(frozenset({OPS}), asking("/metrics")),
    ("POST", "/v1/check"): Route(
        frozenset({HIS, ANESTHESIA}),
        lambda _: [Ask("/v1/check", {200, 409}, same_order()), Ask("/v1/check", 200, same_order(request_id="REQUEST-2"))],
    ),
    ("POST", "/v1/check/batch"): Route(frozenset({HIS, ANESTHESIA}), lambda _: [Ask("/v1/check/batch", 200, {"checks": [same_order()]})]),
    ("POST", "/v1/explain"): Route(
        ANY,
        lambda _: [
            Ask("/v1/explain", {200, 409}, same_order()),
            Ask("/v1/explain", 200, order(checkpoint="notice", case_id=OVERRIDE_CASE)),
        ],
    ),
    ("GET", "/v1/decisions"): Route(
        frozenset({HIS, ANESTHESIA, OFFICE, AUDITOR}),
        lambda world: [
            Ask(path, 200)
            for path in (
                "/v1/decisions",
                f"/v1/decisions?case_id={OVERRIDE_CASE}",
                f"/v1/decisions?operator={EXPIRED}",
                "/v1/decisions?code=35.71001&reason=grant_expired",
                f"/v1/decisions?limit=1&cursor={world.cursors['decisions']}",
            )
        ],
    ),
    ("GET", "/v1/decisions/{decision_id}"): Route(frozenset({HIS, ANESTHESIA, OFFICE, AUDITOR}), asking("/v1/decisions/{decision}", 404)),
    ("GET", "/v1/cases/{case_id}"): Route(frozenset({ANESTHESIA, OFFICE, AUDITOR}), asking(f"/v1/cases/{OVERRIDE_CASE}", 404)),
    ("GET", "/v1/staff/{staff}/privileges"): Route(ANY, asking("/v1/staff/100007/privileges?code=35.71001")),
    ("GET", "/v1/procedures/{code}/operators"): Route(ANY, asking("/v1/procedures/35.71001/operators?department=胸心外科")),
    ("GET", "/v1/grants"): Route(
        frozenset({OFFICE}),
        lambda world: [
            Ask("/v1/grants?limit=500", 200),
            Ask("/v1/grants?staff=100001", 200),
            Ask(f"/v1/grants?limit=1&cursor={world.cursors['grants']}", 200),
        ],
    ),
    ("POST", "/v1/grants"): Route(frozenset({OFFICE}), lambda _: [Ask("/v1/grants", {201, 409}, a_grant())]),
    ("GET", "/v1/grants/{grant_id}"): Route(frozenset({OFFICE}), asking("/v1/grants/{grant}", 404)),
    ("POST", "/v1/grants/{grant_id}/suspend"): Route(frozenset({OFFICE}), stepping("suspend", because())),
    ("POST", "/v1/grants/{grant_id}/resume"): Route(frozenset({OFFICE}), stepping("resume", because())),
    ("POST", "/v1/grants/{grant_id}/renew"): Route(frozenset({OFFICE}), stepping("renew", because(valid_to="2031-01-01"))),
    ("POST", "/v1/grants/{grant_id}/revoke"): Route(frozenset({OFFICE}), stepping("revoke", because())),
    ("POST", "/v1/staff/{staff}/suspend"): Route(
        frozenset({OFFICE}), asking(f"/v1/staff/{EVERYBODYS_STAFF}/suspend", {200, 409}, because())
    ),
    ("POST", "/v1/staff/{staff}/resume"): Route(frozenset({OFFICE}), asking(f"/v1/staff/{EVERYBODYS_STAFF}/resume", {200, 409}, because())),
    ("POST", "/v1/technologies/{technology}/stop"): Route(
        frozenset({OFFICE}), asking(f"/v1/technologies/{EVERYBODYS_TECHNOLOGY}/stop", {200, 409}, because())
    ),
    ("POST", "/v1/technologies/{technology}/resume"): Route(
        frozenset({OFFICE}), asking(f"/v1/technologies/{EVERYBODYS_TECHNOLOGY}/resume", {200, 409}, because())
    ),
    ("GET", "/v1/changes"): Route(
        frozenset({OFFICE, AUDITOR}),
        lambda world: [
            Ask("/v1/changes?limit=500", 200),
            Ask(f"/v1/changes?subject={world.grant}", 200),
            Ask(f"/v1/changes?cursor={world.cursors['changes']}", 200),
        ],
    ),
    ("POST", "/v1/imports/{kind}"): Route(frozenset({OFFICE}), packs),
    ("GET", "/v1/exports/{kind}"): Route(
        frozenset({OFFICE, AUDITOR}), lambda _: [Ask("/v1/exports/staff", 200), Ask("/v1/exports/pack", 200)]
    ),
    ("GET", "/v1/overrides"): Route(
        frozenset({ANESTHESIA, OFFICE}),
        lambda world: [
            Ask("/v1/overrides", 200),
            Ask(f"/v1/overrides?case_id={OVERRIDE_CASE}", 200),
            Ask(f"/v1/overrides?operator={EXPIRED}", 200),
            Ask(f"/v1/overrides?cursor={world.cursors['overrides']}", 200),
        ],
    ),
    ("GET", "/v1/overrides/{override_id}"): Route(frozenset({ANESTHESIA, OFFICE}), asking("/v1/overrides/{override}", 404)),
    ("POST", "/v1/overrides/{override_id}/report"): Route(
        frozenset({ANESTHESIA, OFFICE}), steps("report", {"by": "100234", "to": "总值班"})
    ),
    ("POST", "/v1/overrides/{override_id}/takeover"): Route(frozenset({ANESTHESIA, OFFICE}), steps("takeover", {"by": "100012"})),
    ("POST", "/v1/overrides/{override_id}/review"): Route(frozenset({OFFICE}), steps("review", {"by": "100001"})),
    ("GET", "/v1/notifications"): Route(
        frozenset({OFFICE, OPS}),
        lambda world: [Ask("/v1/notifications", 200), Ask(f"/v1/notifications?cursor={world.cursors['notifications']}", 200)],
    ),
    ("POST", "/v1/notifications/{number}/retry"): Route(frozenset({OFFICE}), asking("/v1/notifications/{notification}/retry", 404)),
    ("GET", "/v1/keys"): Route(
        frozenset({ADMIN}), lambda world: [Ask("/v1/keys", 200), Ask(f"/v1/keys?cursor={world.cursors['keys']}", 200)]
    ),
    ("POST", "/v1/keys"): Route(
        frozenset({ADMIN}),
        lambda _: [
            Ask("/v1/keys", 201, {"roles": ["his"], "client": CLIENT}),
            Ask("/v1/keys", 422, {"roles": ["his"], "hospital": "other"}),
        ],
    ),
    ("DELETE", "/v1/keys/{key_id}"): Route(frozenset({ADMIN}), asking("/v1/keys/{key}", 404)),
    ("GET", "/v1/audit/verify"): Route(frozenset({AUDITOR}), asking("/v1/audit/verify")),
    ("GET", "/v1/audit/export"): Route(
        frozenset({AUDITOR}), lambda _: [Ask("/v1/audit/export", 200), Ask("/v1/audit/export?format=xlsx", 200)]
    ),
    ("GET", "/v1/stats"): Route(frozenset({OPS, OFFICE}), asking("/v1/stats")),
    ("GET", "/v1/events"): Route(ANY, asking("/v1/events?last_event_id=0")),
}

OF_NO_HOSPITAL = {"workers", "seal_keys", "duties"}
"""Tables that hold nothing of any hospital."""


@pytest.fixture
def settings(usual_settings: Settings) -> Settings:
    """Nothing that the service does by itself changes a hospital's rows meanwhile."""
    return usual_settings.model_copy(update={"seal_seconds": 3600.0, "failed_keys_per_minute": 10_000})


@pytest.fixture
async def world(gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str], tmp_path: Path) -> AsyncIterator[World]:
    await import_pack(gateway.database, other_pack(tmp_path / "other"))
    others = {}
    async with gateway.database.write("other") as connection:
        for role in Role:
            made, others[role.value] = await key_store.create(connection, "other", [role], role.value, None)
            await changes.append(connection, key_store.change_of(made, "test", "create"), datetime.now(UTC))
    await gateway.live.look()

    async def send(method: str, path: str, **sent: Any) -> Any:
        answered = await client.request(method, path, headers=bearer(keys["admin"]), **sent)
        assert answered.status_code < 300, answered.text
        return answered.json()

    patient = {"id": PATIENT}
    await send("POST", "/v1/check", json=order(case_id=OVERRIDE_CASE, patient=patient))
    checked = await client.post("/v1/check", json=order(request_id=REQUEST, case_id=CASE, patient=patient), headers=bearer(keys["his"]))
    emergency = order(EXPIRED, case_id=OVERRIDE_CASE, patient=patient, urgency="emergency", emergency=declaration())
    override = (await send("POST", "/v1/check", json=emergency))["override"]["id"]
    await send("POST", "/v1/check", json=order(EXPIRED, urgency="emergency", patient=patient, emergency=declaration()))
    grant = (await send("POST", "/v1/grants", json=a_grant() | {"staff": "100001"}))["id"]
    notification = await _dead_notification(gateway, override)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=gateway, client=("192.0.2.7", 1)), base_url="http://gateway"
    ) as stranger:
        yield World(
            gateway=gateway,
            client=client,
            stranger=stranger,
            mine=keys,
            others=others,
            decision=checked.json()["decision_id"],
            override=override,
            grant=grant,
            shared_grant=(await send("GET", "/v1/grants?staff=100007"))["items"][0]["id"],
            notification=notification,
            key=keys["his"].split("_")[1],
            cursors={
                name: (await send("GET", f"/v1/{name}?limit=1"))["next_cursor"]
                for name in ("decisions", "grants", "changes", "overrides", "keys", "notifications")
            },
        )


async def _dead_notification(gateway: Gateway, override: str) -> int:
    """One that was given up, the older of two; its number."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    async with gateway.database.write("wahh") as connection:
        for _ in range(2):
            await outbox.enqueue(connection, "wahh", override, [outbox.Notice("target", "open", PATIENT.encode())], now)
        await connection.execute(tables.outbox.update().values(state="dead", done_at=now))
        return int((await connection.execute(select(tables.outbox.c.seq).order_by(tables.outbox.c.seq))).scalars().first() or 0)


async def _rows_of(gateway: Gateway, hospital: str) -> dict[str, list[str]]:
    """Everything that the store holds of a hospital, by table."""
    found = {}
    async with gateway.database.read() as connection:
        for table in tables.metadata.sorted_tables:
            if table.name in OF_NO_HOSPITAL:
                continue
            owner = table.c.code if table.name == "hospitals" else table.c.hospital
            found[table.name] = sorted(repr(tuple(row)) for row in await connection.execute(select(table).where(owner == hospital)))
    return found


async def _answer(world: World, method: str, ask: Ask, key: str | None) -> tuple[int, str]:
    """Status, and everything that was sent back: headers, body, and what is in it where it is an archive."""
    if ask.path.startswith("/v1/events") and key is not None:
        async with reading(world.gateway, key, ask.path.partition("?")[2]) as reader:
            await until(lambda: bool(reader.events) or reader.ended)
            return reader.status, f"{reader.headers} {reader.text.decode()}"
    headers = {} if key is None else bearer(key)
    if ask.file is not None:
        headers["content-type"] = ask.file[1]
    sent = {"content": ask.file[0]} if ask.file is not None else {} if ask.body is None else {"json": ask.body}
    # What is told to this machine without a key is told elsewhere to nobody.
    asker = world.stranger if ask.path in ("/readyz", "/metrics") else world.client
    answered = await asker.request(method, ask.path, headers=headers, **sent)
    return answered.status_code, f"{dict(answered.headers)} {_text(answered.content)}"


def _text(content: bytes) -> str:
    if not content.startswith(b"PK"):
        return content.decode()
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return "\n".join(f"{name}\n{_text(packed.read(name))}" for name in packed.namelist())


def _is_in(status: int, expected: int | Collection[int]) -> bool:
    return status == expected if isinstance(expected, int) else status in expected


async def test_every_route_has_its_case(gateway: Gateway) -> None:
    described = {(method.upper(), path) for path, methods in gateway.app.openapi()["paths"].items() for method in methods}
    assert described == set(ROUTES)
    beside = {getattr(route, "path", None) for route in gateway.app.routes if not getattr(route, "include_in_schema", True)}
    assert beside == {"/openapi.json", "/docs", "/docs/{name}"}


async def test_every_table_is_of_a_hospital_or_of_none() -> None:
    without = {table.name for table in tables.metadata.sorted_tables if "hospital" not in table.c}
    assert without == OF_NO_HOSPITAL | {"hospitals"}


async def test_no_role_of_another_hospital_sees_or_changes_anything_by_any_route(world: World) -> None:
    before = await _rows_of(world.gateway, "wahh")
    marks = world.marks()
    wrong = []
    for (method, path), route in ROUTES.items():
        for ask in route.asks(world):
            for role, key in world.others.items():
                status, text = await _answer(world, method, ask, key)
                allowed = not route.roles or role in route.roles or role == ADMIN
                if not (_is_in(status, ask.status) if allowed else status == 403):
                    wrong.append(f"{role} {method} {ask.path}: {status} {text[:300]}")
                # What was asked comes back in the text of an error.
                seen = [mark for mark in marks if mark in text and mark not in f"{ask.path}{ask.body}" and path != "/v1/imports/{kind}"]
                if seen:
                    wrong.append(f"{role} {method} {ask.path} sees {seen}")
    assert not wrong, "\n".join(wrong)
    after = await _rows_of(world.gateway, "wahh")
    assert {name: rows for name, rows in after.items() if rows != before[name]} == {}


async def test_without_a_key_nothing_is_told_but_that_it_lives(world: World) -> None:
    for (method, _path), route in ROUTES.items():
        for ask in route.asks(world):
            for key in (None, "surgate_0123456789ab_no", world.mine["his"][:-1] + "?"):
                status, _ = await _answer(world, method, ask, key)
                assert status == (401 if route.roles else 200), (method, ask.path)


async def test_the_same_requests_show_the_hospitals_own_keys_what_they_are_aimed_at(world: World) -> None:
    """The near miss: what `other` was refused is there to be seen."""
    for (method, path), route in ROUTES.items():
        if method != "GET" or path in ("/healthz", "/v1/audit/verify"):
            continue
        for ask in route.asks(world):
            if "cursor" in ask.path:
                continue
            status, text = await _answer(world, method, ask, world.mine["admin"])
            assert status == 200, (ask.path, status, text[:300])
            assert any(mark in text for mark in world.marks()) or path == "/v1/stats", ask.path


async def test_equal_ids_in_two_hospitals_are_two_things(world: World) -> None:
    """The client's name, the request id and the case id are the same; the patient is not."""
    for hospital, keys in (("wahh", world.mine), ("other", world.others)):
        again = order(request_id=REQUEST, case_id=CASE, patient={"id": f"PATIENT-OF-{hospital.upper()}"}, planned_start=None)
        status, text = await _answer(world, "POST", Ask("/v1/check", 200, again), keys["his"])
        assert status == (409 if hospital == "wahh" else 200), text
    first = (await world.client.post("/v1/check", json=same_order(planned_start=None), headers=bearer(world.others["his"]))).json()
    assert (first["replayed"], first["flags"]) == (True, [])
    assert first["decision_id"] != world.decision
    case = (await world.client.get(f"/v1/cases/{CASE}", headers=bearer(world.others["auditor"]))).json()
    assert [checkpoint["decision_id"] for checkpoint in case["checkpoints"]] == [first["decision_id"]]


@pytest.mark.parametrize("step", ["suspend", "revoke"])
async def test_what_is_taken_in_one_hospital_holds_in_the_other(world: World, step: str) -> None:
    """Grant, person and technology have the same ids in both."""
    paths = [f"/v1/grants/{world.shared_grant}/{step}"]
    paths += [f"/v1/staff/{EVERYBODYS_STAFF}/suspend", f"/v1/technologies/{EVERYBODYS_TECHNOLOGY}/stop"]
    for path in paths:
        answered = await world.client.post(path, json=because(), headers=bearer(world.others["medical_affairs"]))
        assert answered.status_code == 200, answered.text
    grant = (await world.client.get(f"/v1/grants/{world.shared_grant}", headers=bearer(world.mine["admin"]))).json()
    assert grant["state"] == "active"
    mine, others = (world.gateway.live.hospitals[code] for code in ("wahh", "other"))
    assert [live.people[EVERYBODYS_STAFF].staff.status for live in (mine, others)] == ["active", "suspended"]
    stopped = [{technology.id for technology in live.hospital.technologies if technology.stopped} for live in (mine, others)]
    assert stopped == [set(), {EVERYBODYS_TECHNOLOGY}]


async def test_operations_are_told_of_their_own_hospital_by_key_and_of_all_on_this_machine(world: World) -> None:
    for code in ("wahh", "other"):
        await world.gateway.live.hospital(code)  # told of are those in memory
    for path in ("/readyz", "/metrics"):
        by_key = (await world.stranger.get(path, headers=bearer(world.others["ops"]))).text
        here = (await world.client.get(path)).text
        assert ("other" in by_key, "wahh" in by_key) == (True, False), path
        assert ("other" in here, "wahh" in here) == (True, True), path


async def test_counts_are_the_hospitals_own(world: World) -> None:
    for keys, some in ((world.mine, True), (world.others, False)):
        counted = (await world.client.get("/v1/stats", headers=bearer(keys["ops"]))).json()
        assert [bool(sum(counted["total"].values())), bool(counted["surgeons"]), bool(counted["overrides"]["open"])] == [some] * 3


async def test_who_follows_events_goes_on_in_its_own_hospitals_alone(world: World) -> None:
    """Numbers are each hospital's own: one that a reader of `wahh` has is another event, or none, in `other`."""
    async with reading(world.gateway, world.mine["admin"], "last_event_id=0") as reader:
        await until(lambda: world.override in reader.text.decode())
        number = reader.place
    for last in (0, 1, number, number + 1000):
        async with reading(world.gateway, world.others["admin"], last_event_id=last) as reader:
            assert reader.status == 200
            assert not [mark for mark in world.marks() if mark in reader.text.decode()]


async def test_his_sees_its_own_clients_decisions_alone(world: World) -> None:
    made = await world.client.post("/v1/keys", json={"roles": ["his"], "client": "another-his"}, headers=bearer(world.mine["admin"]))
    for key, sees in ((world.mine["his"], True), (made.json()["key"], False)):
        one = await world.client.get(f"/v1/decisions/{world.decision}", headers=bearer(key))
        listed = await world.client.get("/v1/decisions", headers=bearer(key))
        assert (one.status_code, world.decision in json.dumps(listed.json())) == ((200, True) if sees else (404, False))
