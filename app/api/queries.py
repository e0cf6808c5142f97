"""Query parameters that several lists share. A parameter that is not known is refused, so that a misspelt filter never widens a list."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.api.http import DEFAULT_LIMIT, MAX_LIMIT
from app.engine.codes import MalformedCode, normalize_procedure
from app.errors import BadInput, FieldError

_BLANK_FOR_PLUS = re.compile(r" (?=\d\d:\d\d$)")


class Query(BaseModel):
    """Base of a route's query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _instant_or_day(value: Any) -> Any:
    """RFC 3339 with offset, or a day. A `+` that was not escaped arrives as a blank."""
    if not isinstance(value, str):
        return value
    text = _BLANK_FOR_PLUS.sub("+", value)
    try:
        return (
            date.fromisoformat(text)
            if len(text) == len("2026-11-22")
            else msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)])
        )
    except (ValueError, msgspec.ValidationError):
        raise ValueError("RFC 3339 with offset, or a day such as 2026-11-22") from None


def _instant(value: Any) -> Any:
    found = _instant_or_day(value)
    if not isinstance(found, datetime):
        raise ValueError("RFC 3339 with offset")
    return found


def _day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return msgspec.convert(value, date)
        except msgspec.ValidationError:
            raise ValueError("a day such as 2026-11-22") from None
    return value


_DAY = {"type": "string", "format": "date"}
InstantOrDay = Annotated[
    datetime | date, BeforeValidator(_instant_or_day), WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, _DAY]})
]
Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema(_DAY)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Items on a page")]
Cursor = Annotated[str | None, Field(max_length=1000, description="`next_cursor` of the page before")]


class Paged(Query):
    """A list's parameters."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor = None


def begin_of(value: datetime | date | None, zone: tzinfo) -> str | None:
    """The instant at which `since` begins, as the store writes it: a day begins at midnight in the hospital's zone."""
    return None if value is None else _text(value, zone, 0)


def end_of(value: datetime | date | None, zone: tzinfo) -> str | None:
    """The instant before which `until` ends: a day is included whole."""
    return None if value is None else _text(value, zone, 1)


def _text(value: datetime | date, zone: tzinfo, days: int) -> str:
    try:
        if not isinstance(value, datetime):
            value = datetime.combine(value + timedelta(days=days), time(), tzinfo=zone)
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    except OverflowError:
        raise BadInput([FieldError("since" if days == 0 else "until", "out_of_range", "日期超出范围 / out of range")]) from None


def canonical_code(code: str, field: str = "code") -> str:
    """A procedure code in any spelling, in its canonical form. Raises `BadInput` for what cannot be one."""
    try:
        return normalize_procedure(code)
    except MalformedCode as error:
        raise BadInput([FieldError(field, "malformed_code", f"不是有效的手术操作编码 / procedure code: {error}")]) from None
