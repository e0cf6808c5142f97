"""What is packed is read by versions whose values are the same, and by no other: any change of the values changes what rows and files are known by."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.cache.redis_rows import PREFIX
from app.cache.snapshot import MAGIC
from app.engine import model
from tests.served import ROOT, environment

AS_IT_IS = (PREFIX, MAGIC.decode())

_OF_ANOTHER_VERSION = """
import sys, types
module = types.ModuleType("app.engine.model")
sys.modules[module.__name__] = module
exec(compile(sys.stdin.read(), "model.py", "exec"), module.__dict__)
from app.cache.redis_rows import PREFIX
from app.cache.snapshot import MAGIC
print(PREFIX, MAGIC.decode(), sep="\\n", end="")
"""


def of_another_version(was: str, now: str, seed: str = "random") -> tuple[str, str]:
    """What rows and files begin with in a version whose values differ from ours by a text in their module."""
    source = Path(model.__file__).read_text(encoding="utf-8")
    assert source.count(was) == 1
    made = subprocess.run(
        [sys.executable, "-c", _OF_ANOTHER_VERSION],
        input=source.replace(was, now),
        cwd=ROOT,
        env=environment(PYTHONHASHSEED=seed),
        capture_output=True,
        text=True,
        check=True,
    )
    prefix, magic = made.stdout.split("\n", 1)
    return prefix, magic


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("    state: GrantState = GrantState.ACTIVE\n", "    state: GrantState = GrantState.ACTIVE\n    only_with: str = ''\n"),
        ("    requalification: Requalification = Requalification.NONE\n", ""),
        ('    REVOKED = "revoked"\n', '    REVOKED = "revoked"\n    PAUSED = "paused"\n'),
        ('    REVOKED = "revoked"\n', '    REVOKED = "withdrawn"\n'),
        ("    operator_cases: int = 0\n    supervised_cases: int = 0\n", "    supervised_cases: int = 0\n    operator_cases: int = 0\n"),
        ("    max_idle_years: int | None", "    max_idle_years: float | None"),
        ("    grantable: bool = False\n", "    grantable: bool = True\n"),
        ('Literal["training", "exemption"]', 'Literal["training", "exemption", "course"]'),
        ("    under_years: int\n", "    below_years: int\n"),
        ("    order_right: bool = False\n", "    order_right: bool = False\n    strict: bool = False\n"),
        ("    exempt: Qualification | None = None\n", "    exempt: Qualification | None = None\n    exempt_until: date | None = None\n"),
    ],
    ids=[
        "a field more",
        "a field less",
        "a member more",
        "another value",
        "another order",
        "another type",
        "another default",
        "another literal",
        "another name",
        "of the settings",
        "of what holds itself",
    ],
)
def test_a_version_whose_values_differ_has_rows_and_files_of_its_own(was: str, now: str) -> None:
    theirs = of_another_version(was, now)
    assert theirs[0] != AS_IT_IS[0]
    assert theirs[1] != AS_IT_IS[1]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_version_whose_values_are_the_same_shares_them(seed: str) -> None:
    """In whatever order this process has its sets, and whatever is said of the values."""
    assert of_another_version("One privilege of one person.", "One privilege.", seed) == AS_IT_IS
