"""What a worker remembers of the files beside the database: by request, and by case."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from app.store.decided import Judged, Kept, RequestKey

Case = tuple[str, str]
"""A hospital's code and a case's id."""


class Found(NamedTuple):
    """What is known of requests and of cases, each where anything is. `journaled`: of the cases, what waits in the journal; `recent`: what the node has
    committed of late."""

    earlier: dict[RequestKey, Kept]
    journaled: dict[Case, list[Judged]]
    recent: dict[Case, list[Judged]]


NOTHING_FOUND = Found({}, {}, {})


class Index:
    """Decisions by request and by case, those of each file together, so that they can be forgotten with it."""

    def __init__(self) -> None:
        self._files: dict[int, list[Kept]] = defaultdict(list)
        self._count = 0
        self._requests: dict[RequestKey, Kept] = {}
        self._cases: dict[Case, list[Judged]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def oldest(self) -> str | None:
        """When the first of them was judged."""
        return next((kept[0].at for _, kept in sorted(self._files.copy().items()) if kept), None)

    @property
    def files(self) -> list[int]:
        """The numbers of the files that they are in."""
        return list(self._files)

    def add(self, file: int, kept: Kept) -> None:
        """Remember one. The first under a request id is the one that counts."""
        self._files[file].append(kept)
        self._count += 1
        self._requests.setdefault(kept.key, kept)
        self._cases.setdefault((kept.key.hospital, kept.case_id), []).append(kept.judged)

    def forget(self, file: int) -> None:
        """Forget those of a file."""
        gone = self._files.pop(file, [])
        self._count -= len(gone)
        ids = {kept.id for kept in gone}
        for kept in gone:
            if self._requests.get(kept.key, kept).id == kept.id:
                self._requests.pop(kept.key, None)
            case = (kept.key.hospital, kept.case_id)
            left = [one for one in self._cases.pop(case, []) if one.id not in ids]
            if left:
                self._cases[case] = left

    def earlier(self, key: RequestKey) -> Kept | None:
        """The first decision under a request id."""
        return self._requests.get(key)

    def of_case(self, case: Case) -> list[Judged]:
        """The decisions of a case, oldest first."""
        return list(self._cases.get(case, ()))
