"""The contestants: the engine, and libraries that answer "may this surgeon do this code" inside the process.

Each peer is set up as fast as its documented means allow for this question, and is spared what it is not made for: it is told only the
grants that are in force on the day, by code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import cedarpy
from casbin.fast_enforcer import FastEnforcer
from casbin.model.model_fast import FastModel
from regopy import Input, Interpreter

from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Order, Verdict
from app.engine.privilege import is_privileged
from loadtests.worlds import NOW, Question, lone_order

_ACTION = {"type": "Action", "id": "operate"}


class Contestant(Protocol):
    """Somebody who answers questions. `given` says what it holds and is handed, `does` what its answer takes in; it is asked one question in `every`."""

    name: str
    every: int
    given: str
    does: str

    def prepare(self, question: Question, number: int) -> Any:
        """The question in the contestant's own form; made before the clock starts, as a service's decoder would."""
        ...

    def ask(self, prepared: Any) -> bool:
        """Whether the surgeon may."""
        ...


class SurgateGrants:
    """The engine's bare question of grants, which is the peers' question."""

    name = "Surgate, grants alone"
    every = 1
    given = "the compiled matrix with all grants; surgeon, code, department, day"
    does = (
        "yes or no (`is_privileged`); the catalog's entries for the department, dates, states and yearly evaluation of grants, levels "
        "raised by restricted technologies; no reasons, no register, no training, no team, no record"
    )

    def __init__(self, hospital: CompiledHospital, matrix: Matrix) -> None:
        self.hospital = hospital
        self.matrix = matrix

    def prepare(self, question: Question, number: int) -> tuple[str, str, str, date]:
        """Surgeon, code, department, day."""
        return question.surgeon, question.code, lone_order(question, number).department, NOW.date()

    def ask(self, prepared: tuple[str, str, str, date]) -> bool:
        """Whether the grants cover it."""
        return is_privileged(self.hospital, self.matrix, *prepared)


class SurgateDecision:
    """The engine, judging a whole order."""

    name = "Surgate, full decision"
    every = 1
    given = "the compiled matrix with all grants, and a whole order of one procedure and no team"
    does = (
        "everything: the full `decide`, with the catalog's entry for the department, dates, states and yearly evaluation of grants, "
        "restricted technologies and training, the register, evidence; a denial comes with its reasons in two languages, the basis in law "
        "and up to 10 people who may operate instead"
    )

    def __init__(self, hospital: CompiledHospital, matrix: Matrix) -> None:
        self.hospital = hospital
        self.matrix = matrix

    def prepare(self, question: Question, number: int) -> Order:
        """An order of one procedure."""
        return lone_order(question, number)

    def ask(self, prepared: Order) -> bool:
        """Whether the decision allows it."""
        return decide(prepared, self.hospital, self.matrix, None, NOW).decision is Verdict.ALLOW


class Casbin:
    """pycasbin's FastEnforcer, its policy keyed by surgeon and code, so that a question meets one row at most and never a scan.

    The matcher compares the surgeon only, since the key has already compared both; it is what denies where there is no row. Rows are put
    into the policy as Casbin's own file adapter does: `add_policies` walks all rows for each row. What the library does on each question
    is left as it is, such as parsing the matcher again.
    """

    name = "Casbin"
    every = 1
    given = "one policy row per grant in force (surgeon, code), keyed by both (`FastEnforcer`, `cache_key_order`); surgeon and code"
    does = "yes or no; no reasons, dates, departments, technologies, team or record"

    _KEY = (0, 1)
    _MODEL = """
[request_definition]
r = sub, obj
[policy_definition]
p = sub, obj
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub
"""

    def __init__(self, held: Mapping[str, Sequence[str]]) -> None:
        model = FastModel(self._KEY)
        model.load_model_from_text(self._MODEL)
        self.enforcer = FastEnforcer(model, cache_key_order=self._KEY)
        rows = self.enforcer.get_model()["p"]["p"].policy
        for surgeon, codes in held.items():
            for code in codes:
                rows.append((surgeon, code))

    def prepare(self, question: Question, number: int) -> tuple[str, str]:
        """Surgeon and code."""
        return question.surgeon, question.code

    def ask(self, prepared: tuple[str, str]) -> bool:
        """Whether a row allows it."""
        return bool(self.enforcer.enforce(*prepared))


class Cedar:
    """Cedar by way of cedarpy, with policy and entities parsed beforehand.

    A surgeon is an entity whose parents are the codes held, so that `in` is one look-up in a set. That is faster than a set of codes as
    an attribute; one handle with all surgeons is as fast as one of each surgeon's own, since no call copies it; entities sent with each
    request would be parsed each time; a request of dicts is faster than one of Cedar's own syntax, which is parsed as well.
    """

    name = "Cedar"
    every = 1
    given = (
        "one policy, `principal in resource`; one entity per surgeon, whose parents are the codes in force, all parsed beforehand; "
        "principal and resource"
    )
    does = Casbin.does

    _POLICY = "permit(principal, action, resource) when { principal in resource };"

    def __init__(self, held: Mapping[str, Sequence[str]]) -> None:
        self.policies = cedarpy.PolicySet.from_str(self._POLICY)
        entities = [{"uid": _surgeon(s), "attrs": {}, "parents": [_code(c) for c in codes]} for s, codes in held.items()]
        self.entities = cedarpy.Entities.from_json_str(json.dumps(entities))

    def prepare(self, question: Question, number: int) -> dict[str, dict[str, str]]:
        """A request."""
        return {"principal": _surgeon(question.surgeon), "action": _ACTION, "resource": _code(question.code)}

    def ask(self, prepared: dict[str, dict[str, str]]) -> bool:
        """Whether the policy permits it."""
        return cedarpy.is_authorized(prepared, self.policies, self.entities).allowed


class Rego:
    """Rego by way of regopy (rego-cpp), policy and data compiled into a bundle beforehand.

    The data is an object of objects, so that a question is two look-ups by key. A query that is not compiled beforehand takes a tenth of a second
    on 4,000 grants, since it compiles policy and data each time.
    """

    name = "Rego"
    every = 20
    given = (
        "data: an object of each surgeon's codes in force, an object too; a policy of one rule, `allow if data.held[input.surgeon][input.code]`, compiled "
        "with the data into a bundle beforehand; surgeon and code"
    )
    does = Casbin.does

    _POLICY = """
package privileges
import rego.v1
allow if data.held[input.surgeon][input.code]
"""

    def __init__(self, held: Mapping[str, Sequence[str]]) -> None:
        self.interpreter = Interpreter()
        self.interpreter.well_formed_checks_enabled = False
        self.interpreter.add_data_json(json.dumps({"held": {surgeon: dict.fromkeys(codes, True) for surgeon, codes in held.items()}}))
        self.interpreter.add_module("privileges", self._POLICY)
        self.bundle = self.interpreter.build("data.privileges.allow")

    def prepare(self, question: Question, number: int) -> Any:
        """An input."""
        return Input({"surgeon": question.surgeon, "code": question.code})

    def ask(self, prepared: Any) -> bool:
        """Whether the rule holds; it is undefined otherwise."""
        self.interpreter.set_input(prepared)
        return str(self.interpreter.query_bundle(self.bundle)) != "undefined"


def _surgeon(staff: str) -> dict[str, str]:
    return {"type": "Surgeon", "id": staff}


def _code(code: str) -> dict[str, str]:
    return {"type": "Code", "id": code}
