"""The medical affairs office at work while checks run: grants suspended, resumed and imported over HTTP, as people and their programs do."""

from __future__ import annotations

import csv
import http.client
import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.engine.model import Hospital, Person, StaffKind
from app.store.keys import Role
from loadtests import worlds
from loadtests.deployment import Deployment
from tests.served import Reply, call

BY = "200000"
"""Who changes grants: an anesthesiologist of the register."""

BECAUSE = {"reason": "并发症率复核", "document_no": "医务〔2026〕41号", "by": BY}
CHANGES_PER_SECOND = 1.0
IMPORT_SECONDS = 600
COLUMNS = ("staff", "scope_type", "scope", "valid_from", "valid_to", "last_evaluated", "document_no", "state")


class Office:
    """What it does with one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._served = deployment.served
        self._key = deployment.key(Role.MEDICAL_AFFAIRS)

    def turn(self, grant: str, step: str) -> float:
        """Suspend or resume a grant; the seconds until that returned, in force everywhere. On a connection of its own, which may come to any worker."""
        connection = self._served.connect()
        try:
            connection.connect()
            began = time.perf_counter()
            reply = call(connection, "POST", f"/v1/grants/{grant}/{step}", self._key, BECAUSE)
            took = time.perf_counter() - began
        finally:
            connection.close()
        assert reply.status == 200, reply.body
        return took

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One grant is suspended or resumed each second meanwhile."""
        stop, failed = threading.Event(), list[BaseException]()

        def change() -> None:
            steps = ("suspend", "resume")
            number = 0
            try:
                # An even number of them, so that the grant is as it was.
                while not stop.wait(1 / CHANGES_PER_SECOND) or number % 2:
                    self.turn("G-1", steps[number % 2])
                    number += 1
            except (AssertionError, OSError, http.client.HTTPException) as error:
                failed.append(error)

        thread = threading.Thread(target=change)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]

    def import_grants(self, table: bytes) -> tuple[float, Reply]:
        """Import a CSV of grants; the seconds until that returned, and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=IMPORT_SECONDS)
        try:
            connection.connect()
            began = time.perf_counter()
            path = f"/v1/imports/grants?confirm=true&by={BY}"
            connection.request("POST", path, table, {"Content-Type": "text/csv", "Authorization": f"Bearer {self._key}"})
            answer = connection.getresponse()
            content = answer.read()
            took = time.perf_counter() - began
        finally:
            connection.close()
        assert answer.status == 200, content[:1000]
        return took, Reply(answer.status, {}, content)


def more_grants(of: Hospital, people: Sequence[Person], count: int) -> bytes:
    """A CSV of so many further grants (fewer where there are not so many), spread over all surgeons: codes of their department that they do not hold,
    and that are no technology's."""
    technologies = {code for technology in of.technologies for identify in technology.identify for code in identify.codes}
    surgeons = [person for person in people if person.staff.kind is StaffKind.PHYSICIAN]
    each = -(-count // len(surgeons))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    left, each_department = count, worlds.ENTRIES // len(worlds.DEPARTMENTS)
    for person in surgeons:
        held = {grant.scope for grant in person.grants}
        own = worlds.DEPARTMENTS.index(person.staff.department) * each_department
        entries = of.entries[own : own + each_department]
        free = [e.code for e in entries if not held & {e.code, e.item} and e.code not in technologies]
        for code in free[: min(each, left)]:
            writer.writerow((person.staff.staff, "code", code, "2025-03-01", "2028-02-29", "2026-03-01", "医务〔2026〕42号", "active"))
            left -= 1
    return out.getvalue().encode()
