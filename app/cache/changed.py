"""What changes of the log ask to be read again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.store.changes import KEYS, TECHNOLOGIES, Logged, Mark


class Changed(NamedTuple):
    """What of a hospital is to be read again, up to a version: all of it (`whole`), what it is but for its people (`itself`), the rows of some
    people. `at`: when the last change was made, as the log has it."""

    version: int
    whole: bool = False
    itself: bool = False
    people: frozenset[str] = frozenset()
    at: str = ""

    @property
    def mark(self) -> Mark:
        return Mark(self.version, self.at)

    @classmethod
    def since(cls, logged: Iterable[Logged]) -> dict[str, Changed]:
        """What the log says, by hospital; keys aside."""
        found: dict[str, Changed] = {}
        for change in logged:
            if change.kind == KEYS:
                continue
            before = found.get(change.hospital, cls(change.seq))
            technologies = change.people is None and change.kind == TECHNOLOGIES
            found[change.hospital] = cls(
                version=change.seq,
                whole=before.whole or (change.people is None and not technologies),
                itself=before.itself or technologies,
                people=before.people | frozenset(change.people or ()),
                at=change.at,
            )
        return found
