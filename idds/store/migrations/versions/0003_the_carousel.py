"""The carousel: which tape a file comes from and how long that took, what an operator holds, whose windows they are.

And which requests the tasks of workload managers asked for.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


_JSON = sa.JSON(none_as_null=True).with_variant(
    postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
)


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "ref", name=op.f("pk_holds")),
    )
    op.create_table(
        "hints",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rse", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hints")),
        sa.UniqueConstraint("rse", "scope", "name", name=op.f("uq_hints_rse_scope_name")),
    )
    op.create_table(
        "landings",
        sa.Column("rse", sa.Text(), nullable=False),
        sa.Column("source_rse", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("took", sa.Integer(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rse", "source_rse", "at", "took", name=op.f("pk_landings")),
    )
    op.create_index(op.f("ix_landings_at"), "landings", ["at"])
    op.create_table(
        "tasks",
        sa.Column("request_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("workload_id", sa.BigInteger(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", _JSON, nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_tasks")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_tasks_request_id"), ondelete="CASCADE"),
    )
    op.create_index(op.f("ix_tasks_workload_id_request_id"), "tasks", ["workload_id", "request_id"])
    op.add_column("collections", sa.Column("source_rse", sa.Text(), nullable=True))
    op.add_column("collections", sa.Column("forced_at", sa.BigInteger(), nullable=True))
    op.add_column("replicas", sa.Column("source_rse", sa.Text(), nullable=True))
    op.add_column("replicas", sa.Column("ordered_at", sa.BigInteger(), nullable=True))
    op.add_column("replicas", sa.Column("landed_at", sa.BigInteger(), nullable=True))
    op.add_column("replicas", sa.Column("ordered_times", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("replicas", sa.Column("stalled_times", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("replicas", sa.Column("stalled_at", sa.BigInteger(), nullable=True))
    op.add_column("replicas", sa.Column("kept_until", sa.BigInteger(), nullable=True))
    op.add_column("windows", sa.Column("set_by", sa.Text(), nullable=True))
    op.add_column("windows", sa.Column("set_at", sa.BigInteger(), nullable=True))
    op.add_column("collections", sa.Column("waiting_since", sa.BigInteger(), nullable=True))
    op.add_column("windows", sa.Column("share", sa.Text(), nullable=True))
    op.add_column("windows", sa.Column("is_ended", sa.Boolean(), nullable=False, server_default=sa.false()))
    # What is gone holds nothing: only then may the window go that it was admitted through.
    op.execute("UPDATE replicas SET window_id = NULL WHERE status = 'gone'")
    # What running inputs hold counts in the quotas of their shares from now on, also where nothing bounded it.
    op.execute(
        "INSERT INTO windows (kind, ref) SELECT 'collection', CAST(collections.id AS text) FROM collections"
        " JOIN transforms ON transforms.id = collections.transform_id WHERE transforms.status = 'running'"
        " AND collections.relation = 'input' AND collections.rse IS NOT NULL ON CONFLICT (kind, ref) DO NOTHING"
    )
    op.execute(
        "UPDATE windows SET share = (SELECT requests.share FROM collections"
        " JOIN requests ON requests.id = collections.request_id"
        " WHERE collections.id = CAST(windows.ref AS bigint) AND collections.rse IS NOT NULL) WHERE kind = 'collection'"
    )
    for name, columns, where in (
        ("recalled", ["rse", "source_rse", "window_id", "bytes"], "status IN ('admitted', 'staging')"),
        ("window", ["window_id"], "window_id IS NOT NULL"),
    ):
        op.create_index(
            f"ix_replicas_{name}",
            "replicas",
            columns,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )

    op.add_column("samples", sa.Column("origin", sa.Text(), nullable=False, server_default="sampler"))
    op.add_column("samples", sa.Column("notes", _JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("samples", "notes")
    op.drop_column("samples", "origin")
    for name in ("window", "recalled"):
        op.drop_index(f"ix_replicas_{name}", "replicas")
    op.drop_column("windows", "is_ended")
    op.drop_column("windows", "share")
    op.drop_column("collections", "waiting_since")
    op.drop_column("windows", "set_at")
    op.drop_column("windows", "set_by")
    for column in (
        "kept_until",
        "stalled_at",
        "stalled_times",
        "ordered_times",
        "landed_at",
        "ordered_at",
        "source_rse",
    ):
        op.drop_column("replicas", column)
    op.drop_column("collections", "forced_at")
    op.drop_column("collections", "source_rse")
    op.drop_table("tasks")
    op.drop_table("landings")
    op.drop_table("hints")
    op.drop_table("holds")
