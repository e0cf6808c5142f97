"""What `surgate doctor` finds."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One thing looked at: how it is, and how to mend it where it is wrong."""

    state: Literal["good", "note", "wrong"]
    what: str
    told: str
    mend: str = ""
