"""Rucio as a whole: database, REST server, daemons and FTS stand-in, in a folder of its own, on loopback ports."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import psutil

from tests.servers.loopback import free_port, is_listening, wait_until

HERE = Path(__file__).parent
TOP = HERE.parent.parent.parent
ACCOUNT = "root"
SERVICE = "idds"
ACCESS = "%(m)s %(U)s %(a)s"
"""Of each call the method, the path and who it was, as gunicorn writes them; the service's client says its name."""
ALEMBIC = """[alembic]
script_location = rucio:db/sqla/migrate_repo
sqlalchemy.url = {url}
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = WARNING
handlers =
"""


@dataclass(frozen=True)
class Rse:
    """A disk unless it is a tape."""

    is_tape: bool = False


class RucioServer:
    """`database` is the URL of an empty database; `events` is where hermes posts Rucio's events to, if anywhere.

    That URL may hold a name and a password, which hermes shows.

    Raises RuntimeError where the environment of Rucio's server is missing.
    """

    def __init__(self, database: str, rses: Mapping[str, Rse], *, events: str | None = None) -> None:
        self._python = Path(os.environ.get("IDDS_RUCIO_PYTHON") or TOP / ".venv-rucio" / "bin" / "python")
        if not self._python.exists():
            raise RuntimeError("Rucio's server is not installed: ./tests/run makes .venv-rucio, with it in")
        self._database = database.replace("+asyncpg", "+psycopg")
        self._rses = rses
        self._events = events
        self.folder = Path(tempfile.mkdtemp(prefix="idds-rucio-"))
        self.password = secrets.token_urlsafe(12)
        self.port = free_port()
        self.fts_port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prefix(self, rse: str) -> Path:
        """Where an RSE keeps its files."""
        return self.folder / "rses" / rse

    def path(self, client: Any, rse: str, did: str) -> Path:
        """Where the file of a DID lies on an RSE, or would."""
        return Path(urlsplit(client.lfns2pfns(rse, [did], operation="write")[did]).path)

    def start(self) -> None:
        self._configure()
        for rse in self._rses:
            self.prefix(rse).mkdir(parents=True)
        plan = {
            "rses": {
                name: {
                    "tape": rse.is_tape,
                    "prefix": f"{self.prefix(name)}/",
                    "fts": f"http://127.0.0.1:{self.fts_port}",
                }
                for name, rse in self._rses.items()
            },
            "scopes": ["test"],
            "account": SERVICE,
            "password": self.password,
        }
        done = subprocess.run(
            [self._python, HERE / "bootstrap.py"],
            input=json.dumps(plan),
            env=self._environment(),
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"Rucio's tables could not be made:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        self.start_fts()
        self.start_rucio()

    def start_rucio(self) -> None:
        """Its server and daemons, again after `kill_rucio`."""
        gunicorn = [self._python, "-m", "gunicorn", "-w", "1", "-k", "gthread", "--threads", "8"]
        gunicorn += ["--access-logfile", self.folder / "access.log", "--access-logformat", ACCESS]
        application = "rucio.web.rest.flaskapi.v1.main:application"
        self._launch("server", [*gunicorn, "-b", f"127.0.0.1:{self.port}", application], self.port)
        self._launch("daemons", [self._python, HERE / "daemons.py"], None)

    def kill_rucio(self) -> None:
        """End its server and daemons as a crash does; database and FTS stay."""
        for name in ("server", "daemons"):
            self.kill(name)

    def kill(self, name: str) -> None:
        """End one of `server`, `daemons` and `fts`, with all its processes."""
        process = self._processes.pop(name)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children)

    async def end_tokens(self) -> None:
        """All tokens that it gave are over; its server, which remembers them for a while, is another one."""
        connection = await asyncpg.connect(self._database.replace("+psycopg", ""))
        try:
            await connection.execute("DELETE FROM tokens")
        finally:
            await connection.close()
        self.kill_rucio()
        self.start_rucio()

    def calls(self) -> Counter[str]:
        """What the service asked of the server so far: how often each method, with the first word of the path."""
        lines = (line.split() for line in self.log("access").splitlines())
        ours = ((method, path) for method, path, agent in lines if agent.startswith(f"{SERVICE}/"))
        return Counter(f"{method} {path.split('/')[1]}" for method, path in ours)

    async def order_faults(self, **faults: float) -> None:
        """What FTS does wrong from now on; see its `Faults`."""
        async with aiohttp.ClientSession() as session, session.put(self._faults, json=faults) as answer:
            answer.raise_for_status()

    async def faults(self) -> dict[str, int]:
        """How often FTS did something wrong since they were ordered, by the file's name."""
        async with aiohttp.ClientSession() as session, session.get(self._faults) as answer:
            met: dict[str, int] = await answer.json()
            return met

    @property
    def _faults(self) -> str:
        return f"http://127.0.0.1:{self.fts_port}/faults"

    def start_fts(self) -> None:
        self._launch("fts", [sys.executable, HERE / "fts.py", str(self.fts_port)], self.fts_port)

    def stop(self) -> None:
        for process in reversed(list(self._processes.values())):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    @property
    def ddm_options(self) -> dict[str, Any]:
        """What a RucioDDM is made with."""
        file = self.folder / "password"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(self.password)
        return {
            "url": self.url,
            "account": SERVICE,
            "instance": "idds tests",
            "username": SERVICE,
            "password_file": str(file),
            "changes_s": 0.5,
        }

    @property
    def client_options(self) -> dict[str, Any]:
        """What `rucio.client.Client` is made with, for root: somebody else than the service."""
        return {
            "rucio_host": self.url,
            "auth_host": self.url,
            "account": ACCOUNT,
            "auth_type": "userpass",
            "creds": {"username": "testbed", "password": self.password},
        }

    def _launch(self, name: str, command: list[Any], port: int | None) -> None:
        path = self.folder / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.folder,
            )
        self._processes[name] = process
        if port is not None:
            wait_until(lambda: is_listening(port), process, path)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "RUCIO_HOME": str(self.folder), "RUCIO_CONFIG": str(self.folder / "etc" / "rucio.cfg")}

    def _configure(self) -> None:
        templates = self._python.parent.parent / "rucio" / "etc" / "mail_templates"
        etc = self.folder / "etc"
        etc.mkdir()
        hermes = {"services_list": "elastic", "elastic_endpoint": self._events} if self._events else {}
        sections: dict[str, dict[str, Any]] = {
            "common": {"logdir": self.folder, "loglevel": "WARNING", "mailtemplatedir": templates},
            "database": {"default": self._database, "echo": 0, "pool_reset_on_return": "rollback", "pool_size": 10},
            "bootstrap": {
                "userpass_identity": "testbed",
                "userpass_pwd": self.password,
                "userpass_email": "testbed@example.org",
            },
            "alembic": {"cfg": etc / "alembic.ini"},
            "client": {"rucio_host": self.url, "auth_host": self.url, "auth_type": "userpass", "account": ACCOUNT},
            "policy": {"permission": "generic", "schema": "generic", "lfn2pfn_algorithm_default": "hash"},
            "conveyor": {
                "scheme": "file",
                "transfertool": "fts3",
                "usercert": "/dev/null",
                "bring_online": 3600,
                "use_preparer": False,
            },
            "hermes": {"services_list": "", **hermes},
        }
        text = "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) + "\n"
            for name, values in sections.items()
        )
        path = etc / "rucio.cfg"
        path.touch(mode=0o600)
        path.write_text(text)
        (etc / "alembic.ini").write_text(ALEMBIC.format(url=self._database.replace("%", "%%")))
