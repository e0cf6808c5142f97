"""Those who are at work on the day, as Locust users. The one module that imports Locust, which patches the whole process for gevent.

Users wait for their answer before they go on, as people do: a slow gateway gets less load. `make bench` asks how much it can take.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import gevent
from gevent.lock import BoundedSemaphore
from locust import FastHttpUser, LoadTestShape, between, task
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment

from loadtests.day import judging
from loadtests.day.cases import Case, Check, Desk, check
from loadtests.day.hospital import Keys
from loadtests.day.hours import Span, Work, next_work, span_at, users_in
from loadtests.day.summary import Kind, Tally

RETRIED_SHARE = 0.03
"""Of the checks, those that are sent again after their answer, as a client does that lost it."""

GIVEN_UP_SHARE = 0.02
"""Of the checks, those that are given up on at first, so that nobody knows whether they were decided."""

GIVE_UP_SECONDS = 0.003
"""When those are given up on: before most answers, after most orders have arrived."""

LIST_SIZE = 40
"""Notices in one batch of the morning."""

PATIENCE = 20
"""How often a request that is shed is sent again."""

LONGEST_WAIT_SECONDS = 30.0
SHED_WAIT_SECONDS = 1.0
"""Before what was shed out of a list is sent alone; a result in a batch has no headers that could tell."""

SPAWN_PER_SECOND = 100.0
STOP_SECONDS = 30.0
"""How long those who go home may take to end what they are doing."""

JSON, CSV = "application/json", "text/csv"
REST = "-"


class Day(NamedTuple):
    """What all users share."""

    keys: Keys
    desk: Desk
    tally: Tally
    chance: random.Random
    office: BoundedSemaphore


class DayEnvironment(Environment):
    """Locust's environment with the day in it."""

    def __init__(self, day: Day, url: str, shape: DayShape) -> None:
        super().__init__(user_classes=[Caller], host=url, shape_class=shape, stop_timeout=STOP_SECONDS)
        self.day = day
        self.shape = shape
        self.events.user_error.add_listener(self._raised)

    def _raised(self, user_instance: FastHttpUser, exception: Exception, **more: Any) -> None:
        self.day.tally.failed(Kind(REST, type(user_instance).__name__), f"the harness failed: {exception!r}")


class Sender(FastHttpUser):
    """What everybody who calls the gateway has: requests that are sent, counted, and held against what must come back."""

    abstract = True
    insecure = False
    environment: DayEnvironment

    @property
    def day(self) -> Day:
        return self.environment.day

    def check(self, case: Case, checkpoint: str, key: str, what: str | None = None) -> bool:
        """Send a case's document; whether it was answered. Now and then it is sent again, or given up on at first."""
        sent, chance = check(case, checkpoint), self.day.chance.random()
        if chance < GIVEN_UP_SHARE:
            self._give_up(sent, key)
            kind = Kind(checkpoint, "after a time-out")
        else:
            kind = Kind(checkpoint, what or checkpoint)
        answer = self._ask(kind, "POST", "/v1/check", key, sent.content)
        if answer is None:
            return False
        self.day.tally.judged(kind, judging.wrong_decision(sent, answer))
        if chance < GIVEN_UP_SHARE + RETRIED_SHARE:
            self._again(sent, key, answer)
        self.day.desk.put(sent, answer)
        return True

    def _give_up(self, sent: Check, key: str) -> None:
        """Send it and do not wait for the answer, on a connection of its own."""
        hasty = FastHttpSession(self.host, self.environment.events.request, self, insecure=False, network_timeout=GIVE_UP_SECONDS)
        _request(hasty, "POST", "/v1/check", key, sent.content, JSON, "given up")
        hasty.client.clientpool.close()

    def _again(self, sent: Check, key: str, first: dict[str, Any]) -> None:
        kind = Kind(sent.checkpoint, "retry")
        again = self._ask(kind, "POST", "/v1/check", key, sent.content)
        if again is not None:
            self.day.tally.judged(kind, judging.wrong_replay(first, again))

    def look_up(self, what: str, path: str, key: str, wrong: Callable[[Any], list[str]], **asked: str) -> None:
        """Read something and hold it against what is known."""
        kind = Kind(REST, f"look-up: {what}")
        answer = self._ask(kind, "GET", f"{path}?{urlencode(asked)}" if asked else path, key)
        if answer is not None:
            self.day.tally.judged(kind, wrong(answer))

    def _ask(self, kind: Kind, method: str, path: str, key: str, content: bytes | None = None) -> Any:
        """The answer's JSON; None where there was none. What is shed is sent again when the gateway says."""
        answer = self.send(kind, method, path, key, content)
        return None if answer is None else json.loads(answer.content or b"")

    def send(self, kind: Kind, method: str, path: str, key: str, content: bytes | None = None, media: str = JSON) -> Any:
        """One request until it is answered; None where it was not answered with 200."""
        tally = self.day.tally
        for _ in range(PATIENCE):
            began = time.perf_counter()
            answer = _request(self.client, method, path, key, content, media, f"{kind.checkpoint} {kind.what}")
            took = (time.perf_counter() - began) * 1000
            if answer.status_code == 200:
                tally.answered(kind, took, degraded=b'"degraded":true' in (answer.content or b""))
                return answer
            wait = (answer.headers or {}).get("retry-after")
            if answer.status_code != 503 or wait is None:
                tally.failed(
                    kind,
                    f"{answer.status_code} {(answer.content or b'').decode(errors='replace')[:300]} {getattr(answer, 'error', None) or ''}",
                )
                return None
            tally.shed(kind)
            gevent.sleep(min(float(wait), LONGEST_WAIT_SECONDS))
        tally.failed(kind, f"shed {PATIENCE} times")
        return None


class Caller(Sender):
    """Somebody at work. Locust adds and takes away users by the hour, whichever they are; so each does what the hour asks for."""

    wait_time = between(0.05, 0.15)

    @task
    def work(self) -> None:
        """One piece of work."""
        works: dict[Work, Callable[[], None]] = {
            Work.ORDERS: self._order,
            Work.LISTS: self._send_list,
            Work.NOTICES: self._send_notice,
            Work.THEATRE: self._record,
            Work.EMERGENCIES: self._emergency,
            Work.LOOKUPS: self._look_up,
            Work.OFFICE: self._import,
        }
        span = self.environment.shape.span
        if span is not None:
            works[next_work(span, self.day.chance)]()

    def _order(self) -> None:
        """A doctor orders an operation for tomorrow."""
        self.check(self.day.desk.maker.elective(), "order", self.day.keys.his)

    def _send_list(self) -> None:
        """The morning's list: the notices of many cases at once."""
        cases = self.day.desk.notices(LIST_SIZE)
        if not cases:
            return
        sent, kind = [check(case, "notice") for case in cases], Kind("notice", f"list of {LIST_SIZE}")
        content = b'{"checks":[' + b",".join(one.content for one in sent) + b"]}"
        answer = self._ask(kind, "POST", "/v1/check/batch", self.day.keys.his, content)
        if answer is None:
            return
        if len(answer["results"]) != len(sent):
            self.day.tally.judged(kind, [f"{len(sent)} checks, {len(answer['results'])} results"])
            return
        shed = []
        for one, result in zip(sent, answer["results"], strict=True):
            if "decision" in result:
                self.day.tally.judged(kind, judging.wrong_decision(one, result))
                self.day.desk.put(one, result)
            elif result.get("status") == 503:
                self.day.tally.shed(kind)
                shed.append(one.case)
            else:
                self.day.tally.failed(kind, f"{one.body['request_id']}: {result.get('status')} {result.get('detail')}")
        if shed:
            gevent.sleep(SHED_WAIT_SECONDS)
        for case in shed:
            self.check(case, "notice", self.day.keys.his)

    def _send_notice(self) -> None:
        """A notice that comes alone."""
        for case in self.day.desk.notices(1):
            self.check(case, "notice", self.day.keys.his)

    def _record(self) -> None:
        """The anesthesiologist at the door of the theatre: the record, then now and then a look at the case."""
        case = self.day.desk.for_anesthesia()
        if case is not None and self.check(case, "anesthesia", self.day.keys.anesthesia) and self.day.chance.random() < 0.1:
            self._look_up_case(case)

    def _emergency(self) -> None:
        """Ordered, and in the theatre at once."""
        case = self.day.desk.maker.emergency()
        if self.check(case, "order", self.day.keys.his, "emergency"):
            self.check(case, "anesthesia", self.day.keys.anesthesia, "emergency")

    def _look_up(self) -> None:
        """Somebody wants to know something."""
        case = self.day.desk.closed()
        kind = self.day.chance.choice(("decision", "case", "operators", "privilege", "privilege"))
        if kind == "operators":
            self._look_up_operators()
        elif kind == "privilege" or case is None:
            self._look_up_privilege()
        elif kind == "case":
            self._look_up_case(case)
        else:
            self._look_up_decision(case)

    def _look_up_decision(self, case: Case) -> None:
        checkpoint = self.day.chance.choice(list(case.decided))
        path = f"/v1/decisions/{_path(case.decided[checkpoint]['decision_id'])}"
        self.look_up("decision", path, self.day.keys.anesthesia, lambda read: judging.wrong_reading(case, checkpoint, read))

    def _look_up_case(self, case: Case) -> None:
        self.look_up("case", f"/v1/cases/{_path(case.id)}", self.day.keys.anesthesia, lambda read: judging.wrong_case(case, read))

    def _look_up_operators(self) -> None:
        """Somebody of those who may is on the first page."""
        one = self.day.desk.maker.some_procedure()
        self.look_up(
            "who may operate",
            f"/v1/procedures/{_path(one.code)}/operators",
            self.day.keys.his,
            lambda read: [] if read["items"] else [f"nobody may perform {one.code} in {one.department}"],
            department=one.department,
        )

    def _look_up_privilege(self) -> None:
        one = self.day.desk.maker.some_procedure()
        lacking = bool(one.lacking) and self.day.chance.random() < 0.3
        staff = self.day.chance.choice(one.lacking).staff if lacking else self.day.chance.choice(one.able)
        self.look_up(
            "privilege",
            f"/v1/staff/{_path(staff)}/privileges",
            self.day.keys.his,
            lambda read: [f"{staff} for {one.code}: allowed={read['allowed']}"] if read["allowed"] is lacking else [],
            code=one.code,
            department=one.department,
        )

    def _import(self) -> None:
        """The medical affairs office: the grants out, looked at, and in again just as they are, which changes nothing. There is one such office."""
        if not self.day.office.acquire(blocking=False):
            return
        try:
            self._export_and_import()
        finally:
            self.day.office.release()

    def _export_and_import(self) -> None:
        key = self.day.keys.office
        file = self.send(Kind(REST, "export of the grants"), "GET", "/v1/exports/grants", key)
        if file is None:
            return
        for dry_run, what in ((True, "import, dry run"), (False, "import")):
            kind = Kind(REST, what)
            asked = urlencode({"dry_run": str(dry_run).lower(), "mode": "merge"})
            answer = self.send(kind, "POST", f"/v1/imports/grants?{asked}", key, file.content, CSV)
            if answer is None:
                return
            wrong = judging.wrong_diff(json.loads(answer.content or b""), dry_run=dry_run)
            self.day.tally.judged(kind, wrong)
            if wrong:
                return


class DayShape(LoadTestShape):
    """Plays the hours in so many minutes. `most`: users at the busiest hour; `span`: the hours it is, None before and after the day."""

    def __init__(self, minutes: float, most: int) -> None:
        super().__init__()
        self._minutes = minutes
        self._most = most

    @property
    def span(self) -> Span | None:
        return span_at(self.get_run_time(), self._minutes)

    def tick(self) -> tuple[int, float] | None:
        span = self.span
        return None if span is None else (users_in(span, self._most), SPAWN_PER_SECOND)


def play(keys: Keys, desk: Desk, tally: Tally, chance: random.Random, url: str, minutes: float, most: int) -> None:
    """The whole day; what is seen goes into its tally. An interrupt ends it early."""
    day = Day(keys, desk, tally, chance, BoundedSemaphore())
    environment = DayEnvironment(day, url, DayShape(minutes, most))
    runner = environment.create_local_runner()
    runner.start_shape()
    try:
        gevent.joinall([runner.shape_greenlet])
    except KeyboardInterrupt:
        print("interrupted: the day ends early", flush=True)
    finally:
        runner.quit()


def _request(session: FastHttpSession, method: str, path: str, key: str, content: bytes | None, media: str, name: str) -> Any:
    """What came back: a `FastResponse` or, where nothing did, an `ErrorResponse`, which Locust's annotations do not say."""
    body: Any = content  # nor that bytes are sent as they are
    return session.request(method, path, name=name, data=body, headers={"Authorization": f"Bearer {key}", "Content-Type": media})


def _path(text: str) -> str:
    return quote(text, safe="")
