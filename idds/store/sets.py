"""Sets of ids in one bound value, so that a statement about a thousand rows is one statement, planned once.

And statuses as SQL literals, so that the plan may use a partial index.
"""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Dialect, Select, Text, TypeDecorator, bindparam, literal_column
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.type_api import TypeEngine
from sqlalchemy.types import Boolean


class _IdSet(TypeDecorator[list[int]]):
    """An array on PostgreSQL, a JSON text on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return ARRAY(BigInteger()) if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: list[int] | None, dialect: Dialect) -> Any:
        return value if dialect.name == "postgresql" else json.dumps(value)


class _TextSet(_IdSet):
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return ARRAY(Text()) if dialect.name == "postgresql" else Text()


class _Among(FunctionElement[bool]):
    """A function of a column and a set, so that SQLAlchemy's cache of compiled statements knows it."""

    name = "among"
    inherit_cache = True
    type = Boolean()

    def self_group(self, against: object = None) -> "_Among":
        return self  # else SQLite gets `... = 1`, and no index is used


def _parts(element: _Among, compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(clause, **options) for clause in element.clauses]


@compiles(_Among)
def _on_sqlite(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = _parts(element, compiler, options)
    return f"{column} IN (SELECT value FROM json_each({values}))"


@compiles(_Among, "postgresql")
def _on_postgresql(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = _parts(element, compiler, options)
    return f"{column} = ANY ({values})"


class _Selected(_Among):
    """A function of a column and a subquery: PostgreSQL runs it once and then looks up what it found by the key."""

    name = "selected"
    inherit_cache = True


@compiles(_Selected)
def _selected_on_sqlite(element: _Selected, compiler: SQLCompiler, **options: Any) -> str:
    column, query = _parts(element, compiler, options)
    return f"{column} IN {query}"


@compiles(_Selected, "postgresql")
def _selected_on_postgresql(element: _Selected, compiler: SQLCompiler, **options: Any) -> str:
    column, query = _parts(element, compiler, options)
    return f"{column} = ANY (ARRAY{query})"


def among(column: ColumnElement[Any], ids: Iterable[int]) -> ColumnElement[bool]:
    """`column` is one of these ids, however many they are."""
    return _Among(column, bindparam(None, list(ids), type_=_IdSet(), unique=True))


def among_texts(column: ColumnElement[Any], texts: Iterable[str]) -> ColumnElement[bool]:
    """`column` is one of these texts, however many they are."""
    return _Among(column, bindparam(None, list(texts), type_=_TextSet(), unique=True))


def among_bound(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """`column` is one of the ids bound to `name` when the statement is run.

    For statements that stand ready in their module: building one anew costs more than running it (docs/adr/0008).
    """
    return _Among(column, bindparam(name, type_=_IdSet()))


def among_bound_texts(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The same of texts."""
    return _Among(column, bindparam(name, type_=_TextSet()))


def among_selected(column: ColumnElement[Any], query: Select[Any]) -> ColumnElement[bool]:
    """`column` is one of those that `query` selects, which is run once, also where it locks and skips rows."""
    return _Selected(column, query.correlate(None).scalar_subquery())


def is_status(column: ColumnElement[str], *statuses: StrEnum) -> ColumnElement[bool]:
    """`column` is one of these statuses, written into the statement as literals."""
    written = [literal_column(f"'{status}'", Text) for status in statuses]
    return column == written[0] if len(written) == 1 else column.in_(written)


def has_status(column: ColumnElement[str], status: StrEnum) -> ColumnElement[bool]:
    """`column` is this status, where other conditions find the rows: no partial index is read as a whole for it."""
    return (column + literal_column("''", Text)) == literal_column(f"'{status}'", Text)
