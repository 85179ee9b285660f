"""Who may, and until when: roles, tokens that are told of and revoked, an audit log, agents, requests that expire.

And what a retry has to know: how often a request was retried, how many attempts count no more, which inputs were cut
off before their source had told all, how far a retry has looked through them. And event ranges: how long they are in
an input that is cut into them, how many events a file was reported to have.

Columns are dropped by plain ALTER TABLE, never by alembic's copy of the table: on SQLite, dropping a table that others
refer to would delete their rows too.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(
    postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
)
_EXPIRING = sa.text(
    "expires_at IS NOT NULL AND status IN ('new', 'running', 'suspended') AND intent IN ('run', 'suspend', 'finish')"
)
_HERE = sa.text("status <> 'gone'")


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("duties", _JSON, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_agents")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("vo", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=True),
        sa.Column("details", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_index(op.f("ix_audit_entity_id"), "audit", ["entity", "id"])
    op.add_column("requests", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_requests_expiring", "requests", ["expires_at"], postgresql_where=_EXPIRING, sqlite_where=_EXPIRING
    )
    op.drop_index(op.f("ix_requests_vo_owner_id"), table_name="requests")
    op.create_index(op.f("ix_requests_owner_vo_id"), "requests", ["owner", "vo", "id"])
    op.create_index(op.f("ix_requests_vo_id"), "requests", ["vo", "id"])
    op.create_index(op.f("ix_requests_status_id"), "requests", ["status", "id"])
    op.create_index("ix_requests_name", "requests", ["name"], postgresql_ops={"name": "text_pattern_ops"})
    op.create_index(
        "ix_replicas_here", "replicas", ["rse", "status", "bytes"], postgresql_where=_HERE, sqlite_where=_HERE
    )
    op.add_column("requests", sa.Column("retries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("collections", sa.Column("range_events", sa.BigInteger(), nullable=True))
    op.add_column("contents", sa.Column("events", sa.BigInteger(), nullable=True))
    op.add_column("collections", sa.Column("cut_off", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("collections", sa.Column("retried_to", sa.BigInteger(), nullable=True))
    op.add_column("contents", sa.Column("spent", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("processings", sa.Column("spent", sa.Integer(), nullable=False, server_default="0"))
    # The default is for the rows that are there; whoever writes a new one says its role.
    op.add_column("tokens", sa.Column("role", sa.Text(), nullable=False, server_default="user"))
    op.execute(sa.text("UPDATE tokens SET role = 'operator' WHERE is_operator"))
    op.drop_column("tokens", "is_operator")
    op.add_column("tokens", sa.Column("shares", _JSON, nullable=True))
    op.add_column("tokens", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
    op.add_column("tokens", sa.Column("revoked_at", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_tokens_vo_owner_id"), "tokens", ["vo", "owner", "id"])
    op.create_index(op.f("ix_tokens_expires_at"), "tokens", ["expires_at"])
    op.create_index(op.f("ix_tokens_revoked_at"), "tokens", ["revoked_at"])


def downgrade() -> None:
    for name in ("revoked_at", "expires_at", "vo_owner_id"):
        op.drop_index(op.f(f"ix_tokens_{name}"), table_name="tokens")
    # What 0001 cannot hold back would be let in to more than it may: better not at all.
    op.execute(
        sa.text(
            "DELETE FROM tokens WHERE revoked_at IS NOT NULL OR shares IS NOT NULL OR role NOT IN ('user', 'operator')"
        )
    )
    op.add_column("tokens", sa.Column("is_operator", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(sa.text("UPDATE tokens SET is_operator = (role = 'operator')"))
    for column in ("role", "shares", "last_used_at", "revoked_at"):
        op.drop_column("tokens", column)
    op.drop_column("processings", "spent")
    op.drop_column("contents", "spent")
    op.drop_column("collections", "retried_to")
    op.drop_column("collections", "cut_off")
    op.drop_column("contents", "events")
    op.drop_column("collections", "range_events")
    op.drop_column("requests", "retries")
    for name in ("ix_requests_name", "ix_requests_status_id", "ix_requests_vo_id", "ix_requests_owner_vo_id"):
        op.drop_index(name, table_name="requests")
    op.create_index(op.f("ix_requests_vo_owner_id"), "requests", ["vo", "owner", "id"])
    op.drop_index("ix_replicas_here", table_name="replicas")
    op.drop_index("ix_requests_expiring", table_name="requests")
    op.drop_column("requests", "expires_at")
    op.drop_table("audit")
    op.drop_table("agents")
