"""Every metric there is: its name, kind, labels, and for a histogram its bounds."""

from __future__ import annotations

from typing import Literal, NamedTuple

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RECORDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Family(NamedTuple):
    """One metric. Counters and histograms are summed over the workers; a gauge is told of each, with the label `worker`; what is `shared` every
    worker counts alike in the database, and it is told once: the highest, since a worker that has just started may not have counted yet."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "shared"]
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


DECISIONS = Family("surgate_decisions", "counter", "Decisions recorded", ("checkpoint", "decision"))
REASONS = Family("surgate_decision_reasons", "counter", "Decisions recorded, by each reason code found in them", ("reason",))
ADMISSIONS = Family(
    "surgate_admissions", "counter", "Checks let in (admitted) and refused for want of room (shed), by rank", ("rank", "outcome")
)
REPLAYS = Family("surgate_replays", "counter", "First answers given again under their request id")
PARTS = Family(
    "surgate_check_part_seconds",
    "histogram",
    "Time of a check's parts: admission (an earlier answer, the case so far, the lease), engine, record (until it is on stable storage)",
    ("part",),
    SECONDS,
)
COMMIT_RECORDS = Family("surgate_commit_records", "histogram", "Decisions in one commit", (), RECORDS)
COMMIT_SECONDS = Family("surgate_commit_seconds", "histogram", "Time of a commit", (), SECONDS)
COMMIT_FAILURES = Family(
    "surgate_commit_failures", "counter", "Commits that failed or took too long: their decisions were put into the journal"
)
JOURNALED = Family(
    "surgate_journaled", "counter", "Decisions that were put into the journal, since the database was away or what came before waited"
)
JOURNAL_SECONDS = Family("surgate_journal_seconds", "histogram", "Time until decisions were on stable storage in the journal", (), SECONDS)
DRAINED = Family("surgate_journal_drained", "counter", "Decisions brought from the journal into the database")
JOURNAL_RECORDS = Family("surgate_journal_records", "shared", "Decisions that wait in the node's journal for the database")
JOURNAL_REFUSED = Family(
    "surgate_journal_refused", "shared", "Decisions of the node's journal that the database refuses or nobody can read: somebody must look"
)
STORE_AWAY = Family("surgate_store_away", "gauge", "1 while the worker does not ask the database, since it did not answer")
WAITING = Family("surgate_records_waiting", "gauge", "Decisions that waited for the next commit when the last one ended")
REQUESTS = Family("surgate_http_requests", "counter", "Requests answered", ("method", "route", "status"))
REQUEST_SECONDS = Family(
    "surgate_http_request_seconds", "histogram", "Time from a request's head to the end of its answer", ("route",), SECONDS
)
CONNECTIONS_CUT = Family(
    "surgate_connections_cut",
    "counter",
    "Connections refused or broken off: too many (full), one that was idle and made room (idle), a request's head or body that did not come, an answer that was not taken (unread)",
    ("why",),
)
IN_FLIGHT = Family("surgate_http_requests_in_flight", "gauge", "Requests that are being answered")
MATRIX_VERSION = Family(
    "surgate_matrix_version", "gauge", "Version of the grant matrix that the worker judges by; 0: not in memory", ("hospital",)
)
MATRIX_CONFIRMED = Family(
    "surgate_matrix_confirmed_timestamp_seconds", "gauge", "When the worker last held its matrix against the change log"
)
MATRIX_READS = Family(
    "surgate_matrix_reads",
    "counter",
    "Reads of the matrix: of a whole hospital or of some people, from Redis or from the database",
    ("what", "source"),
)
MATRIX_GRANTS = Family("surgate_matrix_grants", "gauge", "Grants that the worker holds in memory")
MATRIX_EVICTIONS = Family("surgate_matrix_evictions", "counter", "Hospitals that made room in memory for another one")
REDIS_UP = Family("surgate_redis_up", "gauge", "1: Redis answers the worker; 0: the database is read instead")
REDIS_REBUILDS = Family("surgate_redis_rebuilds", "counter", "Hospitals that were written to Redis anew")
DEGRADED = Family(
    "surgate_degraded", "gauge", "1 while the worker cannot hold its matrix against the change log: its answers are marked so"
)
MATRIX_UNAVAILABLE = Family(
    "surgate_matrix_unavailable", "gauge", "Hospitals for which the worker's matrix has become too old to allow anything by it"
)
LOG_REPLACED = Family("surgate_log_replaced", "counter", "Times that the change log was not the one that was followed: a restored database")
SNAPSHOT_CONFIRMED = Family(
    "surgate_snapshot_confirmed_timestamp_seconds", "gauge", "When the worker last saw to it that the snapshot on disk is up to date"
)
SNAPSHOT_FAILURES = Family("surgate_snapshot_failures", "counter", "Times that the snapshot could not be written")
SNAPSHOT_REFUSED = Family(
    "surgate_snapshot_refused", "counter", "Files of the snapshot that were damaged or otherwise of no use at a start"
)
STARTED = Family("surgate_worker_start_timestamp_seconds", "gauge", "When the worker started")
STARTS = Family(
    "surgate_worker_starts", "counter", "Workers started since the service started; more than there are workers: some ended by themselves"
)
OVERRIDES_OPEN = Family("surgate_overrides_open", "shared", "Overrides whose review is not closed, by state", ("hospital", "state"))
OVERRIDES_OVERDUE = Family(
    "surgate_overrides_overdue", "shared", "Overrides whose review should be closed by now and is not", ("hospital",)
)

OUTBOX_WAITING = Family(
    "surgate_outbox_waiting", "gauge", "Notifications that wait to be delivered; told by the worker that delivers", ("hospital",)
)
OUTBOX_DEAD = Family(
    "surgate_outbox_dead",
    "gauge",
    "Notifications that were given up and wait for somebody; told by the worker that delivers",
    ("hospital",),
)
NOTIFIED = Family("surgate_notifications", "counter", "Tries to deliver a notification", ("kind", "outcome"))
EVENT_STREAMS = Family("surgate_event_streams", "gauge", "Event streams that are open; not among the requests in flight")
CHAIN_NUMBER = Family("surgate_chain_number", "gauge", "Last entry of the chain that the worker has signed as its head", ("hospital",))
SEALED_NUMBER = Family(
    "surgate_sealed_number", "gauge", "Entry of the chain that the last seal known to the worker vouches for", ("hospital",)
)
SEALED_AT = Family("surgate_sealed_timestamp_seconds", "gauge", "When the head that was sealed last was signed", ("hospital",))
SEAL_FAILURES = Family("surgate_seal_failures", "counter", "Heads or seals of the chain that could not be written")
CHAIN_BREAKS = Family(
    "surgate_chain_breaks", "counter", "Signs of tampering met while heads were written: surgate audit verify tells where"
)

FAMILIES = (
    DECISIONS,
    REASONS,
    ADMISSIONS,
    REPLAYS,
    PARTS,
    COMMIT_RECORDS,
    COMMIT_SECONDS,
    COMMIT_FAILURES,
    JOURNALED,
    JOURNAL_SECONDS,
    DRAINED,
    JOURNAL_RECORDS,
    JOURNAL_REFUSED,
    STORE_AWAY,
    WAITING,
    REQUESTS,
    REQUEST_SECONDS,
    CONNECTIONS_CUT,
    IN_FLIGHT,
    MATRIX_VERSION,
    MATRIX_CONFIRMED,
    MATRIX_READS,
    MATRIX_GRANTS,
    MATRIX_EVICTIONS,
    REDIS_UP,
    REDIS_REBUILDS,
    DEGRADED,
    MATRIX_UNAVAILABLE,
    LOG_REPLACED,
    SNAPSHOT_CONFIRMED,
    SNAPSHOT_FAILURES,
    SNAPSHOT_REFUSED,
    STARTED,
    STARTS,
    OVERRIDES_OPEN,
    OVERRIDES_OVERDUE,
    OUTBOX_WAITING,
    OUTBOX_DEAD,
    NOTIFIED,
    EVENT_STREAMS,
    CHAIN_NUMBER,
    SEALED_NUMBER,
    SEALED_AT,
    SEAL_FAILURES,
    CHAIN_BREAKS,
)
