"""Canonical forms of procedure codes, diagnosis codes and names.

Procedure codes are ICD-9-CM-3 (national clinical version 3.0) or the hospital's own extensions: `35.9500x006`, `35.71001`,
`38.8500101`, `39.6500*001`, `23.6x00x003`, and combinations `37.26001+37.34001`. Diagnosis codes are ICD-10 (national clinical version
2.0): `C00.300x004`, with dagger and asterisk pairs and morphology codes. HIS systems send them with full-width characters, stray blanks,
capital X or `*` for `x`; one canonical form makes equal what is equal. What cannot be a code at all is `MalformedCode`: bad input, not
an unknown procedure.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CACHED_TEXTS = 65_536
"""Distinct texts whose canonical form is remembered: more than all codes of a large hospital, bounded against noise."""

_PROCEDURE = re.compile(r"\d{2}\.\d(?:[0-9x]{0,11}[0-9])?")
_DIAGNOSIS = re.compile(r"[A-Z]\d{2}(?:\.[0-9x]{1,8})?")
_MORPHOLOGY = re.compile(r"M\d{4,5}/\d{1,2}")
_BLANKS = re.compile(r"\s+")
_TIMES_SIGNS = str.maketrans({"*": "x", "×": "x", "✕": "x", "✱": "x", "X": "x", "。": "."})
_BRACKETS = str.maketrans("[]{}【】〔〕〈〉《》「」", "()()()()()()()")
_DAGGERS = "†*"
_RANGE_SIGNS = re.compile(r"[-–—~～至]")

MAX_CODE_CHARS = 64
"""A longer text is no code, whatever it holds; keeps normalization cheap on hostile input."""


class MalformedCode(ValueError):
    """The text cannot be a code. `str()` of it says why, in English."""


def normalize_text(text: str) -> str:
    """Half-width, trimmed, inner runs of blanks made one, characters that show nothing left out. For ids, departments and other words."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return _BLANKS.sub(" ", text).strip()


def is_blank(text: str) -> bool:
    """Whether a text shows nothing."""
    return not (text.strip() if text.isascii() else normalize_text(text))


@lru_cache(maxsize=CACHED_TEXTS)
def normalize_name(text: str) -> str:
    """The form in which procedure names are compared: no blanks, no width, one bracket style, no trailing `#`, no case."""
    return _BLANKS.sub("", unicodedata.normalize("NFKC", text)).translate(_BRACKETS).rstrip("#").casefold()


@lru_cache(maxsize=CACHED_TEXTS)
def normalize_procedure(text: str) -> str:
    """The canonical form of a procedure code; a combination's parts are sorted.

    Raises:
        MalformedCode: the text is empty, too long, not a code, or a combination that names a part twice.
    """
    parts = sorted(_procedure_part(part, text) for part in _squeeze(text).split("+"))
    if len(set(parts)) != len(parts):
        raise MalformedCode(f"combination {text!r} names the same code twice")
    return "+".join(parts)


def parts_of(code: str) -> tuple[str, ...]:
    """The parts of a canonical combination; empty for a single code."""
    return tuple(code.split("+")) if "+" in code else ()


@lru_cache(maxsize=CACHED_TEXTS)
def normalize_diagnosis(text: str) -> str:
    """The canonical form of a diagnosis code. A dagger-asterisk pair (`A17.001+G01*`) keeps its order, joined by `+`.

    Raises:
        MalformedCode: the text is empty, too long or not a code.
    """
    squeezed = _squeeze(text)
    # A dagger code is written with a trailing + or †; what then follows, if anything, is its asterisk code.
    pieces = [piece for piece in re.split(r"[+†]", squeezed) if piece]
    if not pieces:
        raise MalformedCode(f"diagnosis code {text!r} is empty")
    return "+".join(_diagnosis_part(piece, text) for piece in pieces)


def diagnosis_range(text: str) -> tuple[str, str] | str:
    """A condition on diagnoses as a pack writes it: `C00-C97` gives the pair of its ends, anything else one code.

    Raises:
        MalformedCode: an end is no code, or the range runs backwards.
    """
    ends = _RANGE_SIGNS.split(unicodedata.normalize("NFKC", text).strip())
    if len(ends) == 1:
        return normalize_diagnosis(text)
    if len(ends) != 2:
        raise MalformedCode(f"diagnosis range {text!r} must have two ends")
    first, last = (normalize_diagnosis(end) for end in ends)
    if first > last:
        raise MalformedCode(f"diagnosis range {text!r} runs backwards")
    return first, last


def diagnosis_matches(diagnosis: str, listed: tuple[str, str] | str) -> bool:
    """Whether a canonical diagnosis is, or may be, the listed code or in the listed range.

    A listed code is matched exactly, a listed three-character category takes in all below it, and a diagnosis that is a shorter form
    of a listed one counts as listed: leaving digits out never weakens a check.
    """
    return any(_part_matches(part, listed) for part in diagnosis.split("+"))


def _part_matches(part: str, listed: tuple[str, str] | str) -> bool:
    if isinstance(listed, tuple):
        first, last = listed
        at_least = part >= first or first.startswith(part)
        at_most = part <= last or part.startswith(last)
        return at_least and at_most
    return part == listed or listed.startswith(part) or (len(listed) == 3 and part.startswith(listed))


def _squeeze(text: str) -> str:
    if len(text) > MAX_CODE_CHARS:
        raise MalformedCode(f"code of {len(text)} characters, at most {MAX_CODE_CHARS} are allowed")
    return _BLANKS.sub("", unicodedata.normalize("NFKC", text))


def _procedure_part(part: str, whole: str) -> str:
    code = part.translate(_TIMES_SIGNS)
    if not _PROCEDURE.fullmatch(code) or not code.isascii():
        raise MalformedCode(f"{whole!r} cannot be a procedure code (ICD-9-CM-3, such as 35.9500x006)")
    return code


def _diagnosis_part(piece: str, whole: str) -> str:
    upper = piece.rstrip(_DAGGERS).replace("。", ".").upper()
    if upper.isascii() and _MORPHOLOGY.fullmatch(upper):
        return upper
    code = upper[:1] + upper[1:].translate(_TIMES_SIGNS)
    if not code.isascii() or not _DIAGNOSIS.fullmatch(code):
        raise MalformedCode(f"{whole!r} cannot be a diagnosis code (ICD-10, such as C00.300x004)")
    return code
