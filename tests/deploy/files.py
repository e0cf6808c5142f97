"""The files of the deployments, read."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings, read_settings
from app.telemetry.families import FAMILIES, Family
from tests.servers import Redis, removed

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


def secrets_made(folder: Path) -> Path:
    """A folder in which `secrets.sh` was run."""
    shutil.copyfile(COMPOSE / "secrets.sh", folder / "secrets.sh")
    (folder / "secrets.sh").chmod(0o755)
    subprocess.run([str(folder / "secrets.sh")], check=True, capture_output=True)
    return folder


def passwords(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


@contextmanager
def redis_as_deployed(folder: Path) -> Iterator[tuple[Redis, str]]:
    """A server with the deployment's settings and users, but for where it listens and keeps things; and the gateway's password."""
    made = secrets_made(folder)
    server = Redis(folder / "redis")
    users = server.folder / "users.acl"
    users.write_bytes((made / "secrets" / "users.acl").read_bytes())
    users.chmod(0o644)
    lines = (COMPOSE / "redis.conf").read_text(encoding="utf-8").splitlines()
    server.options = (*(line for line in lines if not line.startswith(("#", "port ", "dir ", "aclfile "))), f"aclfile {users}")
    with removed(server):
        server.start()
        yield server, passwords(made)["REDIS_PASSWORD"]


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
