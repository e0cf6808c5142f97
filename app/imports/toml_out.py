"""Settings and technologies as TOML files that `app.packs` reads back as the same values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tomli_w

from app.engine.model import STANDARD_EMERGENCY_REASONS, STANDARD_FLAGS, Identify, Policy, Qualification, Technology
from app.imports.current import Held, Profile
from app.packs.technologies import Given
from app.store.hospitals import Settings

_PLAIN_FIELDS = ("assessed_on", "filed_on", "filing_no", "first_case_on", "team", "grantable", "stopped", "basis")


def technologies_toml(held: Iterable[Held], shared: Mapping[str, Given]) -> bytes:
    """What the hospital says of its technologies beyond what the shared packs do. One of which it says nothing is left out: it comes back from
    there."""
    tables = [table for one in held if (table := _technology(one, shared.get(one.value.id)))]
    return tomli_w.dumps({"technology": tables} if tables else {}).encode()


def _technology(held: Held, shared: Given | None) -> dict[str, Any] | None:
    technology: Technology = held.value
    base = {} if shared is None else dict(shared.fields)
    default = Technology(id=technology.id, name="", kind=technology.kind)
    table: dict[str, Any] = {}
    for field in _PLAIN_FIELDS:
        value = getattr(technology, field)
        if value != base.get(field, getattr(default, field)):
            table[field] = list(value) if isinstance(value, tuple) else value
    added = [way for way in technology.identify if way not in base.get("identify", ())]
    if added:
        table["identify"] = [_identify(way) for way in added]
    if technology.qualification != base.get("qualification", ()):
        table["qualification"] = [_qualification(one) for one in technology.qualification]
    table |= held.notes
    renamed = technology.name != base.get("name") or technology.kind != base.get("kind")
    if not table and not renamed:
        return None
    return {"id": technology.id, "name": technology.name, "kind": technology.kind.value, **table}


def _identify(way: Identify) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if way.codes:
        table["codes"] = sorted(way.codes)
    if way.all_of:
        table["all_of"] = [sorted(one) for one in way.all_of]
    if way.with_diagnoses:
        table["with_diagnoses"] = [d if isinstance(d, str) else "-".join(d) for d in way.with_diagnoses]
    if way.urgency:
        table["urgency"] = sorted(way.urgency)
    return table


def _qualification(one: Qualification) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field in Qualification.__struct_fields__:
        value = getattr(one, field)
        if value is None or value == ():
            continue
        if field == "any_of":
            value = [_qualification(inner) for inner in value]
        elif field == "exempt":
            value = _qualification(value)
        table[field] = list(value) if isinstance(value, tuple) else value
    return table


def hospital_toml(code: str, profile: Profile, builds_on: Iterable[str]) -> bytes:
    """hospital.toml; secrets of notifications are left out, and an import without them keeps those that are stored."""
    settings = profile.settings
    document: dict[str, Any] = {"code": code, "name": profile.name, "time_zone": profile.time_zone}
    if profile.province:
        document["province"] = profile.province
    document["builds_on"] = list(builds_on)
    document["departments"] = dict(settings.department_aliases)
    document["policy"] = _policy(settings.policy)
    document |= _other_tables(settings)
    return tomli_w.dumps(document).encode()


def _policy(policy: Policy) -> dict[str, Any]:
    table: dict[str, Any] = {"order_right": policy.order_right, "major_flags": sorted(policy.major_flags)}
    if own := sorted(policy.flags - set(STANDARD_FLAGS)):
        table["flags"] = own
    for code, ruled in policy.dispositions.items():
        if isinstance(ruled, str):
            table[code] = str(ruled)
        else:
            table[code] = {key: str(value) for key in ruled.__struct_fields__ if (value := getattr(ruled, key)) is not None}
    return table


def _other_tables(settings: Settings) -> dict[str, Any]:
    hours = settings.office_hours
    tables: dict[str, Any] = {}
    if settings.policy.emergency_reasons != STANDARD_EMERGENCY_REASONS:
        tables["emergency"] = {"reason_codes": list(settings.policy.emergency_reasons)}
    if settings.paediatric is not None:
        paediatric = settings.paediatric
        tables["paediatric"] = {"under_years": paediatric.under_years, "departments": sorted(paediatric.departments)}
    tables["review"] = {"due_working_days": settings.policy.review_due_working_days}
    tables["office_hours"] = {
        "days": sorted(hours.days),
        "from": _clock(hours.opens),
        "to": _clock(hours.closes),
        "holidays": sorted(hours.holidays),
    }
    if settings.notify:
        tables["notify"] = [{key: value for key, value in target.items() if key != "secret"} for target in settings.notify]
    if settings.retention_years is not None:
        tables["records"] = {"retention_years": settings.retention_years}
    return tables


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
