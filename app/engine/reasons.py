"""The reason codes: one table with precedence, default disposition, how far a policy may go, legal basis and the texts for people.

The order of the table is the order of precedence. A text's fields are the facts of its rule and those of its subject: `{code}`, `{name}`
for a procedure, `{staff}`, `{staff_name}` for a person. It says what is wrong and what to do now. Short names of sources (SGM-2022 …) are
explained in the README.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.engine.model import Checkpoint, Disposition, Facts, Message, Urgency, Value

_STRICTNESS = {Disposition.INFO: 0, Disposition.OBLIGATION: 1, Disposition.OVERRIDABLE: 2, Disposition.FINAL: 3}

RELAXED_CHECKPOINTS = frozenset({Checkpoint.ORDER, Checkpoint.INTRAOP})
"""Where a by-checkpoint rule is only an obligation: there is still time at the order, and no more at an operation under way."""


class Reason(Value, frozen=True):
    """One reason code. `floor` is the mildest disposition that a hospital's policy may give it.

    `by_checkpoint`: `default` is what it does at the notice and the anesthesia of an elective or urgent case; elsewhere it is an
    obligation.
    """

    code: str
    default: Disposition
    basis: str
    zh: str
    en: str
    floor: Disposition = Disposition.INFO
    by_checkpoint: bool = False


def _final(code: str, basis: str, zh: str, en: str, floor: Disposition = Disposition.INFO) -> Reason:
    return Reason(code, Disposition.FINAL, basis, zh, en, floor)


def _overridable(code: str, basis: str, zh: str, en: str, floor: Disposition = Disposition.INFO) -> Reason:
    return Reason(code, Disposition.OVERRIDABLE, basis, zh, en, floor)


def _by_checkpoint(code: str, basis: str, zh: str, en: str) -> Reason:
    return Reason(code, Disposition.OVERRIDABLE, basis, zh, en, by_checkpoint=True)


_FINAL, _OVERRIDABLE = Disposition.FINAL, Disposition.OVERRIDABLE

_TABLE = (
    _final(
        "prohibited_technology",
        "MTM-2018 art. 9; NR-2022",
        "“{technology_name}”属禁止类技术，任何情况下均不得开展。请停止安排，改用其他治疗方案并报医务办。",
        "{technology_name} is a prohibited technology and must never be performed. Do not schedule it; choose another treatment and tell the medical affairs office.",
        floor=_FINAL,
    ),
    _final(
        "technology_stopped",
        "MTM-2018 art. 25; SGM-2022 art. 28",
        "本院已停止开展“{stopped_name}”。请改用其他方案或转院，恢复开展须由医务办办理。",
        "The hospital has stopped {stopped_name}. Choose another treatment or transfer the patient; only the medical affairs office can resume it.",
        floor=_OVERRIDABLE,
    ),
    _final(
        "restricted_not_assessed",
        "MTM-2018 art. 11, 13",
        "限制类技术“{technology_name}”在本院没有自我评估和伦理审查记录，不得开展。请联系医务办。",
        "The hospital has no self-assessment and ethics review on record for the restricted technology {technology_name}. Contact the medical affairs office.",
    ),
    Reason(
        "restricted_filing_due",
        Disposition.OBLIGATION,
        "MTM-2018 art. 11",
        "限制类技术“{technology_name}”尚未备案，须在首例后15个工作日内（{due_on}前）完成备案。",
        "The restricted technology {technology_name} is not filed yet: file it within 15 working days of the first case (by {due_on}).",
    ),
    _final(
        "special_approval_missing",
        "SGM-2022 art. 32; H-FC 5.3.5",
        "“{technology_name}”须经主管部门批准，医嘱中没有批准文号。请补填批准文号后重新提交。",
        "{technology_name} needs an approval under its own law, and the order carries no approval number. Enter it and send the order again.",
    ),
    _final(
        "staff_unknown",
        "SGM-2022 art. 16, 29; H-WAHH ch. 7 §1(4)",
        "人员库中没有工号 {staff}。请核对工号，或请医务办登记此人。",
        "Staff number {staff} is not in the register. Check the number, or have the medical affairs office enter the person.",
        floor=_FINAL,
    ),
    _final(
        "license_invalid",
        "H-WAHH ch. 7 §1(4)",
        "{staff_name}（{staff}）在手术日没有有效的执业证书。请更换人员，或请医务办更新证书信息。",
        "{staff_name} ({staff}) has no valid practising licence on the day of surgery. Name somebody else, or have the licence updated by the medical affairs office.",
        floor=_FINAL,
    ),
    _final(
        "staff_suspended",
        "H-WAHH ch. 7 §2(4)",
        "{staff_name}（{staff}）的权限已全部暂停或已离院。请更换人员。",
        "All privileges of {staff_name} ({staff}) are suspended, or the person has left. Name somebody else.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "trainee_operator",
        "H-WAHH ch. 7 §1(4)(4); H-FC privileges art. 2",
        "{staff_name}（{staff}）为进修、规培或实习人员，不得担任术者。请由有权限的上级医师主刀。",
        "{staff_name} ({staff}) is a visiting trainee, a resident or an intern and must not be the operator. Name a privileged senior surgeon.",
    ),
    _overridable(
        "requalification_due",
        "H-WAHH ch. 7 §2(3)(5)",
        "{staff_name}（{staff}）为外聘或脱离本专业一年以上人员，尚未完成再评价。请先完成再授权或更换人员。",
        "{staff_name} ({staff}) was engaged from outside or was away from the specialty for a year or more, and has not been re-assessed. Have that done first, or name somebody else.",
    ),
    _overridable(
        "code_unknown",
        "SGM-2022 art. 18",
        "手术编码 {code} 不在本院手术分级管理目录中，未经论证准入。请核对编码，或向医务办申请准入。",
        "Code {code} is not in the hospital's graded catalog: it was never argued and admitted here. Check the code, or apply for admission.",
    ),
    _overridable(
        "department_not_listed",
        "H-FC 5.3.6",
        "手术 {code} 在目录中，但不属于科室“{department}”。请核对科室，或由目录所列科室（{listed}）开展。",
        "Code {code} is in the catalog, but not for the department {department}. Check the department; listed are: {listed}.",
    ),
    _overridable(
        "diagnosis_missing",
        "SC-2022",
        "手术 {code} 与特定诊断合并时属“{technology_name}”，医嘱没有诊断编码，无法判断。请补填诊断编码。",
        "With certain diagnoses code {code} is {technology_name}, and the order carries no diagnosis to tell by. Enter the diagnosis code.",
    ),
    _overridable(
        "entry_ambiguous",
        "SGM-2022 art. 16; H-WAHH catalogs",
        "编码 {code} 对应 {count} 条目录，术者并非全部有权限。请填写授权项目、服务编码或名称以确定是哪一条，或由对每一条都有权限的医师主刀。",
        "Code {code} stands for {count} catalog entries, and the operator is not privileged for all of them. Send the item, service code or name that says which, or name an operator who is.",
    ),
    _overridable(
        "grant_missing",
        "SGM-2022 art. 16",
        "{staff_name}（{staff}）没有“{name}”的手术授权。请由有权限的医师主刀，或申请授权。",
        "{staff_name} ({staff}) holds no grant for {name}. Name a privileged operator, or apply for the grant.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_not_itemized",
        "SGM-2022 art. 16",
        "“{name}”按 {level} 级手术管理，须逐项授权，{staff_name}（{staff}）只有按级别的授权。请更换术者或申请逐项授权。",
        "{name} is managed at level {level} and needs an itemized grant; {staff_name} ({staff}) holds only a level grant. Name another operator, or apply for the item.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_level_exceeded",
        "SGM-2022 art. 16",
        "{staff_name}（{staff}）只获得同一编码较低级别（{granted}）的授权，本例“{name}”级别更高。请更换术者。",
        "The grant of {staff_name} ({staff}) is for a lower level or grade of the same code ({granted}) than {name}. Name another operator.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_department_mismatch",
        "H-WAHH catalogs",
        "{staff_name}（{staff}）对“{name}”的授权限于其他科室（{granted_department}）。请核对科室或更换术者。",
        "The grant of {staff_name} ({staff}) for {name} is for another department ({granted_department}). Check the department, or name another operator.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_not_yet_valid",
        "H-WAHH ch. 7 §2(3)",
        "{staff_name}（{staff}）对“{name}”的授权自 {valid_from} 起生效，手术日尚未生效。请改期或更换术者。",
        "The grant of {staff_name} ({staff}) for {name} begins on {valid_from}, after the day of surgery. Move the date, or name another operator.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_expired",
        "H-WAHH ch. 7 §2(3)",
        "{staff_name}（{staff}）对“{name}”的授权已于 {valid_to} 到期。请办理再授权或更换术者。",
        "The grant of {staff_name} ({staff}) for {name} ended on {valid_to}. Have it renewed, or name another operator.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_evaluation_overdue",
        "SGM-2022 art. 17",
        "{staff_name}（{staff}）对“{name}”的四级手术授权已超过一年未评估（应于 {due_on} 前）。请先完成评估或更换术者。",
        "The level 4 grant of {staff_name} ({staff}) for {name} was due for evaluation by {due_on}. Have it evaluated first, or name another operator.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_suspended",
        "H-WAHH ch. 7 §2(4)",
        "{staff_name}（{staff}）对“{name}”的授权已被暂停。请更换术者，或联系医务办。",
        "The grant of {staff_name} ({staff}) for {name} is suspended. Name another operator, or contact the medical affairs office.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "grant_revoked",
        "H-WAHH ch. 7 §2(4)",
        "{staff_name}（{staff}）对“{name}”的授权已被取消。请更换术者，或联系医务办。",
        "The grant of {staff_name} ({staff}) for {name} was revoked. Name another operator, or contact the medical affairs office.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "restricted_training_missing",
        "MTM-2018 art. 26; BJ-2025; SC-2022",
        "{staff_name}（{staff}）没有“{technology_name}”的培训合格或免于培训记录。请更换术者或补录记录。",
        "{staff_name} ({staff}) has neither training nor exemption on record for {technology_name}. Name another operator, or have the record entered.",
    ),
    _overridable(
        "qualification_unmet",
        "BJ-2025; SC-2022",
        "{staff_name}（{staff}）未达到“{technology_name}”的术者条件：{unmet_zh}。请更换术者。",
        "{staff_name} ({staff}) does not meet the qualification for {technology_name}: {unmet_en}. Name another operator.",
    ),
    _overridable(
        "new_project_team_only",
        "H-WAHH ch. 9",
        "{staff_name}（{staff}）不是新技术新项目“{technology_name}”的项目组成员。请由项目组成员主刀。",
        "{staff_name} ({staff}) is not on the team of the new-technology project {technology_name}. Name a member of its team.",
    ),
    _by_checkpoint(
        "mdt_missing",
        "SGM-2022 art. 22",
        "四级手术“{name}”没有术前多学科讨论记录。请完成讨论并填写讨论编号。",
        "Level 4 procedure {name} has no recorded multidisciplinary discussion. Hold it and enter its number.",
    ),
    _by_checkpoint(
        "major_approval_missing",
        "H-WAHH ch. 8",
        "本例属重大手术（{why_zh}），没有审批编号。请按重大手术流程报批并填写审批编号。",
        "This is major surgery ({why_en}) without an approval number. Have it approved and enter the number.",
    ),
    _by_checkpoint(
        "unplanned_reoperation_unreported",
        "H-FC art. 10(3)",
        "本例为非计划再次手术，没有上报编号。请术前上报医务办并填写上报编号。",
        "This is an unplanned return to theatre without a report number. Report it to the medical affairs office before surgery and enter the number.",
    ),
    _overridable(
        "order_right_missing",
        "hospital policy",
        "{who_zh}对 {code} 既无开单权也无执行权。请由有开单权的医师开具并填写其工号。",
        "{who_en} holds neither the right to order {code} nor the right to perform it. Have a privileged physician write the order and be named.",
    ),
    _overridable(
        "anesthesia_grade_exceeded",
        "H-WAHH ch. 7, anesthesia table (第四条)",
        "{staff_name}（{staff}）的麻醉权限不足 ASA {asa} 级（{standing_zh}）。请更换麻醉医师。",
        "The privilege of {staff_name} ({staff}) does not reach ASA class {asa} ({standing_en}). Name another anesthesiologist.",
    ),
    _overridable(
        "anesthesia_unverified",
        "SGM-2022 art. 29",
        "麻醉环节缺少：{missing_zh}。请补填后重新核查。",
        "The anesthesia record lacks: {missing_en}. Enter it and check again.",
    ),
    _overridable(
        "perfusion_unverified",
        "SGM-2022 art. 29",
        "体外循环信息不全，缺少：{missing_zh}。请补填后重新核查。",
        "The perfusion part is incomplete, it lacks: {missing_en}. Enter it and check again.",
    ),
    _overridable(
        "perfusion_grade_exceeded",
        "H-WAHH ch. 7, perfusion table (第五条)",
        "{staff_name}（{staff}）的体外循环权限不足 {grade} 级（{standing_zh}）。请更换灌注师。",
        "The privilege of {staff_name} ({staff}) does not reach bypass grade {grade} ({standing_en}). Name another perfusionist.",
    ),
    _overridable(
        "upstream_missing",
        "SGM-2022 art. 29",
        "上一环节（{upstream_zh}）没有通过记录。请先完成并通过上一环节。",
        "The previous checkpoint ({upstream_en}) has no allowed decision. Complete it first.",
    ),
    _overridable(
        "upstream_denied",
        "SGM-2022 art. 29",
        "上一环节（{upstream_zh}）的最后一次核查为不通过。请先解决其中问题。",
        "The last decision of the previous checkpoint ({upstream_en}) was a denial. Settle that first.",
    ),
    _overridable(
        "matrix_unavailable",
        "SGM-2022 art. 29",
        "暂时无法取得足够新的授权矩阵，不能判断权限。请联系医务办人工核对；急诊请填写紧急声明。",
        "The grant matrix cannot be had fresh enough to judge by. Have the medical affairs office check by hand; in an emergency send a declaration.",
        floor=_OVERRIDABLE,
    ),
    _overridable(
        "rule_failed",
        "SGM-2022 art. 29",
        "规则“{rule}”未能完成判断，按不通过处理。请联系信息科并由医务办人工核对。",
        "Rule {rule} could not be evaluated and does not count as passed. Tell IT, and have the medical affairs office check by hand.",
        floor=_OVERRIDABLE,
    ),
    Reason(
        "plan_changed",
        Disposition.INFO,
        "H-WAHH ch. 7 §1(6)(2)",
        "术者或术式与上一环节通过的方案不同：{changes_zh}。已按新方案重新核查。",
        "Operator or procedures differ from what the previous checkpoint allowed: {changes_en}. The new plan was judged on its own.",
    ),
)

REASONS: Mapping[str, Reason] = {reason.code: reason for reason in _TABLE}
PRECEDENCE: Mapping[str, int] = {reason.code: rank for rank, reason in enumerate(_TABLE)}
BY_CHECKPOINT = frozenset(reason.code for reason in _TABLE if reason.by_checkpoint)

GRANT_FINDINGS = (
    "grant_evaluation_overdue",
    "grant_expired",
    "grant_not_yet_valid",
    "grant_suspended",
    "grant_revoked",
    "grant_not_itemized",
    "grant_level_exceeded",
    "grant_department_mismatch",
    "grant_missing",
)
"""What can be wrong with a privilege, nearest to a privilege first."""


class _Missing(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


def message_of(reason: Reason, facts: Iterable[Mapping[str, object]]) -> Message:
    """The texts of a reason with its fields filled in; a fact that is not there shows as `?`."""
    fields = _Missing()
    for part in facts:
        fields.update(part)
    return Message(zh=reason.zh.format_map(fields), en=reason.en.format_map(fields))


def default_disposition(reason: Reason, checkpoint: Checkpoint, urgency: Urgency) -> Disposition:
    """What a finding does where the hospital's policy says nothing."""
    if reason.by_checkpoint and (checkpoint in RELAXED_CHECKPOINTS or urgency is Urgency.EMERGENCY):
        return Disposition.OBLIGATION
    return reason.default


def refuse_disposition(code: str, value: Disposition) -> str | None:
    """Why a policy may not give that reason code that disposition (in English), or None where it may."""
    reason = REASONS[code]
    if _STRICTNESS[value] >= _STRICTNESS[reason.floor]:
        return None
    return f"{code} may not be loosened below {reason.floor}"


def stricter(left: Disposition, right: Disposition) -> Disposition:
    """The stricter of two dispositions."""
    return left if _STRICTNESS[left] >= _STRICTNESS[right] else right


__all__ = [
    "BY_CHECKPOINT",
    "GRANT_FINDINGS",
    "PRECEDENCE",
    "REASONS",
    "Facts",
    "Reason",
    "default_disposition",
    "message_of",
    "refuse_disposition",
    "stricter",
]
