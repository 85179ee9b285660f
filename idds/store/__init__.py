"""The database: SQLAlchemy Core on SQLite and PostgreSQL. One file per noun."""
