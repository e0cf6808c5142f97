"""Every kind of Redis that a URL can name: with an ACL user, over TLS, watched by Sentinels, a cluster."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.cache.redis_address import parse
from app.settings import BadSettings, Settings, read_settings
from tests.deploy.files import redis_as_deployed
from tests.relay.conftest import HOSPITAL, SURGEON, Workers, change, complete, honoured, status, until, working
from tests.served import free_port
from tests.servers import START_SECONDS, Redis, _tool, redis

pytestmark = pytest.mark.anyio

SECRET = "p@ss:w/ord%"
QUOTED = "p%40ss%3Aw%2Ford%25"
MAY = "+hget +hmget +hset +hdel +hlen +hscan +eval +rename +del +expire +persist +set +xadd +xread +xrevrange"
MAY_IN_A_CLUSTER = "+cluster|slots +command"


@pytest.fixture
async def at(settings: Settings) -> AsyncIterator[Callable[[str], Workers]]:
    """Workers at a URL."""
    async with working(settings, "") as made:

        def there(url: str) -> Workers:
            made.url = url
            return made

        yield there


async def _goes(workers: Workers) -> None:
    """Written by one, read by another, told to a third, which look at nothing by themselves."""
    first = await workers.start("first")
    await until(lambda: complete(first))
    second = await workers.start("second")
    assert second.reads("hospital", "redis") == 1
    await until(lambda: first.relay.is_heard and second.relay.is_heard)
    seq = await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
    await honoured(first.database, seq)
    assert second.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended"
    assert second.reads("people", "redis") == 1


async def test_a_user_with_no_more_rights_than_it_needs(
    tmp_path: Path, at: Callable[[str], Workers], caplog: pytest.LogCaptureFixture
) -> None:
    users = ("user default on nopass -@all +ping", f"user surgate on >{SECRET} ~surgate:1:* -@all {MAY}")
    with redis(tmp_path / "redis", *users) as server:
        await _goes(at(f"redis://surgate:{QUOTED}@127.0.0.1:{server.port}/0"))
        wrong = await at(f"redis://surgate:not-{QUOTED}@127.0.0.1:{server.port}/0").start("wrong")
        await until(lambda: not wrong.relay._way.up)
        assert wrong.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended"
        assert "is away" in caplog.text
        assert SECRET not in caplog.text
        assert QUOTED not in caplog.text


async def test_the_user_that_the_deployments_files_make(tmp_path: Path, at: Callable[[str], Workers]) -> None:
    with redis_as_deployed(tmp_path) as (server, password):
        await _goes(at(f"redis://surgate:{password}@127.0.0.1:{server.port}/0"))


async def test_over_tls_with_a_ca_of_the_hospitals_own(tmp_path: Path, at: Callable[[str], Workers]) -> None:
    server, port = Redis(tmp_path / "redis"), free_port()
    ca, certificate, key = _certificates(server.folder)
    files = (f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {ca}")
    server.options = (f"tls-port {port}", *files, "tls-auth-clients no")
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        await _goes(at(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}"))
        stranger = await at(f"rediss://127.0.0.1:{port}/0").start("stranger")
        assert stranger.reads("hospital", "redis") == 0  # nobody that it trusts vouches for the server


async def test_a_cluster(tmp_path: Path, at: Callable[[str], Workers]) -> None:
    with _cluster(tmp_path / "redis") as server:
        await _goes(at(f"redis+cluster://127.0.0.1:{server.port}"))


async def test_a_cluster_that_asks_for_a_user(tmp_path: Path, at: Callable[[str], Workers]) -> None:
    """Its client asks besides where each hospital's keys are, and which words of a command are keys."""
    user = f"user surgate on >{SECRET} ~surgate:1:* -@all {MAY} {MAY_IN_A_CLUSTER}"
    with _cluster(tmp_path / "redis", user) as server:
        await _goes(at(f"redis+cluster://surgate:{QUOTED}@127.0.0.1:{server.port}"))


@pytest.mark.usefixtures("impatient")
async def test_a_cluster_that_is_gone_is_done_without_and_found_again(tmp_path: Path, at: Callable[[str], Workers]) -> None:
    with _cluster(tmp_path / "redis") as server:
        workers = at(f"redis+cluster://127.0.0.1:{server.port}")
        first = await workers.start("first")
        await until(lambda: complete(first))
        await until(lambda: first.relay.is_heard)
        server.kill()
        await until(lambda: not first.relay.is_heard and not first.relay._way.up)
        second = await workers.start("second")
        assert second.reads("hospital", "database") == 1
        seq = await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
        first.live.moved(seq)
        await until(lambda: first.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended")
        server.start()
        for worker in (first, second):
            await until(lambda worker=worker: worker.relay.is_heard and worker.relay._way.up)  # type: ignore[misc]
        await until(lambda: complete(first))


async def test_sentinels_name_another_server_when_one_is_gone(tmp_path: Path, at: Callable[[str], Workers]) -> None:
    with redis(tmp_path / "master") as master, redis(tmp_path / "replica", f"replicaof 127.0.0.1 {master.port}") as replica:
        await until(lambda: "master_link_status:up" in replica.call("INFO", "replication"))
        with _sentinel(tmp_path / "sentinel", master) as sentinel:
            await until(lambda: "slaves=1" in sentinel.call("INFO", "sentinel"))
            workers = at(f"redis+sentinel://127.0.0.1:{sentinel.port}/grants")
            first = await workers.start("first")
            await until(lambda: complete(first))
            master.kill()
            await until(lambda: "role:master" in replica.call("INFO", "replication"))
            await until(lambda: complete(first))
            await until(lambda: first.relay.is_heard)
            await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
            await until(lambda: first.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended")
            await until(lambda: complete(first))
            second = await workers.start("second")
            assert second.reads("hospital", "redis") == 1


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h:6379/0"),
        (f"redis://u:{QUOTED}@h:1/3", "redis://h:1/3"),
        ("rediss://[::1]:7/0?ssl_ca_certs=/ca.pem", "rediss://::1:7/0"),
        (f"redis+sentinel://u:{QUOTED}@a,b:5/name?db=2&sentinel_password=x", "redis+sentinel://a:26379,b:5/name"),
        ("rediss+cluster://a:1,b:2", "rediss+cluster://a:1,b:2/0"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    address = parse(url)
    assert (address.shown, repr(address)) == (shown, shown)
    assert address.password == (SECRET if QUOTED in url else None)


@pytest.mark.parametrize(
    "url",
    [
        "http://secret@h",
        "redis://",
        "redis://secret/word@h:1/0",
        "redis://u:secret@h:port/0",
        "redis://u:secret@a,b/0",
        "redis://u:secret@h/0?colour=red",
        "redis+sentinel://u:secret@h",
        "redis+cluster://u:secret@h?db=1",
        "redis+other://secret@h",
    ],
)
def test_a_wrong_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadSettings, match="SURGATE_REDIS_URL") as refused:
        read_settings({"SURGATE_REDIS_URL": url})
    assert "secret" not in str(refused.value)


def test_settings_that_are_printed_do_not_tell_the_password() -> None:
    assert "secret" not in repr(read_settings({"SURGATE_REDIS_URL": "redis://u:secret@h/0"}))


@contextmanager
def _cluster(folder: Path, *options: str) -> Iterator[Redis]:
    """A cluster of one server."""
    with redis(folder, "cluster-enabled yes", f"cluster-port {free_port()}", *options) as made:
        made.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        deadline = time.monotonic() + START_SECONDS
        while "cluster_state:ok" not in made.call("CLUSTER", "INFO"):
            assert time.monotonic() < deadline, (made.folder / "log").read_text()
            time.sleep(0.05)
        yield made


@contextmanager
def _sentinel(folder: Path, master: Redis) -> Iterator[Redis]:
    made = Redis(folder)
    file = made.folder / "sentinel.conf"
    lines = (
        f"port {made.port}",
        "bind 127.0.0.1",
        f"dir {made.folder}",
        f"sentinel monitor grants 127.0.0.1 {master.port} 1",
        "sentinel down-after-milliseconds grants 1000",
        "sentinel failover-timeout grants 5000",
    )
    file.write_text("\n".join(lines) + "\n")
    os.chown(file, made.folder.stat().st_uid, made.folder.stat().st_gid)  # it writes down what it learns
    made._run([_tool("redis-server"), str(file), "--sentinel"], made.folder / "log")
    try:
        deadline = time.monotonic() + START_SECONDS
        while made.call("PING") != "PONG":
            assert time.monotonic() < deadline, (made.folder / "log").read_text()
            time.sleep(0.05)
        yield made
    finally:
        made.kill()


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A CA's certificate, and a server's with its key, for 127.0.0.1."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A hospital's CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)

    def made(subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(
            ca_name, subject, public, x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1)
        )
        signed = builder.add_extension(extension, critical=True).sign(ca_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    kept = (
        made(ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None)),
        made(name, key.public_key(), place),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    files = (folder / "ca.pem", folder / "server.pem", folder / "server.key")
    for file, content in zip(files, kept, strict=True):
        file.write_bytes(content)
    return files
