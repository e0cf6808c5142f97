"""Make the people of the demo hospital: staff.csv, grants.csv, credentials.csv and volumes.csv of packs/wahh.

Nobody in these files exists; every row says so (`made` = `all`). What people may do follows the hospital's printed rules all the same:
somebody gets a class of operations, an intervention or a technique only from the quarter on in which made-up years, assisted cases,
training and completed cases meet the conditions in packs/wahh/thresholds.csv. Where the source prints no condition, the nearest one
stands in (`UNLISTED_ENTRY`, and the remarks at `INTERVENTIONS` and `CARDIOLOGY`).

A fixed seed and no clock: every run writes the same bytes. People whose grants show a denial are `SPECIALS` and `EDITS`; packs/README.md
lists them under "People to try".
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

SEED = 20261122
PACK = Path(__file__).resolve().parents[1] / "packs" / "wahh"

YEARS = (2024, 2025, 2026)
LAST_COUNTED = date(2026, 11, 10)
"""Counts of 2026 end here; evaluations too."""

QUARTERS = tuple(date(2023 + n // 4, 1 + n % 4 * 3, 1) for n in range(13))
"""When grants begin: first applications are decided once a quarter (H-WAHH ch. 7 §2)."""

EVALUATIONS = tuple(date(2026, 7, 8) + timedelta(days=14 * n) for n in range(9))
"""Days on which the committee evaluated again, 2026-07-08 to 2026-10-28: less than a year ago until July 2027."""

LONG_TERM = date(2030, 12, 31)

CARDIAC, PAEDIATRIC, CARDIOLOGIC = "胸心外科", "小儿外科", "心内科"
ANESTHESIA, PERFUSION, THEATRE = "麻醉科", "体外循环科", "手术室"

# ------------------------------------------------------------------------------------------------ what the lists of thresholds stand for

SURGERY_LIST, INTERVENTION_LIST, CARDIOLOGY_LIST = "心外科手术资质", "心外科介入资质", "心内科新申请资质"

CLASS_ENTRIES = {"简单先心": 3, "复杂先心（轻）": 4, "瓣膜类": 5, "复杂先心（重）": 6, "冠脉类": 7, "大血管类": 8}
"""The class of the catalog → its entry in the surgical list."""

UNLISTED_CLASSES = ("心脏移植", "二开及其他", "外周血管类", "丽文手术", "皮瓣移植类", "左室流出道疏通类", "心包剥脱", "肺动脉内膜剥脱")
UNLISTED_ENTRY = 8
"""Classes for which no condition is printed are held to those of 大血管类 (5 years, 4 as first assistant, 500 assisted, 10 in training)."""

LEVEL_ENTRIES = {"1": 1, "2": 2}
"""Levels 1 and 2 are granted as levels, by the entries 清创类 and 开胸/关胸/胸骨固定."""

CLASS_CASES = {
    "简单先心": (35, 90),
    "复杂先心（轻）": (10, 30),
    "瓣膜类": (40, 90),
    "复杂先心（重）": (8, 24),
    "冠脉类": (25, 80),
    "大血管类": (14, 45),
    "外周血管类": (10, 40),
    "二开及其他": (10, 25),
}
OTHER_CASES = (1, 6)
"""Operations of one surgeon in one year, by class."""

INTERVENTIONS: Mapping[tuple[int, ...], str] = {
    (1,): "88.5500 88.5600 88.5701",
    (2,): "36.0601 36.0602 36.0700",
    (3,): "88.45001 88.48001 88.48002 88.48005 88.49002 88.49003 88.51001 88.51002 88.61003 88.4202",
    (5,): "00.5501",
    (6, 26): "39.7301",
    (7,): "37.7800 37.78001",
    (8,): "35.0501",
    (9,): "37.2100 37.2300",
    (10,): "37.2200",
    (11,): "88.5201 88.5202 88.5301 88.5302 88.5400x001",
    (12,): "88.4300x002",
    (13,): "39.7900x014",
    (14,): "39.7900x008",
    (15,): "35.5201",
    (16,): "35.5501",
    (17,): "35.5202",
    (18,): "36.9900x005 36.9900x012 36.9901",
    (20,): "39.7902",
    (21,): "39.5300x008",
    (24,): "WKJDXX4.4.R",
    (26,): "WKJDXX4.4.T",
    (27,): "39.5000x015",
    (28,): "WKJDXX4.4.Z",
    (29,): "37.9000x001",
    (30,): "38.7x03 38.7x04",
    (31,): "39.4902",
}
"""Entries of the surgical intervention list, all of which must be met → codes, or items where one code is two operations. Made: the list has
no codes. What is only of level 2 goes by the level grant. What is not here goes by entry 4 where it is an angiography, by entry 6 otherwise. 19, 22, 23 and 25 are not in the catalog."""

ANGIOGRAPHY_ENTRY, VESSEL_ENTRY = 4, 6

INTERVENTION_FIELDS: Mapping[str, Sequence[int]] = {
    "coronary": (1, 2, 4, 7),
    "vascular": (3, 4, 5, 6, 7, 26, 30, 31),
    "congenital": (4, *range(9, 19), 20, 21, 24, 26, 27, 28, 29),
    "all": (*range(1, 19), 20, 21, 24, *range(26, 32)),
}

CARDIOLOGY: Mapping[tuple[int, ...], str] = {
    (2,): "88.56001",
    (3,): "37.78001",
    (11,): "39.71001 39.90002 39.90003 39.90004 39.90005 39.90009 39.79002 38.9300x002",
    (21,): "39.73001",
    (20, 22): "35.96003",
    (19,): "35.96002",
    (23,): "37.49010 37.34003 37.2501",
    (24,): "38.7004",
}
"""The same for the cardiology list. 35.96002 by entry 19, 37.34003 and 37.2501 by entry 23, 38.9300x002 by entry 11 are made."""

CARDIOLOGY_FIELDS: Mapping[str, Sequence[int]] = {
    "coronary": (1, 2, 3),
    "rhythm": (1, 2, 3),
    "structure": (1, 2, 3, 11, 19, 20, 21, 22, 23, 24),
}

TIERS: Mapping[str, tuple[str, ...]] = {
    "pci": ("XN-GM4.1 36.06003 36.06004 36.07003", "XN-GM4.2", "XN-GM4.3 XN-GM4 00.66005", "XN-GM4.4"),
    "ablation": ("XN-DSL4 XN-XR1-4", "XN-XR2-4", "XN-XR3-4", "XN-XR4-4"),
    "pacing": ("XN-QBQ1-3 XN-QBQ1-4", "XN-QBQ2-4 XN-QBQ2-3", "XN-QBQ3-4 XN-QBQ3-3", "XN-QBQ4-4"),
}
"""PCI, ablation and pacemakers are granted by item, one tier after the other. H-WAHH prints only how they are kept: more than 50 a year."""

BUSY = frozenset({"XN-GM4.1", "XN-GM4", "XN-DSL4", *(f"XN-XR{n}-4" for n in (1, 2, 3, 4))}) | frozenset(
    {"XN-QBQ1-3", "XN-QBQ2-4", "XN-QBQ3-4", "XN-QBQ4-4"}
)
"""The items that carry their tier's count; the others of a tier are rarer."""

RENEWAL_CASES = 51
"""年手术量＞50例 (H-WAHH ch. 7, cardiology, renewal)."""

TECHNOLOGIES: Mapping[str, str] = {"G09": "37.6600x001", "G10": "17.4300", "G11": "39.6500 39.6500*001 39.6500*002"}

# ------------------------------------------------------------------------------------------------ names

SURNAMES = "赵 钱 孙 李 周 吴 郑 王 冯 陈 褚 卫 蒋 沈 韩 杨 朱 秦 许 何 吕 施 孔 曹 严 华 金 魏 陶 姜 欧阳 司徒 上官 诸葛"
GIVEN_NAMES = (
    "惊蛰 谷雨 小满 芒种 夏至 小暑 立秋 白露 秋分 寒露 霜降 立冬 小雪 冬至 小寒 半夏 当归 连翘 杜仲 茯苓 远志 甘草 苏叶 菖蒲 "
    "银杏 丹枫 紫藤 苍柏 垂柳 碧桃 山茶 木棉 清风 朗月 繁星 流云 万川 平湖 飞瀑 三秋 四海 五谷 六合 七弦 八音 九歌"
)
"""The Hundred Family Surnames in their order; solar terms, herbs, trees, weather, numbers: names that can be read and are plainly made up."""

# ------------------------------------------------------------------------------------------------ values


@dataclass(frozen=True)
class Grant:
    """A row of grants.csv. `used_to`: the last day on which it was used, None as long as it runs; not written."""

    staff: str
    scope_type: str
    scope: str
    since: date
    department: str = ""
    role: str = "operator"
    until: date | None = None
    evaluated: date | None = None
    state: str = "active"
    remark: str = ""
    used_to: date | None = None

    @property
    def document(self) -> str:
        decided = min(self.since, QUARTERS[-1])
        return f"示例授〔{decided.year}〕{(decided.month + 2) // 3}号"

    def active_in(self, year: int) -> bool:
        """Whether operations under it can have been done in that year."""
        end = min(d for d in (self.until, self.used_to, LAST_COUNTED) if d is not None)
        return self.since.year <= year <= end.year and self.since <= end


@dataclass
class Person:
    """A row of staff.csv, and what the generator made up beside it."""

    staff: str
    name: str
    department: str
    kind: str
    title: str
    practice_since: date | None = None
    title_since: date | None = None
    practice_scope: str = ""
    license_no: str = ""
    license_valid_to: date | None = None
    status: str = "active"
    requalification: str = ""
    shows: str = ""
    first_assistant_since: date | None = None
    assisted_a_year: int = 0
    gone: date | None = None
    training: dict[str, int] = field(default_factory=dict)
    held_since: dict[str, date] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What somebody is to become: a profile of classes and interventions, which the thresholds may still refuse in part."""

    department: str
    classes: tuple[str, ...] = ()
    interventions: str = ""
    tiers: Mapping[str, int] = field(default_factory=dict)
    technologies: tuple[str, ...] = ()
    untrained: bool = False
    also_paediatric: bool = False
    since: tuple[int, int] = (2003, 2014)
    kind: str = "physician"


@dataclass(frozen=True)
class Special:
    """Somebody under "People to try": a plan with a fixed staff number, whose thresholds are met unless `training` says otherwise."""

    staff: str
    shows: str
    plan: Plan
    title: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)
    training: Mapping[str, int] = field(default_factory=dict)


VALVES = ("简单先心", "瓣膜类", "左室流出道疏通类", "二开及其他", "心包剥脱")
CORONARIES = ("简单先心", "瓣膜类", "冠脉类", "二开及其他", "心包剥脱")
AORTA = ("瓣膜类", "大血管类", "外周血管类", "二开及其他", "肺动脉内膜剥脱")
VESSELS = ("大血管类", "外周血管类", "皮瓣移植类", "二开及其他")
CONGENITAL = ("简单先心", "复杂先心（轻）", "瓣膜类", "复杂先心（重）", "二开及其他")
EVERYTHING = (*CLASS_ENTRIES, *UNLISTED_CLASSES)

REGULARS: Sequence[tuple[int, Plan]] = (
    (5, Plan(CARDIAC, EVERYTHING, "all", technologies=("G11",), also_paediatric=True, since=(1992, 2001))),
    (7, Plan(CARDIAC, VALVES, "coronary")),
    (7, Plan(CARDIAC, CORONARIES, "coronary")),
    (6, Plan(CARDIAC, AORTA, "vascular", technologies=("G11",))),
    (4, Plan(CARDIAC, VESSELS, "vascular")),
    (4, Plan(CARDIAC, CONGENITAL, "congenital")),
    (5, Plan(CARDIAC, VALVES, since=(2016, 2020))),
    (4, Plan(CARDIAC, CORONARIES, since=(2016, 2020))),
    (5, Plan(CARDIAC, since=(2021, 2024))),
    (9, Plan(PAEDIATRIC, CONGENITAL, "congenital")),
    (3, Plan(PAEDIATRIC, CONGENITAL, since=(2015, 2020))),
    (2, Plan(PAEDIATRIC, since=(2021, 2024))),
    (9, Plan(CARDIOLOGIC, interventions="coronary", tiers={"pci": 4})),
    (5, Plan(CARDIOLOGIC, interventions="coronary", tiers={"pci": 2}, since=(2013, 2018))),
    (8, Plan(CARDIOLOGIC, interventions="rhythm", tiers={"ablation": 4, "pacing": 4})),
    (4, Plan(CARDIOLOGIC, interventions="structure", tiers={"pci": 3})),
    (4, Plan(CARDIOLOGIC, interventions="coronary", since=(2018, 2020))),
    (2, Plan(CARDIAC, CORONARIES, kind="multi_site")),
    (1, Plan(CARDIOLOGIC, interventions="rhythm", tiers={"ablation": 4}, kind="multi_site")),
    (2, Plan(CARDIAC, VALVES, kind="external")),
    (1, Plan(CARDIOLOGIC, interventions="coronary", tiers={"pci": 3}, kind="external")),
)
"""How many of each. Those engaged from outside are re-assessed; the others are under `SPECIALS`."""

HEADS: Sequence[tuple[str, Plan]] = (
    ("100001", Plan(CARDIOLOGIC, interventions="structure", tiers={"pci": 4, "pacing": 4}, since=(1990, 1996))),
    ("100002", Plan(PAEDIATRIC, (*CONGENITAL, "大血管类", "心脏移植"), "congenital", technologies=("G11",), since=(1991, 1998))),
    ("100003", Plan(CARDIOLOGIC, interventions="rhythm", tiers={"ablation": 4, "pacing": 4}, since=(1993, 1999))),
    ("100004", Plan(PAEDIATRIC, CONGENITAL, "congenital", technologies=("G11",), since=(1995, 2001))),
    ("100005", Plan(CARDIOLOGIC, interventions="coronary", tiers={"pci": 4}, since=(1994, 2000))),
    ("100006", Plan(CARDIOLOGIC, interventions="structure", tiers={"pci": 4}, since=(1996, 2002))),
)

_VALVE_ONLY = Plan(CARDIAC, ("简单先心", "瓣膜类"))
_SIMPLE_ONLY = Plan(CARDIAC, ("简单先心",))
_TEAM = Plan(CARDIOLOGIC, interventions="coronary", tiers={"pci": 4}, technologies=("G10",), since=(1998, 2006))

SPECIALS: Sequence[Special] = (
    Special("100007", "各项授权均有效", Plan(CARDIAC, ("简单先心", "瓣膜类", "冠脉类", "大血管类"), since=(1994, 1998)), "主任医师"),
    Special("100234", "35.71001 的授权已到期", Plan(CARDIAC, ("简单先心",), since=(2013, 2013)), "主治医师"),
    Special("100301", "36.10001 的授权自 2030 年起", Plan(CARDIAC, ("简单先心", "瓣膜类", "冠脉类"))),
    Special("100302", "35.24001 的授权已暂停", _VALVE_ONLY),
    Special("100303", "38.45008 的授权已取消", Plan(CARDIAC, ("瓣膜类", "大血管类"))),
    Special("100304", "35.8100102、35.34003 逾期未评估", Plan(CARDIAC, ("简单先心", "复杂先心（轻）"))),
    Special("100305", "只有一、二级按级别的授权", Plan(CARDIAC, since=(2019, 2019)), "住院医师"),
    Special("100306", "35.72001 只授权小儿外科", _SIMPLE_ONLY),
    Special("100307", "PCI 只到 4.1", Plan(CARDIOLOGIC, interventions="coronary", tiers={"pci": 1}, since=(2016, 2016)), "主治医师"),
    Special("100308", "ECMO、心室辅助：有培训", Plan(CARDIAC, ("瓣膜类", "冠脉类", "大血管类", "心脏移植"), technologies=("G09", "G11"))),
    Special("100309", "ECMO、心室辅助：无培训记录", Plan(CARDIAC, ("瓣膜类", "心脏移植"), technologies=("G11",), untrained=True)),
    Special("100310", "外聘，待评价", replace(_VALVE_ONLY, kind="external"), fields={"requalification": "due"}),
    Special("100311", "外聘，无评价记录", replace(_VALVE_ONLY, kind="external"), fields={"requalification": ""}),
    Special("100312", "外聘，已评价", replace(_VALVE_ONLY, kind="external"), fields={"requalification": "done"}),
    Special("100313", "多点执业", replace(_VALVE_ONLY, kind="multi_site")),
    Special("100314", "已离院", _VALVE_ONLY, fields={"status": "left", "gone": date(2025, 6, 30)}),
    Special("100315", "个人权限全部暂停", _VALVE_ONLY, fields={"status": "suspended", "gone": date(2026, 8, 31)}),
    Special("100316", "执业证书已过期", _VALVE_ONLY, fields={"license_valid_to": date(2026, 3, 31)}),
    Special("100317", "无执业证书编号", _SIMPLE_ONLY, fields={"license_no": ""}),
    Special("100318", "只有开单权", Plan(CARDIAC, since=(2020, 2020)), "主治医师"),
    Special("100319", "脱离本专业一年以上，待评价", _VALVE_ONLY, fields={"requalification": "due", "gone": date(2025, 3, 31)}),
    Special("100320", "R-ONE：有授权和培训，不在项目组", replace(_TEAM, since=(2005, 2008))),
    Special("100321", "胸心外科、小儿外科两科授权", replace(_SIMPLE_ONLY, also_paediatric=True, since=(2000, 2004)), "主任医师"),
    Special("100322", "小儿外科授权", Plan(PAEDIATRIC, ("简单先心", "复杂先心（轻）"), since=(2002, 2008)), "副主任医师"),
    Special("100323", "与 100007 同名", Plan(CARDIOLOGIC, interventions="coronary", tiers={"pci": 2}, since=(2012, 2014))),
    Special("100324", "冠脉类培训 18 例，不足 20 例，未授权", Plan(CARDIAC, CORONARIES, since=(2012, 2015)), training={"冠脉类": 18}),
    Special("100325", "35.71001 的授权到期后已再授权", _SIMPLE_ONLY),
    Special("100377", "合格的助手", Plan(CARDIAC, ("简单先心",), since=(2014, 2014)), "主治医师"),
    Special("300101", "R-ONE 项目组", _TEAM, "主任医师"),
    Special("300102", "R-ONE 项目组", _TEAM, "副主任医师"),
    Special("300103", "R-ONE 项目组（免于培训）", _TEAM, "副主任医师"),
)

EDITS: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("100234", "35.71001"): {"since": date(2025, 10, 1), "until": date(2026, 9, 30), "evaluated": None, "remark": "已到期，未再授权"},
    ("100301", "36.10001"): {"since": date(2030, 1, 1), "until": None, "evaluated": None, "remark": "尚未生效"},
    ("100302", "35.24001"): {"state": "suspended", "used_to": date(2026, 5, 31), "remark": "并发症发生率复核期间暂停"},
    ("100303", "38.45008"): {"state": "revoked", "used_to": date(2025, 11, 30), "remark": "再授权考核不合格，取消"},
    ("100304", "35.8100102"): {"evaluated": date(2025, 6, 30), "remark": "四级，逾期未评估"},
    ("100304", "35.34003"): {"since": date(2024, 4, 1), "evaluated": None, "remark": "四级，从未评估"},
    ("100306", "35.72001"): {"department": PAEDIATRIC, "remark": "限小儿外科"},
}
"""Grants of the people above that are not in order, by staff and scope."""

NAMESAKES: Mapping[str, str] = {"100323": "100007", "200022": "100377", "400009": "500004"}
"""Who has whose name: people are identified by number only."""


# ------------------------------------------------------------------------------------------------ the hospital's own files


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table of the pack."""
    with (PACK / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Catalog:
    """What of the catalog grants are made of."""

    def __init__(self) -> None:
        self.rows = read("catalog.csv")
        self._by_scope: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in self.rows:
            self._by_scope[row["code"]].append(row)
            self._by_scope[row["item"]].append(row)
        self._related: dict[str, list[str]] = defaultdict(list)
        for alias in read("aliases.csv"):
            self._related[alias["code"]].append(alias["national_code"])

    def codes(self, category: str, department: str) -> list[str]:
        """The codes of a class that a department has at level 3 or 4, in the catalog's order."""
        found = (r["code"] for r in self.rows if r["category"] == category and _within(r, department) and int(r["level"]) > 2)
        return list(dict.fromkeys(found))

    def interventional(self) -> list[str]:
        """The codes of the surgical intervention catalog of level 3 or 4 in some entry."""
        found = (r["code"] for r in self.rows if r["category"].startswith("外科介入") and int(r["level"]) > 2)
        return list(dict.fromkeys(found))

    def by_level(self, scope: str, department: str) -> bool:
        """Whether a level grant covers all that the scope is in that department."""
        return all(int(row["level"]) < 3 for row in self._by_scope[scope] if _within(row, department))

    def bound(self, scope: str) -> bool:
        """Whether a grant must name its department: it would reach entries that are not all of the same departments, by its own rows, by
        an alias or by `includes`."""
        rows = list(self._by_scope[scope])
        reached = [*self._related[scope], *(word for row in rows for word in row["includes"].split(";") if word)]
        rows += [row for word in reached for row in self._by_scope[word]]
        return len({row["department"] for row in rows}) > 1


def _within(row: Mapping[str, str], department: str) -> bool:
    return department in row["department"].split(";")


class Rulebook:
    """The access conditions of thresholds.csv, by list and entry number."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], list[dict[str, str]]] = defaultdict(list)
        for row in read("thresholds.csv"):
            match = re.fullmatch(r"H-WAHH 第七章 (\S+) (\d+)", row["source"])
            if row["use"] == "access" and match:
                self._rows[match[1], int(match[2])].append(row)

    def meets(self, listed: str, entry: int, facts: Mapping[str, int]) -> bool:
        """Whether made-up facts meet an entry. A fact that is not there is 0: no cases, and no violation either."""
        rows = self._rows[listed, entry]
        groups = {row["alternative"] for row in rows} - {""}
        always = all(_holds(row, facts, entry) for row in rows if not row["alternative"])
        return always and (not groups or any(all(_holds(r, facts, entry) for r in rows if r["alternative"] == g) for g in groups))

    def asked(self, listed: str, entry: int, measure: str) -> int:
        """The number asked of a measure, 0 where none is."""
        found = (row for row in self._rows[listed, entry] if row["measure"].split(":")[0] == measure)
        return max((int(row["value"]) for row in found if row["measure"] == measure or measure == "training_cases"), default=0)


def _holds(row: Mapping[str, str], facts: Mapping[str, int], entry: int) -> bool:
    name, _, of = row["measure"].partition(":")
    if name == "cases_completed":
        actual = sum(facts.get(f"cases_completed:{n}", 0) for n in (_numbers(of) if of else (entry,)))
    elif name == "training_cases":
        actual = facts.get(name, 0)
    else:
        actual = facts.get(row["measure"], 0)
    asked = float(row["value"])
    return {">=": actual >= asked, "<=": actual <= asked, "=": actual == asked}[row["comparison"]]


def _numbers(words: str) -> list[int]:
    """`3、4` → 3, 4; `14-17` → 14, 15, 16, 17."""
    found: list[int] = []
    for word in words.split("、"):
        first, _, last = word.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def full_years(since: date, until: date) -> int:
    """Full years between two days."""
    return until.year - since.year - ((until.month, until.day) < (since.month, since.day))


# ------------------------------------------------------------------------------------------------ making people


class Maker:
    """One making of all the files. Everything random comes from one generator, in a fixed order."""

    def __init__(self) -> None:
        self.rng = random.Random(SEED)  # noqa: S311 - made-up people, nothing secret
        self.catalog = Catalog()
        self.rules = Rulebook()
        self.people: dict[str, Person] = {}
        self.credentials: list[tuple[str, str, str, date, str]] = []
        self.volumes: dict[tuple[str, str, str, int], tuple[int, int, date]] = {}
        self._names = [surname + given for surname in SURNAMES.split() for given in GIVEN_NAMES.split()]
        self.rng.shuffle(self._names)
        self._intervention_scopes = self._mapped_interventions()

    def make(self) -> None:
        for number, plan in HEADS:
            self._operator(number, plan, title="主任医师")
        for special in SPECIALS:
            self._special(special)
        for number, plan in self._numbered_regulars():
            self._operator(number, plan)
        self._anesthesiologists()
        self._perfusionists()
        self._others()
        self._loose_ends()
        for staff, other in NAMESAKES.items():
            self.people[staff].name = self.people[other].name

    # -------------------------------------------------------------------------------------------- register

    def _person(self, staff: str, department: str, kind: str, title: str, since: date | None, scope: str = "") -> Person:
        person = Person(staff, self._names.pop(), department, kind, title, practice_since=since, practice_scope=scope)
        if since is not None and kind not in ("perfusionist", "intern"):
            person.license_no = f"示例-{staff}"
            if self.rng.random() < 0.5:
                person.license_valid_to = self._day(date(2028, 1, 1), date(2031, 12, 31))
        self.people[staff] = person
        return person

    def _day(self, first: date, last: date) -> date:
        return first + timedelta(days=self.rng.randint(0, (last - first).days))

    def _numbered_regulars(self) -> Iterator[tuple[str, Plan]]:
        plans = [plan for count, plan in REGULARS for _ in range(count)]
        self.rng.shuffle(plans)
        taken = {special.staff for special in SPECIALS}
        number = 100007
        for plan in plans:
            number += self.rng.choice((1, 2, 2, 3))
            while str(number) in taken:
                number += 1
            yield str(number), plan

    def _special(self, special: Special) -> None:
        person = self._operator(special.staff, special.plan, title=special.title, sure=True, training=special.training, special=special)
        for name, value in special.fields.items():
            setattr(person, name, value)

    def _operator(
        self,
        staff: str,
        plan: Plan,
        title: str = "",
        sure: bool = False,
        training: Mapping[str, int] | None = None,
        special: Special | None = None,
    ) -> Person:
        """A surgeon or cardiologist with grants, volumes and credentials. `sure`: chance does not make them fall short."""
        started = date(self.rng.randint(*plan.since), 7, self.rng.randint(1, 28))
        title, title_since = self._title(started, title)
        person = self._person(staff, plan.department, plan.kind, title, started, _scope_of(plan.department))
        person.title_since = title_since
        person.requalification = "done" if plan.kind == "external" or (not sure and self.rng.random() < 0.04) else ""
        person.shows = special.shows if special else ""
        if special is not None and isinstance(gone := special.fields.get("gone"), date):
            person.gone = gone
        person.first_assistant_since = started.replace(year=started.year + 1)
        person.assisted_a_year = self.rng.randint(105, 180)
        start = 0 if sure else self.rng.choice((0, 0, 0, 0, 1, 2, 3, 5))
        if plan.department == CARDIOLOGIC:
            self._cardiologist(person, plan, start, sure)
        else:
            self._surgeon(person, plan, start, sure, training or {})
        self._technologies(person, plan)
        return person

    def _title(self, started: date, title: str) -> tuple[str, date]:
        """A title that fits the years (住院医师 4, 主治医师 7 more, 副主任医师 7 more), and since when."""
        steps = {"住院医师": 0, "主治医师": 4, "副主任医师": 11, "主任医师": 18}
        slower = self.rng.randint(0, 2)
        if not title:
            title = max((t for t in steps if started.year + steps[t] + (slower if steps[t] else 0) <= 2025), key=lambda t: steps[t])
        year = min(started.year + steps[title] + (slower if steps[title] else 0), 2025)
        return title, started if title == "住院医师" else date(year, 12, 1)

    # -------------------------------------------------------------------------------------------- grants of surgeons

    def _surgeon(self, person: Person, plan: Plan, start: int, sure: bool, training: Mapping[str, int]) -> None:
        for level, entry in LEVEL_ENTRIES.items():
            since = self._first_quarter(person, SURGERY_LIST, entry, start)
            if since is not None:
                self._grant(person, level, since, scope_type="level", department=person.department)
        for category in plan.classes:
            self._class(person, category, start, sure, training.get(category), plan.also_paediatric)
        if plan.interventions:
            self._listed(person, INTERVENTION_LIST, INTERVENTION_FIELDS[plan.interventions], self._intervention_scopes, start, sure)
        parts = "、".join(f"{category}{count}" for category, count in person.training.items())
        first_assistant = full_years(person.first_assistant_since or LAST_COUNTED, LAST_COUNTED)
        person.notes.append(
            f"一助{first_assistant}年；助手{self._assisted(person, LAST_COUNTED)}例" + (f"；培训例数 {parts}" if parts else "")
        )

    def _assisted(self, person: Person, on: date) -> int:
        since = person.practice_since or on
        return person.assisted_a_year * max(0, (on - since).days) // 365

    def _facts(self, person: Person, on: date, category: str = "") -> dict[str, int]:
        """What is on record of a surgeon on a day, in the words of thresholds.csv."""
        assisted = self._assisted(person, on)
        simple = person.held_since.get("简单先心")
        return {
            "licensed": 1,
            "training_assessment_passed": 1,
            "years_in_specialty": full_years(person.practice_since or on, on),
            "years_first_assistant": full_years(person.first_assistant_since or on, on),
            "cases_assisted": assisted,
            "cases_participated": assisted,
            "cases_first_assistant": assisted // 3,
            "training_cases": person.training.get(category, 0),
            "meets_access:简单先心类": int(simple is not None and simple <= on),
        }

    def _first_quarter(self, person: Person, listed: str, entry: int, start: int, category: str = "") -> date | None:
        """The first quarter, not before the one numbered `start`, in which an entry is met."""
        return next((q for q in QUARTERS[start:] if self.rules.meets(listed, entry, self._facts(person, q, category))), None)

    def _class(self, person: Person, category: str, start: int, sure: bool, trained: int | None, also_paediatric: bool) -> None:
        entry = CLASS_ENTRIES.get(category, UNLISTED_ENTRY)
        asked = self.rules.asked(SURGERY_LIST, entry, "training_cases")
        drawn = asked + self.rng.randint(0 if sure else -2, 28)
        person.training[category] = drawn if trained is None else trained
        since = self._first_quarter(person, SURGERY_LIST, entry, start, category)
        codes = self.catalog.codes(category, person.department)
        if since is not None:
            person.held_since[category] = since
            until = LONG_TERM if self.rng.random() < 0.3 else None
            evaluated = self.rng.choice(EVALUATIONS)
            for code in codes:
                self._grant(person, code, self._a_little_later(since, sure), until, evaluated)
                if also_paediatric and self.catalog.bound(code) and code in self.catalog.codes(category, PAEDIATRIC):
                    self._grant(person, code, since, until, evaluated, department=PAEDIATRIC)
        self._learn(person, codes, person.training[category], since)
        self._operate(person, codes, *CLASS_CASES.get(category, OTHER_CASES))

    def _a_little_later(self, since: date, sure: bool) -> date:
        """Operations are granted one by one: now and then one comes a quarter or two after the others."""
        if sure or self.rng.random() > 0.08:
            return since
        return QUARTERS[min(QUARTERS.index(since) + self.rng.randint(1, 2), len(QUARTERS) - 1)]

    # -------------------------------------------------------------------------------------------- interventions

    def _mapped_interventions(self) -> dict[tuple[int, ...], list[str]]:
        found = {entries: scopes.split() for entries, scopes in INTERVENTIONS.items()}
        named = {scope for scopes in found.values() for scope in scopes} | {"35.9601"}
        for code in self.catalog.interventional():
            if code not in named:
                entry = ANGIOGRAPHY_ENTRY if code.startswith("88.") else VESSEL_ENTRY
                found.setdefault((entry,), []).append(code)
        return found

    def _listed(
        self, person: Person, listed: str, wanted: Sequence[int], scopes: Mapping[tuple[int, ...], list[str]], start: int, sure: bool
    ) -> None:
        """Grants of a list whose conditions are numbers of completed cases."""
        facts = {"licensed": 1}
        for entry in wanted:
            asked = max(self.rules.asked(listed, entry, "cases_completed"), 2)
            facts[f"cases_completed:{entry}"] = int(asked * self.rng.uniform(1.0 if sure else 0.93, 2.4)) + self.rng.randint(0, 3)
        for entries, names in scopes.items():
            if set(entries) <= set(wanted):
                self._completed(person, listed, entries, names, facts, start)

    def _completed(
        self, person: Person, listed: str, entries: tuple[int, ...], names: Sequence[str], facts: Mapping[str, int], start: int
    ) -> None:
        done = facts[f"cases_completed:{entries[0]}"]
        allowed = all(self.rules.meets(listed, entry, facts) for entry in entries)
        years_met = (q for q in QUARTERS[start:] if full_years(person.practice_since or q, q) >= 5)
        since = next(years_met, None) if allowed else None
        if since is not None:
            evaluated = self.rng.choice(EVALUATIONS)
            until = LONG_TERM if self.rng.random() < 0.3 else None
            for name in names:
                if not self.catalog.by_level(name, person.department):
                    self._grant(person, name, since, until, evaluated)
            self._operate(person, names, max(2, done // 3), max(4, done // 2))
        self._learn(person, names, done, since)

    # -------------------------------------------------------------------------------------------- cardiology

    def _cardiologist(self, person: Person, plan: Plan, start: int, sure: bool) -> None:
        wanted = CARDIOLOGY_FIELDS[plan.interventions]
        scopes = {entries: names.split() for entries, names in CARDIOLOGY.items()}
        angiographies = int(self.rules.asked(CARDIOLOGY_LIST, 1, "cases_completed") * self.rng.uniform(1, 3))
        if self.rules.meets(CARDIOLOGY_LIST, 1, {"licensed": 1, "cases_completed:1": angiographies}):
            since = next((q for q in QUARTERS[start:] if full_years(person.practice_since or q, q) >= 3), QUARTERS[-1])
            self._grant(person, "2", since, scope_type="level", department=person.department)
            self._learn(person, ["88.45001"], angiographies, since)
            self._operate(person, ["88.45001"], RENEWAL_CASES * 12 // 10 + 1, 90)
        self._listed(person, CARDIOLOGY_LIST, wanted, scopes, start, sure)
        for name, most in plan.tiers.items():
            self._tiers(person, TIERS[name][:most], start)
        person.notes.append(f"从事专业{full_years(person.practice_since or LAST_COUNTED, LAST_COUNTED)}年")

    def _tiers(self, person: Person, tiers: Sequence[str], start: int) -> None:
        """Items of one kind of intervention, tier by tier, each some quarters after the one before and not in the first 6 years."""
        index = next((i for i, q in enumerate(QUARTERS) if i >= start and full_years(person.practice_since or q, q) >= 6), None)
        for tier in tiers:
            if index is None or index >= len(QUARTERS):
                return
            since, evaluated = QUARTERS[index], self.rng.choice(EVALUATIONS)
            for name in tier.split():
                self._grant(person, name, since, None, evaluated)
                low, high = (RENEWAL_CASES * 12 // 10 + 1, 160) if name in BUSY else (3, 30)
                if name in BUSY and since.year - 1 in YEARS:
                    self._count(person, name, since.year - 1, 0, self.rng.randint(RENEWAL_CASES, 80), None)
                self._operate(person, [name], low, high)
            index += 0 if full_years(person.practice_since or since, since) >= 15 else self.rng.randint(1, 3)

    # -------------------------------------------------------------------------------------------- technologies

    def _technologies(self, person: Person, plan: Plan) -> None:
        wanted = [*plan.technologies, *(["G09"] if "心脏移植" in person.held_since and "G09" not in plan.technologies else [])]
        for technology in wanted:
            since = person.held_since.get("心脏移植") if technology == "G09" else None
            since = since or max([QUARTERS[1], *person.held_since.values()])
            for code in TECHNOLOGIES[technology].split():
                self._grant(person, code, since)
                self._operate(person, [code], 2, 14)
            if not plan.untrained:
                self._credential(person, technology, since)

    def _credential(self, person: Person, technology: str, since: date) -> None:
        exempt = person.staff == "300103" or (not person.shows and person.title == "主任医师" and self.rng.random() < 0.3)
        issued = self._day(since - timedelta(days=700), since - timedelta(days=40))
        issuer = "示例医院医疗技术临床应用管理委员会" if exempt else "示例培训基地"
        self.credentials.append((person.staff, technology, "exemption" if exempt else "training", issued, issuer))

    # -------------------------------------------------------------------------------------------- rows of grants and volumes

    def _grant(
        self,
        person: Person,
        scope: str,
        since: date,
        until: date | None = None,
        evaluated: date | None = None,
        *,
        scope_type: str = "",
        department: str | None = None,
    ) -> None:
        """A grant, edited where `EDITS` says so; once per scope and department."""
        scope_type = scope_type or _scope_type(scope)
        if department is None:
            department = person.department if self.catalog.bound(scope) else ""
        if any((g.scope_type, g.scope, g.department) == (scope_type, scope, department) for g in person.grants):
            return
        evaluated = evaluated or self.rng.choice(EVALUATIONS)
        grant = Grant(person.staff, scope_type, scope, since, department, until=until, evaluated=evaluated, used_to=person.gone)
        person.grants.append(replace(grant, **EDITS.get((person.staff, scope), {})))  # type: ignore[arg-type]

    def _learn(self, person: Person, names: Sequence[str], total: int, since: date | None) -> None:
        """Operations under supervision before the grant, as far as they lie in the years that are counted; without one, the last two."""
        years = [year for year in YEARS if year < since.year] if since is not None else list(YEARS[1:])
        if years:
            chosen = Counter((self.rng.choice(years), name) for name in self._popular(names, total))
            for (year, name), count in sorted(chosen.items()):
                self._count(person, name, year, 0, count, None)

    def _operate(self, person: Person, names: Sequence[str], low: int, high: int) -> None:
        """From `low` to `high` operations of their own a year, over what is granted by then: by name, or, at level 2, by the level."""
        held = {grant.scope: grant for grant in person.grants}
        granted = {name: held.get("2" if self.catalog.by_level(name, person.department) else name) for name in names}
        for year in YEARS:
            usable = {name: grant for name, grant in granted.items() if grant is not None and grant.active_in(year)}
            total = self.rng.randint(low, high) * (10 if year == LAST_COUNTED.year else 12) // 12
            if usable:
                for name, count in sorted(Counter(self._popular(list(usable), total)).items()):
                    self._count(person, name, year, count, 0, usable[name])

    def _popular(self, names: Sequence[str], total: int) -> list[str]:
        """`total` draws, the first of the catalog far oftener than the last."""
        return self.rng.choices(names, [1 / (n + 1) ** 1.3 for n in range(len(names))], k=total)

    def _count(self, person: Person, name: str, year: int, operated: int, supervised: int, grant: Grant | None) -> None:
        """A year of one code or item; twice the same adds up. `grant`: under which they operated themselves; the last lies within it."""
        if operated + supervised == 0 or (person.gone is not None and year > person.gone.year):
            return
        ends = [date(year, 12, 31), LAST_COUNTED, person.gone, grant.used_to if grant else None, grant.until if grant else None]
        last = min(d for d in ends if d is not None)
        first = max(date(year, 1, 1), last - timedelta(days=75), grant.since if grant else date(year, 1, 1))
        day = self._day(min(first, last), last)
        key = (person.staff, _scope_type(name), name, year)
        before = self.volumes.get(key, (0, 0, day))
        self.volumes[key] = (before[0] + operated, before[1] + supervised, max(day, before[2]))

    # -------------------------------------------------------------------------------------------- everybody else

    def _anesthesiologists(self) -> None:
        """ASA classes by years as 主治医师: 4 and 5 from three years on, up to 3 before."""
        fixed = {"200001": (1996, 5), "200018": (2011, 4), "200030": (2020, 2)}
        for n in range(1, 35):
            staff = f"2000{n:02}"
            year, given = fixed.get(staff, (self.rng.randint(1998, 2020), 0))
            started = date(year, 7, self.rng.randint(1, 28))
            attending = date(year + 5, 7, 1)
            title, title_since = ("主治医师", attending) if staff in ("200018", "200030") else self._title_of_attending(attending)
            person = self._person(staff, ANESTHESIA, "anesthesiologist", title, started, "外科专业")
            person.title_since = title_since
            eligible = next((q for q in QUARTERS if full_years(attending, q) >= 3), None)
            since = eligible or next(q for q in QUARTERS if q >= attending)
            highest = 5 if eligible else 3
            self._grant(person, str(given or highest), since, scope_type="asa", department="")
            cases = self.rng.randint(1000, 1400) + 180 * full_years(attending, LAST_COUNTED)
            person.notes.append(f"主治医师岗位{full_years(attending, LAST_COUNTED)}年；心血管手术麻醉{cases}例")

    def _title_of_attending(self, attending: date) -> tuple[str, date]:
        years = full_years(attending, LAST_COUNTED)
        if years >= 14:
            return "主任医师", attending.replace(year=attending.year + 13)
        return ("副主任医师", attending.replace(year=attending.year + 7)) if years >= 8 else ("主治医师", attending)

    def _perfusionists(self) -> None:
        """Bypass grades one after the other: 50 operations of each before the next."""
        fixed = {"210001": (140, 130, 110, 90, 70), "210010": (90, 41, 0, 0, 0)}
        for n in range(1, 16):
            staff = f"2100{n:02}"
            reached = self.rng.randint(1, 6)
            drawn = tuple(self.rng.randint(52, 160) if g < reached else self.rng.randint(0, 49) if g == reached else 0 for g in range(6))
            trained, cases = self.rng.randint(50, 70), fixed.get(staff, drawn[:5])
            highest = 1
            while highest < 5 and cases[highest - 1] >= 50:
                highest += 1
            year = self.rng.randint(2000, 2018)
            title = "主任技师" if year < 2004 else "副主任技师" if year < 2009 else "主管技师" if year < 2014 else "技师"
            person = self._person(staff, PERFUSION, "perfusionist", title, date(year, 8, 1))
            person.title_since = date(min(year + 8, 2024), 12, 1)
            if n % 5 == 4:
                person.license_no = f"示例-{staff}"
            self._grant(person, str(highest), self.rng.choice(QUARTERS[:9]), scope_type="perfusion", department="")
            person.notes.append(f"一级培训{trained}例；" + "、".join(f"{g}级{c}例" for g, c in zip("一二三四五", cases, strict=True) if c))

    def _others(self) -> None:
        for n in range(1, 27):
            started = date(self.rng.randint(1998, 2023), 8, 1)
            title = "主管护师" if started.year < 2010 else "护师" if started.year < 2018 else "护士"
            self._person(f"4000{n:02}", THEATRE, "nurse", title, started)
        for n in range(1, 11):
            department = (CARDIAC, CARDIOLOGIC, PAEDIATRIC)[n % 3]
            started = date(self.rng.randint(2010, 2018), 7, 1)
            person = self._person(f"5000{n:02}", department, "trainee", "主治医师", started, _scope_of(department))
            person.title_since = started.replace(year=started.year + 5)
        for n in range(11, 23):
            department = (CARDIAC, CARDIOLOGIC, PAEDIATRIC, ANESTHESIA)[n % 4]
            started = date(self.rng.randint(2023, 2025), 8, 1)
            self._person(f"5000{n:02}", department, "resident", "住院医师", started, _scope_of(department))
        for n in range(23, 31):
            self._person(f"5000{n:02}", (CARDIAC, CARDIOLOGIC, ANESTHESIA)[n % 3], "intern", "", None)

    def _loose_ends(self) -> None:
        """What is left to show: right to order only, a renewed grant, theatre staff whose papers are not in order."""
        for staff in ("100318", "500012"):
            orders = [Grant(staff, "code", code, QUARTERS[8], CARDIAC, "requester", remark="开单权") for code in ("35.71001", "35.72001")]
            self.people[staff].grants = orders
        first = Grant("100325", "code", "35.71001", date(2023, 1, 1), CARDIAC, until=date(2025, 12, 31), remark="已到期，另有再授权")
        renewed = self.people["100325"].grants
        index = next(i for i, g in enumerate(renewed) if g.scope == "35.71001")
        renewed[index : index + 1] = [first, replace(renewed[index], since=date(2026, 1, 1), until=LONG_TERM, remark="再授权")]
        people = self.people
        people["200031"].license_valid_to = date(2026, 6, 30)
        people["200032"].grants = [replace(people["200032"].grants[0], until=date(2026, 6, 30), remark="已到期，未再授权")]
        people["200033"].requalification = "due"
        people["200034"].status = "suspended"
        people["210004"].license_valid_to = None
        people["210012"].license_no, people["210012"].license_valid_to = "示例-210012", date(2026, 2, 28)
        people["400026"].status = "left"
        people["500010"].status = "left"
        for staff, shows in (
            ("200001", "ASA 5"),
            ("200018", "ASA 4"),
            ("200030", "只到 ASA 2"),
            ("200031", "执业证书已过期"),
            ("200032", "ASA 授权已到期"),
            ("200033", "脱离本专业一年以上，待评价"),
            ("200034", "个人权限全部暂停"),
            ("210001", "体外循环五级"),
            ("210010", "体外循环只到二级"),
            ("210012", "执业证书已过期"),
            ("500001", "进修"),
            ("500012", "规培，有开单权"),
            ("500023", "实习，无执业证书"),
        ):
            people[staff].shows = shows


def _scope_type(scope: str) -> str:
    """`code` or `item`."""
    return "code" if re.match(r"\d\d\.", scope) else "item"


def _scope_of(department: str) -> str:
    return "内科专业" if department == CARDIOLOGIC else "外科专业"


# ------------------------------------------------------------------------------------------------ writing

STAFF_HEADING = "staff name department kind title license_no license_valid_to practice_scope practice_since title_since status requalification remark made"
GRANTS_HEADING = "staff scope_type scope department role valid_from valid_to last_evaluated document_no state remark made"
CREDENTIALS_HEADING = "staff technology kind issued_on issuer made"
VOLUMES_HEADING = "staff scope_type scope year operator_cases supervised_cases last_case_on made"


def tables() -> dict[str, str]:
    """The content of each file by its name, the same at every call."""
    maker = Maker()
    maker.make()
    people = [maker.people[staff] for staff in sorted(maker.people)]
    return {
        "staff.csv": _csv(STAFF_HEADING, map(_staff_row, people)),
        "grants.csv": _csv(GRANTS_HEADING, (_grant_row(grant) for person in people for grant in person.grants)),
        "credentials.csv": _csv(CREDENTIALS_HEADING, sorted(maker.credentials)),
        "volumes.csv": _csv(VOLUMES_HEADING, ((*key, *maker.volumes[key]) for key in sorted(maker.volumes))),
    }


def _staff_row(person: Person) -> tuple[object, ...]:
    return (
        person.staff,
        person.name,
        person.department,
        person.kind,
        person.title,
        person.license_no,
        person.license_valid_to,
        person.practice_scope,
        person.practice_since,
        person.title_since,
        person.status,
        person.requalification,
        "；".join(filter(None, (person.shows, *person.notes))),
    )


def _grant_row(grant: Grant) -> tuple[object, ...]:
    return (
        grant.staff,
        grant.scope_type,
        grant.scope,
        grant.department,
        grant.role,
        grant.since,
        grant.until,
        grant.evaluated,
        grant.document,
        grant.state,
        grant.remark,
    )


def _csv(heading: str, rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heading.split())
    writer.writerows(("" if cell is None else str(cell) for cell in (*row, "all")) for row in rows)
    return out.getvalue()


def main() -> None:
    """Write the files."""
    for name, content in tables().items():
        (PACK / name).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
