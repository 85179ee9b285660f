"""What the classes of the nouns share: the transaction they work in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import CursorResult, Executable

if TYPE_CHECKING:
    from idds.store.database import Transaction


class Noun:
    """The statements about one noun, in one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    @property
    def _is_sqlite(self) -> bool:
        return self._tx.connection.dialect.name == "sqlite"

    async def _execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        result: CursorResult[Any] = await self._tx.connection.execute(statement, parameters)
        return result

    async def _driver(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> CursorResult[Any]:
        """Run SQL as the driver takes it: for bulk writes, where Core's compilation would be the larger part."""
        return await self._tx.connection.exec_driver_sql(statement, parameters)
