"""What the medical affairs office sends and is answered: grants and their changes, stops, the change log."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict

from app.api.http import acting_person
from app.engine.model import Grant, GrantRole, GrantState, Id, ScopeType, StaffKind, StaffStatus, TechnologyKind, Text, Value
from app.engine.reach import StillCovering
from app.errors import BadInput, FieldError
from app.privileges.changing import Author
from app.privileges.grants import Changed, Renewal
from app.privileges.stops import StaffChanged, TechnologyChanged
from app.store.changes import Entry
from app.store.grants import StoredGrant
from app.store.keys import Key

Reason = Annotated[str, Meta(min_length=1, max_length=2000, description="Why, in words; kept in the change log.")]
DocumentNo = Annotated[str, Meta(max_length=200, description="The document that it rests on.")]
By = Annotated[str, Meta(min_length=1, max_length=64, description="Staff number of who acts, where the key is bound to nobody.")]
Scope = Annotated[str, Meta(min_length=1, max_length=128)]


class Because(Value, frozen=True):
    """Why something is changed, on which document, and by whom: what every change takes."""

    reason: Reason
    document_no: DocumentNo = ""
    by: By | None = None


class NewGrant(Value, frozen=True):
    """The columns of `grants.csv`, and why. `confirm`: also where the person holds the scope suspended or revoked."""

    staff: Id
    scope_type: ScopeType
    scope: Scope
    valid_from: date
    reason: Reason
    department: Text = ""
    role: GrantRole = GrantRole.OPERATOR
    valid_to: date | None = None
    last_evaluated: date | None = None
    document_no: DocumentNo = ""
    state: GrantState = GrantState.ACTIVE
    by: By | None = None
    confirm: bool = False

    def columns(self) -> dict[str, object]:
        """The row of `grants.csv` that it is."""
        others = ("reason", "by", "confirm")
        return {name: str(v) if isinstance(v, str) else v for name, v in asdict(self).items() if name not in others}


class Renewed(Value, frozen=True):
    """What a renewal sets, at least one of the first two; left out is left as it is. `valid_to` null: open."""

    reason: Reason
    valid_to: date | UnsetType | None = UNSET
    last_evaluated: date | UnsetType | None = UNSET
    document_no: DocumentNo = ""
    by: By | None = None

    def renewal(self) -> Renewal:
        """Raises `BadInput` where it sets nothing."""
        if self.valid_to is UNSET and self.last_evaluated is UNSET:
            text = "须给出授权截止或最近评估日期 / give valid_to, last_evaluated or both"
            raise BadInput([FieldError("valid_to", "missing", text), FieldError("last_evaluated", "missing", text)])
        return Renewal(self.valid_to, self.last_evaluated)


class GrantShown(Value, frozen=True, kw_only=True):
    """A grant. `state_by_hand`: its state was set through the API, and no file undoes it. `retired`: a file that replaced the matrix left it
    out; it counts for nothing, and lists do not hold it."""

    id: str
    staff: str
    scope_type: ScopeType
    scope: str
    department: str
    role: GrantRole
    valid_from: date
    valid_to: date | None
    last_evaluated: date | None
    document_no: str
    state: GrantState
    state_by_hand: bool
    retired: bool


class CoveringGrant(Grant, frozen=True, kw_only=True):
    """A grant that covers another one's scope, all of it or a part, now or from its first day on."""

    covers: Literal["whole", "part"]


class GrantChanged(GrantShown, frozen=True, kw_only=True):
    """A grant after a change that is in force on every worker. `matrix_version`: the version that it gave."""

    matrix_version: int


class GrantStopped(GrantChanged, frozen=True, kw_only=True):
    """A grant that was suspended or revoked. `still_covered_by`: the person's grants that still cover the scope."""

    still_covered_by: tuple[CoveringGrant, ...]


class GrantList(Value, frozen=True):
    """By staff number, then id."""

    items: tuple[GrantShown, ...]
    next_cursor: str | None


class StaffStanding(Value, frozen=True):
    """A person after a change that is in force on every worker. `suspended_by_hand`: no file undoes the suspension."""

    staff: str
    name: str
    department: str
    kind: StaffKind
    status: StaffStatus
    suspended_by_hand: bool
    matrix_version: int


class TechnologyStanding(Value, frozen=True):
    """A technology after a change that is in force on every worker. `stopped_by_hand`: no file undoes the stop."""

    id: str
    name: str
    kind: TechnologyKind
    stopped: bool
    stopped_by_hand: bool
    matrix_version: int


class ChangeShown(Value, frozen=True):
    """One change. `version`: the matrix version that it gave. `detail`: what was there before and after, and through which client."""

    version: int
    at: datetime
    by: str
    kind: str
    subject: str
    action: str
    reason: str
    document_no: str
    detail: Any


class ChangeList(Value, frozen=True):
    """Newest first."""

    items: tuple[ChangeShown, ...]
    next_cursor: str | None


def author_of(key: Key, body: Because | NewGrant | Renewed) -> Author:
    """Who changes something by that call. Raises `BadInput` where the reason is blank or nobody is named."""
    reason = body.reason.strip()
    if not reason:
        raise BadInput([FieldError("reason", "blank", "理由不能为空白 / the reason must not be blank")])
    by = acting_person(key, body.by)
    return Author(key.hospital, by, reason, body.document_no.strip(), key.client, key.id)


def grant_shown(stored: StoredGrant) -> GrantShown:
    return GrantShown(**asdict(stored.grant), state_by_hand=stored.state_by_hand, retired=stored.retired)


def grant_changed(changed: Changed) -> GrantChanged:
    return GrantChanged(**asdict(grant_shown(changed.stored)), matrix_version=changed.version)


def grant_stopped(changed: Changed) -> GrantStopped:
    return GrantStopped(**asdict(grant_changed(changed)), still_covered_by=tuple(map(_covering, changed.still_covered_by)))


def staff_standing(changed: StaffChanged) -> StaffStanding:
    staff = changed.stored.staff
    return StaffStanding(
        staff.staff, staff.name, staff.department, staff.kind, staff.status, changed.stored.suspended_by_hand, changed.version
    )


def technology_standing(changed: TechnologyChanged) -> TechnologyStanding:
    technology = changed.stored.technology
    return TechnologyStanding(
        technology.id, technology.name, technology.kind, technology.stopped, changed.stored.stopped_by_hand, changed.version
    )


def change_shown(entry: Entry) -> ChangeShown:
    return ChangeShown(**asdict(entry))


def _covering(found: StillCovering) -> CoveringGrant:
    return CoveringGrant(**asdict(found.grant), covers=found.covers)
