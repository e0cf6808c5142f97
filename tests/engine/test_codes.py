"""One canonical form for equal spellings; what cannot be a code is refused."""

from __future__ import annotations

import pytest

from app.engine.codes import (
    MalformedCode,
    diagnosis_matches,
    diagnosis_range,
    is_blank,
    normalize_diagnosis,
    normalize_name,
    normalize_procedure,
    normalize_text,
    parts_of,
)


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("35.71001", "35.71001"),
        ("35.9500x006", "35.9500x006"),
        ("35.9500X006", "35.9500x006"),
        ("39.6500*001", "39.6500x001"),
        ("39.6500×001", "39.6500x001"),
        ("38.7 004", "38.7004"),
        ("３５．７１００１", "35.71001"),
        ("35。71001", "35.71001"),
        (" 38.8500101\t", "38.8500101"),
        ("23.6x00x003", "23.6x00x003"),
        ("37.34001+37.26001", "37.26001+37.34001"),
        ("37.26001＋37.34001", "37.26001+37.34001"),
        ("35.7", "35.7"),
    ],
)
def test_procedure_codes(sent: str, canonical: str) -> None:
    assert normalize_procedure(sent) == canonical
    assert normalize_procedure(canonical) == canonical


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " ",
        "35",
        "35.",
        "3.571001",
        "35.71001+",
        "+35.71001",
        "35.71001++37.26001",
        "35.71001+35.71001",
        "35.71a01",
        "35.7100x",
        "C00.300",
        "房间隔",
        "35.71001;drop",
        "9" * 100,
    ],
)
def test_what_cannot_be_a_procedure_code(sent: str) -> None:
    with pytest.raises(MalformedCode):
        normalize_procedure(sent)


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("C00.300x004", "C00.300x004"),
        ("c00.300X004", "C00.300x004"),
        ("C00.300*004", "C00.300x004"),
        ("Ｑ２１．１００", "Q21.100"),
        ("I10.x00x002", "I10.x00x002"),
        ("C00", "C00"),
        ("G63.2*", "G63.2"),
        ("A17.001+G01*", "A17.001+G01"),
        ("M80100/3", "M80100/3"),
    ],
)
def test_diagnosis_codes(sent: str, canonical: str) -> None:
    assert normalize_diagnosis(sent) == canonical
    assert normalize_diagnosis(canonical) == canonical


@pytest.mark.parametrize("sent", ["", "+", "35.71001", "C0", "C00.", "CC0.1", "恶性肿瘤", "C00.300y004"])
def test_what_cannot_be_a_diagnosis_code(sent: str) -> None:
    with pytest.raises(MalformedCode):
        normalize_diagnosis(sent)


@pytest.mark.parametrize(
    ("diagnosis", "listed", "matches"),
    [
        ("C00.300x004", "C00-C97", True),
        ("C97.900", "C00–C97", True),
        ("D00.000", "C00-C97", False),
        ("B99.x00", "C00-C97", False),
        ("C00.300x004", "C00.300x004", True),
        ("C00.300x005", "C00.300x004", False),
        ("C00.300", "C00.300x004", True),  # a shorter form of a listed one counts as listed
        ("C00", "C00.300x004", True),
        ("C00.400", "C00.300x004", False),
        ("C00.300x004", "C00.300", False),  # a listed one is exact
        ("C00.300x004", "C00", True),  # but a three-character category takes in all below it
        ("D18.000+C22.900", "C00-C97", True),
        ("M80100/3", "C00-C97", False),
    ],
)
def test_conditions_on_diagnoses(diagnosis: str, listed: str, matches: bool) -> None:
    assert diagnosis_matches(normalize_diagnosis(diagnosis), diagnosis_range(listed)) is matches


@pytest.mark.parametrize("text", ["C97-C00", "C00-C50-C97", "C00-", "x"])
def test_malformed_ranges(text: str) -> None:
    with pytest.raises(MalformedCode):
        diagnosis_range(text)


def test_names_are_compared_without_blanks_width_brackets_and_trailing_hash() -> None:
    assert normalize_name("房间隔缺损修补术（微 创）#") == normalize_name("房间隔缺损修补术[微创]")
    assert normalize_name("房间隔缺损修补术") != normalize_name("室间隔缺损修补术")


def test_parts() -> None:
    assert parts_of("37.26001+37.34001") == ("37.26001", "37.34001")
    assert parts_of("37.26001") == ()


@pytest.mark.parametrize("text", ["", " ", "\t\n\x0b\x1f", "\u3000", "\u200b", "\u200b \ufeff", "a", " - ", "\u3000a", "无"])
def test_a_text_is_blank_that_shows_nothing(text: str) -> None:
    assert is_blank(text) is (normalize_text(text) == "")
