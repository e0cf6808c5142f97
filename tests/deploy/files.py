"""The files of the deployments, read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings, read_settings
from app.telemetry.families import FAMILIES, Family

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
KUBERNETES = ROOT / "deploy" / "kubernetes"

AGE = Family("surgate_matrix_age_seconds", "gauge", "Computed where it is asked for", ("worker",))
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "shared": ("",)}
METRICS = {f"{family.name}{suffix}": family for family in (*FAMILIES, AGE) for suffix in SUFFIXES[family.kind]}
ADDED = {"histogram": {"le"}, "gauge": {"worker"}}
FROM_PROMETHEUS = {"job", "instance"}


def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    return made


def manifests() -> list[dict[str, Any]]:
    """Every object of the cluster."""
    files = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    return [one for file in files for one in yaml.safe_load_all((KUBERNETES / file).read_text(encoding="utf-8"))]


def settings_of(given: dict[str, str]) -> Settings:
    """The settings that a container gets; raises for one that there is not, or that has a wrong value."""
    filled = {name: re.sub(r"\$\{[^}]*\}", "filled", value) for name, value in given.items()}
    return read_settings(filled)


def unknown_in(expression: str) -> list[str]:
    """What a query of Prometheus asks for that the gateway does not tell: metrics, and labels of them."""
    wrong, labels = [], set(FROM_PROMETHEUS)
    for name, selector in re.findall(r"\b(surgate_\w+|up)\b(?:\{([^}]*)\})?", expression):
        family = METRICS.get(name)
        if family is None and name != "up":
            wrong.append(name)
        of = {*family.labels, *ADDED.get(family.kind, ())} if family is not None else set()
        labels |= of
        asked = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector)
        wrong += [f"{name}{{{label}}}" for label in asked if label not in of | FROM_PROMETHEUS]
    by = [label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")]
    return wrong + [label for label in by if label not in labels]
