"""The servers that other tests stand on."""

import socket

import asyncpg
import pytest
from sqlalchemy import Connection, text

from idds.store.database import Database
from tests.servers.mosquitto import MosquittoServer, find_mosquitto
from tests.servers.postgres import PostgresServer


async def test_a_database_is_fresh(database_url: str) -> None:
    def use(connection: Connection) -> int:
        connection.execute(text("CREATE TABLE once (n INTEGER)"))
        connection.execute(text("INSERT INTO once VALUES (1)"))
        return int(connection.execute(text("SELECT n FROM once")).scalar_one())

    database = Database(database_url)
    try:
        assert await database.run(use) == 1
    finally:
        await database.close()


test_a_database_is_fresh_again = test_a_database_is_fresh


async def test_postgres_keeps_what_was_committed_over_a_crash() -> None:
    server = PostgresServer()
    try:
        server.start()
        await server.execute("CREATE TABLE kept (n INTEGER)")
        server.kill()
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await server.execute("SELECT 1")
        server.start()
        await server.execute("INSERT INTO kept VALUES (1)")
    finally:
        server.stop()
        server.remove()


def test_mosquitto_comes_back_on_its_port(mosquitto: MosquittoServer) -> None:
    mosquitto.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", mosquitto.port), timeout=5)
    mosquitto.start()
    socket.create_connection(("127.0.0.1", mosquitto.port), timeout=5).close()


def test_a_missing_mosquitto_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="apt-get install mosquitto"):
        find_mosquitto()
