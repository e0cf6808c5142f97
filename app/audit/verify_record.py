#!/usr/bin/env python3
"""Verify an export or an archive of a Surgate record without Surgate: Python 3.9 or newer, nothing else.

    python3 verify_record.py FILE [--trust FINGERPRINT ...]

FILE is JSON Lines as exported, the same packed with gzip (an archive), or an exported XLSX workbook. Exit code 0: whole; 1: it is not, and every
finding names the entry; 2: it cannot be read as such a file. Without --trust the fingerprint of the first key must be compared by hand with
what the hospital has published or an inspector has noted.

What is checked (all hashes SHA-256, all JSON in UTF-8 with sorted keys and without white space):

- digest = hash of the record's JSON;
- hash of an entry = hash of: the 32 bytes of the hash before it, then the JSON list [hospital, number, kind, ref, at, digest in hexadecimal];
- numbers follow each other without a gap, from the first to the last that the heading tells;
- a seal is an Ed25519 signature (RFC 8032) over "surgate seal 1", a line feed, and the JSON list [hospital, number, hash, at, key];
- a key's fingerprint is the hash of its 32 bytes; each key but the first is signed by the one before it, over "surgate key 1", a line feed, and
  the JSON list [public key, since, key before it];
- the last entry is sealed, so that nothing was cut off within what the file says to hold.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

MAX_LISTED = 200
PROOF_SHEET = "proof"


class Unreadable(Exception):
    """The file is none of those that are verified here."""


class Finding(NamedTuple):
    """What is wrong, at which entry (None: with the file as a whole), which record it is about."""

    what: str
    number: int | None = None
    kind: str = ""
    ref: str = ""


class Result:
    """What a file holds and what is wrong with it."""

    def __init__(self) -> None:
        self.hospital = ""
        self.first = 0
        self.last = 0
        self.entries = 0
        self.sealed_until = 0
        self.hash = ""
        self.root = ""
        self.findings: list[Finding] = []
        self.more = 0

    def add(self, what: str, number: int | None = None, kind: str = "", ref: str = "") -> None:
        if len(self.findings) < MAX_LISTED:
            self.findings.append(Finding(what, number, kind, ref))
        else:
            self.more += 1


TEXTS = {
    "line_unreadable": "无法读取的行 / a line cannot be read",
    "record_changed": "记录内容与摘要不符 / the record is not what its digest was made of",
    "record_missing": "记录缺失 / the record is missing",
    "entry_changed": "条目与链不符 / the entry does not follow from the one before it",
    "entry_missing": "条目缺失 / entries are missing before this one",
    "seal_invalid": "签封签名无效 / the seal's signature is not valid",
    "seal_foreign": "签封密钥不受信任 / the seal's key does not count",
    "seal_differs": "签封与条目不符 / the seal was made for another entry: what stands before it was rewritten",
    "key_not_vouched": "密钥未经前一密钥签署 / a key was not vouched for by the one before it, nor trusted",
    "end_missing": "文件被截断 / the file was cut off: its last line is missing",
    "end_differs": "末行与内容不符 / the last line does not agree with what the file holds",
    "end_unsealed": "末条目未经签封 / the last entry is not sealed",
    "after_end": "末行之后还有内容 / there is something after the last line",
}


def check(lines: Iterable[bytes], trusted: Iterable[str] = ()) -> Result:
    """Verify the lines of a file. Raises `Unreadable` where the first is no heading of such a file."""
    reading = iter(lines)
    checker = _Checker(_heading(next(reading, b"")), frozenset(trusted))
    for line in reading:
        checker.take(line)
    return checker.end()


def open_lines(path: str) -> Iterator[bytes]:
    """The lines of a file of any of the three kinds. Raises `OSError`, `EOFError`, `Unreadable`."""
    with open(path, "rb") as stream:  # noqa: PTH123 — one file, no more than it needs
        start = stream.read(2)
    if start == b"PK":
        yield from _sheet_lines(path)
    elif start == b"\x1f\x8b":
        with gzip.open(path, "rb") as stream:
            yield from stream
    else:
        with open(path, "rb") as stream:  # noqa: PTH123
            yield from stream


class _Checker:
    def __init__(self, heading: dict[str, Any], trusted: frozenset[str]) -> None:
        self._result = Result()
        self._hospital = self._result.hospital = heading["hospital"]["code"]
        self._result.first, self._last = heading["first"], heading["last"]
        self._number = heading["first"] - 1
        self._before: list[bytes] = [bytes.fromhex(heading["before"])]
        self._hash = self._before[0]
        self._keys = self._trust(heading["keys"], trusted)
        self._end = False

    def take(self, line: bytes) -> None:
        value = _decode(line)
        if self._end:
            self._result.add("after_end")
        elif not isinstance(value, dict):
            self._result.add("line_unreadable", self._number + 1)
        elif "end" in value:
            self._end = True
            self._finish(value["end"])
        elif "seal" in value:
            self._seal(value["seal"])
        else:
            self._entry(value)

    def end(self) -> Result:
        if not self._end:
            self._result.add("end_missing", self._number)
        self._result.last, self._result.hash = self._number, self._hash.hex()
        return self._result

    def _entry(self, value: dict[str, Any]) -> None:
        try:
            number, kind, ref = value["number"], value["kind"], value["ref"]
            digest, stored = bytes.fromhex(value["digest"]), bytes.fromhex(value["hash"])
            told = [self._hospital, number, kind, ref, value["at"], value["digest"]]
            following = number + 1
        except (KeyError, TypeError, ValueError):
            self._result.add("line_unreadable", self._number + 1)
            return
        if number != self._number + 1:
            self._result.add("entry_missing", number, kind, ref)
            self._before = []
        made = [hashlib.sha256(before + _canonical(told)).digest() for before in self._before]
        if made and stored not in made:
            self._result.add("entry_changed", number, kind, ref)
        if value.get("record") is None:
            self._result.add("record_missing", number, kind, ref)
        elif hashlib.sha256(_canonical(value["record"])).digest() != digest:
            self._result.add("record_changed", number, kind, ref)
        self._before = [stored, *made[:1]]
        self._number, self._hash = following - 1, stored
        self._result.entries += 1

    def _seal(self, seal: dict[str, Any]) -> bool:
        try:
            number, hash_, at, key = seal["number"], seal["hash"], seal["at"], seal["key"]
            signature = bytes.fromhex(seal["signature"])
        except (KeyError, TypeError, ValueError):
            self._result.add("line_unreadable", self._number)
            return False
        text = b"surgate seal 1\n" + _canonical([self._hospital, number, hash_, at, key])
        if key not in self._keys:
            self._result.add("seal_foreign", number, ref=key)
        elif not ed25519_verify(self._keys[key], text, signature):
            self._result.add("seal_invalid", number, ref=key)
        elif number != self._number or hash_ != self._hash.hex():
            self._result.add("seal_differs", number)
        else:
            self._result.sealed_until = number
            return True
        return False

    def _finish(self, end: dict[str, Any]) -> None:
        if not isinstance(end, dict) or end.get("entries") != self._result.entries or self._last != self._number:
            self._result.add("end_differs", self._number)
        elif end.get("seal") is None:
            self._result.add("end_unsealed", self._number)
        else:
            self._seal(end["seal"])

    def _trust(self, rows: list[dict[str, Any]], trusted: frozenset[str]) -> dict[str, bytes]:
        keys: dict[str, bytes] = {}
        for position, row in enumerate(rows):
            public = bytes.fromhex(row["public"])
            key = hashlib.sha256(public).hexdigest()
            self._result.root = self._result.root or key
            by = row["introduced_by"]
            if by is None:
                counts = position == 0 and not trusted
            else:
                text = b"surgate key 1\n" + _canonical([row["public"], row["since"], by])
                counts = by in keys and ed25519_verify(keys[by], text, bytes.fromhex(row["signature"] or ""))
            if key == row["key"] and (counts or key in trusted):
                keys[key] = public
            else:
                self._result.add("key_not_vouched", ref=str(row["key"]))
        return keys


def _heading(line: bytes) -> dict[str, Any]:
    value = _decode(line)
    if not isinstance(value, dict) or value.get("surgate_record") != 1:
        raise Unreadable("不是Surgate记录的导出或归档 / not an export or archive of a Surgate record")
    return value


def _decode(line: bytes) -> Any:
    """A line's value; None where it is no JSON. A key that stands twice could show people something else than what is hashed."""
    try:
        return json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


# ------------------------------------------------------------------------------------------------ the workbook

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def _sheet_lines(path: str) -> Iterator[bytes]:
    """The lines in the sheet of the proof: each row holds one, cut over as many cells as it needs."""
    try:
        with zipfile.ZipFile(path) as book, book.open(_proof_part(book)) as sheet:
            for _, element in ElementTree.iterparse(sheet):  # noqa: S314
                if element.tag == f"{_MAIN}row":
                    yield "".join(text.text or "" for text in element.iter(f"{_MAIN}t")).encode()
                    element.clear()
    except (zipfile.BadZipFile, KeyError, StopIteration, ElementTree.ParseError) as error:
        raise Unreadable(f"不是导出的工作簿 / not an exported workbook: {error}") from None


def _proof_part(book: zipfile.ZipFile) -> str:
    sheets = ElementTree.fromstring(book.read("xl/workbook.xml")).iter(f"{_MAIN}sheet")  # noqa: S314
    wanted = [sheet.attrib[_RELATION] for sheet in sheets if sheet.attrib["name"] == PROOF_SHEET]
    relations = ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    targets = [relation.attrib["Target"] for relation in relations if relation.attrib["Id"] in wanted]
    if not targets:
        raise Unreadable(f"工作簿中没有 {PROOF_SHEET} 表 / the workbook has no sheet {PROOF_SHEET}")
    target = targets[0].lstrip("/")
    return target if target.startswith("xl/") else f"xl/{target}"


# ------------------------------------------------------------------------------------------------ Ed25519, RFC 8032 section 5.1.7

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def ed25519_verify(public: bytes, text: bytes, signature: bytes) -> bool:
    """Whether the signature is that of the key over the text."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = _point(public), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + text).digest(), "little") % _L
    return _equal(_times(s, _BASE), _plus(r, _times(h, a)))


def _plus(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    made: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            made = _plus(made, point)
        point = _plus(point, point)
        scalar >>= 1
    return made


def _equal(p: _Point, q: _Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % _P == 0 and (p[1] * q[2] - q[1] * p[2]) % _P == 0


def _point(packed: bytes) -> _Point | None:
    y = int.from_bytes(packed, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = _x_of(y, sign)
    return None if x is None else (x, y, 1, x * y % _P)


def _x_of(y: int, sign: int) -> int | None:
    if y >= _P:
        return None
    squared = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    if squared == 0:
        return None if sign else 0
    x = pow(squared, (_P + 3) // 8, _P)
    if (x * x - squared) % _P:
        x = x * _SQRT_MINUS_1 % _P
    if (x * x - squared) % _P:
        return None
    return x if x & 1 == sign else _P - x


_BASE_Y = 4 * pow(5, _P - 2, _P) % _P
_BASE_X = _x_of(_BASE_Y, 0) or 0
_BASE: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


# ------------------------------------------------------------------------------------------------ the command line


def main() -> int:
    """Verify a file and say what was found."""
    parser = argparse.ArgumentParser(description="Verify an export or an archive of a Surgate record.")
    parser.add_argument("file")
    parser.add_argument("--trust", action="append", default=[], metavar="FINGERPRINT", help="fingerprint of a key that is trusted")
    asked = parser.parse_args()
    try:
        result = check(open_lines(asked.file), asked.trust)
    except (OSError, EOFError, Unreadable, KeyError, TypeError, ValueError, zlib.error) as error:
        print(f"{asked.file}: 无法读取 / cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for finding in result.findings:
        at = "" if finding.number is None else f"#{finding.number} "
        print(f"{at}{finding.kind} {finding.ref} {finding.what}: {TEXTS[finding.what]}".replace("  ", " "))
    if result.more:
        print(f"… 另有 {result.more} 处 / and {result.more} more")
    print(f"{result.hospital}: {result.entries} 条 entries, #{result.first}–#{result.last}, 签封至 sealed until #{result.sealed_until}")
    print(f"末条哈希 last hash {result.hash}")
    print(f"首个密钥 first key {result.root}" + ("" if asked.trust else "（请核对指纹 / compare this fingerprint）"))
    print("不完整 NOT WHOLE" if result.findings else "完整 whole")
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
