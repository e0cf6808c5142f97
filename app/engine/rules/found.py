"""What a rule hands back."""

from __future__ import annotations

from app.engine.model import Disposition, Facts, Value


class Found(Value, frozen=True):
    """One thing that a rule found: its reason code and what it saw.

    `default` replaces the rule's own default disposition where the policy says nothing; `at_least` cannot be loosened by any policy.
    """

    code: str
    facts: Facts
    default: Disposition | None = None
    at_least: Disposition | None = None


NOTHING: tuple[Found, ...] = ()
