"""Measure the engine and the service, write the results, and show them.

The figures go to `loadtests/RESULTS.md` as measured, whether a target is met or not; nothing fails on a figure. A part alone, or a quick run, which
is to see that everything works, is shown and not written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from loadtests.bench import engine, service
from loadtests.bench.engine_tables import engine_sections, engine_targets
from loadtests.bench.service_tables import service_sections, service_targets
from loadtests.bench.subjects import cerbos_version
from loadtests.bench.targets import Target, targets_table
from loadtests.bench.wrk import wrk_version
from loadtests.machine import cores, pin, surroundings

RESULTS = Path(__file__).parents[1] / "RESULTS.md"

QUICK_ENGINE = engine.Plan(grants=(400, 4_000), checked=1_000, asked=1_000, rounds=2)
QUICK_SERVICE = service.Amount(
    grants=4_000, bodies=200, verified=40, rounds=1, warm=1.0, pushed=2.0, opened=2.0, suspends=5, starts=1, imported=1_000
)

HEAD = """# Results

Written by `make bench`; do not edit. Figures are the median of the rounds, in brackets the least and the most of them. A microsecond is µs, × a ratio.
Nothing fails on a figure."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--only", choices=("engine", "service"), help="one part alone")
    parser.add_argument("--quick", action="store_true", help="little of everything")
    asked = parser.parse_args()
    on = cores()
    pin(on.load)
    targets: list[Target] = []
    sections: list[str] = []
    with tempfile.TemporaryDirectory(prefix="surgate-bench-") as folder:
        where = surroundings(
            f"the server on core {on.server}, the load on core {on.load}",
            Path(folder),
            () if asked.only == "engine" else (wrk_version(), cerbos_version()),
        )
        if asked.only != "service":
            of_engine = engine.measure(QUICK_ENGINE if asked.quick else engine.Plan())
            targets += engine_targets(of_engine)
            sections += engine_sections(of_engine)
        if asked.only != "engine":
            of_service = service.measure(QUICK_SERVICE if asked.quick else service.Amount(), on, Path(folder), _tell)
            where.append(", ".join(of_service.servers))
            targets += service_targets(of_service)
            sections += service_sections(of_service)
    text = "\n\n".join((HEAD, "\n".join(f"- {line}" for line in where), targets_table(targets), *sections)) + "\n"
    if not asked.only and not asked.quick:
        RESULTS.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
