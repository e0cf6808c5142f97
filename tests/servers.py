"""Real servers that a test starts for itself: PostgreSQL and Redis, which can be killed, frozen, started again; and a proxy that cuts or slows the
way to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.served import dies_with_its_parent, free_port

START_SECONDS = 60
PIECE = 65_536


class Server:
    """A server's process. Frozen, it holds its sockets open and answers nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """Kill every process of it at once."""
        if self.process is not None and self.process.poll() is None:
            self._signal(signal.SIGKILL)
            self.process.wait(START_SECONDS)

    def freeze(self) -> None:
        """Stop every process of it where it stands."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def _run(self, command: Sequence[str], log: Path) -> None:
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=dies_with_its_parent,
                cwd=log.parent,
                **_as_owner(),
            )


class Postgres(Server):
    """A PostgreSQL server in a folder of its own, with one superuser `surgate` that needs no password on this machine."""

    def __init__(self, folder: Path, **options: str) -> None:
        """`options` are settings of the server's."""
        super().__init__()
        self.folder = _own(folder)
        self.options = options

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        """What SURGATE_DATABASE_URL takes. `port`: a proxy's."""
        return f"postgresql+asyncpg://surgate@127.0.0.1:{port or self.port}/{database}"

    def initialize(self) -> None:
        """Make its folder of data."""
        subprocess.run(
            [_tool("initdb"), "-D", str(self.data), "-U", "surgate", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **_as_owner(),
        )

    def take(self, data: Path) -> None:
        """Begin with a copy of another server's folder of data."""
        shutil.copytree(data, self.data)
        owner = _owner()
        if owner is not None:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)

    def follow(self, primary: Postgres) -> None:
        """Begin as a replica of another server, which waits for this one with each commit."""
        subprocess.run(
            [
                _tool("pg_basebackup"),
                "-D",
                str(self.data),
                "-R",
                "-X",
                "stream",
                "--checkpoint=fast",
                "-h",
                "127.0.0.1",
                "-p",
                str(primary.port),
                "-U",
                "surgate",
            ],
            check=True,
            cwd=self.folder,
            **_as_owner(),
        )
        self.start()
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + START_SECONDS
        while primary.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1":
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.05)

    def promote(self) -> None:
        """Make a replica the primary, as whoever manages a fail-over does."""
        self.execute("ALTER SYSTEM RESET synchronous_standby_names")
        self.execute("SELECT pg_reload_conf()")
        self.execute("SELECT pg_promote()")

    def stop(self) -> None:
        """Stop it as an operator would, everything written out."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(START_SECONDS)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        settings = {"max_connections": "200", "shared_buffers": "64MB", "unix_socket_directories": str(self.folder)} | self.options
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._run([_tool("postgres"), "-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", *options], self.folder / "log")
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def execute(self, statement: str, database: str = "postgres") -> str:
        """One statement by psql; what it printed."""
        return self.psql("-c", statement, database=database)

    def psql(self, *arguments: str, database: str = "postgres") -> str:
        """psql, unaligned and without headings."""
        command = [_tool("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "surgate"]
        made = subprocess.run([*command, "-d", database, *arguments], check=False, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def _signal(self, number: int) -> None:
        # Its children are sessions of their own.
        assert self.process is not None
        if number == signal.SIGKILL:
            _kill_tree(self.process.pid)
            return
        for pid in (self.process.pid, *_children(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ready(self) -> bool:
        command = [_tool("pg_isready"), "-q", "-U", "surgate", "-d", "postgres", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


class Redis(Server):
    """A Redis server in a folder of its own. `options` are lines of its configuration."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__()
        self.folder = _own(folder)
        self.options = options

    def url(self, port: int | None = None) -> str:
        """What SURGATE_REDIS_URL takes. `port`: a proxy's."""
        return f"redis://127.0.0.1:{port or self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        file = self.folder / "redis.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", 'save ""', "appendonly no", *self.options]
        file.write_text("\n".join(lines) + "\n")
        file.chmod(0o644)
        self._run([_tool("redis-server"), str(file)], self.folder / "log")
        deadline = time.monotonic() + START_SECONDS
        while not self._call("PING").startswith(("PONG", "NOAUTH")):
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.05)

    def call(self, *words: str) -> str:
        """One command by redis-cli; what it printed."""
        return self._call(*words)

    def _call(self, *words: str) -> str:
        made = subprocess.run([_tool("redis-cli"), "-p", str(self.port), *words], check=False, capture_output=True, text=True)
        return made.stdout.strip()


class Proxy:
    """A way to a server's port that can be cut (`cut`), slowed (`slow`), left hanging (`hang`) and mended (`heal`), and forget its connections (`forget`)."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = free_port()
        self._delay = 0.0
        self._open = True
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", self.port), self._loop).result()

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        self._open = False
        self._loop.call_soon_threadsafe(self._drop)

    def hang(self) -> None:
        """Pass nothing on, and take connections all the same: a network that loses every packet."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def forget(self) -> None:
        """Never pass anything on again by the connections that there are, and say so to nobody; new ones are as ever: a firewall that was started anew."""

        def change() -> None:
            self._flowing.clear()
            self._flowing = asyncio.Event()
            self._flowing.set()

        self._loop.call_soon_threadsafe(change)

    def slow(self, seconds: float) -> None:
        """Delay every piece, each way, by that long."""
        self._delay = seconds

    def heal(self) -> None:
        """Pass everything on at once again."""
        self._open, self._delay = True, 0.0
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """End it."""
        self.cut()

        def end() -> None:
            self._server.close()
            for task in asyncio.all_tasks():
                task.cancel()
            self._loop.call_later(0.1, self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)
        self._loop.close()

    def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(source, target, self._flowing))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                await asyncio.sleep(self._delay)
                await flowing.wait()
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)


@contextmanager
def removed(server: Postgres | Redis) -> Iterator[None]:
    """A server is killed at the end, and its folder removed."""
    try:
        yield
    finally:
        server.kill()
        shutil.rmtree(server.folder)


@contextmanager
def postgres(folder: Path, **options: str) -> Iterator[Postgres]:
    """A PostgreSQL server for the time of a test, its commits on stable storage as in a hospital."""
    made = Postgres(folder, **options)
    with removed(made):
        made.initialize()
        made.start()
        yield made


@contextmanager
def redis(folder: Path, *options: str) -> Iterator[Redis]:
    """A Redis server for the time of a test."""
    made = Redis(folder, *options)
    with removed(made):
        made.start()
        yield made


@contextmanager
def proxy(to: int) -> Iterator[Proxy]:
    """A proxy for the time of a test."""
    made = Proxy(to)
    try:
        yield made
    finally:
        made.close()


def _tool(name: str) -> str:
    """A program of the servers', which Debian keeps in a folder of their version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)]))
    assert found is not None, f"{name} is not installed: make servers"
    return found


def _owner() -> pwd.struct_passwd | None:
    """Whom servers run as where the tests run as root, which PostgreSQL refuses."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _as_owner() -> dict[str, Any]:
    owner = _owner()
    return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _own(folder: Path) -> Path:
    """A folder for the servers' user: that one, or where the tests run as root, whose temporary folders nobody else may enter, one outside of them."""
    owner = _owner()
    if owner is None:
        folder.mkdir(parents=True)
        return folder
    made = Path(tempfile.mkdtemp(prefix="surgate-server-"))
    os.chown(made, owner.pw_uid, owner.pw_gid)
    return made


def _children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in task.read_text().split()]
    return found


def _kill_tree(process: int) -> None:
    children = _children(process)
    for pid in (process, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
