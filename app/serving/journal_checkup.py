"""What `surgate doctor` finds of the node's journal."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from app.serving.findings import Finding
from app.settings import Settings
from app.store.journal import SPARE_NAMES, read_journal, refused_files

_WHAT = "日志 journal"


def examine_journal(settings: Settings) -> Iterator[Finding]:
    """Its permissions, its room, what waits in it, what was set aside."""
    folder = settings.journal_folder
    if not folder.exists():
        yield Finding("note", _WHAT, f"{folder} 尚不存在 / is not there yet", "surgate serve 会创建 / is made by `surgate serve`")
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        yield Finding("wrong", f"{_WHAT}: 权限 permissions", f"{folder} {mode:o}", f"chmod 700 {folder}")
    missing = [name for name in SPARE_NAMES if not (folder / name).exists()]
    if missing:
        told = f"没有预留 no room was given to: {', '.join(missing)}"
        yield Finding("wrong", f"{_WHAT}: 预留空间 room", told, "腾出磁盘空间 / make room on the disk")
    waiting = len(read_journal(folder).records)
    mend = "数据库恢复后自动写入；或 / is drained when the database is back; or surgate journal replay"
    yield Finding("note" if waiting else "good", _WHAT, f"待写入 waiting: {waiting}", mend if waiting else "")
    refused = len(refused_files(folder))
    if refused:
        mend = f"surgate journal show, {folder / 'refused'}, surgate journal replay --refused"
        yield Finding("wrong", f"{_WHAT}: 被拒 refused", str(refused), mend)
