"""The engine in its reference form: the rules written down once more, as short and as plain as they can be said.

It is slow, and it is meant to be read beside the domain text. Random differential testing holds the compiled form (`engine.decide`) equal
to it (`tests/properties/test_differential.py`), so it shares with that form only the values, the canonical forms of codes, the calendar
and the table of reason codes. "Reading n" in the comments is a numbered paragraph of `docs/decisions/0003-readings-of-the-domain.md`.
"""

from app.engine.reference.judge import Found, Judged, JudgedMember, JudgedOverride, JudgedProcedure, OtherPatient, judge

__all__ = ["Found", "Judged", "JudgedMember", "JudgedOverride", "JudgedProcedure", "OtherPatient", "judge"]
