"""What the classes of the nouns share: the transaction they work in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Executable

from idds.store.connection import Rows

if TYPE_CHECKING:
    from idds.store.database import Transaction


class Noun:
    """The statements about one noun, in one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    @property
    def _is_sqlite(self) -> bool:
        return self._tx.is_sqlite

    async def _execute(self, statement: Executable, parameters: Any = None) -> Rows:
        return await self._tx.connection.execute(statement, parameters)

    async def _driver(self, statement: str, parameters: Any) -> Rows:
        return await self._tx.connection.driver(statement, parameters)
