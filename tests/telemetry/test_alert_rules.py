"""The alert rules are of Prometheus' form, and ask for nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from app.telemetry.families import FAMILIES, Family

FILE = Path(__file__).parents[2] / "docs" / "prometheus-rules.yaml"
AGE = Family("surgate_matrix_age_seconds", "gauge", "Computed where it is asked for", ("worker",))
SENT = Family("surgate_outbox_dead", "gauge", "Told by the outbox")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "shared": ("",)}
ADDED = {"histogram": {"le"}, "gauge": {"worker"}}
DURATION = re.compile(r"\d+[smhd]")


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert set(document) == {"groups"}
    for group in document["groups"]:
        assert set(group) == {"name", "rules"}
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_every_rule_is_whole() -> None:
    for rule in rules():
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}, rule
        assert DURATION.fullmatch(rule.get("for", "1m")), rule
        assert rule["labels"]["severity"] in ("critical", "warning"), rule
        assert set(rule["annotations"]) == {"summary", "description"}, rule
        assert all(" / " in text for text in rule["annotations"].values()), f"Chinese first, English beside: {rule}"
        for opened, closed in ("()", "[]", "{}"):
            assert rule["expr"].count(opened) == rule["expr"].count(closed), rule
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert {"SurgateDown", "SurgateReviewsOverdue", "SurgateNotificationsDead"} <= set(names)


def test_every_metric_and_label_is_one_that_the_gateway_tells() -> None:
    known = {f"{f.name}{suffix}": f for f in (*FAMILIES, AGE, SENT) for suffix in SUFFIXES[f.kind]}
    for rule in rules():
        for name, selector in re.findall(r"\b(surgate_\w+|up)(?:\{([^}]*)\})?", rule["expr"]):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector))
            if name == "up":
                assert labels == {"job"}
                continue
            assert name in known, (rule["alert"], name)
            assert labels <= {*known[name].labels, *ADDED.get(known[name].kind, ())}, (rule["alert"], name)
        by = {label for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in group.split(", ")}
        asked = [known[name] for name in re.findall(r"\b(surgate_\w+)", rule["expr"])]
        of_prometheus = {"instance"}
        assert by <= of_prometheus | {label for family in asked for label in (*family.labels, *ADDED.get(family.kind, ()))}, rule["alert"]
        texts = str(rule["annotations"])
        assert set(re.findall(r"\$labels\.(\w+)", texts)) <= (by or {"instance"}), rule["alert"]
