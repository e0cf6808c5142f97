"""The texts of notifications: Chinese first, English beside it."""

from __future__ import annotations

from collections.abc import Mapping

EVENTS: Mapping[str, tuple[str, str]] = {
    "open": ("越级急诊手术", "Emergency override"),
    "report": ("越级手术已报告", "Override reported"),
    "takeover": ("有权限医师已接手", "Override: a privileged surgeon took over"),
    "begin_review": ("越级手术开始复核", "Override review begun"),
    "justify": ("越级手术复核：理由成立", "Override justified"),
    "unjustify": ("越级手术复核：理由不成立", "Override not justified"),
    "reopen": ("越级手术复核重新打开", "Override review reopened"),
    "remind": ("越级手术待处理提醒", "Override: reminder"),
}
"""What happened, by step."""

TODO: Mapping[str, tuple[str, str]] = {
    "open": (
        "请立即联系有权限的医师接手，核实报告，并按期复核",
        "Find a privileged surgeon to take over now, take the report, and review it in time",
    ),
    "report": ("请联系有权限的医师接手，并按期复核", "Find a privileged surgeon to take over, and review it in time"),
    "takeover": ("请核实报告，并按期复核", "Take the report, and review it in time"),
    "begin_review": ("请按期作出结论", "Conclude the review in time"),
    "justify": ("无需处理，记录已留存", "Nothing to do: it is on record"),
    "unjustify": ("请按制度处理，并纳入再授权评估", "Act on it by the hospital's rules; it counts for re-authorization"),
    "reopen": ("请重新复核", "Review it again"),
    "remind": ("请尽快处理：补报告或完成复核", "Act now: take the report or finish the review"),
}
"""What is to be done now, by step."""

STATES: Mapping[str, str] = {
    "pending_report": "待报告",
    "reported": "已报告",
    "taken_over": "已接手",
    "under_review": "复核中",
    "justified": "理由成立",
    "unjustified": "理由不成立",
}

REASONS: Mapping[str, str] = {
    "hemorrhage": "大出血",
    "airway": "气道梗阻",
    "cardiac_arrest": "心脏骤停",
    "tamponade": "心包填塞",
    "dissection": "主动脉夹层",
    "trauma": "创伤",
    "obstetric": "产科急症",
    "other": "其他",
}
"""The standard reason codes; a hospital's own is shown as it is."""

FLAGS: Mapping[str, str] = {
    "revoked_privilege": "授权已撤销",
    "suspended_privilege": "授权已暂停",
    "late": "事后补录",
    "canned_reason": "理由空泛",
    "denied_before": "此前曾被拒绝",
    "repeated": "多次越级",
    "other_patient": "例次号属于另一患者",
    "record_unread": "数据库中断，未能比对既往记录",
}
"""What a reviewer should look at; one that is not here is shown as it is."""
