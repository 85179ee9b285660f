"""Databases for the contract of the store."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.store_world import World, world_of


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """On SQLite, then on PostgreSQL."""
    async with world_of(database_url) as world:
        yield world


@pytest.fixture
async def postgres_world(postgres_url: str) -> AsyncIterator[World]:
    """On PostgreSQL, where transactions run side by side."""
    async with world_of(postgres_url) as world:
        yield world
