"""Figures that a test saw. They are printed and, where SURGATE_MEASURED names a file, added to it as lines of JSON; nothing is asserted of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

VARIABLE = "SURGATE_MEASURED"


class Measured:
    """The figures of one test."""

    def add(self, what: str, **figures: float) -> None:
        """Keep figures of something by its name."""
        line = json.dumps({"what": what, **figures}, ensure_ascii=False)
        print(line)
        file = os.environ.get(VARIABLE)
        if file:
            with Path(file).open("a", encoding="utf-8") as out:
                out.write(line + "\n")
