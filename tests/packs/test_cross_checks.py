"""What rows may name and what may stand twice: each with a find and a near miss."""

from __future__ import annotations

import pytest

from app.engine.model import Hospital
from app.packs.load import load_pack
from app.packs.problems import PackError, Problems
from app.packs.records import read_grants
from app.packs.references import Already, References
from app.packs.rows import Source
from app.packs.sheets import open_sheet
from app.packs.tables import GRANTS

from .conftest import PackFolder


def test_a_staff_number_stands_twice(pack: PackFolder) -> None:
    pack.append("staff.csv", "100235,张三,胸心外科,physician\n")
    assert len(pack.load().people) == 3  # namesakes exist

    pack.append("staff.csv", "100234,张三,胸心外科,physician\n")
    assert (pack.problem().row, "row 2" in pack.problem().message_en) == (5, True)


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("grants.csv", "999999,code,35.71001,2026-01-01"),
        ("credentials.csv", "999999,T1,training,2025-03-01"),
        ("volumes.csv", "999999,technology,T1,2024,1"),
        ("roster.csv", "999999,2026-11-22 17:30,2026-11-23 08:00"),
    ],
)
def test_somebody_who_is_not_in_the_register(pack: PackFolder, file: str, row: str) -> None:
    pack.append(file, row + "\n")

    assert (pack.problem().file, pack.problem().column) == (file, "staff")


@pytest.mark.parametrize(
    ("file", "heading", "row"),
    [
        ("grants.csv", "staff,scope_type,scope,valid_from", "100234,code,35.71001,2026-01-01"),
        ("credentials.csv", "staff,technology,kind,issued_on", "100234,T1,training,2025-03-01"),
        ("volumes.csv", "staff,scope_type,scope,year", "100234,technology,T1,2024"),
        ("roster.csv", "staff,from,to", "100234,2026-11-22 17:30,2026-11-23 08:00"),
    ],
)
def test_a_name_beside_the_staff_number(pack: PackFolder, file: str, heading: str, row: str) -> None:
    """Nobody is found by name, but a wrong one says that the number may be somebody else's."""
    pack.write("staff.csv", "staff,name,department,kind\n100234,张Ａ三,胸心外科,physician\n200018,李四,麻醉科,anesthesiologist\n")
    for name in ("", " ", "张A 三"):
        pack.write(file, f"{heading},姓名\n{row},{name}\n")
        pack.load()

    pack.write(file, f"{heading},姓名\n{row},李四\n")

    assert (pack.problem().file, pack.problem().row, pack.problem().column) == (file, 2, "姓名")
    assert pack.problem().message_zh == "工号“100234”在人员表中是“张A三”，不是“李四”：人员以工号识别，工号或姓名有误。"


@pytest.mark.parametrize("staff", ["999999,张三,胸心外科,physician", "100234,张三,胸心外科,医圣"])
def test_a_name_that_cannot_be_compared_is_not_complained_of(pack: PackFolder, staff: str) -> None:
    pack.write("staff.csv", f"staff,name,department,kind\n{staff}\n")
    pack.write("grants.csv", "staff,name,scope_type,scope,valid_from\n100234,李四,code,35.71001,2026-01-01\n")

    assert not any("李四" in problem.message_zh for problem in pack.problems())


@pytest.mark.parametrize(
    ("scope", "suggested"),
    [
        ("code,35.71002", "35.71001"),
        ("code,37.26001", "37.26001+37.34001"),
        ("item,WKJDXX3.3", "WKJDXX3.2"),
        ("technology,T9", None),
    ],
)
def test_a_grant_of_what_there_is_not(pack: PackFolder, scope: str, suggested: str | None) -> None:
    pack.append("grants.csv", f"100234,{scope},2026-01-01\n")

    assert (pack.problem().row, pack.problem().column) == (3, "scope")
    if suggested:
        assert f'Did you mean "{suggested}"?' in pack.problem().message_en


@pytest.mark.parametrize(
    "scope",
    ["code,35.7100*001", "code,37.34001+37.26001", "item,XN-GM2", "technology,T1", "level,1", "level,二级", "asa,5", "perfusion,Ⅴ级"],
)
def test_a_grant_of_what_there_is(pack: PackFolder, scope: str) -> None:
    """A national code that has an alias can be granted too."""
    pack.append("grants.csv", f"100234,{scope},2026-01-01\n")

    assert len(pack.load().people[0].grants) == 2


@pytest.mark.parametrize("scope", ["level,3", "level,四级"])
def test_levels_3_and_4_are_granted_item_by_item(pack: PackFolder, scope: str) -> None:
    pack.append("grants.csv", f"100234,{scope},2026-01-01\n")

    assert "SGM-2022 art. 16" in pack.problem().message_en


@pytest.mark.parametrize("scope", ["level,0", "asa,6", "asa,0", "perfusion,6", "perfusion,一类"])
def test_grades_that_there_are_not(pack: PackFolder, scope: str) -> None:
    pack.append("grants.csv", f"100234,{scope},2026-01-01\n")

    assert pack.problem().column == "scope"


def test_a_technology_that_cannot_be_granted_as_such(pack: PackFolder) -> None:
    pack.append("grants.csv", "100234,technology,T2,2026-01-01\n")

    assert "not grantable" in pack.problem().message_en


@pytest.mark.parametrize(("last", "fine"), [("2026-01-01", True), ("2025-12-31", False)])
def test_a_grant_that_ends_before_it_begins(pack: PackFolder, last: str, fine: bool) -> None:
    pack.write("grants.csv", f"staff,scope_type,scope,valid_from,valid_to\n100234,code,35.71001,2026-01-01,{last}\n")

    if fine:
        assert pack.load().people[0].grants[0].valid_to is not None
    else:
        assert pack.problem().column == "valid_to"


@pytest.mark.parametrize(
    ("row", "fine"),
    [
        ("100234,code,35.7100１,心外,,2026-01-01", False),  # the same code, the same department by its alias
        ("100234,code,35.71001,胸心外科,requester,2026-01-01", True),
        ("100234,code,35.71001,胸心外科,,2026-01-02", True),
        ("100234,code,35.71001,小儿外科,,2026-01-01", True),
        ("100234,item,WKJDXX3.2,胸心外科,,2026-01-01", True),
        ("200018,code,35.71001,胸心外科,,2026-01-01", True),
    ],
)
def test_the_same_grant_twice(pack: PackFolder, row: str, fine: bool) -> None:
    pack.write(
        "grants.csv", f"staff,scope_type,scope,department,role,valid_from\n100234,code,35.71001,胸心外科,operator,2026-01-01\n{row}\n"
    )

    if fine:
        assert sum(len(person.grants) for person in pack.load().people) == 2
    else:
        assert pack.problem().message_en == "The same grant stands in row 2 already."


def test_an_id_of_the_hospitals_own_is_kept_and_stands_once(pack: PackFolder) -> None:
    heading = "id,staff,scope_type,scope,valid_from\n"
    pack.write("grants.csv", heading + "A-1,100234,code,35.71001,2026-01-01\n,100234,code,88.45001,2026-01-01\n")
    own, made = (grant.id for grant in pack.load().people[0].grants)
    assert own == "A-1"
    assert made.startswith("G-")
    assert len(made) == 12

    pack.write("grants.csv", heading + "A-1,100234,code,35.71001,2026-01-01\nA-1,100234,code,88.45001,2026-01-01\n")
    assert "already" in pack.problem().message_en


def test_an_id_depends_on_what_identifies_the_grant_and_on_nothing_else(pack: PackFolder) -> None:
    heading = "staff,scope_type,scope,valid_from,valid_to,department\n"
    pack.write("grants.csv", heading + "100234,code,35.71001,2026-01-01,2027-01-01,心外\n")
    before = pack.load().people[0].grants[0].id

    pack.write("grants.csv", heading + "100234,code, 35.71001 ,2026/1/1,2028-01-01,胸心外科\n")

    assert pack.load().people[0].grants[0].id == before


@pytest.mark.parametrize(
    ("file", "row", "other"),
    [
        ("credentials.csv", "100234,T1,培训,2025-03-01", "100234,T1,training,2025-03-02"),
        ("volumes.csv", "100234,技术,T1,2025,3", "100234,technology,T1,2024,40"),
        ("roster.csv", "100234,2026-11-22T09:30:00Z,2026-11-23T08:00+08:00", "100234,2026-11-22 17:30,2026-11-23 08:01"),
    ],
)
def test_the_same_record_twice(pack: PackFolder, file: str, row: str, other: str) -> None:
    pack.append(file, other + "\n")
    pack.load()

    pack.append(file, row + "\n")
    assert (pack.problem().row, pack.problem().file) == (4, file)


@pytest.mark.parametrize(
    ("file", "row"),
    [("credentials.csv", "100234,T3,training,2025-03-01"), ("volumes.csv", "100234,item,XN-GM9,2024,1")],
)
def test_records_of_what_there_is_not(pack: PackFolder, file: str, row: str) -> None:
    pack.append(file, row + "\n")

    assert "Did you mean" in pack.problem().message_en


@pytest.mark.parametrize("ends", ["2026-11-22 17:30", "2026-11-22T09:30:00Z", "2026-11-22 08:00"])
def test_duty_that_ends_before_it_starts(pack: PackFolder, ends: str) -> None:
    pack.write("roster.csv", f"工号,值班开始,值班结束\n100234,2026-11-22 17:30,{ends}\n")

    assert (pack.problem().file, pack.problem().row, pack.problem().column) == ("roster.csv", 2, "值班结束")
    pack.write("roster.csv", "工号,值班开始,值班结束\n100234,2026-11-22 17:30,2026-11-22 17:31\n")
    assert len(pack.load().people[0].duty) == 1


def test_numbers_are_not_counted_by_level(pack: PackFolder) -> None:
    pack.append("volumes.csv", "100234,level,2,2024,1\n")

    assert pack.problem().column == "scope_type"


def test_a_national_code_that_stands_for_itself_says_nothing(pack: PackFolder) -> None:
    before = pack.load().hospital.aliases
    pack.append("aliases.csv", "39.6500*001,39.6500x001\n")

    assert pack.load().hospital.aliases == before


def test_a_revoked_grant_of_what_left_the_catalog_is_kept_with_a_word(pack: PackFolder) -> None:
    pack.write("grants.csv", "staff,scope_type,scope,valid_from,state\n100234,code,99.9901,2020-01-01,revoked\n")

    loaded = pack.load()
    assert any(warning.row is not None and "99.9901" in warning.message_en for warning in loaded.warnings)
    assert any(grant.scope == "99.9901" for person in loaded.people for grant in person.grants)


def test_two_national_codes_for_one_code(pack: PackFolder) -> None:
    pack.append("aliases.csv", "35.71001,35.7100x001\n88.45001,35.7100x001\n")
    assert len(pack.load().hospital.aliases) == 2  # the same twice, and two codes for one national one

    pack.append("aliases.csv", "35.71001,35.7100x002\n")
    assert (pack.problem().row, pack.problem().column) == (5, "national_code")


def test_an_alias_of_an_alias(pack: PackFolder) -> None:
    pack.append("aliases.csv", "88.45001,35.71001\n")

    assert "has an alias itself" in pack.problem().message_en


@pytest.mark.parametrize(("includes", "fine"), [("88.45001;XN-GM2;35.7100*001", True), ("88.45001;XN-GM3", False), ("88.45009", False)])
def test_what_an_entry_says_it_includes(pack: PackFolder, includes: str, fine: bool) -> None:
    pack.write(
        "catalog.csv",
        f"code,name,level,item,includes\n35.71001,a,3,WKJDXX3.2,{includes}\n88.45001,b,2,XN-GM2,\n37.26001+37.34001,c,4,XN-XR1-4,\n",
    )

    if fine:
        assert pack.load().hospital.entries[0].includes == ("88.45001", "XN-GM2", "35.7100x001")
    else:
        assert (pack.problem().row, pack.problem().column) == (2, "includes")


def test_codes_that_lost_their_zeros_are_warned_of(pack: PackFolder) -> None:
    pack.append("catalog.csv", "35.96,x,3,,,\n")

    assert "35.96" in pack.load().warnings[0].message_en


def test_a_hospital_of_short_codes_is_not(pack: PackFolder) -> None:
    pack.write("catalog.csv", "code,name,level\n35.96,x,3\n37.0,y,2\n")
    for name in ("grants.csv", "aliases.csv"):
        pack.remove(name)

    assert pack.load().warnings == ()


def test_a_single_table_can_be_read_for_a_hospital_that_is_already_there(pack: PackFolder) -> None:
    hospital: Hospital = pack.load().hospital
    problems = Problems()
    sheet = open_sheet("new.csv", "工号,授权类型,授权范围,授权起始,科室\n100234,编码,35.71001,2026-01-01,心外\n".encode(), problems)
    assert sheet is not None

    grants = read_grants(Source(GRANTS, sheet, hospital.department_aliases, problems), References.of(hospital, {"100234": "张三"}))

    assert problems.found == []
    assert grants["100234"][0].department == "胸心外科"


def test_names_are_held_against_those_that_the_hospital_has_already(pack: PackFolder) -> None:
    pack.remove("staff.csv")
    pack.write("grants.csv", "staff,name,scope_type,scope,valid_from\n100234,张三,code,35.71001,2026-01-01\n")
    already = Already(names={"100234": "张三", "200018": "李四"})
    rows = load_pack(pack.path, already=already).tables["grants"]
    assert (len(rows.rows), "name" in rows.fields | rows.notes) == (1, False)

    pack.write("grants.csv", "staff,name,scope_type,scope,valid_from\n200018,张三,code,35.71001,2026-01-01\n")
    with pytest.raises(PackError) as refused:
        load_pack(pack.path, already=already)
    assert [problem.column for problem in refused.value.problems] == ["name"]


def test_what_a_hospital_has_already_may_be_named(pack: PackFolder) -> None:
    grants = "100234,code,99.9900,2026-01-01\n100234,item,OLD,2026-01-01\n100234,technology,T9,2026-01-01\n"
    pack.append("grants.csv", grants)
    assert len(pack.problems()) == 3
    nothing_else = Already(
        codes=frozenset({"99.9900"}), items=frozenset({"OLD"}), technologies=frozenset({"T9"}), grantable=frozenset({"T9"})
    )
    assert len(load_pack(pack.path, already=nothing_else).tables["grants"].rows) == 4


def test_a_technology_of_the_file_is_grantable_as_the_file_has_it(pack: PackFolder) -> None:
    pack.append("grants.csv", "100234,technology,T2,2026-01-01\n")
    with pytest.raises(PackError):
        load_pack(pack.path, already=Already(technologies=frozenset({"T2"}), grantable=frozenset({"T2"})))


def test_notes_are_kept_beside_the_values(pack: PackFolder) -> None:
    pack.write("aliases.csv", "code,national_code,remark\n35.71001,35.7100x001,院内旧码\n88.45001,88.45001,同码\n")
    loaded = pack.load()
    (kept,) = loaded.tables["aliases"].rows
    assert (kept.number, kept.value, kept.notes) == (2, ("35.71001", "35.7100x001"), {"remark": "院内旧码"})
    assert loaded.tables["aliases"].fields == {"code", "national_code"}
    assert loaded.tables["aliases"].notes == {"remark"}
    assert loaded.given is not None
    assert set(loaded.given) == {"T1", "T2"}
    assert not loaded.shared
