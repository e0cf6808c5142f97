"""Heads, seals and keys in a running gateway: what is written when, what is noticed, and that the record never waits for them."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from app.audit.heads import Seen
from app.audit.keyfile import KeyFile, SealKeyUnusable
from app.audit.rotate import rotate
from app.audit.seal import Keyring
from app.audit.store import load_keys
from app.cli import main
from app.main import Gateway
from app.store.database import Database
from tests.audit.conftest import HOSPITAL, Kept
from tests.served import ROOT, environment
from tests.service.conftest import bearer
from tests.service.orders import order

pytestmark = pytest.mark.anyio


class Running:
    """A gateway on a kept record."""

    def __init__(self, gateway: Gateway, client: httpx.AsyncClient, key: str) -> None:
        self.gateway = gateway
        self._client = client
        self._key = key

    async def check(self) -> int:
        """One decision; where its chain stands afterwards."""
        answered = await self._client.post("/v1/check", json=order(), headers=bearer(self._key))
        assert answered.status_code == 200, answered.text
        head = self.gateway.heads.read(HOSPITAL)
        return 0 if head is None else head.number

    async def ready(self) -> dict[str, Any]:
        answered = await self._client.get("/readyz")
        assert answered.status_code == 200
        made: dict[str, Any] = answered.json()["dependencies"]["seals"]
        return made

    async def metric(self, name: str) -> list[float]:
        lines = (await self._client.get("/metrics")).text.splitlines()
        return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)]


@asynccontextmanager
async def running(kept: Kept, key: str) -> AsyncIterator[Running]:
    gateway = Gateway(kept.settings)
    transport = httpx.ASGITransport(app=gateway, client=("127.0.0.1", 1))
    async with (
        gateway.app.router.lifespan_context(gateway.app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        service = Running(gateway, client, key)
        while not await service.metric("surgate_sealed_number{"):  # noqa: ASYNC110 — the first sealing, in the background
            await asyncio.sleep(0.01)
        yield service


def seen(kept: Kept) -> list[str]:
    """What the service has left in the log of seals beside them."""
    return [line.seen.event for line in kept.open().heads.logged(HOSPITAL, 1 << 40) if line.seen is not None]


async def verified(kept: Kept, *trusted: str) -> set[str]:
    report = await kept._verify(trusted)
    return {finding.what for finding in report.findings}


async def test_every_commit_leaves_a_signed_head_and_a_stop_seals_it(kept: Kept, keys: dict[str, str]) -> None:
    last = kept.entries()[-1].number
    async with running(kept, keys["his"]) as service:
        for number in range(last + 1, last + 4):
            assert await service.check() == number
        assert await service.metric("surgate_chain_number{") == [last + 3]
        assert (await kept._verify(())).sealed_until == last + 3  # by the head; its seal comes with the stop
    assert kept.rows("SELECT max(number) FROM seals") == [(last + 3,)]
    assert json.loads((kept.seals / "wahh.jsonl").read_text().splitlines()[-1])["number"] == last + 3
    assert await verified(kept) == set()


async def test_a_head_that_cannot_be_written_is_shown_and_loses_no_answer(kept: Kept, keys: dict[str, str]) -> None:
    async with running(kept, keys["his"]) as service:
        before = await service.check()
        assert (await service.ready())["status"] == "up"
        kept.seals.rename(kept.var / "away")
        kept.seals.write_text("no folder")
        answered = await service._client.post("/v1/check", json=order(), headers=bearer(keys["his"]))
        assert answered.status_code == 200
        told = await service.ready()
        assert (told["status"], "head not written" in told["detail"]) == ("down", True)
        assert sum(await service.metric("surgate_seal_failures_total")) >= 1
        kept.seals.unlink()
        (kept.var / "away").rename(kept.seals)
        assert await service.check() == before + 2
        assert (await service.ready())["status"] == "up"
    assert await verified(kept) == set()


async def test_a_head_that_fell_behind_is_signed_by_the_next_sealing(kept: Kept, keys: dict[str, str]) -> None:
    async with running(kept, keys["his"]) as service:
        await service.check()
        head = (kept.seals / "wahh.head").read_bytes()
        last = await service.check()
    (kept.seals / "wahh.head").write_bytes(head)  # as after a loss of power
    kept.run("DELETE FROM seals WHERE number = ?", last)
    log = kept.seals / "wahh.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    assert await verified(kept) == set()
    async with running(kept, keys["his"]) as service:
        await service.gateway.sealer.seal()
        head_now = service.gateway.heads.read(HOSPITAL)
        assert head_now is not None
        assert head_now.number == last
    assert await verified(kept) == set()


async def test_a_crash_between_the_log_and_the_database_is_made_up_for(kept: Kept, keys: dict[str, str]) -> None:
    kept.run("DELETE FROM seals WHERE number = (SELECT max(number) FROM seals)")
    assert await verified(kept) == set()
    async with running(kept, keys["his"]) as service:
        await service.check()
    assert await verified(kept) == set()


async def test_entries_rewritten_behind_a_running_gateway_are_noticed_at_the_next_commit(kept: Kept, keys: dict[str, str]) -> None:
    async with running(kept, keys["his"]) as service:
        last = await service.check()
        await asyncio.to_thread(kept.run, "UPDATE chain SET hash = ? WHERE number = ?", b"x" * 32, last)
        await service.check()
        assert await service.metric("surgate_chain_breaks_total") == [1]
    assert seen(kept) == ["chain_differs"]
    assert {"seen_chain_differs", "entry_changed"} <= await verified(kept)


@pytest.mark.parametrize(("event", "content"), [("head_missing", None), ("head_damaged", b"nothing"), ("head_gone_back", b"earlier")])
async def test_a_head_that_was_taken_or_put_back_leaves_its_trace(
    kept: Kept, keys: dict[str, str], event: str, content: bytes | None
) -> None:
    head = kept.seals / "wahh.head"
    earlier = head.read_bytes()
    async with running(kept, keys["his"]) as service:
        await service.check()
        await service.check()
        if content is None:
            head.unlink()
        else:
            head.write_bytes(earlier if content == b"earlier" else content)
        await service.check()
    assert event in seen(kept)
    assert f"seen_{event}" in await verified(kept)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key.pem"
    program = "import sys; from pathlib import Path; from app.audit.keyfile import KeyFile; print(KeyFile(Path(sys.argv[1])).current().fingerprint)"
    racing = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = {process.communicate()[0] for process in racing}
    assert told == {KeyFile(path).current().fingerprint + "\n"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff" * 100])
def test_a_key_file_that_holds_no_key_is_refused_and_never_written_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(SealKeyUnusable, match="SURGATE_SEAL_KEY_FILE"):
        KeyFile(path).current()
    assert path.read_bytes() == content
    refused = CliRunner().invoke(main, ["migrate"], env={"SURGATE_VAR_DIR": str(tmp_path), "SURGATE_SEAL_KEY_FILE": str(path)})
    assert (refused.exit_code, "SURGATE_SEAL_KEY_FILE" in refused.output) == (1, True)


async def test_a_rotated_key_is_vouched_for_and_used_at_once(kept: Kept, keys: dict[str, str]) -> None:
    (root,) = [key.key for key in (await kept._verify(())).keys]
    async with running(kept, keys["his"]) as service:
        await service.check()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "app", "audit", "rotate-key"],
            cwd=ROOT,
            env=environment(SURGATE_VAR_DIR=str(kept.var)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        await service.check()
        head = service.gateway.heads.read(HOSPITAL)
        assert head is not None
        assert head.key == done.stdout.split()[-1] != root
    report = await kept._verify((root,))
    assert report.whole, report.findings
    assert [key.counts for key in report.keys] == [True, True]
    assert kept.rows("SELECT kind, action FROM changes ORDER BY seq DESC LIMIT 1") == [("seal_key", "rotate")]
    assert KeyFile(kept.settings.seal_key).current().fingerprint == head.key
    kept.run("UPDATE seal_keys SET signature = ? WHERE key = ?", b"x" * 64, head.key)
    assert {"key_not_vouched", "seal_foreign"} <= await verified(kept)


async def test_a_rotation_that_was_cut_off_is_brought_to_its_end(kept: Kept) -> None:
    store = kept.open()
    old = store.heads.key_file.current()
    following = store.heads.key_file.make_following()
    shutil.copyfile(store.heads.key_file.following, kept.var / "copy")
    plain = Database(kept.settings.database)
    made = await rotate(plain, store.heads, "test")  # the waiting one is in no store: it is made anew
    assert made.fingerprint not in (old.fingerprint, following.fingerprint)
    shutil.copyfile(kept.settings.seal_key, store.heads.key_file.following)  # as if it had been cut off before the file was put in place
    assert (await rotate(plain, store.heads, "test")).fingerprint == made.fingerprint
    async with plain.read() as connection:
        assert len(await load_keys(connection)) == 2
        assert Keyring(await load_keys(connection)).newest == made.fingerprint
    await plain.close()
    await store.database.close()
    assert await verified(kept) == set()


async def test_seals_of_a_key_that_another_one_has_followed_are_found(kept: Kept) -> None:
    store = kept.open()
    old = store.heads.key_file.current()
    plain = Database(kept.settings.database)
    await rotate(plain, store.heads, "test")
    await plain.close()
    head = store.heads.read(HOSPITAL)
    assert head is not None
    store.heads._put(old.seal(HOSPITAL, head.number, bytes.fromhex(head.hash)))  # somebody has kept it
    await store.database.close()
    assert await verified(kept) == {"seal_key_retired"}


async def test_a_lost_key_shows_until_the_new_one_is_trusted_by_name(kept: Kept, keys: dict[str, str]) -> None:
    (root,) = [key.key for key in (await kept._verify(())).keys]
    kept.settings.seal_key.unlink()
    async with running(kept, keys["his"]) as service:
        await service.check()
    new = KeyFile(kept.settings.seal_key).current().fingerprint
    assert "key_not_vouched" in await verified(kept)
    assert await verified(kept, root, new) == set()


def test_doctor_shows_the_fingerprint(kept: Kept) -> None:
    told = CliRunner().invoke(main, ["doctor"], env={"SURGATE_VAR_DIR": str(kept.var)})
    assert KeyFile(kept.settings.seal_key).current().fingerprint in told.output
    kept.settings.seal_key.chmod(0o644)
    told = CliRunner().invoke(main, ["doctor"], env={"SURGATE_VAR_DIR": str(kept.var)})
    assert f"chmod 600 {kept.settings.seal_key}" in told.output


def test_what_is_seen_is_a_line_of_the_log(kept: Kept) -> None:
    line = {"event": "chain_differs", "hospital": HOSPITAL, "number": 9, "follows": 7, "at": "2026-01-01T00:00:00+00:00"}
    with (kept.seals / "wahh.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    (found,) = [f for f in kept.verify().findings if f.what == "seen_chain_differs"]
    assert (found.place.number, found.place.last) == (8, 9)
    assert Seen(**line).number == 9  # type: ignore[arg-type]
