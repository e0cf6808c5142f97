"""From the bytes of a check to an `Order`, once: decoded straight into the engine's type, tidied, its codes and flags looked at.

What is wrong is told as a whole: every wrong field with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from app.api.content import MAX_ERRORS, malformed, parse, type_errors, unspecific
from app.engine.calendar import is_plausible
from app.engine.codes import MalformedCode, normalize_diagnosis, normalize_procedure, normalize_text
from app.engine.model import Declaration, Evidence, Order, Procedure
from app.errors import BadInput, FieldError

_DECODER = msgspec.json.Decoder(Order)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_ID_LENGTH = 64
"""As it is kept: PostgreSQL takes no longer ones, and one sign may stand for many (`㌀` is `アパート`)."""

_TIDY = re.compile(r"[!-~]+(?: [!-~]+)*").fullmatch
"""Something, in ASCII, with single blanks within: what `normalize_text` leaves as it is."""


def decode_order(body: bytes, flags: Collection[str]) -> Order:
    """The order in a JSON body. `flags`: the patient flags that the hospital knows.

    Raises:
        BadInput: not JSON, a field that is unknown, missing, of a wrong type or out of bounds, a code that cannot be one, an unknown flag.
    """
    try:
        order = _DECODER.decode(body)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        raise BadInput(_errors_of(parse(body), flags)) from None
    except msgspec.DecodeError as error:
        raise malformed(error) from None
    return checked(tidied(order), flags)


def convert_order(content: object, flags: Collection[str]) -> Order:
    """The order in content that was decoded already, an element of a batch for one. Raises `BadInput` as `decode_order` does."""
    try:
        order = msgspec.convert(content, Order)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadInput(_errors_of(content, flags)) from error
    return checked(tidied(order), flags)


def checked(order: Order, flags: Collection[str]) -> Order:
    """The order itself, after a look at what its type cannot say.

    Raises:
        BadInput: a blank id or one with control characters, a code that cannot be one, an unknown flag.
    """
    codes = _malformed_codes([p.code for p in order.procedures], order.diagnoses)
    errors = [*_bad_ids(order), *codes, *_unknown_flags(order.patient.flags, flags), *_odd_start(order)]
    if errors:
        raise BadInput(errors[:MAX_ERRORS])
    return order


def tidied(order: Order) -> Order:
    """The order with blanks around ids dropped, full-width ids made half-width, and blank evidence made none."""
    if _is_tidy(order):
        return order
    evidence = order.evidence
    if evidence is not None:
        evidence = Evidence(**{name: _tidied(getattr(evidence, name)) for name in Evidence.__struct_fields__})
    declaration = order.emergency
    return replace(
        order,
        request_id=_tidied_id(order.request_id),
        case_id=_tidied_id(order.case_id),
        requester=_tidied(order.requester),
        procedures=tuple([_tidied_procedure(p) for p in order.procedures]),
        team=tuple([replace(m, staff=_tidied_id(m.staff)) for m in order.team]),
        evidence=evidence,
        patient=replace(order.patient, id=_tidied_id(order.patient.id)),
        emergency=None if declaration is None else _tidied_declaration(declaration),
    )


def _tidied_id(text: str) -> str:
    """Control characters within stay, to be refused."""
    tidy = text.isascii() and text == text.strip() and "  " not in text
    return text if tidy else normalize_text(text)


def _is_tidy(order: Order) -> bool:
    """Whether there is nothing to tidy, as in nearly every order."""
    if order.emergency is not None:
        return False
    texts = [order.request_id, order.case_id, order.patient.id, order.requester]
    for procedure in order.procedures:
        texts += procedure.operator, procedure.item, procedure.service
    texts += [member.staff for member in order.team]
    if order.evidence is not None:
        texts += astuple(order.evidence)
    return all(text is None or _TIDY(text) for text in texts)


def _tidied_procedure(procedure: Procedure) -> Procedure:
    fields = (procedure.operator, procedure.item, procedure.service)
    if all(text is None or _tidied_id(text) == text for text in fields):
        return procedure
    operator, item, service = (_tidied(text) for text in fields)
    return replace(procedure, operator=operator or "", item=item, service=service)


def _tidied_declaration(declaration: Declaration) -> Declaration:
    """An instant of the year 1 is what some programs send for none. It must not stop an emergency, so that it is none here too."""
    return replace(
        declaration,
        declared_by=_tidied(declaration.declared_by),
        reason_code=_tidied(declaration.reason_code),
        declared_at=_plausible(declaration.declared_at),
        reported_at=_plausible(declaration.reported_at),
    )


def _plausible(instant: datetime | None) -> datetime | None:
    return instant if instant is not None and is_plausible(instant) else None


def _tidied(text: str | None) -> str | None:
    return None if text is None else normalize_text(text) or None


def _bad_ids(order: Order) -> Iterator[FieldError]:
    ids = [order.request_id, order.case_id, order.patient.id]
    ids += [procedure.operator for procedure in order.procedures]
    ids += [member.staff for member in order.team]
    if all(map(_TIDY, ids)) and order.department.strip() and not _CONTROL.search(order.department):
        return
    named = [
        ("request_id", order.request_id),
        ("case_id", order.case_id),
        ("department", order.department.strip()),
        ("patient.id", order.patient.id),
        *((f"procedures[{i}].operator", p.operator) for i, p in enumerate(order.procedures)),
        *((f"team[{i}].staff", m.staff) for i, m in enumerate(order.team)),
    ]
    for field, value in named:
        if not value:
            yield FieldError(field, "blank", "不能为空 / must not be blank")
        elif _CONTROL.search(value):
            # No id has them; not every database takes them, and a line or a page that shows them shows something else.
            yield FieldError(field, "control_character", "不能含控制字符 / must not contain control characters")
        elif len(value) > MAX_ID_LENGTH:
            yield FieldError(
                field, "too_long", f"规范化后超过{MAX_ID_LENGTH}个字符 / longer than {MAX_ID_LENGTH} characters when normalized"
            )


def _odd_start(order: Order) -> Iterator[FieldError]:
    if order.planned_start is not None and not is_plausible(order.planned_start):
        yield FieldError("planned_start", "implausible", f"年份不合理 / the year {order.planned_start.year} is implausible")


def _malformed_codes(procedures: Sequence[object], diagnoses: Sequence[object]) -> Iterator[FieldError]:
    yield from _malformed(procedures, "procedures[{}].code", normalize_procedure, "手术操作编码 / procedure code")
    yield from _malformed(diagnoses, "diagnoses[{}]", normalize_diagnosis, "疾病诊断编码 / diagnosis code")


def _malformed(codes: Sequence[object], field: str, normalize: Callable[[str], str], what: str) -> Iterator[FieldError]:
    for index, code in enumerate(codes):
        try:
            if isinstance(code, str) and code:
                normalize(code)
        except MalformedCode as error:
            yield FieldError(field.format(index), "malformed_code", f"不是有效的{what}: {error}")


def _unknown_flags(sent: Sequence[object], flags: Collection[str]) -> Iterator[FieldError]:
    for index, flag in enumerate(sent):
        if isinstance(flag, str) and flag not in flags:
            known = ", ".join(sorted(flags))
            yield FieldError(f"patient.flags[{index}]", "unknown_flag", f"未知的患者标记“{flag}” / unknown flag; known are {known}")


def _errors_of(content: object, flags: Collection[str]) -> list[FieldError]:
    """Everything that is wrong with content that is no order: by its type, and, as far as the fields can be read, by codes and flags."""
    raw: dict[Any, Any] = content if isinstance(content, dict) else {}
    procedures = [p.get("code") if isinstance(p, dict) else None for p in _list(raw.get("procedures"))]
    patient = raw.get("patient")
    errors = chain(
        type_errors(content, Order),
        _malformed_codes(procedures, _list(raw.get("diagnoses"))),
        _unknown_flags(_list(patient.get("flags")) if isinstance(patient, dict) else (), flags),
    )
    return list(islice(errors, MAX_ERRORS)) or [unspecific()]


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
