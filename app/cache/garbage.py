"""Keeping Python's collector of cycles away from what stays in memory: hundreds of thousands of grants, in which there are no cycles.

A full collection walks over every object, a tenth of a second and more with a large hospital in memory, in the middle of somebody's check. What is let
go is freed by its count of references all the same.
"""

from __future__ import annotations

import gc

SETTLE_AFTER = 50_000
"""Grants read since the last time. Fewer are walked over in no time."""

WHOLE_EVERY = 20
"""So many times, and then what was set aside is walked over once: what was there by chance, and has become a cycle that nobody holds, is let go then."""

_read = _times = 0


def settle(grants: int) -> None:
    """So many grants were read and stay: they are set aside from what the collector walks over, as is all else that is there now."""
    global _read, _times
    _read += grants
    if _read < SETTLE_AFTER:
        return
    _read, _times = 0, _times + 1
    if _times % WHOLE_EVERY == 0:
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def unsettle() -> None:
    """What was set aside is the collector's again."""
    gc.unfreeze()
