"""What a key sees of what happened, as the text of an event.

Roles that read every decision see everything; the keys' changes are for those who read the change log. `his` sees its own client's decisions and the
states of their overrides. `ops` sees that something happened, where and how it ended: no case, no person, no reason in words.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, tzinfo

import msgspec
from msgspec.structs import asdict, replace

from app.store.events import ChangeFacts, DecisionFacts, Facts, Happened, StepFacts
from app.store.keys import Key, Role

SEES_ALL = frozenset({Role.ANESTHESIA, Role.MEDICAL_AFFAIRS, Role.AUDITOR, Role.ADMIN})
"""Roles that see every decision of their hospital; `his` sees its client's own."""

READS_CHANGES = frozenset({Role.MEDICAL_AFFAIRS, Role.AUDITOR, Role.ADMIN})

KINDS: dict[str, type[Facts]] = {"decision": DecisionFacts, "override": StepFacts, "change": ChangeFacts}
"""The kinds of events."""

COUNTED = {
    "decision": ("checkpoint", "decision", "level", "department", "reasons", "at"),
    "override": ("action", "state", "department", "late", "review_due_at", "at"),
    "change": ("kind", "action", "version", "at"),
}
"""What `ops` sees of each kind."""

OWN_STEP = ("override_id", "decision_id", "case_id", "action", "state", "late", "review_due_at", "at")
"""What `his` sees of an override that its own check opened: not what the hospital makes of it."""


class View:
    """What one key sees. `kinds`: what it asked for; `zone`: the hospital's, in which instants are told."""

    def __init__(self, key: Key, kinds: Collection[str], zone: tzinfo) -> None:
        self._key = key
        self._kinds = {KINDS[kind]: kind for kind in kinds}
        self._zone = zone
        self._sees_all = bool(key.roles & SEES_ALL)

    def event(self, happened: Happened) -> bytes | None:
        """An event as it is sent; None where the key sees nothing of it."""
        facts = happened.facts
        if facts is None or type(facts) not in self._kinds:
            return None
        kind = self._kinds[type(facts)]
        fields = self._fields(kind, facts, happened.client)
        if fields is None:
            return None
        told = asdict(self._local(facts))
        return text_of(kind, happened.number, told if not fields else {name: told[name] for name in fields})

    def _fields(self, kind: str, facts: Facts, client: str | None) -> tuple[str, ...] | None:
        """The fields that the key sees, none named for all of them; None where it sees nothing."""
        if isinstance(facts, ChangeFacts):
            return self._change_fields(facts)
        if self._sees_all:
            return ()
        if Role.HIS in self._key.roles and client == self._key.client:
            return OWN_STEP if kind == "override" else ()
        return COUNTED[kind] if Role.OPS in self._key.roles else None

    def _change_fields(self, facts: ChangeFacts) -> tuple[str, ...] | None:
        if facts.kind == "key" and self._key.roles.isdisjoint(READS_CHANGES):
            return None
        return () if self._sees_all or Role.HIS in self._key.roles else COUNTED["change"]

    def _local(self, facts: Facts) -> Facts:
        at = self._instant(facts.at)
        if isinstance(facts, StepFacts):
            return replace(facts, at=at, review_due_at=self._instant(facts.review_due_at))
        return replace(facts, at=at)

    def _instant(self, text: str) -> str:
        return datetime.fromisoformat(text).astimezone(self._zone).isoformat(timespec="milliseconds")


def text_of(event: str, number: int, data: object) -> bytes:
    """One event in the form of the HTML standard, ch. 9.2. JSON has no line break of its own."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.encode(), msgspec.json.encode(data))


def place_of(number: int) -> bytes:
    """Says where a reader is, without an event: it resumes from there although what came since was not for it."""
    return b": \nid: %d\n\n" % number
