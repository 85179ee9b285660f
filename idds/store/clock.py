"""PostgreSQL's clock, by which all times of its databases are."""

from sqlalchemy import BigInteger, literal_column

CLOCK = literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger())
"""Microseconds UTC, as of when it is read and not of when the transaction began."""
