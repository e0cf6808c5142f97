"""technologies.toml, alone and merged with the shared packs that a hospital builds on."""

from __future__ import annotations

from datetime import date

import pytest

from app.engine.model import Identify, Qualification, Technology, TechnologyKind, Urgency

from .conftest import PackFolder

HEAD = '[[technology]]\nid = "T1"\nname = "聚焦超声"\nkind = "restricted_provincial"\ngrantable = true\n'


def technology(pack: PackFolder, rest: str) -> Technology:
    pack.write("technologies.toml", HEAD + rest)
    return pack.load().hospital.technologies[0]


def complaint(pack: PackFolder, rest: str) -> tuple[str | None, str]:
    pack.write("technologies.toml", HEAD + rest)
    return pack.problem().column, pack.problem().message_en


def share(pack: PackFolder, name: str, technologies: str) -> None:
    folder = pack.path.parent / name
    folder.mkdir()
    (folder / "pack.toml").write_text(f'code = "{name}"\nname = "公共"\nsource = "SC-2022"\n', encoding="utf-8")
    (folder / "technologies.toml").write_text(technologies, encoding="utf-8")


def build_on(pack: PackFolder, *names: str) -> None:
    listed = ", ".join(f'"{name}"' for name in names)
    text = (pack.path / "hospital.toml").read_text(encoding="utf-8")
    pack.write("hospital.toml", f"builds_on = [{listed}]\n{text}")


def test_everything_that_a_technology_may_say(pack: PackFolder) -> None:
    pack.write(
        "technologies.toml",
        """
[[technology]]
id = "S02"
name = "聚焦超声"
kind = "restricted_provincial"
assessed_on = 2022-06-01
filed_on = 2022-07-01
filing_no = "示例-1"
first_case_on = 2022-06-20
team = ["100234"]
grantable = true
stopped = true
basis = "SC-2022 S02"
source = "SC-2022"
note = "…"
qualification = [
    { years = 5, title = "主治医师", practice_scope = ["外科专业"], training = true, exempt = { years = 10, independent_cases = 80, within_years = 3 } },
    { level = 4, any_of = [{ title = "主治医师", years_in_title = 3 }, { title = "副主任医师" }], cases = 30, max_idle_years = 2 },
]

[[technology.identify]]
codes = ["00.0901", "99.8500*004"]
with_diagnoses = ["C00-C97", "D05.9", "c61"]

[[technology.identify]]
all_of = [["23.6X00x003"], ["76.4300", "76.4301"]]
urgency = ["emergency"]

[technology.names]
"00.0901" = "高强度聚焦超声治疗"
[technology.remarks]
"00.0901" = "需结合诊断"
[technology.diagnosis_names]
"C61" = "前列腺癌"
""",
    )
    for name in ("grants.csv", "credentials.csv", "volumes.csv"):
        pack.remove(name)

    (loaded,) = pack.load().hospital.technologies

    assert loaded == Technology(
        id="S02",
        name="聚焦超声",
        kind=TechnologyKind.RESTRICTED_PROVINCIAL,
        identify=(
            Identify(codes=frozenset({"00.0901", "99.8500x004"}), with_diagnoses=(("C00", "C97"), "D05.9", "C61")),
            Identify(all_of=(frozenset({"23.6x00x003"}), frozenset({"76.4300", "76.4301"})), urgency=frozenset({Urgency.EMERGENCY})),
        ),
        assessed_on=date(2022, 6, 1),
        filed_on=date(2022, 7, 1),
        filing_no="示例-1",
        first_case_on=date(2022, 6, 20),
        team=("100234",),
        grantable=True,
        stopped=True,
        qualification=(
            Qualification(
                years=5,
                title="主治医师",
                practice_scope=("外科专业",),
                training=True,
                exempt=Qualification(years=10, independent_cases=80, within_years=3),
            ),
            Qualification(
                level=4,
                any_of=(Qualification(title="主治医师", years_in_title=3), Qualification(title="副主任医师")),
                cases=30,
                max_idle_years=2,
            ),
        ),
        basis="SC-2022 S02",
    )


def test_a_technology_without_codes_is_fine(pack: PackFolder) -> None:
    assert technology(pack, "").identify == ()


def test_identify_and_qualification_may_be_one_table(pack: PackFolder) -> None:
    loaded = technology(pack, '[technology.identify]\ncodes = ["00.0901"]\n[technology.qualification]\nyears = 5\n')

    assert (len(loaded.identify), loaded.qualification) == (1, (Qualification(years=5),))


@pytest.mark.parametrize(
    ("rest", "key", "said"),
    [
        ('grantabel = true\nx.y = "z"', None, ""),
        ("assessedon = 2022-06-01", "technology T1.assessedon", 'Did you mean "assessed_on"?'),
        ('assessed_on = "2022-06-01"', "technology T1.assessed_on", "a date without quotes"),
        ("assessed_on = 2022-06-01T00:00:00", "technology T1.assessed_on", "a date without quotes"),
        ('stopped = "yes"', "technology T1.stopped", "true or false"),
        ('team = "100234"', "technology T1.team", "a list in square brackets"),
        ("team = [100234]", "technology T1.team", "a text in quotes"),
        ("identify = { codes = [35.10] }", "technology T1.identify.codes", "a text in quotes"),
        ('identify = { codes = ["35.1O"] }', "technology T1.identify.codes", "procedure code"),
        ('identify = { with_diagnoses = ["C61"] }', "technology T1.identify.codes", "needs codes or all_of"),
        ('identify = "35.10"', "technology T1.identify", "a table"),
        ('identify = { codes = [" "] }', "technology T1.identify.codes", "a text in quotes"),
        ("qualification = { exempts = { years = 5 } }", "technology T1.qualification.exempts", 'Did you mean "exempt"?'),
        ("identify = { codes = [] }", "technology T1.identify.codes", "must not be empty"),
        ('identify = { all_of = [["35.10"], []] }', "technology T1.identify.all_of[2]", "must not be empty"),
        ("identify = { all_of = [] }", "technology T1.identify.all_of", "must not be empty"),
        ('identify = { codes = ["35.10"], with_diagnoses = ["C97-C00"] }', "technology T1.identify.with_diagnoses", "backwards"),
        ('identify = { codes = ["35.10"], with_diagnoses = ["C"] }', "technology T1.identify.with_diagnoses", "diagnosis code"),
        ('identify = { codes = ["35.10"], urgency = ["emergent"] }', "technology T1.identify.urgency", 'Did you mean "emergency"?'),
        ('identify = { codes = ["35.10"], code = ["35.11"] }', "technology T1.identify.code", 'Did you mean "codes"?'),
        ("qualification = { year = 5 }", "technology T1.qualification.year", 'Did you mean "years"?'),
        ("qualification = { years = true }", "technology T1.qualification.years", "a whole number"),
        ("qualification = { years = -1 }", "technology T1.qualification.years", "from 0 to 100"),
        ("qualification = { level = 5 }", "technology T1.qualification.level", "from 1 to 4"),
        ('qualification = { title = "主任" }', "technology T1.qualification.title", "is none of: 住院医师"),
        ('qualification = { any_of = [{ title = "院士" }] }', "technology T1.qualification.any_of[1].title", "is none of: 住院医师"),
        ("qualification = { exempt = { yeers = 5 } }", "technology T1.qualification.exempt.yeers", 'Did you mean "years"?'),
    ],
)
def test_what_is_wrong_with_a_technology(pack: PackFolder, rest: str, key: str | None, said: str) -> None:
    if key is None:
        pack.write("technologies.toml", HEAD + rest)
        assert [problem.column for problem in pack.problems()] == ["technology T1.grantabel", "technology T1.x"]
    else:
        column, message = complaint(pack, rest)
        assert column == key
        assert said in message


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ('[[technology]]\nid = "T1"\nkind = "key"\ngrantable = true', "technology T1.name"),
        ('[[technology]]\nid = "T1"\nname = "x"\ngrantable = true', "technology T1.kind"),
        ('[[technology]]\nid = "T1"\nname = "x"\nkind = "banned"\ngrantable = true', "technology T1.kind"),
        (HEAD + '[[technology]]\nname = "x"\nkind = "key"', "technology[2].id"),
        (HEAD + '[[technologie]]\nid = "x"', "technologie"),
        (HEAD + HEAD, "technology T1.id"),
    ],
)
def test_what_every_technology_needs(pack: PackFolder, text: str, column: str) -> None:
    pack.write("technologies.toml", text)

    assert column in {problem.column for problem in pack.problems()}


def test_a_file_that_is_no_toml_names_the_line(pack: PackFolder) -> None:
    pack.write("technologies.toml", 'x = 1\ny = "\n')

    assert (pack.problem().row, pack.problem().file) == (2, "technologies.toml")


def test_a_member_of_a_team_who_is_not_in_the_register_is_a_warning(pack: PackFolder) -> None:
    pack.write("technologies.toml", HEAD + 'team = ["100234", "100999"]')

    (warning,) = pack.load().warnings

    assert "100999" in warning.message_en


# ------------------------------------------------------------------------------------------------ shared packs


def test_the_hospitals_fields_replace_and_its_ways_to_identify_are_added(pack: PackFolder) -> None:
    share(
        pack,
        "shared",
        """
[[technology]]
id = "S1"
name = "公共名"
kind = "restricted_provincial"
basis = "SC-2022"
identify = { codes = ["35.9500x006"] }
qualification = { years = 5 }

[[technology]]
id = "S2"
name = "另一项"
kind = "prohibited"
""",
    )
    build_on(pack, "shared")
    pack.append(
        "technologies.toml",
        '[[technology]]\nid = "S1"\nfiled_on = 2022-07-01\nidentify = { codes = ["35.71001"] }\nqualification = { years = 10 }\n',
    )

    loaded = pack.load()

    assert [technology.id for technology in loaded.hospital.technologies] == ["S1", "S2", "T1", "T2"]
    assert loaded.builds_on == ("shared",)
    assert loaded.hospital.technologies[0] == Technology(
        id="S1",
        name="公共名",
        kind=TechnologyKind.RESTRICTED_PROVINCIAL,
        basis="SC-2022",
        identify=(Identify(codes=frozenset({"35.9500x006"})), Identify(codes=frozenset({"35.71001"}))),
        qualification=(Qualification(years=10),),
        filed_on=date(2022, 7, 1),
    )


def test_grants_may_name_a_shared_technology(pack: PackFolder) -> None:
    share(pack, "shared", '[[technology]]\nid = "S1"\nname = "x"\nkind = "key"\ngrantable = true\n')
    pack.append("grants.csv", "100234,technology,S1,2026-01-01\n")
    assert "no technology" in pack.problem().message_en

    build_on(pack, "shared")
    assert len(pack.load().people[0].grants) == 2


def test_what_is_prohibited_stays_prohibited(pack: PackFolder) -> None:
    share(pack, "shared", '[[technology]]\nid = "T1"\nname = "x"\nkind = "prohibited"\n')
    build_on(pack, "shared")

    assert pack.problem().column == "technology T1.kind"


def test_less_than_restricted_is_warned_of(pack: PackFolder) -> None:
    share(pack, "shared", '[[technology]]\nid = "T2"\nname = "x"\nkind = "restricted_national"\n')
    build_on(pack, "shared")

    assert pack.load().warnings[0].column == "technology T2.kind"


def test_a_pack_that_ships_with_the_project_is_found(pack: PackFolder) -> None:
    build_on(pack, "national")

    assert "G01" in {technology.id for technology in pack.load().hospital.technologies}


def test_a_pack_beside_the_folder_comes_first(pack: PackFolder) -> None:
    share(pack, "national", '[[technology]]\nid = "OWN"\nname = "x"\nkind = "key"\n')
    build_on(pack, "national")

    assert "OWN" in {technology.id for technology in pack.load().hospital.technologies}


@pytest.mark.parametrize(
    ("name", "said"), [("nationl", 'Did you mean "national"?'), ("../national", "no shared pack"), ("demo", "no shared pack")]
)
def test_a_pack_that_is_not_there(pack: PackFolder, name: str, said: str) -> None:
    build_on(pack, name)

    assert (pack.problem().column, said in pack.problem().message_en) == ("builds_on", True)


def test_a_shared_packs_mistakes_are_said_with_its_name(pack: PackFolder) -> None:
    share(pack, "shared", '[[technology]]\nid = "S1"\nname = "x"\n')
    build_on(pack, "shared")

    assert (pack.problem().file, pack.problem().column) == ("shared/technologies.toml", "technology S1.kind")


def test_a_shared_pack_without_technologies(pack: PackFolder) -> None:
    share(pack, "shared", "")
    (pack.path.parent / "shared" / "technologies.toml").unlink()
    build_on(pack, "shared")

    assert pack.problem().file == "shared/technologies.toml"
