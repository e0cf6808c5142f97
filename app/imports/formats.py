"""A pack as a zip: unpacked into a folder with nothing outside of it, nothing larger than declared limits, nothing but plain files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from app.packs.load import HOSPITAL_FILE
from app.packs.problems import Problems
from app.packs.zips import ENTRY_IN_ZIP, USUAL_COMPRESSIONS

MAX_FILES = 200
"""Files of a zip: a pack has about fifteen, and may lie beside those that it builds on."""

MAX_ENTRIES = 10_000
"""What a zip's directory may list, folders, litter and the parts of workbooks in it too."""

MAX_DEPTH = 3
"""Folders within folders."""

MAX_UNPACKED_BYTES = 512 * 1024 * 1024
"""All files together: a few kilobytes can be made to unpack to terabytes."""

CHUNK_BYTES = 1024 * 1024

PACK_FILE = "pack.zip"
_UNIX_TYPE = 0o170000
_PLAIN_TYPES = (0, 0o100000)


@contextmanager
def unpacked(data: bytes) -> Iterator[Path]:
    """The folder of the pack in a zip, while the context lasts. It may lie at the zip's top or in a folder of it.

    Raises:
        PackError: it is no zip, is damaged, or holds what a pack does not.
    """
    problems = Problems()
    if data.count(ENTRY_IN_ZIP) > MAX_ENTRIES:
        _refuse_many(problems)
        raise problems.error()
    with TemporaryDirectory(prefix="surgate-pack-") as temporary:
        # One folder further down, so that "beside the pack" is within the temporary folder too.
        root = Path(temporary) / "zip"
        root.mkdir()
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                _unpack(packed, root, problems)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
            problems.add(PACK_FILE, "不是完整的 zip 文件。", f"This is no whole zip file ({type(error).__name__}).")
        if problems.count:
            raise problems.error()
        yield _pack_folder(root, problems)


def _unpack(packed: zipfile.ZipFile, root: Path, problems: Problems) -> None:
    files = [part for part in packed.infolist() if not part.is_dir() and not _is_litter(part.filename)]
    if len(files) > MAX_FILES:
        _refuse_many(problems)
        return
    left = MAX_UNPACKED_BYTES
    for part in files:
        path = _safe_path(part, problems)
        if path is None:
            continue
        target = root / path
        if target.exists():
            problems.add(PACK_FILE, f"“{part.filename}”在 zip 中重复。", f'"{part.filename}" stands twice in the zip.')
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        left -= _copy(packed, part, target, left)
        if left < 0:
            mebibytes = MAX_UNPACKED_BYTES >> 20
            problems.add(PACK_FILE, f"解压后超过 {mebibytes} MiB。", f"It unpacks to more than {mebibytes} MiB.")
            return


def _refuse_many(problems: Problems) -> None:
    problems.add(PACK_FILE, f"zip 中超过 {MAX_FILES} 个文件。", f"There are more than {MAX_FILES} files in the zip.")


def _copy(packed: zipfile.ZipFile, part: zipfile.ZipInfo, target: Path, most: int) -> int:
    """The bytes written, counted as they come: what the zip says of sizes is the sender's word. Stops beyond `most`."""
    written = 0
    with packed.open(part) as source, target.open("xb") as out:
        while written <= most and (chunk := source.read(CHUNK_BYTES)):
            out.write(chunk)
            written += len(chunk)
    return written


def _safe_path(part: zipfile.ZipInfo, problems: Problems) -> PurePosixPath | None:
    """Where a file goes below the folder; None, with a problem, where that is outside of it or it is no plain file."""
    name = part.filename
    path = PurePosixPath(name.replace("\\", "/"))
    kind = (part.external_attr >> 16) & _UNIX_TYPE
    inside = not path.is_absolute() and ".." not in path.parts and path.parts and ":" not in name and name.isprintable()
    plain = kind in _PLAIN_TYPES and not part.flag_bits & 1 and part.compress_type in USUAL_COMPRESSIONS
    if inside and plain and len(path.parts) <= MAX_DEPTH:
        return path
    problems.add(
        PACK_FILE,
        f"zip 中不能有“{name[:80]!r}”（路径越界、链接、加密、压缩方式特殊或层级过深）。",
        f"The zip must not hold {name[:80]!r}: a path that leads out, a link, an encrypted file, an unusual compression, or too many folders.",
    )
    return None


def _is_litter(name: str) -> bool:
    """What macOS puts into a zip beside the files."""
    return name.startswith("__MACOSX/") or name.endswith("/.DS_Store") or name == ".DS_Store"


def _pack_folder(root: Path, problems: Problems) -> Path:
    found = sorted(root.rglob(HOSPITAL_FILE), key=lambda path: len(path.parts))
    if not found:
        problems.add(HOSPITAL_FILE, "zip 中没有此文件。", "The zip does not have this file.")
    elif len(found) > 1:
        problems.add(HOSPITAL_FILE, "zip 中有多个医院的数据包。", "The zip holds the packs of several hospitals.")
    if problems.count:
        raise problems.error()
    return found[0].parent
