"""What a verification can find: each kind with its texts, and the report that they come in."""

from __future__ import annotations

from collections.abc import Mapping

from app.engine.model import Message, Value

MAX_FINDINGS = 200
"""Findings that a report lists; the rest is counted."""

TEXTS: Mapping[str, tuple[str, str]] = {
    "record_changed": ("记录内容已被改动。", "The record is not what was recorded."),
    "record_missing": ("记录已被删除。", "The record was deleted."),
    "record_inserted": ("记录不在链中，系事后插入。", "The record is in no entry of the chain: it was put in afterwards."),
    "entry_changed": ("链条目已被改动或移位。", "The chain's entry was changed or moved."),
    "entry_missing": ("链条目缺失。", "Entries of the chain are missing."),
    "entry_inserted": ("已归档区间中多出链条目。", "The chain has an entry that the archive of that range does not have."),
    "order_changed": ("记录的先后顺序已被改动。", "The record does not stand in the order in which it was recorded."),
    "tail_cut": ("链尾已被截去。", "The end of the chain was cut off."),
    "chain_rewritten": ("此区间在签封之后被改写。", "Entries of this range were rewritten after they were sealed."),
    "seal_invalid": ("签封的签名无效。", "The seal's signature is not valid."),
    "seal_foreign": ("签封所用密钥不受信任。", "The seal was signed by a key that does not count."),
    "seal_key_retired": ("签封使用了已停用的密钥。", "The seal was signed by a key after another one had followed it."),
    "seal_removed": ("签封日志中的签封已从库中删除。", "A seal of the log was removed from the database."),
    "seal_log_missing": ("库中的签封不在签封日志中。", "A seal of the database is not in the log of seals."),
    "seal_log_damaged": ("签封日志中有无法读取的行。", "A line of the log of seals cannot be read."),
    "key_not_vouched": ("密钥未经前一密钥签署。", "A seal key was not vouched for by the one before it, nor named as trusted."),
    "head_missing": ("库外保存的链头缺失。", "The head that is kept outside the database is missing."),
    "head_damaged": ("库外保存的链头已损坏。", "The head that is kept outside the database is damaged."),
    "head_behind": (
        "库外保存的链头早于最后一次签封，已被退回。",
        "The head that is kept outside the database is older than the last seal: it was put back.",
    ),
    "seen_head_missing": ("运行中曾发现链头缺失。", "The service had found the head missing when it appended these entries."),
    "seen_head_damaged": ("运行中曾发现链头损坏。", "The service had found the head damaged when it appended these entries."),
    "seen_head_gone_back": ("运行中曾发现链头被退回。", "The service had found the head put back when it appended these entries."),
    "seen_chain_differs": (
        "运行中曾发现库中的链与链头不符：此前的条目在服务之外被改动。",
        "The service had found that the chain did not end as it had left it: entries before these were changed behind its back.",
    ),
    "override_changed": ("越级手术的现状与其各步记录不符。", "The override's row does not agree with its steps."),
    "archive_missing": ("归档文件缺失。", "The file of an archive is missing."),
    "archive_changed": ("归档文件已被改动。", "The file of an archive was changed."),
    "archive_order": ("归档区间不相衔接。", "The archives do not follow each other."),
}
"""Kind of finding → text in Chinese, text in English. `seen_…`: a line that the service left in the log of seals."""


class Place(Value, frozen=True):
    """Where: entries `number` to `last` of the hospital's chain (null: it is in none), the kind of record, and its id or number in its table."""

    hospital: str
    number: int | None = None
    last: int | None = None
    kind: str | None = None
    ref: str | None = None


class AuditFinding(Value, frozen=True):
    """One sign that the record is not whole."""

    what: str
    place: Place
    message: Message


class ChainHead(Value, frozen=True):
    """The last entry of a chain."""

    number: int
    hash: str


class TrustedKey(Value, frozen=True):
    """A key that seals: its fingerprint, since when, and whether its seals count."""

    key: str
    since: str
    counts: bool


class Verification(Value, frozen=True):
    """Whether a hospital's record is whole, and where it is not. `entries`: how many were looked at, from `first` to `last`, in archives and in the database;
    `sealed_until`: up to which entry a valid seal vouches; `seals`: how many were held against the chain; `purged_until`: entries up to that one
    have passed their retention and are gone; `more`: findings that are not listed."""

    hospital: str
    whole: bool
    verified_at: str
    entries: int
    first: int | None
    last: int | None
    head: ChainHead
    sealed_until: int
    seals: int
    archives: int
    purged_until: int
    keys: tuple[TrustedKey, ...]
    findings: tuple[AuditFinding, ...]
    more: int


class Findings:
    """Findings as they come, no more kept than a report lists."""

    def __init__(self, hospital: str) -> None:
        self.hospital = hospital
        self.listed: list[AuditFinding] = []
        self.more = 0

    def add(self, what: str, number: int | None = None, last: int | None = None, kind: str | None = None, ref: str | None = None) -> None:
        """Something was found, at entries `number` to `last` (only `number` where `last` is left out)."""
        if len(self.listed) >= MAX_FINDINGS:
            self.more += 1
            return
        chinese, english = TEXTS[what]
        place = Place(self.hospital, number, number if last is None else last, kind, ref)
        self.listed.append(AuditFinding(what, place, Message(chinese, english)))
