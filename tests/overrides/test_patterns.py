"""What recurs among overrides: found, and the near misses that are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.overrides.patterns import FLAGS, Denied, Repetition, Seen, patterns

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
THIS = Seen("o-now", "C-now", "胸心外科", 11, ("100234",), ("35.71001",), "心包填塞，血压测不出")


def seen(number: int, **changed: object) -> Seen:
    """An earlier override of another case, in nothing like this one."""
    other = Seen(f"o-{number}", f"C-{number}", f"科{number}", number % 11, (f"S{number}",), (f"X{number}",), f"第{number}次各不相同")
    return other._replace(**changed)  # type: ignore[arg-type]


def flags_of(*lately: Seen) -> tuple[str, ...]:
    return patterns(THIS, NOW, lately, (), ()).flags


@pytest.mark.parametrize(
    ("flag", "shared", "most"),
    [
        ("repeated", {"operators": ("100234", "other")}, 2),
        ("repeated_code", {"codes": ("X", "35.71001")}, 2),
        ("repeated_department", {"department": "胸心外科"}, 4),
        ("repeated_hour", {"department": "胸心外科", "hour": 11}, 2),
    ],
)
def test_from_how_many_on_a_repetition_is_flagged(flag: str, shared: dict[str, object], most: int) -> None:
    lately = [seen(number, **shared) for number in range(most)]
    assert flags_of(*lately[1:]) == ()
    assert flags_of(*lately) == (flag,)
    found = patterns(THIS, NOW, lately, (), ()).repeated
    assert [(one.flag, one.count) for one in found] == [(flag, most + 1)]


def test_the_documents_of_one_operation_are_one() -> None:
    assert flags_of(*(seen(n, case_id="C-now", operators=("100234",)) for n in range(5))) == ()
    own = seen(1, case_id="C-now", operators=("100234",))
    assert flags_of(own, seen(2, operators=("100234",))) == ()
    assert flags_of(own, *(seen(n, operators=("100234",)) for n in (2, 3))) == ("repeated",)
    assert flags_of(*(seen(n, case_id="C-other", operators=("100234",)) for n in range(5))) == ()


def test_the_same_hour_in_another_department_is_no_pattern() -> None:
    assert flags_of(*(seen(n, hour=11) for n in range(9))) == ()


def test_each_surgeon_is_counted_apart() -> None:
    two = THIS._replace(operators=("100234", "100377"))
    lately = [seen(1, operators=("100234",)), seen(2, operators=("100377",)), seen(3, operators=("100377",))]
    assert patterns(two, NOW, lately, (), ()).repeated == (Repetition("repeated", "100377", 3, 30),)


@pytest.mark.parametrize("reason", ["心包填塞，血压测不出", " 心包填塞 血压测不出！", "心包填塞,血压测不出。"])
def test_the_same_words_again_are_flagged(reason: str) -> None:
    found = patterns(THIS, NOW, (), [seen(1), seen(2, reason=reason)], ())
    assert found.flags == ("repeated_reason",)
    assert found.same_reason == ("o-2",)


def test_words_that_differ_of_the_same_case_or_long_ago_are_not() -> None:
    same = THIS.reason
    assert patterns(THIS, NOW, (), [seen(1, reason="心包填塞，血压测出"), seen(2, case_id="C-now", reason=same)], ()).flags == ()
    assert patterns(THIS, NOW, (), [*(seen(n) for n in range(5)), seen(9, reason=same)], ()).flags == ()
    assert patterns(THIS, NOW, (), [*(seen(n) for n in range(4)), seen(9, reason=same)], ()).flags == ("repeated_reason",)
    # The documents of one earlier operation are one of the last five.
    assert patterns(THIS, NOW, (), [*(seen(1) for _ in range(9)), seen(9, reason=same)], ()).flags == ("repeated_reason",)


def denied(minutes: float, urgency: str = "elective") -> Denied:
    return Denied(f"d-{minutes}", "notice", urgency, NOW - timedelta(minutes=minutes))


def test_a_denial_that_turns_into_an_emergency_within_minutes_is_flagged_with_its_facts() -> None:
    found = patterns(THIS, NOW, (), (), [denied(29.9, "urgent"), denied(12.5)])
    assert found.flags == ("denied_then_emergency",)
    assert found.denial is not None
    assert (found.denial.decision_id, found.denial.minutes, found.denial.urgency) == ("d-12.5", 12, "elective")
    assert patterns(THIS, NOW, (), (), [denied(30)]).flags == ("denied_then_emergency",)


@pytest.mark.parametrize("near", [denied(30.1), denied(1, "emergency"), denied(-1)])
def test_a_denial_long_ago_or_of_an_emergency_is_not(near: Denied) -> None:
    assert patterns(THIS, NOW, (), (), [near]).flags == ()


def test_flags_come_in_the_order_of_the_one_list() -> None:
    lately = [seen(n, department="胸心外科", hour=11, operators=("100234",), codes=("35.71001",)) for n in range(5)]
    found = patterns(THIS, NOW, lately, [seen(1, reason=THIS.reason)], [denied(1)])
    assert found.flags == FLAGS[6:-1]  # the last one says that the record could not be read
