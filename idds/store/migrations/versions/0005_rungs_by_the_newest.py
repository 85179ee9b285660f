"""Rungs of successive halving are read from the newest sample on, however many came to them."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BY_VALUE = "ix_rungs_study_id_bracket_rung_value"
_BY_SAMPLE = "ix_rungs_study_id_bracket_rung_content_id_value"


def upgrade() -> None:
    op.create_index(op.f(_BY_SAMPLE), "rungs", ["study_id", "bracket", "rung", "content_id", "value"])
    op.drop_index(op.f(_BY_VALUE), table_name="rungs")


def downgrade() -> None:
    op.create_index(op.f(_BY_VALUE), "rungs", ["study_id", "bracket", "rung", "value"])
    op.drop_index(op.f(_BY_SAMPLE), table_name="rungs")
