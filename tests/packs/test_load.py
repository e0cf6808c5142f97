"""A pack as a whole: what becomes of it, what is said where several things are wrong, which files it may hold."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.engine.model import Credential, Duty, Entry, Grant, ScopeType, Staff, StaffKind, Volume
from app.packs import load
from app.packs.load import SHIPPED_PACKS, load_pack
from app.packs.problems import MAX_KEPT, MAX_SHOWN, PackError
from app.packs.records import grant_id_of

from .conftest import PackFolder


def test_a_pack_becomes_the_engines_values(pack: PackFolder) -> None:
    loaded = pack.load()

    assert loaded.hospital.code == "demo"
    assert loaded.hospital.time_zone == ZoneInfo("Asia/Shanghai")
    assert loaded.hospital.entries[0] == Entry(
        code="35.71001", name="房间隔缺损修补术", level=3, departments=("胸心外科", "小儿外科"), item="WKJDXX3.2", hospital_grade="3.2.1"
    )
    assert loaded.hospital.aliases == {"35.71001": "35.7100x001"}
    assert [technology.id for technology in loaded.hospital.technologies] == ["T1", "T2"]
    assert loaded.warnings == ()
    surgeon, anesthetist = loaded.people
    assert surgeon.staff == Staff("100234", "张三", "胸心外科", StaffKind.PHYSICIAN)
    identity = ("100234", "code", "35.71001", "", "operator", "2026-01-01")
    assert surgeon.grants == (Grant(grant_id_of(identity), "100234", ScopeType.CODE, "35.71001", date(2026, 1, 1)),)
    assert surgeon.credentials == (Credential("100234", "T1", "training", date(2025, 3, 1)),)
    assert surgeon.volumes == (Volume("100234", ScopeType.TECHNOLOGY, "T1", 2025, operator_cases=40),)
    assert surgeon.duty == (Duty("100234", datetime(2026, 11, 22, 9, 30, tzinfo=UTC), datetime(2026, 11, 23, 0, 0, tzinfo=UTC)),)
    assert anesthetist.grants == ()
    assert anesthetist.duty == ()


def test_codes_are_stored_in_canonical_form(pack: PackFolder) -> None:
    pack.append("catalog.csv", "39.6500*001,体外膜肺氧合,4,,,\n37.34001+37.26002,消融,4,心内科,,\n")
    pack.append("grants.csv", "100234,code,39.6500Ｘ001,2026-01-01\n100234,code,37.34001 + 37.26002,2026-01-01\n")

    loaded = pack.load()

    assert [entry.code for entry in loaded.hospital.entries[-2:]] == ["39.6500x001", "37.26002+37.34001"]
    assert [grant.scope for grant in loaded.people[0].grants[1:]] == ["39.6500x001", "37.26002+37.34001"]


def test_department_aliases_are_honoured_wherever_a_department_is_read(pack: PackFolder) -> None:
    pack.append("hospital.toml", '[paediatric]\nunder_years = 14\ndepartments = ["心外"]\n')
    pack.append("catalog.csv", "38.45008,Bentall手术,4,心外；小儿外科、胸心外科,,\n")
    pack.append("staff.csv", "100377,王五,心外,physician\n")
    pack.write("grants.csv", "staff,scope_type,scope,valid_from,department\n100377,code,38.45008,2026-01-01,心外\n")

    loaded = pack.load()

    assert loaded.hospital.entries[-1].departments == ("胸心外科", "小儿外科")
    assert loaded.people[-1].staff.department == "胸心外科"
    assert loaded.people[-1].grants[0].department == "胸心外科"
    assert loaded.hospital.paediatric is not None
    assert loaded.hospital.paediatric.departments == {"胸心外科"}


def test_a_department_that_is_seen_nowhere_else_is_fine(pack: PackFolder) -> None:
    pack.write("grants.csv", "staff,scope_type,scope,valid_from,department\n100234,code,35.71001,2026-01-01,新开科室\n")

    assert pack.load().people[0].grants[0].department == "新开科室"


def test_several_problems_are_said_at_once_in_the_order_of_files_and_rows(pack: PackFolder) -> None:
    pack.append("hospital.toml", '[policy]\nstaff_unknown = "info"\n')
    pack.append("catalog.csv", "35.71001+,x,5,,,\n")
    pack.append("staff.csv", "100234,另一人,胸心外科,physician\n")
    pack.append("grants.csv", "999999,code,35.71001,2026-02-30\n100234,level,3,2026-01-01\n")

    found = [(problem.file, problem.row, problem.column) for problem in pack.problems()]

    assert found == [
        ("hospital.toml", None, "policy.staff_unknown"),
        ("catalog.csv", 5, "code"),
        ("catalog.csv", 5, "level"),
        ("staff.csv", 4, "staff"),
        ("grants.csv", 3, "valid_from"),
        ("grants.csv", 3, "staff"),
        ("grants.csv", 4, "scope"),
    ]


def test_what_is_wrong_is_said_in_both_languages_with_its_place(pack: PackFolder) -> None:
    pack.append("grants.csv", "100234,level,四级,2026-01-01\n")

    problem = pack.problem()

    assert str(problem).startswith("grants.csv 第3行 “scope”：三级、四级手术不得按级别授权")
    assert 'grants.csv, row 3, "scope": Level 4 cannot be granted as a level' in str(problem)


def test_problems_beyond_the_limit_are_counted(pack: PackFolder) -> None:
    pack.append("grants.csv", "100234,code,35.71001,bad\n" * (MAX_KEPT + 7))

    with pytest.raises(PackError) as refused:
        pack.load()

    assert len(refused.value.problems) == MAX_KEPT
    assert refused.value.not_kept == 7
    assert f"and {MAX_KEPT - MAX_SHOWN + 7} more problems" in str(refused.value)


def test_a_row_that_is_refused_is_not_complained_of_by_those_that_name_it(pack: PackFolder) -> None:
    pack.append("staff.csv", "300001,赵六,胸心外科,医圣\n")
    pack.append("catalog.csv", "38.45008,Bentall手术,9,,DXG4,\n")
    pack.append("grants.csv", "300001,code,38.45008,2026-01-01\n300001,item,DXG4,2026-01-01\n")

    assert [(problem.file, problem.column) for problem in pack.problems()] == [("catalog.csv", "level"), ("staff.csv", "kind")]


def test_an_unreadable_table_is_not_complained_of_by_those_that_name_its_rows(pack: PackFolder) -> None:
    pack.write("catalog.csv", "")

    assert pack.problem().message_en == "The file is empty: there is no heading."


def test_tables_are_optional(pack: PackFolder) -> None:
    for name in (
        "catalog.csv",
        "aliases.csv",
        "technologies.toml",
        "staff.csv",
        "grants.csv",
        "credentials.csv",
        "volumes.csv",
        "roster.csv",
    ):
        pack.remove(name)

    assert pack.load().people == ()


def test_the_hospitals_settings_are_not_optional(pack: PackFolder) -> None:
    pack.remove("hospital.toml")

    assert pack.problem().file == "hospital.toml"


def test_a_shared_pack_is_not_a_hospital(pack: PackFolder) -> None:
    pack.remove("hospital.toml")
    pack.write("pack.toml", 'code = "demo"\nname = "公共"\n')

    assert "shared pack" in pack.problem().message_en


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="There is no such folder"):
        load_pack(tmp_path / "nowhere")


def test_both_forms_of_a_table_are_one_too_many(pack: PackFolder) -> None:
    pack.write("grants.xlsx", "")

    assert pack.problem().file == "grants.xlsx"
    assert "grants.csv" in pack.problem().message_en


def test_an_unknown_file_is_a_warning_with_the_nearest_name(pack: PackFolder) -> None:
    pack.write("grant.csv", "")

    (warning,) = pack.load().warnings

    assert warning.file == "grant.csv"
    assert 'Did you mean "grants.csv"?' in warning.message_en


@pytest.mark.parametrize("name", ["thresholds.csv", "README.md", ".DS_Store", "~$grants.xlsx"])
def test_documentation_and_leavings_are_silent(pack: PackFolder, name: str) -> None:
    pack.write(name, "x")

    assert pack.load().warnings == ()


def test_a_file_beyond_the_limit_is_not_read(pack: PackFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_FILE_BYTES", 1 << 20)
    pack.append("staff.csv", " " * (1 << 20))

    assert "larger than 1 MiB" in pack.problem().message_en


def test_progress_is_told_every_ten_thousand_rows_at_least(pack: PackFolder) -> None:
    days = [date.fromordinal(ordinal).isoformat() for ordinal in range(730_000, 730_000 + 25_000)]
    pack.append("grants.csv", "".join(f"100234,code,88.45001,{day}\n" for day in days))
    told: list[tuple[str, int, int]] = []

    load_pack(pack.path, progress=lambda file, done, total: told.append((file, done, total)))

    grants = [(done, total) for file, done, total in told if file == "grants.csv"]
    assert grants[-1] == (25_001, 25_001)
    assert all(after - before <= 10_000 for (before, _), (after, _) in zip([(0, 0), *grants], grants, strict=False))
    assert all(done <= total for done, total in grants)


def test_a_packs_secrets_do_not_show_in_its_repr(pack: PackFolder) -> None:
    pack.append("hospital.toml", '[[notify]]\nkind = "webhook"\nurl = "https://example.org/hook"\nsecret = "hush"\n')

    loaded = pack.load()

    assert loaded.notify[0]["secret"] == "hush"
    assert "hush" not in repr(loaded)


@pytest.mark.parametrize("path", sorted(SHIPPED_PACKS.glob("*/hospital.toml")), ids=lambda path: path.parent.name)
def test_the_packs_that_ship_with_the_project_load(path: Path) -> None:
    assert load_pack(path.parent).hospital.code == path.parent.name
