"""The checks of a verification that need no store: entries held against each other and their records, seals held against entries."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from app.audit.findings import Findings
from app.audit.heads import Line
from app.audit.seal import Keyring, Seal
from app.store import chain
from app.store.chain import Entry


class Walk:
    """Entries in the order of their numbers. `number` and `before`: of the entry that they follow."""

    def __init__(self, findings: Findings, number: int, before: bytes) -> None:
        self._findings = findings
        self.number = number
        self.hash = before
        self.entries = 0
        self._before: tuple[bytes, ...] = (before,)
        self._seqs: dict[str, int] = {}

    def link(self, entry: Entry) -> None:
        """Hold an entry against the one before it.

        Where that one was wrong, either its hash or what the hash was made of was changed; this one may follow from either. So a change shows
        at its own place and not at all that come after it.
        """
        if entry.number != self.number + 1:
            self._findings.add("entry_missing", self.number + 1, entry.number - 1)
            self._before = ()
        made = [
            chain.hash_of(before, self._findings.hospital, entry.number, entry.kind, entry.ref, entry.at, entry.digest)
            for before in self._before
        ]
        if made and entry.hash not in made:
            self._findings.add("entry_changed", entry.number, kind=entry.kind, ref=entry.ref)
        self._before = (entry.hash, *made[:1])
        self.number, self.hash = entry.number, entry.hash
        self.entries += 1

    def restart(self, number: int, before: bytes) -> None:
        """Go on after an entry that cannot be looked at."""
        self.number, self.hash, self._before = number, before, (before,)

    def record(self, entry: Entry, digest: bytes | None, seq: int | None = None) -> None:
        """Hold a record that is there against its entry. `seq`: its place in its table, None where that is not kept."""
        if digest != entry.digest:
            self._findings.add("record_changed", entry.number, kind=entry.kind, ref=entry.ref)
        if seq is not None:
            if seq <= self._seqs.get(entry.kind, 0):
                self._findings.add("order_changed", entry.number, kind=entry.kind, ref=entry.ref)
            self._seqs[entry.kind] = max(seq, self._seqs.get(entry.kind, 0))

    def missing(self, entry: Entry) -> None:
        """An entry's record is not there."""
        self._findings.add("record_missing", entry.number, kind=entry.kind, ref=entry.ref)


class SealWalk:
    """Seals of the database, of the log and the head, held against the entries that pass by."""

    def __init__(self, findings: Findings, keyring: Keyring, head: Seal | None, log: Iterable[Line], *, alone: bool) -> None:
        """`alone`: nobody but this node writes to the database; otherwise each node has a head and a log of its own, of what it has sealed itself."""
        self._findings = findings
        self._alone = alone
        self._keyring = keyring
        self._head = head
        self._log = _Ahead(findings, log)
        self._unkept: Seal | None = None
        self._position = 0
        self._rewritten = False
        self.held = 0
        self.sealed_until = 0
        self.seals = 0
        self._furthest = 0

    def hold(self, last: int, kept: Sequence[Seal], hashes: Mapping[int, bytes]) -> None:
        """Seals up to the entry `last`. `kept`: the database's; `hashes`: of the entries since the last call."""
        self.held = last
        logged = list(self._log.until(last))
        self._compare(kept, logged)
        head = [self._head] if self._head is not None and self._head.number in hashes else []
        for seal in sorted({*kept, *logged, *head}, key=lambda seal: (seal.number, self._keyring.positions.get(seal.key, -1))):
            if not self._counts(seal, is_head=seal in head):
                continue
            if seal not in head and (self._alone or seal in logged):
                self._furthest = max(self._furthest, seal.number)
            if seal.number in hashes:
                self._match(seal, hashes[seal.number])

    def end(self, last: int, kept: Sequence[Seal]) -> None:
        """No more entries. `kept`: seals of the database for entries after the last one."""
        logged = list(self._log.until(None))
        counted = [seal for seal in itertools.chain(kept, logged) if self._counts(seal)]
        furthest = max((seal.number for seal in counted), default=0)
        self._furthest = max([self._furthest, *(seal.number for seal in counted if self._alone or seal in logged)])
        if self._head is not None and self._head.number > last and self._counts(self._head, is_head=True):
            furthest = max(furthest, self._head.number)
        if furthest > last:
            self._findings.add("tail_cut", last + 1, furthest)
        if self._head is not None and self._head.number < self._furthest:
            self._findings.add("head_behind", self._head.number)

    def _match(self, seal: Seal, hash_: bytes) -> None:
        self.seals += 1
        if seal.hash == hash_.hex():
            self.sealed_until = max(self.sealed_until, seal.number) if not self._rewritten else self.sealed_until
        elif not self._rewritten:
            # Whatever was sealed later does not fit either.
            self._rewritten = True
            self._findings.add("chain_rewritten", self.sealed_until + 1, seal.number)

    def _counts(self, seal: Seal, *, is_head: bool = False) -> bool:
        if not self._keyring.holds(seal):
            self._findings.add("seal_invalid" if self._keyring.knows(seal) else "seal_foreign", seal.number, ref=seal.key)
            return False
        position = self._keyring.positions[seal.key]
        if position < self._position or (is_head and seal.key != self._keyring.newest):
            self._findings.add("seal_key_retired", seal.number, ref=seal.key)
        self._position = max(position, self._position) if not is_head else self._position
        return True

    def _compare(self, kept: Sequence[Seal], logged: Sequence[Seal]) -> None:
        """The log against the database. The log's last seal may be missing in the database: a crash came between. Two nodes may each have sealed the
        same entry, at different times: the database keeps one of the two."""
        logged_as, kept_as = ({(seal.number, seal.key, seal.hash) for seal in seals} for seals in (logged, kept))
        for seal in kept:
            if self._alone and (seal.number, seal.key, seal.hash) not in logged_as:
                self._findings.add("seal_log_missing", seal.number, ref=seal.key)
        for seal in logged:
            if self._unkept is not None:
                self._findings.add("seal_removed", self._unkept.number, ref=self._unkept.key)
            self._unkept = None if (seal.number, seal.key, seal.hash) in kept_as else seal


class _Ahead:
    """The lines of the log, read as far as they are wanted."""

    def __init__(self, findings: Findings, lines: Iterable[Line]) -> None:
        self._findings = findings
        self._lines = iter(lines)
        self._next: Seal | None = None

    def until(self, last: int | None) -> Iterator[Seal]:
        """The seals for entries up to that number; all that are left for None."""
        while (seal := self._next or self._following()) is not None:
            self._next = seal
            if last is not None and seal.number > last:
                return
            self._next = None
            yield seal

    def _following(self) -> Seal | None:
        for line in self._lines:
            if line.seal is not None:
                return line.seal
            if line.seen is not None:
                self._findings.add(f"seen_{line.seen.event}", line.seen.follows + 1, line.seen.number)
            else:
                self._findings.add("seal_log_damaged")
        return None
