"""`surgate check`, `surgate explain`, `surgate validate`: a pack and an order on the command line, without a service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from app.api.orders import convert_order
from app.cli.common import failure, read_pack
from app.engine.decide import OtherPatient
from app.engine.history import extended
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import CaseHistory, Decision, MatrixState, Order, Verdict
from app.errors import BadInput
from app.explain import Explanation, as_text, decision_lines, explain

EXIT_DENIED = 1


def _order_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for a program."),
        click.option("--now", metavar="TIME", help="Judge as at this instant (RFC 3339 with offset); the clock's otherwise."),
        click.option("--pack", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The hospital's pack."),
        click.argument("file", type=click.File("rb")),
    ):
        command = option(command)
    return command


@click.command()
@_order_options
def check(file: Any, pack: Path, now: str | None, as_json: bool) -> None:
    """Judge the order in FILE (`-`: standard input), as POST /v1/check takes it.

    FILE may hold a list of orders: those of one case are then its checkpoints, each judged against the ones before.
    Exits with 1 where one is denied, with 2 for bad input.
    """
    desk = _Desk(pack, now)
    judged = [(order, desk.decide(order)) for order in _orders(file, desk)]
    if as_json:
        click.echo(_pretty([decision for _, decision in judged]))
    else:
        click.echo("\n".join("\n".join([_heading(order), *decision_lines(order, decision)]) for order, decision in judged))
    sys.exit(EXIT_DENIED if any(decision.decision is Verdict.DENY for _, decision in judged) else 0)


@click.command(name="explain")
@_order_options
def explain_command(file: Any, pack: Path, now: str | None, as_json: bool) -> None:
    """Judge the order in FILE and tell of every rule that was looked at, what it saw and how it ended."""
    desk = _Desk(pack, now)
    judged = [(order, desk.explain(order)) for order in _orders(file, desk)]
    if as_json:
        click.echo(_pretty([explanation.answer() for _, explanation in judged]))
    else:
        click.echo("\n\n".join(as_text(order, explanation) for order, explanation in judged))
    sys.exit(EXIT_DENIED if any(explanation.decision.decision is Verdict.DENY for _, explanation in judged) else 0)


@click.command()
@click.argument("pack", type=click.Path(exists=True, file_okay=False, path_type=Path))
def validate(pack: Path) -> None:
    """Read a hospital's PACK as a whole and list every problem with file, row, column and why."""
    loaded = read_pack(pack)
    hospital = loaded.hospital
    counts = {
        "目录条目 catalog entries": len(hospital.entries),
        "编码对照 aliases": len(hospital.aliases),
        "技术 technologies": len(hospital.technologies),
        "人员 staff": len(loaded.people),
        "授权 grants": sum(len(p.grants) for p in loaded.people),
    }
    for warning in loaded.warnings:
        click.echo(f"注意 note: {warning}")
    click.echo(f"{hospital.name}（{hospital.code}）: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


class _Desk:
    """A loaded pack, the instant to judge at, and the cases seen so far."""

    def __init__(self, pack: Path, now: str | None) -> None:
        loaded = read_pack(pack)
        self.now = _instant(now)
        self.hospital = CompiledHospital(loaded.hospital)
        self.matrix = Matrix(loaded.people, MatrixState(version=1, as_of=self.now))
        self.histories: dict[str, CaseHistory] = {}

    def decide(self, order: Order) -> Decision:
        """The decision, kept for the case's later checkpoints."""
        return self.explain(order).decision

    def explain(self, order: Order) -> Explanation:
        """The decision with its trace, kept for the case's later checkpoints."""
        history = self.histories.get(order.case_id)
        try:
            explanation = explain(order, self.hospital, self.matrix, history, self.now)
        except OtherPatient:
            raise failure(f"case_id: 例次 {order.case_id} 属于另一名患者 / case {order.case_id} belongs to another patient") from None
        self.histories[order.case_id] = extended(history, order, explanation.decision)
        return explanation


def _orders(file: Any, desk: _Desk) -> Iterator[Order]:
    try:
        content = msgspec.json.decode(file.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise failure(f"不是有效的JSON / not valid JSON: {error}") from None
    for one in content if isinstance(content, list) else [content]:
        try:
            yield convert_order(one, desk.hospital.policy.flags)
        except BadInput as error:
            raise failure("\n".join(f"{e.field or '(order)'}: {e.message}" for e in error.errors)) from None


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise failure(f"--now: “{text}” 不是RFC 3339时间 / is no RFC 3339 time") from None
    if instant.tzinfo is None:
        raise failure("--now: 缺少时区 / the offset is missing, e.g. 2026-11-22T09:00:00+08:00")
    return instant


def _heading(order: Order) -> str:
    codes = ", ".join(f"{p.code}/{p.operator}" for p in order.procedures)
    return f"{order.request_id} {order.checkpoint.value} {order.case_id} {order.department} {codes}"


def _pretty(values: list[Any]) -> str:
    """JSON: the one value itself, several as a list."""
    value = values[0] if len(values) == 1 else values
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
