"""hospital.toml: who the hospital is and what it decides."""

from __future__ import annotations

from datetime import date

import pytest

from app.engine.model import STANDARD_EMERGENCY_REASONS, ByCheckpoint, Disposition, OfficeHours, Paediatric, Policy

from .conftest import PackFolder

WHO = 'code = "demo"\nname = "示例医院"\ntime_zone = "Asia/Shanghai"\n'


def test_everything_that_a_hospital_may_say(pack: PackFolder) -> None:
    pack.write(
        "hospital.toml",
        WHO
        + """
province = "湖北"
[departments]
"心外" = "胸心外科"
[policy]
order_right = true
major_flags = ["foreign", "vip"]
flags = ["research"]
trainee_operator = "final"
mdt_missing = { order = "info", notice = "final", emergency = "obligation" }
major_approval_missing = "obligation"
[paediatric]
under_years = 14
departments = ["小儿外科"]
[review]
due_working_days = 5
[emergency]
reason_codes = ["airway", "flood"]
[office_hours]
days = [1, 2, 3]
from = "07:30"
to = "18:00"
holidays = [2026-10-01]
[records]
retention_years = 30
[[notify]]
kind = "webhook"
url = "https://example.org/hook"
secret = "ｓ  s"
when = "duty"
""",
    )

    loaded = pack.load()

    assert loaded.hospital.policy == Policy(
        dispositions={
            "trainee_operator": Disposition.FINAL,
            "mdt_missing": ByCheckpoint(order=Disposition.INFO, notice=Disposition.FINAL, emergency=Disposition.OBLIGATION),
            "major_approval_missing": Disposition.OBLIGATION,
        },
        order_right=True,
        major_flags=frozenset({"foreign", "vip"}),
        flags=Policy().flags | {"vip", "research"},
        emergency_reasons=("airway", "flood"),
        review_due_working_days=5,
    )
    assert loaded.hospital.paediatric == Paediatric(14, frozenset({"小儿外科"}))
    assert loaded.hospital.office_hours == OfficeHours(frozenset({1, 2, 3}), 450, 1080, frozenset({date(2026, 10, 1)}))
    assert loaded.hospital.department_aliases == {"心外": "胸心外科"}
    assert (loaded.province, loaded.retention_years) == ("湖北", 30)
    # To the letter: a secret that was tidied up would be another one.
    assert loaded.notify == ({"kind": "webhook", "url": "https://example.org/hook", "secret": "ｓ  s", "when": "duty"},)
    assert loaded.warnings == ()


def test_what_is_not_said_stays_as_the_engine_has_it(pack: PackFolder) -> None:
    pack.write("hospital.toml", WHO)

    loaded = pack.load()

    assert loaded.hospital.policy == Policy()
    assert loaded.hospital.policy.emergency_reasons == STANDARD_EMERGENCY_REASONS
    assert loaded.hospital.office_hours == OfficeHours()
    assert (loaded.hospital.paediatric, loaded.retention_years, loaded.notify) == (None, None, ())


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ('name = "x"\ntime_zone = "Asia/Shanghai"', "code", "Required"),
        ('code = "a/b"\nname = "x"\ntime_zone = "Asia/Shanghai"', "code", "letters, digits"),
        ('code = "x"\nname = " "\ntime_zone = "Asia/Shanghai"', "name", "Required"),
        ('code = "x"\nname = "\u200b"\ntime_zone = "Asia/Shanghai"', "name", "Required"),
        ('code = "x"\nname = "x"', "time_zone", "Required"),
        ('code = "x"\nname = "x"\ntime_zone = "Asia/Wuhan"', "time_zone", "no time zone"),
        ('code = "x"\nname = "x"\ntime_zone = "Asia"', "time_zone", "no time zone"),
        ('code = "x"\nname = "x"\ntime_zone = "/etc/passwd"', "time_zone", "no time zone"),
        (WHO + 'provinz = "湖北"', "provinz", 'Did you mean "province"?'),
        (WHO + '[departments]\n"心外" = ""', "departments.心外", "Required"),
        (WHO + '[departments]\n"心外" = "心外"', "departments.心外", "own name"),
        (WHO + '[departments]\n"心外" = "心外科"\n"心外科" = "胸心外科"', "departments.心外", "an alias itself"),
        (WHO + '[policy]\ngrant_mising = "final"', "policy.grant_mising", 'Did you mean "grant_missing"?'),
        (WHO + '[policy]\ngrant_missing = "fatal"', "policy.grant_missing", 'Did you mean "final"?'),
        (WHO + '[policy]\ngrant_missing = "obligation"', "policy.grant_missing", "may not be loosened"),
        (WHO + '[policy]\nprohibited_technology = "overridable"', "policy.prohibited_technology", "may not be loosened"),
        (WHO + '[policy]\ngrant_missing = { notice = "final" }', "policy.grant_missing", "cannot be set by checkpoint"),
        (WHO + '[policy]\nmdt_missing = { notise = "final" }', "policy.mdt_missing.notise", 'Did you mean "notice"?'),
        (WHO + "[policy]\nmdt_missing = true", "policy.mdt_missing", "a text in quotes"),
        (WHO + '[policy]\norder_right = "yes"', "policy.order_right", "true or false"),
        (WHO + '[policy]\nmajor_flags = ["VIP!"]', "policy.major_flags", "small letters"),
        (WHO + "[pediatric]\nunder_years = 14", "pediatric", 'Did you mean "paediatric"?'),
        (WHO + "[paediatric]\nunder_years = 14", "paediatric.departments", "Required"),
        (WHO + '[paediatric]\nunder_years = 140\ndepartments = ["小儿外科"]', "paediatric.under_years", "from 1 to 25"),
        (WHO + "[review]\ndue_working_days = 0", "review.due_working_days", "from 1"),
        (WHO + "[review]\ndue = 3", "review.due", "no key"),
        (WHO + '[office_hours]\nfrom = "8:00"', "office_hours.from", "like 08:00"),
        (WHO + '[office_hours]\nfrom = "17:30"', "office_hours.to", "close after it opens"),
        (WHO + "[office_hours]\ndays = [0, 1]", "office_hours.days", "1 (Monday)"),
        (WHO + '[office_hours]\nholidays = ["2026-10-01"]', "office_hours.holidays", "a date without quotes"),
        (WHO + "[emergency]\nreason_codes = []", "emergency.reason_codes", "must not be empty"),
        (WHO + "[records]\nretention_years = 0", "records.retention_years", "from 1"),
        (WHO + '[[notify]]\nkind = "webhook"', "notify[1].url", "Required"),
        (WHO + '[[notify]]\nkind = "webhook"\nurl = "ftp://x"', "notify[1].url", "https://"),
        (WHO + '[[notify]]\nkind = "webhook"\nurl = "http://x"\nwhen = "night"', "notify[1].when", "office"),
        (WHO + '[[notify]]\nkind = "webhook"\nurl = "http://x"\ntoken = "t"', "notify[1].token", "no key"),
    ],
)
def test_what_is_wrong_with_a_hospital(pack: PackFolder, text: str, column: str, said: str) -> None:
    pack.write("hospital.toml", text)

    assert pack.problem().column == column
    assert said in pack.problem().message_en


def test_policies_that_tighten_or_loosen_within_bounds(pack: PackFolder) -> None:
    pack.write(
        "hospital.toml", WHO + '[policy]\ntechnology_stopped = "overridable"\ngrant_missing = "final"\nplan_changed = "obligation"\n'
    )

    assert len(pack.load().hospital.policy.dispositions) == 3


def test_a_secret_is_never_quoted(pack: PackFolder) -> None:
    pack.write("hospital.toml", WHO + '[[notify]]\nkind = "webhook"\nurl = "http://x"\nsecret = 4711\n')

    assert pack.problem().column == "notify[1].secret"
    assert "4711" not in str(pack.problem())


def test_a_flag_that_is_nearly_a_known_one_is_warned_of(pack: PackFolder) -> None:
    pack.write("hospital.toml", WHO + '[policy]\nmajor_flags = ["high_risks"]\n')

    loaded = pack.load()

    assert 'Did you mean "high_risk"?' in loaded.warnings[0].message_en
    assert "high_risks" in loaded.hospital.policy.flags
