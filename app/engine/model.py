"""The values that the engine works on and answers with. Immutable, no behaviour beyond what they are.

They are `msgspec.Struct`s because such a value is created in a tenth of a frozen dataclass's time and can be read from and
written to the wire without an intermediate dict (`docs/decisions/0002-values-are-msgspec-structs.md`).

Words are those of the field: see the table "Words" in the README. Codes in these values are canonical (`engine.codes`); departments
are the hospital's own names after its aliases were applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

Facts: TypeAlias = dict[str, Any]
"""What a rule saw: plain JSON values by name."""


class Checkpoint(StrEnum):
    """Which document is being checked (环节). SGM-2022 art. 29 names the first three."""

    ORDER = "order"
    NOTICE = "notice"
    ANESTHESIA = "anesthesia"
    INTRAOP = "intraop"


class Urgency(StrEnum):
    ELECTIVE = "elective"
    URGENT = "urgent"
    EMERGENCY = "emergency"


class TeamRole(StrEnum):
    FIRST_ASSISTANT = "first_assistant"
    SECOND_ASSISTANT = "second_assistant"
    ASSISTANT = "assistant"
    ANESTHESIOLOGIST = "anesthesiologist"
    ANESTHESIA_ASSISTANT = "anesthesia_assistant"
    PERFUSIONIST = "perfusionist"
    SUPERVISOR = "supervisor"
    SCRUB_NURSE = "scrub_nurse"
    CIRCULATING_NURSE = "circulating_nurse"


NURSE_ROLES = frozenset({TeamRole.SCRUB_NURSE, TeamRole.CIRCULATING_NURSE})
"""Roles that are recorded and not checked."""


ASSISTANT_ROLES = frozenset({TeamRole.FIRST_ASSISTANT, TeamRole.SECOND_ASSISTANT, TeamRole.ASSISTANT, TeamRole.ANESTHESIA_ASSISTANT})
"""Roles in which trainees, residents and interns need no licence of their own."""


class Disposition(StrEnum):
    """What a finding does. FINAL denies and nothing lifts it; OVERRIDABLE denies unless a valid emergency declaration lifts it;
    OBLIGATION allows, but something must be done; INFO only says something."""

    FINAL = "final"
    OVERRIDABLE = "overridable"
    OBLIGATION = "obligation"
    INFO = "info"


class Verdict(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    OVERRIDE = "override"


class StaffKind(StrEnum):
    PHYSICIAN = "physician"
    MULTI_SITE = "multi_site"
    EXTERNAL = "external"
    TRAINEE = "trainee"
    RESIDENT = "resident"
    INTERN = "intern"
    ANESTHESIOLOGIST = "anesthesiologist"
    PERFUSIONIST = "perfusionist"
    NURSE = "nurse"


TRAINEE_KINDS = frozenset({StaffKind.TRAINEE, StaffKind.RESIDENT, StaffKind.INTERN})
"""People who must not be named operator, and who need no licence of their own to assist."""


class StaffStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LEFT = "left"


class Requalification(StrEnum):
    NONE = ""
    DUE = "due"
    DONE = "done"


class Title(IntEnum):
    """Professional title (职称), in rising order. Never a privilege by itself (SGM-2022 art. 16); some qualifications ask for one."""

    RESIDENT = 1
    ATTENDING = 2
    ASSOCIATE_CHIEF = 3
    CHIEF = 4


TITLES: Mapping[str, Title] = {
    "住院医师": Title.RESIDENT,
    "主治医师": Title.ATTENDING,
    "副主任医师": Title.ASSOCIATE_CHIEF,
    "主任医师": Title.CHIEF,
}


class ScopeType(StrEnum):
    CODE = "code"
    ITEM = "item"
    LEVEL = "level"
    TECHNOLOGY = "technology"
    ASA = "asa"
    PERFUSION = "perfusion"


class GrantRole(StrEnum):
    OPERATOR = "operator"
    REQUESTER = "requester"


class GrantState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class TechnologyKind(StrEnum):
    PROHIBITED = "prohibited"
    RESTRICTED_NATIONAL = "restricted_national"
    RESTRICTED_PROVINCIAL = "restricted_provincial"
    RESTRICTED_HOSPITAL = "restricted_hospital"
    KEY = "key"
    SPECIAL_LAW = "special_law"
    NEW_PROJECT = "new_project"
    MAJOR = "major"


RESTRICTED_KINDS = frozenset({TechnologyKind.RESTRICTED_NATIONAL, TechnologyKind.RESTRICTED_PROVINCIAL, TechnologyKind.RESTRICTED_HOSPITAL})

STANDARD_FLAGS = ("unplanned_reoperation", "special_identity", "foreign", "medico_legal", "high_risk", "dispute_risk")
"""The closed list of patient flags (H-WAHH ch. 8); a hospital's policy may add to it."""

STANDARD_EMERGENCY_REASONS = ("hemorrhage", "airway", "cardiac_arrest", "tamponade", "dissection", "trauma", "obstetric", "other")
"""Coded reasons of an emergency declaration unless the hospital has its own list."""


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of all values: immutable, and a field that is not known is an error, so that a misspelt one never weakens a check.

    The garbage collector passes them over: an immutable value cannot be part of a cycle, and there are hundreds of thousands of them.
    """


# ------------------------------------------------------------------------------------------------ the order

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, description="An identifier; blanks around it are dropped.")]
Instant: TypeAlias = Annotated[datetime, Meta(tz=True, description="RFC 3339 with offset.")]
Code: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Text: TypeAlias = Annotated[str, Meta(max_length=2000)]


class Patient(Value, frozen=True):
    id: Id
    birth_date: date | None = None
    flags: Annotated[tuple[Code, ...], Meta(max_length=50)] = ()


class Procedure(Value, frozen=True):
    """One procedure as ordered. `code` is as sent; `item`, `service`, `name` help to tell entries of one code apart."""

    code: Code
    operator: Id
    item: Text | None = None
    service: Text | None = None
    name: Text | None = None


class TeamMember(Value, frozen=True):
    staff: Id
    role: TeamRole


class Anesthesia(Value, frozen=True):
    """`asa` is the patient's ASA class, 1 to 6; 6 is judged as 5."""

    asa: Annotated[int, Meta(ge=1, le=6)] | None = None


class Perfusion(Value, frozen=True):
    """`grade` is the hospital's bypass grade, 1 to 5 (H-WAHH ch. 7, perfusion table)."""

    grade: Annotated[int, Meta(ge=1, le=5)] | None = None


class Evidence(Value, frozen=True):
    """Numbers of what is on record elsewhere: discussion, approvals, report. A blank one is none."""

    mdt: Text | None = None
    major_approval: Text | None = None
    special_approval: Text | None = None
    unplanned_reoperation: Text | None = None


class Declaration(Value, frozen=True):
    """An emergency declaration. Every field may be missing: what is missing is named in the answer, never guessed."""

    lifesaving: bool | None = None
    no_privileged_operator: bool | None = None
    reason_code: str | None = None
    reason: str | None = None
    declared_by: str | None = None
    reported_to: str | None = None
    reported_at: Instant | None = None
    declared_at: Instant | None = None


class Order(Value, frozen=True):
    """One surgery order, notice, anesthesia record or intra-operative change, as the HIS sends it.

    `planned_start` absent means now. `procedures` holds 1 to 30. Codes and diagnoses are as sent.
    """

    request_id: Id
    checkpoint: Checkpoint
    case_id: Id
    department: Id
    urgency: Urgency
    patient: Patient
    procedures: Annotated[tuple[Procedure, ...], Meta(min_length=1, max_length=30)]
    planned_start: Instant | None = None
    requester: str | None = None
    diagnoses: Annotated[tuple[Code, ...], Meta(max_length=100)] = ()
    team: Annotated[tuple[TeamMember, ...], Meta(max_length=50)] = ()
    anesthesia: Anesthesia | None = None
    perfusion: Perfusion | None = None
    evidence: Evidence | None = None
    emergency: Declaration | None = None


# ------------------------------------------------------------------------------------------------ the hospital


class Entry(Value, frozen=True):
    """One row of the hospital's graded catalog. No `departments` means any."""

    code: str
    name: str
    level: int
    departments: tuple[str, ...] = ()
    service: str = ""
    hospital_grade: str = ""
    item: str = ""
    category: str = ""
    includes: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    source: str = ""


class Identify(Value, frozen=True):
    """One way to identify a technology. `codes` and `all_of` name procedure codes; every part that is given must hold.

    `with_diagnoses` holds single codes and ranges as `(first, last)`; a single code is matched exactly, a three-character category takes
    in all below it, and so does each end of a range (SC-2022: C00–C97).
    """

    codes: frozenset[str] = frozenset()
    all_of: tuple[frozenset[str], ...] = ()
    with_diagnoses: tuple[tuple[str, str] | str, ...] = ()
    urgency: frozenset[Urgency] = frozenset()


class Qualification(Value, frozen=True):
    """What the operator of a technology must hold. None means not asked. Years are full years, cases are numbers of operations.

    `training`: False asks for none; None leaves it to the rule (asked at the top, not asked in an alternative).
    `level`: the table holds for procedures of that level only.
    """

    years: int | None = None
    title: str | None = None
    years_in_title: int | None = None
    practice_scope: tuple[str, ...] = ()
    cases: int | None = None
    independent_cases: int | None = None
    within_years: int | None = None
    training: bool | None = None
    max_idle_years: int | None = None
    level: int | None = None
    any_of: tuple[Qualification, ...] = ()
    exempt: Qualification | None = None


class Technology(Value, frozen=True):
    """A technology that is managed on its own: restricted, prohibited, key, a new project, major surgery, under a special law."""

    id: str
    name: str
    kind: TechnologyKind
    identify: tuple[Identify, ...] = ()
    assessed_on: date | None = None
    filed_on: date | None = None
    filing_no: str = ""
    first_case_on: date | None = None
    team: tuple[str, ...] = ()
    grantable: bool = False
    stopped: bool = False
    qualification: tuple[Qualification, ...] = ()
    basis: str = ""


class ByCheckpoint(Value, frozen=True):
    """Dispositions of one rule per checkpoint; `emergency` applies to urgency `emergency` at any of them. None: the default."""

    order: Disposition | None = None
    notice: Disposition | None = None
    anesthesia: Disposition | None = None
    intraop: Disposition | None = None
    emergency: Disposition | None = None


class Policy(Value, frozen=True):
    """What the hospital decides within what the law leaves open (SGM-2022 art. 21)."""

    dispositions: Mapping[str, Disposition | ByCheckpoint] = {}
    order_right: bool = False
    major_flags: frozenset[str] = frozenset(f for f in STANDARD_FLAGS if f != "unplanned_reoperation")
    flags: frozenset[str] = frozenset(STANDARD_FLAGS)
    emergency_reasons: tuple[str, ...] = STANDARD_EMERGENCY_REASONS
    review_due_working_days: int = 3


class Paediatric(Value, frozen=True):
    """Below `under_years` a patient is a child, whose entries in `departments` count whatever department orders."""

    under_years: int
    departments: frozenset[str]


class OfficeHours(Value, frozen=True):
    """When the medical affairs office works. `days`: 1 is Monday. `opens` and `closes`: minutes after midnight, local time."""

    days: frozenset[int] = frozenset({1, 2, 3, 4, 5})
    opens: int = 8 * 60
    closes: int = 17 * 60 + 30
    holidays: frozenset[date] = frozenset()


class Hospital(Value, frozen=True):
    """A hospital's catalog, technologies and policy: what an order is judged by, but for the people."""

    code: str
    name: str
    time_zone: tzinfo
    entries: tuple[Entry, ...] = ()
    aliases: Mapping[str, str] = {}
    """The hospital's own code → the national code it stands for."""
    technologies: tuple[Technology, ...] = ()
    department_aliases: Mapping[str, str] = {}
    policy: Policy = Policy()
    paediatric: Paediatric | None = None
    office_hours: OfficeHours = OfficeHours()


# ------------------------------------------------------------------------------------------------ the people


class Staff(Value, frozen=True):
    staff: str
    name: str
    department: str
    kind: StaffKind
    title: str = ""
    license_no: str = ""
    license_valid_to: date | None = None
    practice_scope: tuple[str, ...] = ()
    practice_since: date | None = None
    title_since: date | None = None
    status: StaffStatus = StaffStatus.ACTIVE
    requalification: Requalification = Requalification.NONE


class Grant(Value, frozen=True):
    """One privilege of one person. `valid_to` is inclusive, None is open; `last_evaluated` None: never."""

    id: str
    staff: str
    scope_type: ScopeType
    scope: str
    valid_from: date
    department: str = ""
    role: GrantRole = GrantRole.OPERATOR
    valid_to: date | None = None
    last_evaluated: date | None = None
    document_no: str = ""
    state: GrantState = GrantState.ACTIVE


class Credential(Value, frozen=True):
    """A training passed or an exemption from it, for one technology."""

    staff: str
    technology: str
    kind: Literal["training", "exemption"]
    issued_on: date
    issuer: str = ""


class Volume(Value, frozen=True):
    """Operations of one person in one calendar year. `scope_type` is `technology`, `code` or `item`."""

    staff: str
    scope_type: ScopeType
    scope: str
    year: int
    operator_cases: int = 0
    supervised_cases: int = 0
    last_case_on: date | None = None


class Duty(Value, frozen=True):
    """One turn of one person on the duty roster (值班): from `starts` until just before `ends`, both in UTC."""

    staff: str
    starts: datetime
    ends: datetime


class Person(Value, frozen=True):
    """Everything that is known of one person: the row of the grant matrix."""

    staff: Staff
    grants: tuple[Grant, ...] = ()
    credentials: tuple[Credential, ...] = ()
    volumes: tuple[Volume, ...] = ()
    duty: tuple[Duty, ...] = ()


# ------------------------------------------------------------------------------------------------ the case so far


class PastProcedure(Value, frozen=True):
    """A procedure of an earlier decision: canonical code and operator."""

    code: str
    operator: str


class PastDecision(Value, frozen=True):
    checkpoint: Checkpoint
    decision: Verdict
    procedures: tuple[PastProcedure, ...]


class CaseHistory(Value, frozen=True):
    """Earlier decisions of the same case, in time order, and the patient they were made for."""

    patient_id: str
    decisions: tuple[PastDecision, ...] = ()


# ------------------------------------------------------------------------------------------------ the answer


class Message(Value, frozen=True):
    """A text for people: Chinese first, English beside it."""

    zh: str
    en: str


class Finding(Value, frozen=True):
    """What one rule found: its stable reason code, what that does, why by law, and what the rule saw."""

    code: str
    disposition: Disposition
    message: Message
    basis: str
    facts: Facts


class Obligation(Value, frozen=True):
    """Something that must be done although, or because, the case is allowed."""

    code: str
    message: Message
    due_at: Instant | None
    basis: str


class Colleague(Value, frozen=True):
    """Somebody who may do it on that day. `on_duty`: the duty roster has them at the instant of the answer; False too where the hospital
    gives none."""

    staff: str
    name: str
    department: str
    on_duty: bool = False


class Candidate(Value, frozen=True):
    """One of several entries that the order may mean. `standing` is `granted` or the reason code that bars the operator from it."""

    code: str
    name: str
    level: int
    departments: tuple[str, ...]
    hospital_grade: str
    item: str
    service: str
    standing: str


class ProcedureResult(Value, frozen=True):
    """`entry` is the code of the catalog entry that was judged: another one than `code` where an alias or a combination applies."""

    code: str
    as_sent: str
    name: str | None
    level: int | None
    hospital_grade: str | None
    item: str | None
    entry: str | None
    operator: str
    decision: Verdict
    technologies: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    findings: tuple[Finding, ...]
    operators: tuple[Colleague, ...]


class TeamResult(Value, frozen=True):
    staff: str
    role: TeamRole
    decision: Verdict
    findings: tuple[Finding, ...]
    operators: tuple[Colleague, ...]


class OverrideResult(Value, frozen=True):
    """What became of an emergency declaration. `missing` names the fields that keep it from being valid."""

    id: str | None
    state: str | None
    review_due_at: Instant | None
    late: bool
    missing: tuple[str, ...]
    flags: tuple[str, ...] = ()


class MatrixState(Value, frozen=True):
    """Which version of the grant matrix an answer was judged by, and how old it was."""

    version: int
    as_of: Instant
    degraded: bool = False


class Decision(Value, frozen=True):
    """The answer to one check. `level` is the highest of the procedures, None where none is known. `flags`: `other_patient` where an emergency
    came under the case id of another patient and was judged as a case of its own."""

    decision_id: str | None
    request_id: str
    case_id: str
    checkpoint: Checkpoint
    decision: Verdict
    level: int | None
    overridable: bool
    replayed: bool
    message: Message
    procedures: tuple[ProcedureResult, ...]
    team: tuple[TeamResult, ...]
    findings: tuple[Finding, ...]
    obligations: tuple[Obligation, ...]
    override: OverrideResult | None
    matrix: MatrixState | None
    evaluated_at: Instant
    flags: tuple[str, ...]
