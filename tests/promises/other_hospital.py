"""A second hospital for the same store: the demo hospital's numbers and codes under another name."""

from __future__ import annotations

import re
from pathlib import Path

from tests.service.conftest import PACK

SURGEONS = ("100007", "100012", "100234", "100377", "200018")
"""Who holds grants in `other` too."""


def other_pack(folder: Path) -> Path:
    """The demo hospital's pack as another hospital's: the same numbers and codes, other names, few grants."""
    folder.mkdir()
    for file in PACK.iterdir():
        text = file.read_text(encoding="utf-8")
        if file.name == "hospital.toml":
            text = text.replace('code = "wahh"', 'code = "other"').replace("武汉亚洲心脏病医院（示例）", "另一家医院")
        if file.name in ("grants.csv", "volumes.csv", "credentials.csv"):
            heading, *rows = text.splitlines(keepends=True)
            text = heading + "".join(row for row in rows if row.startswith(SURGEONS))
        if file.name == "staff.csv":
            text = re.sub(r"^(\d{6}),[^,]+,", r"\1,乙\1,", text, flags=re.MULTILINE)
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder
