"""What a file's first bytes and a zip's directory tell before anything is unpacked.

Apart from `workbook`, since that loads openpyxl, which takes a worker 20 MiB and its start a fifth of a second, and few ever read a workbook.
"""

from __future__ import annotations

import zipfile

OLD_OFFICE = b"\xd0\xcf\x11\xe0"
"""What an old Excel file begins with, and an encrypted one."""

_ZIP = b"PK\x03\x04"

ENTRY_IN_ZIP = b"PK\x01\x02"
"""What each entry of a zip's directory begins with: counted before the directory is read, which takes ten times its size."""

USUAL_COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Of others more is unpacked than is asked for."""


def is_workbook(data: bytes) -> bool:
    """Whether the content is a workbook's, new or old, whatever the file is called."""
    return data.startswith((_ZIP, OLD_OFFICE))
