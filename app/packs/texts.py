"""Small things about text: decoding a file, showing a value in a message, suggesting the nearest known word."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache

from app.packs.problems import Problems

MAX_SHOWN_CHARS = 40
"""Of a value that is quoted in a message."""

MAX_LOOKED_FOR = 200
"""Words per list for which the nearest is looked for: one search in a catalog of 10,000 codes takes tens of milliseconds."""

LEAST_LIKENESS = 0.5
"""As `difflib` measures it: S09 is like S02, and T1 just like T3."""

PIECE_BYTES = 1024 * 1024
"""Of a file that is decoded: while one piece is, no other thread of the process gets on."""

CACHED_WORDS = 65_536
"""Words whose folded form is remembered: the few that fill the columns of a table of 400,000 rows, and the names of people."""

_BLANKS = re.compile(r"\s+")
_BRACKETS = str.maketrans("[]【】〔〕", "()()()")
_REPLACEMENT = "\ufffd"
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def shown(value: object) -> str:
    """The value as a message quotes it, cut where it is long."""
    text = str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


@lru_cache(maxsize=CACHED_WORDS)
def folded(word: str) -> str:
    """The form in which headings, words of closed lists and names are compared: without blanks, width, bracket style and case."""
    return _BLANKS.sub("", unicodedata.normalize("NFKC", word)).translate(_BRACKETS).casefold()


class Nearest:
    """Suggests the known word that a misspelt one is most like. The words may grow until the first is asked for."""

    def __init__(self, words: Collection[str]) -> None:
        self._words = words
        self._hints: dict[str, tuple[str, str]] = {}

    def hint(self, word: str) -> tuple[str, str]:
        """The end of a message, in Chinese and English; empty where nothing is like it, and from the 201st word on."""
        if word not in self._hints and len(self._hints) < MAX_LOOKED_FOR:
            like = get_close_matches(word, self._words, n=1, cutoff=LEAST_LIKENESS)
            self._hints[word] = (f"是否应为“{like[0]}”？", f' Did you mean "{like[0]}"?') if like else ("", "")
        return self._hints.get(word, ("", ""))


def encoding_of(file: str, data: bytes, problems: Problems) -> str | None:
    """In what a file is written: UTF-8, with or without BOM, or GB18030 (what Excel in Chinese saves as CSV). None, with a problem, where it
    is neither as a whole."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        problems.add(file, "文件为 UTF-16 编码，请另存为“CSV UTF-8”。", "The file is in UTF-16. Save it as CSV UTF-8.")
        return None
    broken = _broken_at(data, "utf-8")
    if broken is None:
        return "utf-8-sig"
    if not _mostly_utf8(data):
        broken = _broken_at(data, "gb18030")
    if broken is None:
        return "gb18030"
    problems.add(
        file,
        "文件编码有误（既不是完整的 UTF-8，也不是 GB18030），请另存为“CSV UTF-8”。",
        "The text is damaged: neither whole UTF-8 nor GB18030. Save it as CSV UTF-8.",
        row=data.count(b"\n", 0, broken) + 1,
    )
    return None


def _broken_at(data: bytes, encoding: str) -> int | None:
    """The first byte that is not in that encoding; None where all are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    for place in range(0, len(data), PIECE_BYTES):
        begun = len(decoder.getstate()[0])  # a character may lie across two pieces
        try:
            decoder.decode(data[place : place + PIECE_BYTES], final=place + PIECE_BYTES >= len(data))
        except UnicodeDecodeError as error:
            return place - begun + error.start
    return None


def _mostly_utf8(data: bytes) -> bool:
    """Whether a file that is no valid UTF-8 was meant to be: read as GB18030 its names would be silently garbled, where GB18030 read as
    UTF-8 leaves hardly one character whole."""
    damaged = whole = 0
    for place in range(0, len(data), PIECE_BYTES):
        text = data[place : place + PIECE_BYTES].decode("utf-8", errors="replace")
        broken = text.count(_REPLACEMENT)
        damaged += broken
        whole += len(_BEYOND_ASCII.findall(text)) - broken
    return whole > damaged
