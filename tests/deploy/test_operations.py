"""docs/operations.md: a runbook entry for each alert, and no command, setting or path that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from app.cli import main
from app.main import Gateway
from app.settings import PREFIX, Settings
from tests.deploy.files import ROOT, unknown_in

TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((ROOT / "docs" / "prometheus-rules.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]


def test_every_alert_has_an_entry_and_every_entry_an_alert() -> None:
    assert re.findall(r"^### (Surgate\w+)$", TEXT, re.MULTILINE) == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_asks_for_what_the_gateway_tells(rule: dict[str, str]) -> None:
    assert not unknown_in(rule["expr"])


def test_a_query_for_what_is_not_there_is_seen() -> None:
    wrong = 'sum by (place) (rate(surgate_no_such_total{job="surgate"}[5m])) + surgate_outbox_dead{kind="x"}'
    assert unknown_in(wrong) == ["surgate_no_such_total", "surgate_outbox_dead{kind}", "place"]


def test_every_setting_that_is_named_is_one() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"SURGATE_[A-Z_]+[A-Z]", TEXT)) <= known


def test_every_command_that_is_named_is_one() -> None:
    for words in re.findall(r"`?surgate ((?:[a-z][a-z-]+ ?)+)", TEXT):
        command: click.Command = main
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            found = command.get_command(click.Context(command), word)
            assert found is not None, words
            command = found


def test_every_path_that_is_named_is_one(tmp_path: Path) -> None:
    paths = Gateway(Settings(var_dir=tmp_path)).app.openapi()["paths"]
    known = [(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, methods in paths.items() for method in methods]
    named = re.findall(r"(GET|POST|DELETE) (/v1/[\w/{}]+)", TEXT)
    assert named
    assert {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in named} <= set(known)


def test_every_file_that_is_named_is_there() -> None:
    linked = [target.split("#")[0] for target in re.findall(r"\]\(([^)#][^)]*)\)", TEXT)]
    assert all((ROOT / "docs" / target).is_file() for target in linked), linked
    for file in re.findall(r"`((?:tests|deploy|loadtests)/[\w/.-]*)`", TEXT):
        assert (ROOT / file).exists(), file
