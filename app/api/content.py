"""Reading JSON into a type with every wrong field named.

Good content costs one decode. Only content that is refused is walked a second time against the type, to tell everything that is wrong with it at
once; msgspec itself stops at the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from itertools import islice
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import inspect

from app.errors import BadInput, FieldError

MAX_ERRORS = 100
"""More wrong fields than that help nobody to mend the message."""

_Value = TypeVar("_Value", bound=msgspec.Struct)


def decode(body: bytes, kind: type[_Value]) -> _Value:
    """The value in a JSON body.

    Raises:
        BadInput: not JSON, or a field that is unknown, missing, of a wrong type or out of bounds.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        raise BadInput(list(islice(type_errors(parse(body), kind), MAX_ERRORS)) or [unspecific()]) from None
    except msgspec.DecodeError as error:
        raise malformed(error) from None


def parse(body: bytes) -> Any:
    """The JSON in a body, as plain objects. Raises `BadInput` where it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> BadInput:
    """What to raise for a body that is not JSON."""
    return BadInput([FieldError("", "malformed_json", f"不是有效的JSON / not valid JSON: {error}")], malformed=True)


def unspecific() -> FieldError:
    """What is left to say where the walk finds nothing in content that was refused."""
    return FieldError("", "invalid", "内容无效 / invalid content")


def type_errors(content: object, kind: type[msgspec.Struct]) -> Iterator[FieldError]:
    """Everything in plain content that does not fit a type, each with its place."""
    return _walk(content, _type_info(kind), "")


@cache
def _type_info(kind: type[msgspec.Struct]) -> inspect.Type:
    """Drawing it takes milliseconds, and a batch may hold 500 bad checks."""
    return inspect.type_info(kind)


def _walk(value: Any, kind: inspect.Type, place: str) -> Iterator[FieldError]:
    """Every error of a value against a type, with its place."""
    inner = _inner(kind)
    if value is None and _nullable(kind):
        return
    if isinstance(inner, inspect.StructType):
        yield from _walk_struct(value, inner, place)
    elif isinstance(inner, inspect.VarTupleType) and isinstance(value, list):
        shortest, longest = inner.min_length or 0, inner.max_length
        if len(value) < shortest or (longest is not None and len(value) > longest):
            yield FieldError(place, "length", f"须有{shortest}至{longest}项 / must have {shortest} to {longest} items, has {len(value)}")
        # What lies beyond is wrong by its place alone, and a walk over millions of items would stop this worker.
        for index, item in enumerate(islice(value, longest)):
            yield from _walk(item, inner.item_type, f"{place}[{index}]")
    else:
        yield from _walk_leaf(value, inner, place)


def _inner(kind: inspect.Type) -> inspect.Type:
    """The type inside `… | None` and inside descriptions."""
    if isinstance(kind, inspect.Metadata):
        return _inner(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next(_inner(t) for t in kind.types if not isinstance(t, inspect.NoneType))
    return kind


def _nullable(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.Metadata):
        return _nullable(kind.type)
    return isinstance(kind, inspect.UnionType) and any(isinstance(t, inspect.NoneType) for t in kind.types)


def _walk_struct(value: Any, kind: inspect.StructType, place: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield FieldError(place, "type", "须为对象 / must be an object")
        return
    prefix = f"{place}." if place else ""
    known = {field.encode_name: field for field in kind.fields}
    for name in value:
        if name not in known:
            yield FieldError(f"{prefix}{name}", "unknown_field", f"未知字段 / unknown field; known are {', '.join(known)}")
    for name, field in known.items():
        if name in value:
            yield from _walk(value[name], field.type, f"{prefix}{name}")
        elif field.required:
            yield FieldError(f"{prefix}{name}", "missing", "缺少必填字段 / required field is missing")


def _walk_leaf(value: Any, kind: inspect.Type, place: str) -> Iterator[FieldError]:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=_annotated(kind))
    except msgspec.ValidationError as error:
        yield FieldError(place, "invalid", f"字段值无效 / {error}")


def _annotated(kind: inspect.Type) -> Any:
    """The Python type of a leaf, with its bounds, for msgspec to judge it by."""
    if isinstance(kind, inspect.StrType):
        return Annotated[str, msgspec.Meta(min_length=kind.min_length, max_length=kind.max_length)]
    if isinstance(kind, inspect.IntType):
        return Annotated[int, msgspec.Meta(ge=kind.ge, le=kind.le)]
    if isinstance(kind, inspect.DateTimeType):
        return Annotated[datetime, msgspec.Meta(tz=kind.tz)]
    if isinstance(kind, inspect.EnumType):
        return kind.cls
    return {inspect.BoolType: bool, inspect.DateType: date, inspect.VarTupleType: tuple, inspect.RawType: Any}[type(kind)]
