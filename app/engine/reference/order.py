"""What an order resolves to: catalog entries, technologies, the level each procedure is managed at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from msgspec.structs import replace

from app.engine.calendar import full_years
from app.engine.codes import diagnosis_matches, normalize_diagnosis, normalize_name, normalize_procedure, parts_of
from app.engine.model import RESTRICTED_KINDS, Entry, Evidence, Hospital, Identify, Order, Person, Procedure, Technology


@dataclass(frozen=True)
class Case:
    """All that an order is judged by, but for the case's history. `people` None: the grant matrix can't be had."""

    order: Order
    hospital: Hospital
    people: Mapping[str, Person] | None
    now: datetime

    @property
    def today(self) -> date:
        return self.now.astimezone(self.hospital.time_zone).date()

    @property
    def day(self) -> date:
        """The day of surgery."""
        return (self.order.planned_start or self.now).astimezone(self.hospital.time_zone).date()

    @property
    def last_day(self) -> date:
        """The last day on which privileges, licence and standing must hold (reading 19)."""
        return max(self.day, self.today)

    @property
    def evidence(self) -> Evidence:
        return self.order.evidence or Evidence()


@dataclass
class Resolved:
    """One procedure. `judged_as` is its code, or the combinations that it is part of; `family` holds the indexes of all catalog
    entries of these, `remaining` of those that it may mean; `pool` the entries whose flags, stops and level count."""

    code: str
    operator: str
    judged_as: list[str]
    family: list[int] = field(default_factory=list)
    remaining: list[int] = field(default_factory=list)
    pool: list[Entry] = field(default_factory=list)
    not_found: str | None = None
    certain: list[Technology] = field(default_factory=list)
    uncertain: list[Technology] = field(default_factory=list)

    @property
    def level(self) -> int | None:
        """The level that it is managed at."""
        if any(technology.kind in RESTRICTED_KINDS for technology in [*self.certain, *self.uncertain]):
            return 4
        return max((entry.level for entry in self.pool), default=None)


def resolve(case: Case) -> list[Resolved]:
    """The procedures of the order, in its order."""
    procedures = [_find_entries(case, procedure) for procedure in case.order.procedures]
    _identify(case, procedures)
    return procedures


# ------------------------------------------------------------------------------------------------ entries


def entries_of(hospital: Hospital, code: str) -> list[int]:
    """A local code finds its own entries, a national one also those of its local codes after them (reading 2)."""
    is_local = code in hospital.aliases
    found: dict[Entry, int] = {}
    for index, entry in enumerate(hospital.entries):
        if entry.code == code or (not is_local and hospital.aliases.get(entry.code) == code):
            found.setdefault(replace(entry, source="", category=""), index)  # a row that is printed twice is one entry
    return sorted(found.values(), key=lambda index: hospital.entries[index].code != code)


def _base(case: Case, code: str) -> list[int]:
    entries = case.hospital.entries
    return [
        index
        for index in entries_of(case.hospital, code)
        if not entries[index].departments or case.order.department in entries[index].departments
    ]


def _added_for_a_child(case: Case, code: str) -> list[int]:
    """The paediatric entries beside the base (reading 4)."""
    paediatric, born = case.hospital.paediatric, case.order.patient.birth_date
    if paediatric is None or born is None or full_years(born, case.day) >= paediatric.under_years:
        return []
    base = _base(case, code)
    return [
        index
        for index in entries_of(case.hospital, code)
        if index not in base and paediatric.departments.intersection(case.hospital.entries[index].departments)
    ]


def _narrow(hospital: Hospital, group: list[int], procedure: Procedure) -> list[int]:
    """What service, item and name leave of a group (reading 5)."""
    selected = []
    if procedure.service:
        selected.append({index for index in group if hospital.entries[index].service == procedure.service})
    if procedure.item:
        selected.append({index for index in group if hospital.entries[index].item == procedure.item})
    if procedure.name:
        name = normalize_name(procedure.name)
        selected.append({index for index in group if normalize_name(hospital.entries[index].name) == name})
    agreed = set(group).intersection(*(indexes for indexes in selected if indexes))
    return [index for index in group if index in agreed] or group


def _left(case: Case, code: str, procedure: Procedure) -> list[int]:
    """The entries that remain of a code."""
    base = _narrow(case.hospital, _base(case, code), procedure)
    return base + _narrow(case.hospital, _added_for_a_child(case, code), procedure)


def _find_entries(case: Case, procedure: Procedure) -> Resolved:
    hospital, code = case.hospital, normalize_procedure(procedure.code)
    combinations = [] if parts_of(code) else [whole for whole in _combinations(case) if _is_part(hospital, code, whole)]
    found = Resolved(code, procedure.operator, judged_as=combinations or [code])
    for whole in found.judged_as:
        found.family += [index for index in entries_of(hospital, whole) if index not in found.family]
    for whole in found.judged_as:
        left = _left(case, whole, procedure)
        found.remaining += [index for index in left if index not in found.remaining]
        found.pool += [hospital.entries[index] for index in left or entries_of(hospital, whole)]
    if combinations:  # what bars the part alone still counts (reading 7)
        found.pool += [hospital.entries[index] for index in _left(case, code, procedure) or entries_of(hospital, code)]
    if not found.remaining:
        found.not_found = "department_not_listed" if found.family else "code_unknown"
    if not found.family:
        for part in parts_of(code):  # reading 6
            known = _base(case, part) + _added_for_a_child(case, part) if _base(case, part) else entries_of(hospital, part)
            found.pool += [hospital.entries[index] for index in known]
    return found


def _stands_for(hospital: Hospital, code: str, part: str) -> bool:
    return code == part or hospital.aliases.get(code) == part or hospital.aliases.get(part) == code


def _is_part(hospital: Hospital, code: str, combination: str) -> bool:
    return any(_stands_for(hospital, code, part) for part in parts_of(combination))


def _combinations(case: Case) -> list[str]:
    """The combinations of the catalog whose parts the order holds as separate procedures, the widest ones (reading 7)."""
    codes = [normalize_procedure(procedure.code) for procedure in case.order.procedures]
    singles = [code for code in codes if not parts_of(code)]
    complete = {
        entry.code
        for entry in case.hospital.entries
        if parts_of(entry.code) and all(any(_stands_for(case.hospital, code, part) for code in singles) for part in parts_of(entry.code))
    }
    return sorted(one for one in complete if not any(set(parts_of(one)) < set(parts_of(other)) for other in complete))


# ------------------------------------------------------------------------------------------------ technologies


def _watched(hospital: Hospital, procedure: Resolved) -> set[str]:
    """The codes under which a procedure is watched (reading 9)."""
    codes = {procedure.code, *procedure.judged_as, *(entry.code for entry in procedure.pool)}
    codes |= {part for code in codes for part in parts_of(code)}
    codes |= {hospital.aliases[code] for code in codes if code in hospital.aliases}
    return codes | {part for code in codes for part in parts_of(code)}


def _also_by_parts(way: Identify) -> list[Identify]:
    """A combination among the codes is also identified by all its parts as separate procedures (reading 9)."""
    separate = [tuple(frozenset({part}) for part in parts_of(code)) for code in way.codes if parts_of(code)]
    return [way, *(replace(way, codes=frozenset(), all_of=(*way.all_of, *parts)) for parts in separate)]


def _holds_but_for_diagnosis(way: Identify, watched: Iterable[str], case: Case) -> bool:
    watched = set(watched)
    return (
        (not way.codes or bool(way.codes & watched))
        and all(codes & watched for codes in way.all_of)
        and (not way.urgency or case.order.urgency in way.urgency)
    )


def _identify(case: Case, procedures: list[Resolved]) -> None:
    """Which technologies each procedure is, over the whole order, for certain or if a missing diagnosis were there (readings 9, 10)."""
    diagnoses = [normalize_diagnosis(text) for text in case.order.diagnoses]
    watched = [_watched(case.hospital, procedure) for procedure in procedures]
    for technology in case.hospital.technologies:
        for procedure, its_codes in zip(procedures, watched, strict=True):
            ways = [
                way
                for given in technology.identify
                for way in _also_by_parts(given)
                if _holds_but_for_diagnosis(way, set().union(*watched), case) and its_codes & way.codes.union(*way.all_of)
            ]
            if any(
                not way.with_diagnoses or any(diagnosis_matches(one, listed) for one in diagnoses for listed in way.with_diagnoses)
                for way in ways
            ):
                procedure.certain.append(technology)
            elif ways and not diagnoses:
                procedure.uncertain.append(technology)
