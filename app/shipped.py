"""Where the files are that come with the project and are no code: packs, migrations, the example order."""

from __future__ import annotations

from pathlib import Path

_APP = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """A folder of the project: an installed package has it within (`[tool.hatch.build.targets.wheel.force-include]`), the sources beside it."""
    within = _APP / f"shipped_{name}"
    return within if within.is_dir() else _APP.parent / name
