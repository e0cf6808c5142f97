"""The command line of the day: `make day`.

With --url it runs against that deployment, with the keys in HIS_KEY, ANESTHESIA_KEY and OFFICE_KEY (roles his, anesthesia, medical_affairs), and
starts nothing. Without, it starts the demo hospital in a temporary folder and ends it afterwards. Never against a hospital's real record: what it
sends is recorded for good, and its emergencies are notified and open reviews.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from loadtests.day import summary
from loadtests.day.cases import Desk, Maker
from loadtests.day.hospital import Keys, Unfit, read_hospital
from loadtests.day.users import play
from tests.served import Served

MINUTES, DEMO_MINUTES = 10.0, 2.0
USERS = 20
VARIABLES = Keys(his="HIS_KEY", anesthesia="ANESTHESIA_KEY", office="OFFICE_KEY")


def main() -> None:
    """Run the day, tell what was seen. Exits with 1 where something was wrong or failed, with 2 where it could not begin."""
    parser = argparse.ArgumentParser(prog="loadtests.day", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="the deployment; none: the demo hospital is started")
    parser.add_argument("--minutes", type=float, help=f"how long the 24 hours take (default {MINUTES:g}; {DEMO_MINUTES:g} with the demo)")
    parser.add_argument("--users", type=int, default=USERS, help=f"callers at the busiest hour (default {USERS})")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--out", type=Path, help="a file for the summary: JSON where it ends in .json, else Markdown")
    asked = parser.parse_args()
    try:
        with deployment(asked.url.rstrip("/")) as (url, keys):
            clean = run(url, keys, asked.minutes or (MINUTES if asked.url else DEMO_MINUTES), asked)
    except (Unfit, httpx.HTTPError, httpx.InvalidURL) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if clean else 1)


@contextmanager
def deployment(url: str) -> Iterator[tuple[str, Keys]]:
    """What is run against: the one at the URL, or the demo, which ends with it."""
    if url:
        yield url, keys_of(os.environ)
    else:
        with demo() as made:
            yield made


def run(url: str, keys: Keys, minutes: float, asked: argparse.Namespace) -> bool:
    """Read the hospital, play the day, tell; whether all was right."""
    chance = random.Random(asked.seed)
    print(f"reading the hospital from {url} …", flush=True)
    hospital = read_hospital(url, keys, chance)
    lacking = sum(len(procedure.lacking) for procedure in hospital.procedures)
    print(
        f"{len(hospital.procedures)} procedures, {lacking} surgeons who may not; 24 hours in {minutes:g} min, seed {asked.seed}", flush=True
    )
    desk, tally = Desk(Maker(hospital, f"DAY-{secrets.token_hex(4)}", chance), chance), summary.Tally()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    play(keys, desk, tally, chance, url, minutes, asked.users)
    done = summary.Run(url, began, minutes, asked.users, asked.seed, desk.reached)
    print(summary.markdown(done, tally))
    if asked.out is not None:
        summary.write(asked.out, done, tally)
    return tally.clean


def keys_of(environment: Mapping[str, str]) -> Keys:
    """The keys from the environment, so that none stands in a process list or a shell's history. Raises `Unfit` where one is not there."""
    missing = [name for name in VARIABLES if not environment.get(name)]
    if missing:
        raise Unfit(f"no key in {', '.join(missing)}")
    return Keys(*(environment[name] for name in VARIABLES))


@contextmanager
def demo() -> Iterator[tuple[str, Keys]]:
    """The demo hospital, as `make serve` starts it, on a free port and in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="surgate-day-") as folder:
        gateway = Served(Path(folder) / "var", demo="1")
        try:
            gateway.start()
            made = gateway.demo_keys()
            yield f"http://127.0.0.1:{gateway.port}", Keys(made["his"], made["anesthesia"], made["medical_affairs"])
            gateway.stop()
        finally:
            gateway.kill()


if __name__ == "__main__":
    main()
