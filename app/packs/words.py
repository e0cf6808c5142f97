"""The words that a hospital's tables use for the engine's closed lists. The English word is the wire form; the first Chinese one is the one
that messages name. Spelling is compared without blanks, width, bracket style and case (`cells.one_of`).
"""

from __future__ import annotations

from collections.abc import Mapping

from app.engine.model import GrantRole, GrantState, Requalification, ScopeType, StaffKind, StaffStatus

STAFF_KINDS: Mapping[StaffKind, tuple[str, ...]] = {
    StaffKind.PHYSICIAN: ("医师", "医生", "执业医师", "本院医师"),
    StaffKind.MULTI_SITE: ("多点执业", "多点执业医师", "多机构执业", "多机构执业医师"),
    StaffKind.EXTERNAL: ("外聘", "外聘医师", "外请", "外请医师"),
    StaffKind.TRAINEE: ("进修", "进修医师", "进修医生", "进修生"),
    # 住院医师 alone is a title, held by physicians with a grant of their own; only the bracket makes it a kind.
    StaffKind.RESIDENT: ("住院医师(规培)", "规培", "规培医师", "规培医生", "规培生", "规培住院医师", "住院医师规培"),
    StaffKind.INTERN: ("实习", "实习医师", "实习医生", "实习生"),
    StaffKind.ANESTHESIOLOGIST: ("麻醉医师", "麻醉医生", "麻醉师"),
    StaffKind.PERFUSIONIST: ("灌注师", "体外循环灌注师", "体外循环师", "灌注医师"),
    StaffKind.NURSE: ("护士", "护理人员"),
}

STAFF_STATUSES: Mapping[StaffStatus, tuple[str, ...]] = {
    StaffStatus.ACTIVE: ("在职", "在岗", "启用", "正常"),
    StaffStatus.SUSPENDED: ("暂停", "停权"),
    StaffStatus.LEFT: ("离职", "离院", "调离", "退休"),
}

REQUALIFICATIONS: Mapping[Requalification, tuple[str, ...]] = {
    Requalification.DUE: ("待评价", "待评估", "待考核"),
    Requalification.DONE: ("已评价", "已评估", "已考核"),
}

SCOPE_TYPES: Mapping[ScopeType, tuple[str, ...]] = {
    ScopeType.CODE: ("编码", "手术编码"),
    ScopeType.ITEM: ("授权项目", "项目"),
    ScopeType.LEVEL: ("级别", "手术级别"),
    ScopeType.TECHNOLOGY: ("技术", "医疗技术"),
    ScopeType.ASA: ("ASA分级", "ASA级"),
    ScopeType.PERFUSION: ("体外循环分级", "体外循环", "灌注分级"),
}

VOLUME_SCOPE_TYPES: Mapping[ScopeType, tuple[str, ...]] = {
    kind: SCOPE_TYPES[kind] for kind in (ScopeType.TECHNOLOGY, ScopeType.CODE, ScopeType.ITEM)
}

GRANT_ROLES: Mapping[GrantRole, tuple[str, ...]] = {
    GrantRole.OPERATOR: ("术者", "执行权", "手术"),
    GrantRole.REQUESTER: ("开单医师", "开单权", "开单"),
}

GRANT_STATES: Mapping[GrantState, tuple[str, ...]] = {
    GrantState.ACTIVE: ("启用", "有效", "正常"),
    GrantState.SUSPENDED: ("暂停", "中止"),
    GrantState.REVOKED: ("撤销", "取消", "收回"),
}

CREDENTIAL_KINDS: Mapping[str, tuple[str, ...]] = {
    "training": ("培训", "培训合格"),
    "exemption": ("免于培训", "免培训", "豁免"),
}

ENTRY_FLAGS: Mapping[str, tuple[str, ...]] = {
    "major": ("重大", "重大手术"),
    "key": ("重点", "重点手术"),
    "stopped": ("停止开展", "停止", "停用"),
    "bypass": ("体外循环",),
}

GRADE_NUMERALS: Mapping[str, int] = {
    numeral: value
    for value, numerals in enumerate((("一", "i"), ("二", "ii"), ("三", "iii"), ("四", "iv"), ("五", "v")), start=1)
    for numeral in (*numerals, str(value))
}
"""How a level or grade is written, folded: 1, 一, Ⅰ (which is `i` by then)."""
