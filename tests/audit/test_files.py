"""The record as a file: whoever has the file and Python verifies it; whatever is changed in it is found."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from openpyxl import load_workbook

from app.audit import verify_record
from app.cli import main
from app.main import Gateway
from tests.audit.conftest import HOSPITAL, Kept
from tests.served import ROOT
from tests.service.conftest import bearer
from tests.service.orders import order

PROGRAM = ROOT / "app" / "audit" / "verify_record.py"


def run(kept: Kept, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"SURGATE_VAR_DIR": str(kept.var)})


def export(kept: Kept, form: str = "jsonl", *more: str) -> Path:
    out = kept.var / f"record.{form}"
    done = run(kept, "audit", "export", "--hospital", HOSPITAL, "--out", str(out), "--format", form, *more)
    assert done.exit_code == 0, done.output
    return out


def verified(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the stand-alone program says: isolated, without site packages, as on an inspector's machine."""
    command = [sys.executable, "-I", "-S", str(PROGRAM), str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env={"PYTHONUTF8": "1"}, check=False)


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def write(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def test_an_export_is_verified_without_the_database(kept: Kept) -> None:
    root = kept.verify().keys[0].key
    last = kept.entries()[-1].number
    file = export(kept)
    told = verified(file)
    assert (told.returncode, f"#1–#{last}" in told.stdout, root in told.stdout) == (0, True, True), told.stdout + told.stderr
    assert verified(file, "--trust", root).returncode == 0
    assert verified(file, "--trust", "0" * 64).returncode == 1
    lines = lines_of(file)
    assert [line["number"] for line in lines if "number" in line] == list(range(1, last + 1))
    assert lines[-1]["end"]["seal"]["number"] == last
    read = kept.rows("SELECT client, kind, subject FROM reads ORDER BY seq DESC LIMIT 1")[0]
    assert read == ("cli", "export", json.dumps({"format": "jsonl", "first": 1, "last": last}, separators=(",", ":")))


def test_the_verifier_that_is_printed_is_the_program(kept: Kept) -> None:
    assert run(kept, "audit", "verifier").output == PROGRAM.read_text(encoding="utf-8")


def _edited(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    next(line for line in lines if line.get("kind") == "decision")["record"]["decision"] = "x"
    return lines


def _consistently(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Edited, and all hashes made to fit again."""
    before = bytes.fromhex(lines[0]["before"])
    for line in _edited(lines):
        if "number" in line:
            line["digest"] = hashlib.sha256(verify_record._canonical(line["record"])).hexdigest()
            told = [HOSPITAL, line["number"], line["kind"], line["ref"], line["at"], line["digest"]]
            before = hashlib.sha256(before + verify_record._canonical(told)).digest()
            line["hash"] = before.hex()
        elif "seal" in line:
            line["seal"]["hash"] = before.hex()
        elif "end" in line:
            line["end"]["seal"]["hash"] = before.hex()
    return lines


def _foreign(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Edited, made to fit again, and sealed by a key of one's own."""
    own = Ed25519PrivateKey.generate()
    public = own.public_key().public_bytes_raw()
    key = hashlib.sha256(public).hexdigest()
    lines[0]["keys"][0] |= {"key": key, "public": public.hex()}
    for line in _consistently(lines):
        for seal in (line.get("seal"), line.get("end", {}).get("seal")):
            if seal is not None:
                seal["key"] = key
                text = b"surgate seal 1\n" + verify_record._canonical([HOSPITAL, seal["number"], seal["hash"], seal["at"], key])
                seal["signature"] = own.sign(text).hex()
    return lines


def _swapped(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines[3], lines[4] = lines[4], lines[3]
    return lines


@pytest.mark.parametrize(
    ("harm", "wanted"),
    [
        (_edited, "record_changed"),
        (_consistently, "seal_invalid"),
        (lambda lines: lines[:5] + lines[6:], "entry_missing"),
        (lambda lines: [*lines[:5], lines[5] | {"record": None}, *lines[6:]], "record_missing"),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], "entry_missing"),
        (_swapped, "entry_missing"),
        (lambda lines: lines[:-1], "end_missing"),
        (lambda lines: [*lines[:-4], {"end": lines[-1]["end"] | {"entries": lines[-1]["end"]["entries"] - 2}}], "end_differs"),
        (lambda lines: [*lines[:-1], {"end": lines[-1]["end"] | {"seal": None}}], "end_unsealed"),
        (lambda lines: [*lines, lines[3]], "after_end"),
        (lambda lines: [lines[0] | {"before": "00" * 31 + "01"}, *lines[1:]], "entry_changed"),
        (lambda lines: [lines[0] | {"keys": []}, *lines[1:]], "seal_foreign"),
    ],
)
def test_an_export_that_was_tampered_with_is_found(
    kept: Kept, harm: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], wanted: str
) -> None:
    file = export(kept)
    write(file, harm(lines_of(file)))
    told = verified(file)
    assert told.returncode == 1, told.stderr
    assert wanted in told.stdout


def test_an_export_sealed_by_somebody_else_is_told_by_its_fingerprint_alone(kept: Kept) -> None:
    root = kept.verify().keys[0].key
    file = export(kept)
    write(file, _foreign(lines_of(file)))
    assert verified(file).returncode == 0  # which is why the fingerprint is printed to be compared
    assert verified(file, "--trust", root).returncode == 1


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\x1f\x8b\x00", b"PK\x03\x04", b'{"surgate_record":1}\n', b"\xff\xfe"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    told = verified(file)
    assert (told.returncode, "cannot be read" in told.stderr, "Traceback" in told.stderr) == (2, True, False)


def test_a_twice_named_field_is_refused(kept: Kept) -> None:
    file = export(kept)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"record":{', '"record":{"hospital":"other",', 1), encoding="utf-8")
    assert "line_unreadable" in verified(file).stdout


def test_an_export_from_a_database_that_was_rewritten_does_not_verify(kept: Kept) -> None:
    """Nothing is signed for an export: what somebody else wrote into the database gets no seal by being exported."""
    entry = kept.entries("decision")[-1]
    kept.run("UPDATE decisions SET decision = 'deny' WHERE id = ?", entry.ref)
    told = verified(export(kept))
    assert (told.returncode, f"#{entry.number} decision {entry.ref} record_changed" in told.stdout) == (1, True)
    kept.run("DELETE FROM decisions WHERE id = ?", entry.ref)
    (kept.var / "record.jsonl").unlink()
    assert f"#{entry.number} decision {entry.ref} record_missing" in verified(export(kept)).stdout


def test_a_time_is_exported_up_to_a_seal(kept: Kept) -> None:
    middle = kept.rows("SELECT at FROM chain WHERE number = 4")[0][0]
    kept.run("UPDATE chain SET at = '2001-01-01T00:00:00.000000+00:00' WHERE number < 4")
    assert middle > "2001-01-02"
    file = export(kept, "jsonl", "--since", "2001-01-02")
    assert lines_of(file)[0]["first"] == 4
    assert verified(file).returncode == 0
    nothing = run(kept, "audit", "export", "--hospital", HOSPITAL, "--out", str(kept.var / "none"), "--until", "2000-01-01")
    assert (nothing.exit_code, "nothing of that time" in nothing.output) == (1, True)


def test_a_file_is_never_written_over(kept: Kept) -> None:
    file = export(kept)
    again = run(kept, "audit", "export", "--hospital", HOSPITAL, "--out", str(file))
    assert (again.exit_code, "--out" in again.output) == (2, True)


def test_a_workbook_is_for_people_and_is_verified_like_the_lines(kept: Kept) -> None:
    formula = '=HYPERLINK("http://x")'
    kept.run("UPDATE changes SET reason = ? WHERE action = 'suspend'", formula)
    file = export(kept, "xlsx")
    told = verified(file)
    assert (told.returncode, told.stdout.count("record_changed: ")) == (1, 2), told.stdout + told.stderr
    book = load_workbook(file)
    rows = list(book["核查 decisions"].iter_rows(values_only=True))
    assert rows[0][:6] == ("序号 number", "时间 time", "编号 id", "例次 case", "环节 checkpoint", "结论 decision")
    assert len(rows) == 1 + len(kept.entries("decision"))
    assert "grant_expired" in {row[rows[0].index("原因代码 reasons")] for row in rows}
    assert len(list(book["越级手术 overrides"].iter_rows())) == 1 + len(kept.entries("override"))
    cells = [cell for row in book["变更 changes"].iter_rows() for cell in row if cell.value == formula]
    assert [cell.data_type for cell in cells] == ["s", "s"]  # text, not a formula


def test_a_workbook_holds_what_no_cell_can_hold(kept: Kept) -> None:
    """Orders are kept as received: a text longer than a cell, and characters that XML does not have."""
    asked = order(department="胸心外科") | {"case_id": "C-\ufffe"}
    asked["evidence"] = {"mdt": "长" * 1000}
    asked["procedures"] = asked["procedures"] * 30

    async def send() -> None:
        gateway = Gateway(kept.settings)
        async with gateway.app.router.lifespan_context(gateway.app):
            transport = httpx.ASGITransport(app=gateway)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                answered = await client.post("/v1/check", json=asked, headers=bearer(_keys[0]))
                assert answered.status_code == 200, answered.text

    _keys = [run(kept, "keys", "create", "--hospital", HOSPITAL, "--role", "his").stdout.splitlines()[-1]]
    asyncio.run(send())
    told = verified(export(kept, "xlsx"))
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_ed25519_of_the_verifier_is_that_of_the_standard() -> None:
    # RFC 8032 section 7.1, test 3
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert verify_record.ed25519_verify(public, b"\xaf\x82", signature)
    assert not verify_record.ed25519_verify(public, b"\xaf\x83", signature)
    for at in range(64):
        bent = bytearray(signature)
        bent[at] ^= 1
        assert not verify_record.ed25519_verify(public, b"\xaf\x82", bytes(bent))
    own = Ed25519PrivateKey.generate()
    for length in (0, 1, 300):
        text = b"x" * length
        assert verify_record.ed25519_verify(own.public_key().public_bytes_raw(), text, own.sign(text))
    too_large = signature[:32] + (int.from_bytes(signature[32:], "little") + verify_record._L).to_bytes(32, "little")
    assert not verify_record.ed25519_verify(public, b"\xaf\x82", too_large)


def test_an_archive_is_read_packed(kept: Kept) -> None:
    file = export(kept)
    packed = kept.var / "record.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert verified(packed).returncode == 0
    packed.write_bytes(packed.read_bytes()[:-20])
    assert verified(packed).returncode == 2
    assert io.BytesIO(packed.read_bytes()).read(2) == b"\x1f\x8b"
