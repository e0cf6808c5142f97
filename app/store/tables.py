"""The tables. Everything carries the hospital; a hospital's rows are its own.

Engine values that no query looks into (technologies, a hospital's settings) are kept as JSON documents beside their key. The record keeps the
order as received and the answer as sent, byte for byte.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_HOSPITAL = "hospitals.code"

_Number = BigInteger().with_variant(Integer, "sqlite")
"""Numbers that only grow. SQLite counts by itself in a column of type INTEGER alone, which is as large."""


def _hospital() -> Column[str]:
    return Column("hospital", String(64), ForeignKey(_HOSPITAL), nullable=False)


def _documentation() -> Column[bytes]:
    return Column("documentation", LargeBinary, comment="JSON: what people note beside it (remark, made, source), for exports")


hospitals = Table(
    "hospitals",
    metadata,
    Column("code", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("province", Text, nullable=False, server_default=""),
    Column("settings", LargeBinary, nullable=False, comment="JSON: departments, policy, paediatric, office hours, builds_on, notify"),
)

changes = Table(
    "changes",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True, comment="The matrix version"),
    _hospital(),
    Column("at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("by", String(64), nullable=False, comment="Staff number of who changed it, or the client's name"),
    Column("kind", String(32), nullable=False, comment="grant, staff, technology, import, ..."),
    Column("subject", Text, nullable=False, comment="What was changed: a grant's id, a staff number, a technology's id, an import's kind"),
    Column("action", String(32), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("document_no", Text, nullable=False, server_default=""),
    Column("people", LargeBinary, comment="JSON list of staff numbers whose rows changed; NULL: read the whole hospital again"),
    Column("detail", LargeBinary, nullable=False, comment="JSON: before and after"),
    Index("ix_changes_hospital_seq", "hospital", "seq"),
    sqlite_autoincrement=True,
)

catalog = Table(
    "catalog",
    metadata,
    _hospital(),
    Column("position", Integer, nullable=False),
    Column("entry", LargeBinary, nullable=False, comment="JSON of an Entry"),
    Column("documentation", LargeBinary, nullable=False, comment="JSON: columns for people"),
    UniqueConstraint("hospital", "position"),
)

aliases = Table(
    "aliases",
    metadata,
    _hospital(),
    Column("code", String(64), nullable=False),
    Column("national_code", String(64), nullable=False),
    _documentation(),
    UniqueConstraint("hospital", "code"),
)

technologies = Table(
    "technologies",
    metadata,
    _hospital(),
    Column("id", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("technology", LargeBinary, nullable=False, comment="JSON of a Technology, its stop left out"),
    Column("stopped", Boolean, nullable=False, server_default=false()),
    Column("stopped_by_hand", Boolean, nullable=False, server_default=false(), comment="Set through the API: no file undoes it"),
    _documentation(),
    UniqueConstraint("hospital", "id"),
)

staff = Table(
    "staff",
    metadata,
    _hospital(),
    Column("staff", String(64), nullable=False),
    Column("department", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("suspended_by_hand", Boolean, nullable=False, server_default=false(), comment="Set through the API: no file undoes it"),
    Column("person", LargeBinary, nullable=False, comment="JSON of a Staff, its status left out"),
    _documentation(),
    UniqueConstraint("hospital", "staff"),
)

grants = Table(
    "grants",
    metadata,
    _hospital(),
    Column("id", String(64), nullable=False),
    Column("staff", String(64), nullable=False),
    Column("scope_type", String(16), nullable=False),
    Column("scope", String(128), nullable=False),
    Column("department", Text, nullable=False, server_default=""),
    Column("role", String(16), nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),
    Column("last_evaluated", Date),
    Column("document_no", Text, nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    Column("state_by_hand", Boolean, nullable=False, server_default=false(), comment="Set through the API: no file undoes it"),
    Column("retired", Boolean, nullable=False, server_default=false(), comment="Left out of a file that replaced the matrix"),
    _documentation(),
    UniqueConstraint("hospital", "id"),
    Index("ix_grants_hospital_staff", "hospital", "staff"),
    Index("ix_grants_hospital_scope", "hospital", "scope_type", "scope"),
)

credentials = Table(
    "credentials",
    metadata,
    _hospital(),
    Column("staff", String(64), nullable=False),
    Column("technology", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("issuer", Text, nullable=False, server_default=""),
    _documentation(),
    Index("ix_credentials_hospital_staff", "hospital", "staff"),
)

volumes = Table(
    "volumes",
    metadata,
    _hospital(),
    Column("staff", String(64), nullable=False),
    Column("scope_type", String(16), nullable=False),
    Column("scope", String(128), nullable=False),
    Column("year", Integer, nullable=False),
    Column("operator_cases", Integer, nullable=False),
    Column("supervised_cases", Integer, nullable=False),
    Column("last_case_on", Date),
    _documentation(),
    Index("ix_volumes_hospital_staff", "hospital", "staff"),
)

roster = Table(
    "roster",
    metadata,
    _hospital(),
    Column("staff", String(64), nullable=False),
    Column("starts", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("ends", String(40), nullable=False, comment="RFC 3339, UTC: the first instant off duty"),
    _documentation(),
    UniqueConstraint("hospital", "staff", "starts", "ends"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True, comment="The public part of the key"),
    _hospital(),
    Column(
        "client", String(64), nullable=False, comment="Idempotency and the client's own decisions go by it, so that a rotated key goes on"
    ),
    Column("roles", Text, nullable=False, comment="Blank-separated"),
    Column("staff", String(64), comment="The person it is bound to"),
    Column("salt", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("revoked_at", String(40)),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("acknowledged", _Number, nullable=False, comment="The version whose changes it honours"),
    Column("renewals", _Number, nullable=False, comment="How often it was heard of"),
    Column("lease_ms", Integer, nullable=False, comment="For how long after each time it may trust its memory without looking"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    _hospital(),
    Column("client", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False, comment="Hash of the order, white space and key order aside"),
    Column("at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("day", String(10), nullable=False, comment="The hospital's day, for statistics"),
    Column("checkpoint", String(16), nullable=False),
    Column("case_id", String(64), nullable=False),
    Column("patient_id", String(64), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("matrix_version", _Number),
    Column("engine_version", String(32), nullable=False),
    Column("policy_version", String(32), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("order", LargeBinary, nullable=False, comment="The order as received"),
    Column("answer", LargeBinary, nullable=False, comment="The answer as sent"),
    Column("past", LargeBinary, nullable=False, comment="JSON of a PastDecision: what later checkpoints are judged against"),
    Column(
        "repeats",
        String(36),
        comment="Id of the first decision under the same request, which was decided elsewhere during an outage as well; its own id: nobody was"
        " answered on the first, and this one counts; NULL: it is the first",
    ),
    Index(
        "uq_decisions_request",
        "hospital",
        "client",
        "request_id",
        unique=True,
        sqlite_where=text("repeats IS NULL"),
        postgresql_where=text("repeats IS NULL"),
    ),
    Index(
        "ix_decisions_repeats",
        "hospital",
        "client",
        "request_id",
        sqlite_where=text("repeats IS NOT NULL"),
        postgresql_where=text("repeats IS NOT NULL"),
    ),
    Index("ix_decisions_hospital_case", "hospital", "case_id", "seq"),
    Index("ix_decisions_hospital_at", "hospital", "at"),
    Index("ix_decisions_hospital_day", "hospital", "day", "decision"),
    sqlite_autoincrement=True,
)

decision_terms = Table(
    "decision_terms",
    metadata,
    Column("hospital", String(64), nullable=False),
    Column("kind", String(16), nullable=False, comment="operator, code, reason, department, confirm"),
    Column("value", Text, nullable=False),
    Column("decision_id", String(36), nullable=False),
    Column("at", String(40), nullable=False),
    Index("ix_decision_terms_lookup", "hospital", "kind", "value", "at"),
    Index("ix_decision_terms_decision", "decision_id"),
)

chain = Table(
    "chain",
    metadata,
    _hospital(),
    Column("number", _Number, nullable=False, comment="1, 2, 3 and so on, without a gap, per hospital"),
    Column("kind", String(16), nullable=False, comment="decision, change, read, override: which table the record is in"),
    Column("ref", String(64), nullable=False, comment="The record's id or number in that table"),
    Column("at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the record's canonical form"),
    Column("hash", LargeBinary, nullable=False, comment="SHA-256 over the hash before it and this row"),
    PrimaryKeyConstraint("hospital", "number"),
    UniqueConstraint("hospital", "kind", "ref"),
)

seals = Table(
    "seals",
    metadata,
    _hospital(),
    Column("number", _Number, nullable=False, comment="The chain's entry that it vouches for"),
    Column("hash", LargeBinary, nullable=False, comment="That entry's hash"),
    Column("at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("key", String(64), nullable=False, comment="Fingerprint of the key that signed"),
    Column("signature", LargeBinary, nullable=False),
    PrimaryKeyConstraint("hospital", "number", "key"),
)

seal_keys = Table(
    "seal_keys",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False, unique=True, comment="Fingerprint: SHA-256 of the public key, hexadecimal"),
    Column("public", LargeBinary, nullable=False, comment="Ed25519 public key, 32 bytes"),
    Column("since", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("introduced_by", String(64), comment="Fingerprint of the key before it, whose signature vouches for this one; NULL: the first"),
    Column("signature", LargeBinary, comment="Of the key before it, over this key"),
    sqlite_autoincrement=True,
)

archives = Table(
    "archives",
    metadata,
    _hospital(),
    Column("first", _Number, nullable=False, comment="First number of the chain that it holds"),
    Column("last", _Number, nullable=False),
    Column("before", LargeBinary, nullable=False, comment="Hash before the first entry"),
    Column("hash", LargeBinary, nullable=False, comment="Hash of the last entry: the chain in the database goes on from it"),
    Column("newest", String(40), nullable=False, comment="Instant of its newest record, RFC 3339, UTC"),
    Column("file", Text, nullable=False, comment="Name within the folder of archives"),
    Column("sha256", String(64), nullable=False, comment="Of the file, hexadecimal"),
    Column("archived_at", String(40), nullable=False),
    Column("purged_at", String(40), comment="When the file was deleted because its retention had passed"),
    PrimaryKeyConstraint("hospital", "first"),
)

duties = Table(
    "duties",
    metadata,
    Column("name", String(64), primary_key=True, comment="A task that one worker at a time does: deliver, seal, remind"),
    Column("worker", String(64), nullable=False),
    Column("lease_until", String(40), nullable=False, comment="RFC 3339, UTC: after it another worker may take it over"),
)

overrides = Table(
    "overrides",
    metadata,
    Column("id", String(36), primary_key=True),
    _hospital(),
    Column("decision_id", String(36), nullable=False),
    Column("case_id", String(64), nullable=False),
    Column("at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("day", String(10), nullable=False, comment="The hospital's day, for statistics"),
    Column("hour", Integer, nullable=False, comment="0-23, the hospital's hour, for patterns"),
    Column("department", Text, nullable=False),
    Column("declared_by", String(64), nullable=False),
    Column("reason_code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(16), nullable=False, comment="pending_report, reported, taken_over, under_review, justified, unjustified"),
    Column("reported", Boolean, nullable=False, comment="A report is on record, whatever came after it"),
    Column("taken_over_by", String(64)),
    Column("late", Boolean, nullable=False),
    Column("review_due_at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("flags", LargeBinary, nullable=False, comment="JSON list: what a reviewer should look at"),
    Column(
        "participants",
        LargeBinary,
        nullable=False,
        comment="JSON list of staff numbers: operators, team, requester, declarer, who took over",
    ),
    Column("operators", LargeBinary, nullable=False, comment="JSON list of staff numbers of those who operate without the privilege"),
    Column("codes", LargeBinary, nullable=False, comment="JSON list of the canonical codes of the procedures that were lifted"),
    Column("reminders", Integer, nullable=False, server_default="0", comment="How often the office was reminded of the overdue review"),
    Column("reminded_at", String(40)),
    Index("ix_overrides_hospital_at", "hospital", "at", "id"),
    Index("ix_overrides_hospital_state", "hospital", "state", "review_due_at"),
    Index("ix_overrides_hospital_case", "hospital", "case_id"),
    Index("ix_overrides_hospital_declared_by", "hospital", "declared_by", "at"),
)

override_steps = Table(
    "override_steps",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    _hospital(),
    Column("override_id", String(36), nullable=False),
    Column("action", String(16), nullable=False, comment="open, report, takeover, begin_review, justify, unjustify, reopen, remind"),
    Column("state", String(16), nullable=False, comment="The state after it"),
    Column("by", String(64), nullable=False, comment="Who did it; the declarer for open, empty for what the gateway does by itself"),
    Column("at", String(40), nullable=False, comment="When it was done, as told; RFC 3339, UTC"),
    Column("recorded_at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("key_id", String(32), nullable=False, server_default=""),
    Column("to", Text, nullable=False, server_default="", comment="Whom a report was made to"),
    Column("note", Text, nullable=False, server_default=""),
    Column("detail", LargeBinary, nullable=False, comment="JSON: what else was known, such as the flags at the opening"),
    Index("ix_override_steps_override", "hospital", "override_id", "seq"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    _hospital(),
    Column("override_id", String(36), nullable=False),
    Column("target", String(64), nullable=False, comment="Which of the hospital's targets: a hash of its kind and URL"),
    Column("event", String(16), nullable=False, comment="The step that it tells of"),
    Column("message", LargeBinary, nullable=False, comment="JSON: what is told, the same for every kind of target"),
    Column("created_at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("state", String(16), nullable=False, comment="waiting, sent, dead"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", String(40), nullable=False, comment="Not tried again before; RFC 3339, UTC"),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("done_at", String(40)),
    Index("ix_outbox_state", "state", "next_at"),
    Index("ix_outbox_override", "hospital", "override_id", "target", "seq"),
    sqlite_autoincrement=True,
)

reads = Table(
    "reads",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    _hospital(),
    Column("at", String(40), nullable=False, comment="RFC 3339, UTC"),
    Column("key_id", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("staff", String(64), comment="The person that the key is bound to"),
    Column("kind", String(16), nullable=False, comment="decision, decisions, case"),
    Column("subject", Text, nullable=False, comment="What was asked for: a decision's id, a case's id, the filters as JSON"),
    Column("found", LargeBinary, nullable=False, comment="JSON list of the ids of the decisions that were shown"),
    Index("ix_reads_hospital_at", "hospital", "at"),
    sqlite_autoincrement=True,
)
