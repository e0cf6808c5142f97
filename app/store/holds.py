"""Whether a column of bytes holds some bytes, in either database's words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Holds(FunctionElement[bool]):
    """`Holds(column, part)`: the bytes of `part` stand somewhere in the column's."""

    name = "holds"
    type = Boolean()
    inherit_cache = True


@compiles(Holds, "sqlite")
def _sqlite(element: Holds, compiler: Any, **named: Any) -> str:
    column, part = element.clauses
    return f"instr({compiler.process(column, **named)}, {compiler.process(part, **named)}) > 0"


@compiles(Holds, "postgresql")
def _postgresql(element: Holds, compiler: Any, **named: Any) -> str:
    column, part = element.clauses
    return f"position({compiler.process(part, **named)} in {compiler.process(column, **named)}) > 0"
