"""Places in a document that a measurement fills: from `<!-- NAME: begin -->` to `<!-- NAME: end -->`. What stands around is written by hand."""

from __future__ import annotations

from pathlib import Path


def fill(document: Path, name: str, content: str) -> None:
    """Put content, whole lines of it, in the place of that name. Raises `ValueError` where the document has none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begun, rest = document.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"{document.name} has no place named {name}")
    document.write_text(f"{before}{begin}\n{content}{end}{after}", encoding="utf-8")
