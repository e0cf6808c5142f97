"""The layout of values as they are packed: a digest of it, so that bytes are read only by a version whose values are the same.

A field that bytes do not have is filled with its default when they are read, and what an older version did not write may be what restricts a grant.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec.inspect import EnumType, Field, StructType, Type, UnionType, type_info

DIGEST_CHARACTERS = 16
"""Of the digest in hexadecimal: 64 bits, for a few hundred layouts at the most."""


def digest(*kinds: Any) -> str:
    """Of types and of all that they are made of: the fields' names, order, types, limits and defaults, and the members of enumerations. The same in
    every process of a version.

    Defaults count because values are made with them before they are packed, from rows of the database that have no such field yet.
    """
    met: set[type] = set()
    told = _packed([_told(type_info(kind), met) for kind in kinds])
    return hashlib.sha256(told).hexdigest()[:DIGEST_CHARACTERS]


def _told(one: Any, met: set[type]) -> Any:
    """A type as plain values. A struct that was told before is its name: some hold themselves."""
    match one:
        case StructType(cls=cls) if cls in met:
            return cls.__qualname__
        case StructType(cls=cls):
            met.add(cls)
            kinds = [one.array_like, one.tag_field, one.tag, one.forbid_unknown_fields]
            return [cls.__qualname__, kinds, [_field(field, met) for field in one.fields]]
        case EnumType(cls=cls):
            return [cls.__qualname__, [[member.name, member.value] for member in cls]]
        case UnionType():
            return ["UnionType", sorted((_told(kind, met) for kind in one.types), key=_packed)]
        case Type():
            return [type(one).__name__, *(_told(getattr(one, name), met) for name in one.__struct_fields__)]
        case tuple():
            return [_told(part, met) for part in one]
        case type():
            return one.__qualname__
    return one


def _field(field: Field, met: set[type]) -> list[Any]:
    default = field.default if field.default_factory is NODEFAULT else field.default_factory()
    return [field.encode_name, field.required, None if field.required else default, _told(field.type, met)]


def _packed(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str, order="deterministic")
