"""A Rucio to play with: `python -m tests.servers.rucio`, until Ctrl-C. It is gone after that."""

import asyncio
import json
import secrets
import signal
import sys
import threading
import zlib

from rucio.client import Client

from idds.runtime.secret_file import leave_secret
from tests.servers.loopback import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.rucio.server import SERVICE, Rse, RucioServer

FILES = 24
SETTINGS = """state = "{state}"

[api]
port = {port}

[access]
rucio_secret_file = "{secret}"

[ddm]
plugin = "rucio"

[ddm.options]
{options}

[rses.DISK]
window_bytes = {window}

[placement]
disk = "DISK"
outputs = "DISK"
"""


def main(told: threading.Event) -> None:
    postgres = PostgresServer()
    postgres.start()
    asyncio.run(postgres.execute("CREATE DATABASE rucio"))
    port, secret = free_port(), secrets.token_urlsafe(24)
    events = f"http://hermes:{secret}@127.0.0.1:{port}/v1/rucio/events"
    rucio = RucioServer(postgres.url("rucio"), {"TAPE": Rse(is_tape=True), "DISK": Rse()}, events=events)
    try:
        rucio.start()
        leave_secret(rucio.folder / "events-secret", secret)
        _fill(rucio)
        options = "\n".join(f"{name} = {json.dumps(value)}" for name, value in rucio.ddm_options.items())
        settings = rucio.folder / "idds.toml"
        window = FILES * 1_000_000 // 4
        settings.write_text(
            SETTINGS.format(
                state=rucio.folder / "idds-state",
                options=options,
                window=window,
                port=port,
                secret=rucio.folder / "events-secret",
            )
        )
        sys.stdout.write(
            f"Rucio     {rucio.url}, account {SERVICE}, password in {rucio.ddm_options['password_file']}\n"
            f"dataset   test:carousel, {FILES} files of 1 MB on TAPE\n"
            f"settings  idds serve --settings {settings}\n"
            f"folders   {rucio.prefix('TAPE')}, {rucio.prefix('DISK')}\n"
        )
        sys.stdout.flush()
        told.wait()
    finally:
        rucio.stop()
        rucio.remove()
        postgres.stop()
        postgres.remove()


def _fill(rucio: RucioServer) -> None:
    client = Client(**rucio.client_options)
    content = b"physics " * 125_000
    files = [
        {"scope": "test", "name": f"raw.{n:04}", "bytes": len(content), "adler32": f"{zlib.adler32(content):08x}"}
        for n in range(FILES)
    ]
    for file in files:
        path = rucio.path(client, "TAPE", f"test:{file['name']}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    client.add_replicas("TAPE", files)
    client.add_dataset("test", "carousel")
    client.attach_dids("test", "carousel", files)
    client.close("test", "carousel")
    client.session.close()


if __name__ == "__main__":
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    main(told)
