"""Schema-driven fuzzing of the running service: no 5xx, no answer outside its schema, nothing taken that the schema refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.served import environment, served

LEFT_OUT = "positive_data_acceptance"
"""A code that cannot be one, or a cursor of no list, is refused although it is a text of the right length."""

NOT_JSON = ("/metrics", "/v1/events")
"""A text for Prometheus, and a stream that does not end by itself."""

MOST_SECONDS = 420


def test_schema_driven_fuzzing_finds_nothing(tmp_path: Path, store_template: Path, keys: dict[str, str]) -> None:
    with served(tmp_path / "var", store_template, failed_keys_per_minute="10000") as service:
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{service.port}/openapi.json"]
        options = ["--header", f"Authorization: Bearer {keys['admin']}", "--exclude-checks", LEFT_OUT]
        options += [part for path in NOT_JSON for part in ("--exclude-path", path)]
        bounds = ["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--no-color"]
        found = subprocess.run(
            [*command, *options, *bounds], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=MOST_SECONDS
        )
        assert found.returncode == 0, found.stdout[-6000:]
        assert service.call("GET", "/healthz").status == 200
