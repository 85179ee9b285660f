"""Studies: spaces that are redefined, values on the way to a result, and which token made another."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(
    postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
)


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)


def upgrade() -> None:
    op.create_table(
        "study_versions",
        sa.Column("study_id", _ID, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.Integer(), nullable=False),
        sa.Column("document", _JSON, nullable=False),
        sa.Column("changes", _JSON, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["collections.id"], name=op.f("fk_study_versions_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "version", name=op.f("pk_study_versions")),
    )
    op.create_table(
        "studies",
        sa.Column("study_id", _ID, autoincrement=False, nullable=False),
        sa.Column("iteration", sa.Integer(), server_default="1", nullable=False),
        sa.Column("heard", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("results", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("best", sa.Double(), nullable=True),
        sa.Column("improved_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("running", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("is_on_target", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("stopped", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["collections.id"], name=op.f("fk_studies_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_studies")),
    )
    with op.batch_alter_table("collections") as collections:
        collections.add_column(sa.Column("taken_back", sa.BigInteger(), server_default="0", nullable=False))
        collections.add_column(sa.Column("demand", sa.BigInteger(), server_default="0", nullable=False))
    with op.batch_alter_table("samples") as samples:
        samples.add_column(sa.Column("version", sa.Integer(), server_default="1", nullable=False))
        samples.add_column(sa.Column("is_taken_back", sa.Boolean(), server_default=sa.false(), nullable=False))
        samples.add_column(sa.Column("constraint_values", _JSON, nullable=True))
        samples.add_column(sa.Column("is_pruned", sa.Boolean(), server_default=sa.false(), nullable=False))
        samples.add_column(sa.Column("score", sa.Double(), nullable=True))
        samples.add_column(sa.Column("last_step", sa.BigInteger(), nullable=True))
        samples.add_column(sa.Column("best_value", sa.Double(), nullable=True))
        samples.add_column(sa.Column("best_step", sa.BigInteger(), nullable=True))
        samples.add_column(sa.Column("rung", sa.Integer(), server_default="0", nullable=False))
        samples.add_column(sa.Column("stop_reason", sa.Text(), nullable=True))
    op.execute("UPDATE samples SET score = CAST(objective_values ->> 0 AS DOUBLE PRECISION)")
    _index("ix_samples_score", "samples", ["study_id", "score"], "score IS NOT NULL")
    _index("ix_samples_origin", "samples", ["study_id", "origin"], "origin <> 'sampler'")
    _index("ix_samples_complete", "samples", ["study_id", "number"], "objective_values IS NOT NULL AND NOT is_pruned")
    _index("ix_samples_pruned", "samples", ["study_id"], "is_pruned")
    _index("ix_collections_studies", "collections", ["id"], "source = 'samples'")
    pinnable = "ours AND status IN ('admitted', 'staging', 'present')"
    _index("ix_replicas_pinnable", "replicas", ["rse", "changed_at", "id"], pinnable)
    op.create_table(
        "intermediates",
        sa.Column("content_id", _ID, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"], ["samples.content_id"], name=op.f("fk_intermediates_content_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("content_id", "step", name=op.f("pk_intermediates")),
    )
    op.create_table(
        "rungs",
        sa.Column("content_id", _ID, autoincrement=False, nullable=False),
        sa.Column("rung", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("study_id", _ID, nullable=False),
        sa.Column("bracket", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"], ["samples.content_id"], name=op.f("fk_rungs_content_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("content_id", "rung", name=op.f("pk_rungs")),
    )
    op.create_index(op.f("ix_rungs_study_id_bracket_rung_value"), "rungs", ["study_id", "bracket", "rung", "value"])
    _count_turnover()
    with op.batch_alter_table("hints") as hints:
        hints.add_column(sa.Column("is_deletion", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("tokens") as tokens:
        tokens.add_column(sa.Column("made_by", _ID, nullable=True))
        tokens.create_foreign_key(op.f("fk_tokens_made_by"), "tokens", ["made_by"], ["id"], ondelete="SET NULL")
    op.create_index(op.f("ix_tokens_made_by"), "tokens", ["made_by"])


def _count_turnover() -> None:
    """What has come and gone for each request so far, by the minute; how long each took is not told apart."""
    op.create_table(
        "stays",
        sa.Column("replica_id", _ID, autoincrement=False, nullable=False),
        sa.Column("request_id", _ID, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["replica_id"], ["replicas.id"], name=op.f("fk_stays_replica_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_stays_request_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("replica_id", "request_id", name=op.f("pk_stays")),
    )
    op.create_index(op.f("ix_stays_request_id"), "stays", ["request_id"])
    op.create_table(
        "turnover",
        sa.Column("request_id", _ID, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("took", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.id"], name=op.f("fk_turnover_request_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("request_id", "at", "kind", "took", name=op.f("pk_turnover")),
    )
    pinned = "SELECT DISTINCT c.request_id, r.* FROM contents c JOIN replicas r ON r.id = c.replica_id"
    for kind, at, which in (
        ("landed", "landed_at", "landed_at IS NOT NULL"),
        ("gone", "changed_at", "landed_at IS NOT NULL AND status = 'gone'"),
    ):
        op.execute(
            "INSERT INTO turnover (request_id, at, kind, took, files, bytes) "
            f"SELECT request_id, {at} - {at} % 60000000, '{kind}', -1, count(*), sum(bytes) FROM ({pinned}) AS pinned "
            f"WHERE ours AND {which} GROUP BY 1, 2"
        )
    op.execute(
        "INSERT INTO stays (replica_id, request_id) "
        f"SELECT id, request_id FROM ({pinned}) AS pinned WHERE ours AND landed_at IS NOT NULL AND status <> 'gone'"
    )


def downgrade() -> None:
    op.drop_table("turnover")
    op.drop_table("stays")
    op.drop_column("hints", "is_deletion")
    op.drop_index(op.f("ix_tokens_made_by"), table_name="tokens")
    with op.batch_alter_table("tokens") as tokens:
        tokens.drop_constraint(op.f("fk_tokens_made_by"), type_="foreignkey")
        tokens.drop_column("made_by")
    op.drop_index(op.f("ix_rungs_study_id_bracket_rung_value"), table_name="rungs")
    op.drop_table("rungs")
    op.drop_table("intermediates")
    op.drop_index("ix_replicas_pinnable", table_name="replicas")
    op.drop_index("ix_collections_studies", table_name="collections")
    for index in ("ix_samples_pruned", "ix_samples_complete", "ix_samples_origin", "ix_samples_score"):
        op.drop_index(index, table_name="samples")
    # Not in a batch: on SQLite that drops the table, and with it all that belongs to its rows.
    for column in (
        "stop_reason",
        "rung",
        "best_step",
        "best_value",
        "last_step",
        "score",
        "is_pruned",
        "constraint_values",
        "is_taken_back",
        "version",
    ):
        op.drop_column("samples", column)
    op.drop_column("collections", "demand")
    op.drop_column("collections", "taken_back")
    op.drop_table("studies")
    op.drop_table("study_versions")
