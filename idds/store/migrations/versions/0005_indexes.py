"""Rungs of successive halving are read from the newest sample on; what is available is found without statistics."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BY_VALUE = "ix_rungs_study_id_bracket_rung_value"
_BY_SAMPLE = "ix_rungs_study_id_bracket_rung_content_id_value"
_AVAILABLE = "ix_contents_available"


def upgrade() -> None:
    op.create_index(op.f(_BY_SAMPLE), "rungs", ["study_id", "bracket", "rung", "content_id", "value"])
    op.drop_index(op.f(_BY_VALUE), table_name="rungs")
    _find_available_by(["collection_id", "status", "id"])


def downgrade() -> None:
    op.create_index(op.f(_BY_VALUE), "rungs", ["study_id", "bracket", "rung", "value"])
    op.drop_index(op.f(_BY_SAMPLE), table_name="rungs")
    _find_available_by(["collection_id", "id"])


def _find_available_by(columns: list[str]) -> None:
    op.drop_index(_AVAILABLE, table_name="contents")
    where = sa.text("status = 'available'")
    op.create_index(_AVAILABLE, "contents", columns, postgresql_where=where, sqlite_where=where)
