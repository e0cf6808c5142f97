"""Headings and cells: what each column takes, and what is said where it does not."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from openpyxl import Workbook

from app.engine.model import GrantRole, GrantState, Requalification, StaffKind, StaffStatus
from app.packs import tables
from app.packs.cells import EARLIEST_YEAR, MAX_ID_CHARS, MAX_TEXT_CHARS

from .conftest import PackFolder

STAFF_HEADING = "staff,name,department,kind"


def staff_with(pack: PackFolder, column: str, cell: str) -> None:
    pack.write("staff.csv", f'{STAFF_HEADING},{column}\n100234,张三,胸心外科,physician,"{cell}"\n')


def grant_with(pack: PackFolder, column: str, cell: str) -> None:
    pack.write("grants.csv", f'staff,scope_type,scope,valid_from,{column}\n100234,code,35.71001,2026-01-01,"{cell}"\n')


def test_an_id_longer_than_the_store_keeps(pack: PackFolder) -> None:
    """PostgreSQL would refuse the whole import, and say nothing of the row."""
    longest = "S" * MAX_ID_CHARS
    pack.write("staff.csv", f"{STAFF_HEADING}\n100234,张三,胸心外科,physician\n{longest},李四,胸心外科,physician\n")
    assert longest in {person.staff.staff for person in pack.load().people}
    pack.write("staff.csv", f"{STAFF_HEADING}\n100234,张三,胸心外科,physician\n{longest}S,李四,胸心外科,physician\n")
    assert (pack.problem().column, pack.problem().row) == ("staff", 3)
    staff_with(pack, "status", "active")
    grant_with(pack, "id", "G" * (MAX_ID_CHARS + 1))
    assert (pack.problem().column, pack.problem().row) == ("id", 2)


def test_every_table_takes_its_chinese_headings(pack: PackFolder) -> None:
    for table in tables.TABLES.values():
        words = [word for column in table.columns for word in (column.name, *column.chinese)]
        assert len(words) == len(set(words)), table.kind
        assert all(column.chinese for column in table.columns)


def test_an_unknown_column_is_named_with_the_nearest(pack: PackFolder) -> None:
    pack.write("grants.csv", "staff,scope_type,scope,valid_from,valid_too\n100234,code,35.71001,2026-01-01,2026-02-01\n")

    assert pack.problem().column == "valid_too"
    assert 'Did you mean "valid_to"?' in pack.problem().message_en


def test_headings_are_compared_without_blanks_width_and_case(pack: PackFolder) -> None:
    pack.write("grants.csv", "Staff , SCOPE_TYPE,授权 范围,ｖalid_from\n100234,code,35.71001,2026-01-01\n")

    assert len(pack.load().people[0].grants) == 1


def test_columns_for_people_are_known_and_kept_out(pack: PackFolder) -> None:
    pack.write("catalog.csv", "code,name,level,申请单,备注,补录,来源\n35.71001,x,3,任意,=任意,department,H-WAHH 1\n")
    pack.write("grants.csv", "staff,scope_type,scope,valid_from,remark,source,made\n100234,code,35.71001,2026-01-01,=1,x,y\n")

    assert pack.load().hospital.entries[0].source == "H-WAHH 1"


def test_a_required_column_that_is_missing(pack: PackFolder) -> None:
    pack.write("grants.csv", "staff,scope_type,scope\n100234,code,35.71001\n")

    assert (pack.problem().column, pack.problem().row) == ("valid_from", 1)


def test_an_optional_column_may_be_missing(pack: PackFolder) -> None:
    pack.write("catalog.csv", "code,name,level\n35.71001,x,3\n")

    assert pack.load().hospital.entries[0].departments == ()


def test_the_same_column_twice(pack: PackFolder) -> None:
    pack.write("staff.csv", f"{STAFF_HEADING},工号\n100234,张三,胸心外科,physician,100234\n")

    assert "same column" in pack.problem().message_en


@pytest.mark.parametrize("cell", ["", " ", "　"])
def test_a_required_cell_must_not_be_blank(pack: PackFolder, cell: str) -> None:
    pack.append("grants.csv", f"100234,code,35.71001,{cell}\n")

    assert (pack.problem().column, pack.problem().message_en) == ("valid_from", "Required: it must not be blank.")


@pytest.mark.parametrize("cell", ["2026-11-22", "2026/11/22", "2026/11/2", "2026年11月22日", "２０２６-11-22", "2024-02-29"])
def test_days(pack: PackFolder, cell: str) -> None:
    grant_with(pack, "last_evaluated", cell)

    assert isinstance(pack.load().people[0].grants[0].last_evaluated, date)


@pytest.mark.parametrize(
    "cell",
    ["2026-02-30", "2026/2/29", "22-11-2026", "2026-11", "20261122", "46000", "明年", "2026-11/22", f"{EARLIEST_YEAR - 1}-01-01", "x" * 99],
)
def test_what_is_no_day(pack: PackFolder, cell: str) -> None:
    grant_with(pack, "last_evaluated", cell)

    assert pack.problem().column == "last_evaluated"


@pytest.mark.parametrize(("cell", "level"), [("1", 1), ("四级", 4), ("三", 3), ("Ⅱ级", 2), ("4级", 4), ("４", 4), ("iv", 4)])
def test_levels(pack: PackFolder, cell: str, level: int) -> None:
    pack.append("catalog.csv", f"38.45008,Bentall手术,{cell},,,\n")

    assert pack.load().hospital.entries[-1].level == level


@pytest.mark.parametrize("cell", ["0", "5", "五级", "4.1", "四级甲", "-1"])
def test_what_is_no_level(pack: PackFolder, cell: str) -> None:
    pack.append("catalog.csv", f"38.45008,Bentall手术,{cell},,,\n")

    assert pack.problem().column == "level"


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("physician", StaffKind.PHYSICIAN),
        ("Physician", StaffKind.PHYSICIAN),
        ("医师", StaffKind.PHYSICIAN),
        ("多点执业", StaffKind.MULTI_SITE),
        ("外聘", StaffKind.EXTERNAL),
        ("进修", StaffKind.TRAINEE),
        ("住院医师（规培）", StaffKind.RESIDENT),
        ("住院医师(规培)", StaffKind.RESIDENT),
        ("实习", StaffKind.INTERN),
        ("麻醉医师", StaffKind.ANESTHESIOLOGIST),
        ("灌注师", StaffKind.PERFUSIONIST),
        ("护 士", StaffKind.NURSE),
    ],
)
def test_kinds_of_staff(pack: PackFolder, cell: str, kind: StaffKind) -> None:
    pack.write("staff.csv", f"{STAFF_HEADING}\n100234,张三,胸心外科,{cell}\n")

    assert pack.load().people[0].staff.kind is kind


@pytest.mark.parametrize("cell", ["doctor", "住院医师"])
def test_what_is_no_kind_of_staff(pack: PackFolder, cell: str) -> None:
    """住院医师 is a title; a resident in training is written with the bracket."""
    pack.write("staff.csv", f"{STAFF_HEADING}\n100234,张三,胸心外科,{cell}\n")

    assert "多点执业（multi_site）" in pack.problem().message_zh


def test_other_closed_lists_take_their_chinese_words(pack: PackFolder) -> None:
    pack.write("staff.csv", f"{STAFF_HEADING},status,requalification\n100234,张三,胸心外科,医师,暂停,待评价\n")
    grant_with(pack, "role,state", '开单医师","撤销')

    person = pack.load().people[0]

    assert (person.staff.status, person.staff.requalification) == (StaffStatus.SUSPENDED, Requalification.DUE)
    assert (person.grants[0].role, person.grants[0].state) == (GrantRole.REQUESTER, GrantState.REVOKED)


def test_lists_take_three_separators(pack: PackFolder) -> None:
    staff_with(pack, "practice_scope", "外科专业；儿科专业、内科专业; 外科专业;")

    assert pack.load().people[0].staff.practice_scope == ("外科专业", "儿科专业", "内科专业")


def test_lines_of_a_cell_are_a_list_too(pack: PackFolder) -> None:
    pack.append("catalog.csv", '38.45008,x,4,"心内科\n胸心外科",,\n')
    assert pack.load().hospital.entries[-1].departments == ("心内科", "胸心外科")

    pack.write("catalog.csv", 'code,name,level,item,includes\n35.71001,x,3,WKJDXX3.2,\n88.45001,y,2,XN-GM2,"35.71001\nWKJDXX3.2"\n')
    assert pack.load().hospital.entries[-1].includes == ("35.71001", "WKJDXX3.2")


def test_a_list_of_separators_alone_is_no_empty_list(pack: PackFolder) -> None:
    """An entry without departments is everybody's, so that must not come from a stray semicolon."""
    pack.append("catalog.csv", "38.45008,Bentall手术,4,；,,\n")

    assert pack.problem().column == "department"


def test_a_grant_has_one_department(pack: PackFolder) -> None:
    grant_with(pack, "department", "胸心外科;小儿外科")

    assert "Write a row for each" in pack.problem().message_en


@pytest.mark.parametrize("code", ["35.71001+", "ABC", "355.1x", "35.71001+35.71001"])
def test_a_malformed_code(pack: PackFolder, code: str) -> None:
    pack.append("catalog.csv", f"{code},x,3,,,\n")

    assert (pack.problem().column, "ICD-9-CM-3" in pack.problem().message_zh) == ("code", True)


def test_a_malformed_alias_target(pack: PackFolder) -> None:
    pack.append("aliases.csv", "88.45001,88.45.00\n")

    assert pack.problem().column == "national_code"


def test_catalog_flags(pack: PackFolder) -> None:
    pack.write("catalog.csv", "code,name,level,flags\n35.71001,x,3,major;停用\n")
    assert pack.load().hospital.entries[0].flags == {"major", "stopped"}

    pack.write("catalog.csv", "code,name,level,flags\n35.71001,x,3,mayor\n")
    assert pack.problem().column == "flags"


def test_characters_that_show_nothing_are_left_out_as_in_orders(pack: PackFolder) -> None:
    """A zero-width blank after a staff number would make it another one, and nobody could see why."""
    staff_with(pack, "title", "主任医师\u200b")

    assert pack.load().people[0].staff.title == "主任医师"


def test_a_cell_of_them_alone_is_not_taken_for_a_word(pack: PackFolder) -> None:
    pack.write("staff.csv", f"{STAFF_HEADING}\n\u200b,张三,胸心外科,physician\n")
    pack.write("catalog.csv", "code,name,level,item\n35.71001,x,3,\u200b\n")

    found = {(problem.file, problem.column) for problem in pack.problems()}

    assert {("catalog.csv", "item"), ("staff.csv", "staff")} <= found


def test_control_characters_are_refused(pack: PackFolder) -> None:
    staff_with(pack, "title", "主任\x07医师")

    assert "control characters" in pack.problem().message_en


def test_rare_characters_of_names_are_not(pack: PackFolder) -> None:
    pack.write("staff.csv", f"{STAFF_HEADING}\n100234,张\ue863𬱖,胸心外科,physician\n")

    assert pack.load().people[0].staff.name == "张\ue863𬱖"


@pytest.mark.parametrize("cell", ["#N/A", "#REF!", "x" * (MAX_TEXT_CHARS + 1)])
def test_errors_of_a_spreadsheet_and_endless_text(pack: PackFolder, cell: str) -> None:
    staff_with(pack, "title", cell)

    assert pack.problem().column == "title"


@pytest.mark.parametrize(("cell", "fine"), [("0", True), ("120", True), ("-1", False), ("1.5", False), ("很多", False), ("9" * 20, False)])
def test_numbers_of_cases(pack: PackFolder, cell: str, fine: bool) -> None:
    pack.write("volumes.csv", f"staff,scope_type,scope,year,operator_cases\n100234,technology,T1,2025,{cell}\n")

    if fine:
        assert pack.load().people[0].volumes[0].operator_cases == int(cell)
    else:
        assert pack.problem().column == "operator_cases"


@pytest.mark.parametrize(
    "cell",
    [
        "2026-11-22 17:30",
        "2026/11/22 17:30",
        "2026-11-22T17:30:00+08:00",
        "2026-11-22T09:30Z",
        "2026-11-22 9:30:00 z",
        "2026-11-22　17：30",
    ],
)
def test_moments(pack: PackFolder, cell: str) -> None:
    """Without an offset by the hospital's clock."""
    pack.write("roster.csv", f"staff,from,to\n100234,{cell},2026-11-23 08:00\n")

    assert pack.load().people[0].duty[0].starts == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "cell",
    [
        "2026-11-22",
        "17:30",
        "2026-11-22 25:30",
        "2026-02-30 17:30",
        "2026-11-22 5pm",
        "2026-11-22T17:30+99:00",
        "0226-11-22 17:30",
        "46348.73",
    ],
)
def test_what_is_no_moment(pack: PackFolder, cell: str) -> None:
    pack.write("roster.csv", f"staff,from,to\n100234,{cell},2026-11-23 08:00\n")

    assert (pack.problem().row, pack.problem().column) == (2, "from")


def test_moments_of_a_workbook(pack: PackFolder) -> None:
    """As Excel keeps them: a fraction of a day, a little off the second."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (("工号", "值班开始", "值班结束"), ("100234", datetime(2026, 11, 22, 17, 29, 59, 999_600), datetime(2026, 11, 23, 8))):
        sheet.append(row)
    pack.remove("roster.csv")
    book.save(pack.path / "roster.xlsx")

    (duty,) = pack.load().people[0].duty
    assert (duty.starts, duty.ends) == (datetime(2026, 11, 22, 9, 30, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
