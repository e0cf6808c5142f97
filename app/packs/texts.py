"""Small things about text: decoding a file, showing a value in a message, the nearest known word."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from difflib import get_close_matches

from app.packs.problems import Problems

MAX_SHOWN_CHARS = 40
"""Of a value that is quoted in a message."""

MAX_LOOKED_FOR = 200
"""Words per list for which the nearest is looked for: one search in a catalog of 10,000 codes takes tens of milliseconds."""

_REPLACEMENT = "\ufffd"


def shown(value: object) -> str:
    """The value as a message quotes it, cut where it is long."""
    text = str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def hint(word: str | None) -> tuple[str, str]:
    """The end of a message that suggests a word, in Chinese and English; empty where there is none to suggest."""
    return (f"是否应为“{word}”？", f' Did you mean "{word}"?') if word else ("", "")


class Nearest:
    """Finds the known word that a misspelt one is most like."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(words)
        self._answers: dict[str, str | None] = {}

    def to(self, word: str) -> str | None:
        """None where nothing is like it, and from the 201st word on."""
        if word not in self._answers:
            if len(self._answers) >= MAX_LOOKED_FOR:
                return None
            self._answers[word] = next(iter(get_close_matches(word, self._words, n=1)), None)
        return self._answers[word]


def decode(file: str, data: bytes, problems: Problems) -> str | None:
    """The text of a file in UTF-8, with or without BOM, or GB18030 (what Excel in Chinese saves as CSV). None with a problem otherwise."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        problems.add(file, "文件为 UTF-16 编码，请另存为“CSV UTF-8”。", "The file is in UTF-16. Save it as CSV UTF-8.")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        broken = error
    if not _mostly_utf8(data):
        try:
            return data.decode("gb18030")
        except UnicodeDecodeError as error:
            broken = error
    line = data.count(b"\n", 0, broken.start) + 1
    problems.add(
        file,
        "文件编码有误（既不是完整的 UTF-8，也不是 GB18030），请另存为“CSV UTF-8”。",
        "The text is damaged: neither whole UTF-8 nor GB18030. Save it as CSV UTF-8.",
        row=line,
    )
    return None


def _mostly_utf8(data: bytes) -> bool:
    """Whether a file that is no valid UTF-8 was meant to be: read as GB18030 its names would be silently garbled, where GB18030 read as
    UTF-8 leaves hardly one character whole."""
    text = data.decode("utf-8", errors="replace")
    damaged = text.count(_REPLACEMENT)
    whole = sum(1 for char in text if char > "\x7f") - damaged
    return whole > damaged
