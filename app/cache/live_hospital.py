"""A hospital as a worker has it in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from app.cache.changed import Changed
from app.cache.snapshot import HeldHospital
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Hospital, MatrixState, Person
from app.store import hospitals
from app.store.changes import since_boot


class LiveHospital:
    """A hospital in memory, at one version: what it is, its people, and both compiled.

    `matrix` is what is known of people; `usable` the same for judging by, None where it is too old. `confirmed`: when it was last held against the
    log, by `since_boot`.
    """

    def __init__(self, compiled: CompiledHospital, settings: hospitals.Settings, people: dict[str, Person], matrix: Matrix) -> None:
        self.compiled = compiled
        self.settings = settings
        self.hospital: Hospital = compiled.source
        self.policy_version = hashlib.sha256(msgspec.json.encode(self.hospital.policy, order="deterministic")).hexdigest()[:12]
        self.people = people
        self.matrix = matrix
        self.version = matrix.state.version
        self.as_of = matrix.state.as_of.astimezone(UTC)
        self.confirmed = since_boot()
        self.usable: Matrix | None = matrix
        self.grants = sum(len(person.grants) for person in people.values())

    @classmethod
    def kept(cls, kept: HeldHospital) -> LiveHospital:
        """A hospital of the snapshot."""
        made = cls.of(kept.loaded, kept.as_of)
        # The one place where the wall clock tells an age: the machine may have been off since.
        made.confirmed -= max(0.0, (datetime.now(UTC) - kept.as_of).total_seconds())
        return made

    @classmethod
    def of(cls, loaded: hospitals.Loaded, as_of: datetime) -> LiveHospital:
        """What was read, compiled."""
        state = _state(loaded.version, as_of, loaded.itself.hospital)
        return cls(CompiledHospital(loaded.itself.hospital), loaded.itself.settings, loaded.people, Matrix(loaded.people.values(), state))

    def changed(self, itself: hospitals.Itself | None, people: Mapping[str, Person], changed: Changed, as_of: datetime) -> LiveHospital:
        """The hospital after changes: `itself` where it is another one but for its people, `people` of those whose rows changed; who of them is not there
        has left the register."""
        compiled = self.compiled if itself is None else CompiledHospital(itself.hospital)
        settings = self.settings if itself is None else itself.settings
        gone = changed.people - people.keys()
        everybody = {number: person for number, person in self.people.items() if number not in gone} | dict(people)
        matrix = self.matrix.replace(people.values(), gone, _state(changed.version, as_of, compiled.source))
        return LiveHospital(compiled, settings, everybody, matrix)

    def confirm(self, as_of: datetime) -> None:
        """The memory was held against the log at that instant and is still right."""
        self.as_of = as_of
        self.confirmed = since_boot()
        self.matrix.state = _state(self.version, as_of, self.hospital)
        self.usable = self.matrix

    def degrade(self, max_age_seconds: float) -> None:
        """The memory cannot be held against the log: every answer says so, and none comes of it once it is older than that."""
        self.matrix.state = replace(self.matrix.state, degraded=True)
        self.usable = self.matrix if since_boot() - self.confirmed <= max_age_seconds else None

    def held(self) -> HeldHospital:
        """What the snapshot keeps of it."""
        return HeldHospital(hospitals.Loaded(hospitals.Itself(self.hospital, self.settings), self.people, self.version), self.as_of)


def _state(version: int, as_of: datetime, hospital: Hospital) -> MatrixState:
    return MatrixState(version, as_of.astimezone(hospital.time_zone))
