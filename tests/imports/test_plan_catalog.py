"""Which entry of the catalog a row means."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from app.engine.model import Entry
from app.imports.current import Held
from app.imports.plan_lists import plan_catalog
from app.imports.steps import Action, Mode
from app.packs.rows import Kept, TableRows

FIELDS = frozenset(Entry.__struct_fields__)
NEONATE = Entry("35.71001", "房间隔缺损修补术", 4, ("小儿外科",), service="A1", item="X4.1")
ADULT = Entry("35.71001", "房间隔缺损修补术", 3, ("胸心外科",), service="A1", item="X3.2")
ABLATION = tuple(Entry("37.34001", f"射频消融术（{kind}）", 4, ("心内科",), service=f"B{kind}", item=f"XR{kind}") for kind in "1234")


def _plan(held: tuple[Entry, ...], rows: tuple[Entry, ...], mode: Mode = Mode.MERGE) -> tuple[list[Action], tuple[Entry, ...]]:
    content = TableRows("catalog", "catalog.csv", FIELDS, frozenset(), [Kept(n, row, {}) for n, row in enumerate(rows, start=2)])
    steps, after = plan_catalog([Held(entry, {}) for entry in held], content, mode)
    return [step.action for step in steps], tuple(held.value for held in after)


def _with(entry: Entry, **fields: Any) -> Entry:
    return replace(entry, **fields)


def test_a_row_changes_the_entry_of_its_own_department_only() -> None:
    lifted = _with(ADULT, level=4, item="X4.9")
    assert _plan((NEONATE, ADULT), (lifted,)) == ([Action.CHANGED], (NEONATE, lifted))


def test_a_further_department_is_a_further_entry() -> None:
    assert _plan((ADULT,), (NEONATE,)) == ([Action.ADDED], (ADULT, NEONATE))


def test_a_renamed_entry_that_is_the_only_one_of_its_code_and_department_is_changed() -> None:
    renamed = _with(ADULT, name="房缺修补")
    assert _plan((NEONATE, ADULT), (renamed,)) == ([Action.CHANGED], (NEONATE, renamed))


def test_a_new_class_of_a_code_with_several_does_not_overwrite_one() -> None:
    fifth = _with(ABLATION[0], name="射频消融术（5）", service="B5", item="XR5")
    assert _plan(ABLATION, (fifth,)) == ([Action.ADDED], (*ABLATION, fifth))


def test_one_of_several_that_was_renamed_is_found_when_all_are_sent() -> None:
    renamed = _with(ABLATION[2], name="射频消融术（三）")
    rows = (*ABLATION[:2], renamed, ABLATION[3])
    assert _plan(ABLATION, rows) == ([Action.UNCHANGED, Action.UNCHANGED, Action.CHANGED, Action.UNCHANGED], rows)


def test_rows_that_stand_twice_stay_two() -> None:
    assert _plan((ADULT, ADULT), (ADULT, ADULT)) == ([Action.UNCHANGED] * 2, (ADULT, ADULT))
    assert _plan((ADULT,), (ADULT, ADULT)) == ([Action.UNCHANGED, Action.ADDED], (ADULT, ADULT))


def test_equal_ones_find_each_other_whatever_order_they_come_in() -> None:
    twin = _with(ADULT, item="X3.9")
    for rows in ((ADULT, twin), (twin, ADULT)):
        assert _plan((ADULT, twin), rows)[0] == [Action.UNCHANGED] * 2


def test_replacing_retires_what_is_absent_and_takes_the_files_order() -> None:
    actions, after = _plan((NEONATE, ADULT, *ABLATION), (ABLATION[1], ADULT), Mode.REPLACE)
    assert actions.count(Action.RETIRED) == 4
    assert after == (ABLATION[1], ADULT)
