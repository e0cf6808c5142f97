"""`surgate keys`, `migrate`, `import`, `doctor`, and a start that is refused."""

from __future__ import annotations

import shutil
import socket
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.settings import PREFIX, BadSettings, Settings, read_settings
from tests.served import ROOT

WAHH = ROOT / "packs" / "wahh"


@pytest.fixture
def var(store_template: Path, tmp_path: Path) -> Path:
    """A folder with a store of the test's own."""
    folder = tmp_path / "var"
    folder.mkdir(mode=0o700)
    shutil.copyfile(store_template, folder / "surgate.db")
    return folder


def _run(var: Path, *arguments: str, **settings: str) -> Result:
    env = {"SURGATE_VAR_DIR": str(var)} | {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(main, arguments, env=env)


def test_a_key_is_made_listed_and_revoked(var: Path) -> None:
    made = _run(var, "keys", "create", "--hospital", "wahh", "--role", "his", "--role", "ops", "--client", "HIS", "--staff", "100007")
    assert made.exit_code == 0, made.output
    text = made.stdout.splitlines()[-1]
    key_id = text.split("_")[1]
    assert text.startswith("sg_")
    line = next(line for line in _run(var, "keys", "list").stdout.splitlines() if line.startswith(key_id))
    assert line.split("  ")[1:5] == ["wahh", "HIS", "his,ops", "100007"]
    assert text not in _run(var, "keys", "list").stdout
    assert _run(var, "keys", "revoke", key_id).exit_code == 0
    assert "revoked" in next(
        line for line in _run(var, "keys", "list", "--hospital", "wahh").stdout.splitlines() if line.startswith(key_id)
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "--hospital", "nowhere", "--role", "his"], "hospital:"),
        (["create", "--hospital", "wahh", "--role", "his", "--staff", "nobody"], "staff:"),
        (["create", "--hospital", "wahh", "--role", "root"], "--role"),
        (["create", "--hospital", "wahh"], "--role"),
        (["revoke", "nothing"], "nothing was revoked"),
        (["revoke"], "--demo"),
        (["list", "--hospital", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_argument_is_named(var: Path, arguments: list[str], told: str) -> None:
    refused = _run(var, "keys", *arguments)
    assert refused.exit_code != 0
    assert told in refused.output


def test_a_store_is_made_and_a_pack_imported(tmp_path: Path) -> None:
    var = tmp_path / "var"
    assert _run(var, "migrate").exit_code == 0
    assert stat.S_IMODE(var.stat().st_mode) == 0o700
    assert stat.S_IMODE((var / "surgate.db").stat().st_mode) == 0o600
    dry = _run(var, "import", str(WAHH), "--dry-run")
    assert (dry.exit_code, "dry run" in dry.output) == (0, True), dry.output
    assert _run(var, "keys", "create", "--hospital", "wahh", "--role", "his").exit_code == 1
    assert _run(var, "import", str(WAHH)).exit_code == 0
    assert _run(var, "keys", "create", "--hospital", "wahh", "--role", "his").exit_code == 0


def test_doctor_names_every_setting_its_value_and_its_source(var: Path) -> None:
    told = _run(var, "doctor", workers="3", port=str(_free_port()))
    assert told.exit_code == 0, told.output
    lines = {line.split()[0]: line for line in told.output.splitlines() if line.startswith(PREFIX)}
    assert set(lines) == {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert lines["SURGATE_WORKERS"].split()[1:3] == ["3", "environment"]
    assert lines["SURGATE_HOST"].split()[1:3] == ["127.0.0.1", "default"]


def test_doctor_says_what_is_wrong_and_how_to_mend_it(var: Path, tmp_path: Path) -> None:
    assert _run(var, "doctor", foo="1", port="x").exit_code == 1
    told = _run(var, "doctor", foo="1", port="x").output
    assert "✗ 设置 settings: SURGATE_FOO: 未知设置" in told
    assert "✗ 设置 settings: SURGATE_PORT" in told

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        stranger.settimeout(0)
        told = _run(var, "doctor", port=str(stranger.getsockname()[1])).output
        assert "SURGATE_PORT" in told.split("✗ 端口", 1)[1]

    elsewhere = _run(var, "doctor", port=str(_free_port()), database_url=f"sqlite+aiosqlite:///{tmp_path}/nowhere/surgate.db")
    assert (elsewhere.exit_code, "mkdir" in elsewhere.output.split("✗ 数据库", 1)[1]) == (1, True), elsewhere.output

    (var / "surgate.db").write_bytes(b"not a database, or one that was damaged" * 100)
    broken = _run(var, "doctor", port=str(_free_port()))
    assert (broken.exit_code, "✗ 数据库" in broken.output) == (1, True), broken.output

    empty = tmp_path / "empty"
    assert _run(empty, "migrate").exit_code == 0
    told = _run(empty, "doctor", port=str(_free_port())).output
    assert "surgate import PACK_DIR" in told.split("✗ 医院", 1)[1]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"workesr": "2"}, "SURGATE_WORKESR"),
        ({"workers": "many", "follow_seconds": "-1"}, "SURGATE_FOLLOW_SECONDS"),
        ({"host": "0.0.0.0", "demo": "1"}, "SURGATE_HOST"),
        ({"database_url": "mysql://x"}, "SURGATE_DATABASE_URL"),
        ({"database_url": "sqlite+aiosqlite:///:memory:"}, "SURGATE_DATABASE_URL"),
        ({"var_dir": ""}, "SURGATE_VAR_DIR"),
        ({"ops_networks": "10.0.0.0/8, nowhere"}, "SURGATE_OPS_NETWORKS"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(var: Path, settings: dict[str, str], told: str) -> None:
    refused = _run(var, "serve", **settings)
    assert (refused.exit_code, told in refused.output) == (2, True), refused.output


def test_demo_keys_refuse_to_be_reachable(var: Path) -> None:
    import asyncio

    from app.serving.demo import keep_demo_keys
    from app.store.database import Database

    async def make() -> None:
        database = Database(f"sqlite+aiosqlite:///{var / 'surgate.db'}")
        await keep_demo_keys(database, var / "demo-keys.json")
        await database.close()

    asyncio.run(make())
    refused = _run(var, "serve", host="0.0.0.0", port=str(_free_port()))
    assert (refused.exit_code, "surgate keys revoke --demo" in refused.output) == (1, True), refused.output
    assert "✗ 演示密钥" in _run(var, "doctor", host="0.0.0.0", port=str(_free_port())).output
    assert _run(var, "keys", "revoke", "--demo").exit_code == 0
    assert "✗ 演示密钥" not in _run(var, "doctor", host="0.0.0.0", port=str(_free_port())).output


def test_a_port_that_is_taken_stops_the_start(var: Path) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        refused = _run(var, "serve", port=str(holder.getsockname()[1]), workers="2")
    assert (refused.exit_code, "SURGATE_PORT" in refused.output) == (1, True), refused.output


def test_settings_come_from_the_environment_that_is_handed_over() -> None:
    assert read_settings({"SURGATE_PORT": "81", "OTHER": "x"}).port == 81
    with pytest.raises(BadSettings):
        read_settings({"SURGATE_PORT": "0"})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
