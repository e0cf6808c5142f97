"""Whether what came back is right: each function names what is wrong, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtests.day.cases import Case, Check

Answer = Mapping[str, Any]


def wrong_decision(sent: Check, answer: Answer) -> list[str]:
    """Of an answer to a check."""
    expected, about = sent.expected, f"{sent.body['request_id']} {sent.case.procedure.code}/{sent.case.operator}"
    wrong = [
        f"{about}: {name} is {answer.get(name)!r}, sent was {sent.body[name]!r}"
        for name in ("request_id", "case_id", "checkpoint")
        if answer.get(name) != sent.body[name]
    ]
    found = reasons(answer)
    if answer.get("decision") != expected.decision:
        wrong.append(
            f"{about}: {answer.get('decision')} where {_told(expected.decision, expected.reasons)} was due; found: {sorted(found)}"
        )
    elif expected.reasons and not expected.reasons & found:
        wrong.append(f"{about}: none of {sorted(expected.reasons)} among what was found: {sorted(found)}")
    override = answer.get("override") or {}
    if expected.decision == "override" and not override.get("id"):
        wrong.append(f"{about}: an override that no review was opened for")
    if expected.missing and tuple(override.get("missing", ())) != expected.missing:
        wrong.append(f"{about}: the declaration lacks {expected.missing}, the answer says {override.get('missing')}")
    return wrong


def wrong_replay(first: Answer, again: Answer) -> list[str]:
    """Of an answer to the same content under the same request id."""
    about = first.get("request_id")
    if again.get("replayed") is not True:
        return [f"{about}: decided a second time: {first.get('decision_id')} and {again.get('decision_id')}"]
    differ = sorted(name for name in first.keys() | again.keys() if name != "replayed" and first.get(name) != again.get(name))
    return [f"{about}: the replayed answer differs in {', '.join(differ)}"] if differ else []


def wrong_reading(case: Case, checkpoint: str, read: Answer) -> list[str]:
    """Of a decision read back."""
    told = case.decided[checkpoint]
    names = ("decision_id", "request_id", "case_id", "checkpoint", "decision", "procedures", "team", "findings")
    differ = [name for name in names if read.get(name) != told.get(name)]
    return [f"{case.id} {checkpoint}: read back, it differs in {', '.join(differ)}"] if differ else []


def wrong_case(case: Case, read: Answer) -> list[str]:
    """Of a case read back that nothing more comes for."""
    told = [answer["decision_id"] for answer in case.decided.values()]
    kept = [one["decision_id"] for one in read["checkpoints"]]
    wrong = [] if kept == told else [f"{case.id}: holds the decisions {kept}, answered were {told}"]
    last = list(case.decided.values())[-1]["decision"]
    if read["standing"]["decision"] != last:
        wrong.append(f"{case.id}: stands at {read['standing']['decision']}, the last answer was {last}")
    return wrong


def wrong_diff(diff: Answer, *, dry_run: bool) -> list[str]:
    """Of the import of a table just as it was exported: nothing changes."""
    changed = {name: count for name, count in diff["counts"].items() if name != "unchanged" and count}
    wrong = [f"importing what was exported would change {changed}"] if changed else []
    if diff["dry_run"] is not dry_run:
        wrong.append(f"asked for dry_run={dry_run}, the answer says {diff['dry_run']}")
    return wrong


def reasons(answer: Answer) -> set[str]:
    """The codes of everything that was found."""
    places = [answer, *answer.get("procedures", ()), *answer.get("team", ())]
    return {found["code"] for place in places for found in place.get("findings", ())}


def _told(decision: str, why: frozenset[str]) -> str:
    return f"{decision} ({', '.join(sorted(why))})" if why else decision
