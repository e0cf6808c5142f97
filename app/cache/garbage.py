"""Keeping Python's collector of cycles away from what stays in memory: hundreds of thousands of grants, in which there are no cycles.

A full collection walks over every object, a tenth of a second and more with a large hospital in memory, in the middle of somebody's check; and while one
is read, the collector walks again and again over what has been read so far. What is let go is freed by its count of references all the same.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_reading = 0


@contextmanager
def uncollected() -> Iterator[None]:
    """While much is read that stays. To be used in one thread, the loop's; those who read at once may overlap."""
    global _reading
    _reading += 1
    gc.disable()
    try:
        yield
    finally:
        _reading -= 1
        if not _reading:
            gc.enable()


def settle() -> None:
    """What is in memory now stays: it is not walked over any more."""
    gc.collect(0)
    gc.freeze()
