"""The tables. Times are microseconds UTC; JSON columns are opaque and never filtered on.

Hot statements repeat the conditions of the partial indexes as SQL literals: a plan made for a parameter ignores them.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key is of type INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True)


def _of(table: str, name: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, Id, ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=nullable)


_HERE = text("status <> 'gone'")
_EXPIRING = text(
    "expires_at IS NOT NULL AND status IN ('new', 'running', 'suspended') AND intent IN ('run', 'suspend', 'finish')"
)

requests = Table(
    "requests",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("share", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("workflow", Json, nullable=False),
    Column("idempotency_key", Text),
    Column("digest", Text, nullable=False),
    Column("message_seq", BigInteger, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("due_at", BigInteger),
    Column("publisher", Text),
    Column("publish_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    UniqueConstraint("owner", "vo", "idempotency_key"),
    Index(
        "ix_requests_due",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "ix_requests_expiring",
        "expires_at",
        postgresql_where=_EXPIRING,
        sqlite_where=_EXPIRING,
    ),
    Index(None, "owner", "vo", "id"),
    Index(None, "vo", "id"),
    Index(None, "status", "id"),
    # Names are looked for by how they begin, byte by byte.
    Index("ix_requests_name", "name", postgresql_ops={"name": "text_pattern_ops"}),
)

tasks = Table(
    "tasks",
    metadata,
    Column("request_id", Id, ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("workload_id", BigInteger),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("document", Json, nullable=False),
    Column("closed_at", BigInteger),
    Index(None, "workload_id", "request_id"),
)

transforms = Table(
    "transforms",
    metadata,
    _id(),
    _of("requests", "request_id", nullable=False),
    Column("work", Text, nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("open_processings", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("reason", Text),
    UniqueConstraint("request_id", "work", "iteration"),
)

collections = Table(
    "collections",
    metadata,
    _id(),
    _of("requests", "request_id", nullable=False),
    _of("transforms", "transform_id", nullable=False),
    Column("relation", Text, nullable=False),
    Column("source", Text),
    Column("source_id", Id, ForeignKey("collections.id", ondelete="CASCADE")),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("rse", Text),
    Column("source_rse", Text),
    Column("forced_at", BigInteger),
    Column("batch", Integer, nullable=False),
    Column("range_events", BigInteger),
    Column("is_closed", Boolean, nullable=False),
    Column("cut_off", Boolean, nullable=False, server_default=false()),
    Column("listed_to", Text),
    Column("retried_to", BigInteger),
    Column("next_no", BigInteger, nullable=False, server_default="0"),
    Column("unadmitted", BigInteger, nullable=False, server_default="0"),
    Column("taken_back", BigInteger, nullable=False, server_default="0"),
    Column("demand", BigInteger, nullable=False, server_default="0"),
    Column("waiting_since", BigInteger),
    *(
        Column(f"n_{status}", BigInteger, nullable=False, server_default="0")
        for status in ("new", "available", "leased", "done", "failed", "missing", "cancelled")
    ),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("transform_id", "relation"),
    Index(None, "request_id"),
    Index(None, "source_id"),
    Index(
        "ix_collections_waiting",
        "rse",
        postgresql_where=text("unadmitted > 0"),
        sqlite_where=text("unadmitted > 0"),
    ),
    Index(
        "ix_collections_studies",
        "id",
        postgresql_where=text("source = 'samples'"),
        sqlite_where=text("source = 'samples'"),
    ),
)

windows = Table(
    "windows",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("limit_bytes", BigInteger),
    Column("reserved_bytes", BigInteger, nullable=False, server_default="0"),
    Column("limit_files", BigInteger),
    Column("reserved_files", BigInteger, nullable=False, server_default="0"),
    Column("set_by", Text),
    Column("set_at", BigInteger),
    Column("share", Text),
    Column("is_ended", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("kind", "ref"),
)

holds = Table(
    "holds",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    _id(),
    Column("rse", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("adler32", Text),
    Column("status", Text, nullable=False),
    Column("rule_id", Text),
    Column("ours", Boolean, nullable=False),
    Column("path", Text),
    Column("window_id", Id, ForeignKey("windows.id")),
    Column("source_rse", Text),
    Column("ordered_at", BigInteger),
    Column("landed_at", BigInteger),
    Column("ordered_times", Integer, nullable=False, server_default="0"),
    Column("stalled_times", Integer, nullable=False, server_default="0"),
    Column("stalled_at", BigInteger),
    Column("kept_until", BigInteger),
    Column("changed_at", BigInteger, nullable=False),
    UniqueConstraint("rse", "scope", "name"),
    Index("ix_replicas_here", "rse", "status", "bytes", postgresql_where=_HERE, sqlite_where=_HERE),
    Index(
        "ix_replicas_moving",
        "rse",
        "status",
        postgresql_where=text("status IN ('staging', 'deleting')"),
        sqlite_where=text("status IN ('staging', 'deleting')"),
    ),
    # Whoever plans looks at what came since: others may want to pin it, too.
    Index(
        "ix_replicas_pinnable",
        "rse",
        "changed_at",
        "id",
        postgresql_where=text("ours AND status IN ('admitted', 'staging', 'present')"),
        sqlite_where=text("ours AND status IN ('admitted', 'staging', 'present')"),
    ),
    Index(
        "ix_replicas_recalled",
        "rse",
        "source_rse",
        "window_id",
        "bytes",
        postgresql_where=text("status IN ('admitted', 'staging')"),
        sqlite_where=text("status IN ('admitted', 'staging')"),
    ),
    # Whoever deletes a window looks for what was admitted through it.
    Index(
        "ix_replicas_window",
        "window_id",
        postgresql_where=text("window_id IS NOT NULL"),
        sqlite_where=text("window_id IS NOT NULL"),
    ),
)

hints = Table(
    "hints",
    metadata,
    _id(),
    Column("rse", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("is_deletion", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("rse", "scope", "name"),
)

# What landed, counted: one row a minute, source, destination and class of how long it took.
landings = Table(
    "landings",
    metadata,
    Column("rse", Text, primary_key=True),
    Column("source_rse", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("took", Integer, primary_key=True, autoincrement=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index(None, "at"),
)

# For which requests a replica of ours is on disk: while it is there.
stays = Table(
    "stays",
    metadata,
    Column("replica_id", Id, ForeignKey("replicas.id"), primary_key=True, autoincrement=False),
    Column("request_id", Id, ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Index(None, "request_id"),
)

# What came and went for a request, counted: one row a step of time, kind and class of how long it took.
turnover = Table(
    "turnover",
    metadata,
    Column("request_id", Id, ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("took", Integer, primary_key=True, autoincrement=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

contents = Table(
    "contents",
    metadata,
    _id(),
    Column("request_id", Id, nullable=False),
    _of("collections", "collection_id", nullable=False),
    Column("scope", Text, nullable=False, server_default=""),
    Column("name", Text, nullable=False),
    Column("min_id", BigInteger, nullable=False, server_default="0"),
    Column("max_id", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False),
    Column("adler32", Text),
    Column("group_no", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("spent", Integer, nullable=False, server_default="0"),
    Column("lessee", Text),
    Column("lease_until", BigInteger),
    Column("replica_id", Id, ForeignKey("replicas.id")),
    Column("reason", Text),
    Column("payload", Json),
    Column("events", BigInteger),
    Column("changed_at", BigInteger, nullable=False),
    UniqueConstraint("collection_id", "scope", "name", "min_id", "max_id"),
    Index(
        "ix_contents_new",
        "collection_id",
        "group_no",
        "id",
        postgresql_where=text("status = 'new'"),
        sqlite_where=text("status = 'new'"),
    ),
    Index(
        # The status stands in it, or SQLite, which has no statistics, would rather go through all of the collection.
        "ix_contents_available",
        "collection_id",
        "status",
        "id",
        postgresql_where=text("status = 'available'"),
        sqlite_where=text("status = 'available'"),
    ),
    Index(
        "ix_contents_lease",
        "lease_until",
        postgresql_where=text("status = 'leased' AND lease_until IS NOT NULL"),
        sqlite_where=text("status = 'leased' AND lease_until IS NOT NULL"),
    ),
    Index(
        "ix_contents_lessee",
        "lessee",
        postgresql_where=text("status = 'leased'"),
        sqlite_where=text("status = 'leased'"),
    ),
    Index(
        "ix_contents_pins",
        "replica_id",
        postgresql_where=text("status IN ('new', 'available', 'leased')"),
        sqlite_where=text("status IN ('new', 'available', 'leased')"),
    ),
    Index(None, "collection_id", "id"),
)

samples = Table(
    "samples",
    metadata,
    Column("content_id", Id, ForeignKey("contents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    _of("collections", "study_id", nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    # Cancelled before anybody took it, as its space was redefined or the study stopped: no retry brings it again.
    Column("is_taken_back", Boolean, nullable=False, server_default=false()),
    Column("objective_values", Json),
    Column("constraint_values", Json),
    Column("is_pruned", Boolean, nullable=False, server_default=false()),
    # The first objective value, where the result is feasible: what is best is found by an index.
    Column("score", Double),
    Column("origin", Text, nullable=False, server_default="sampler"),
    Column("notes", Json),
    # How far its evaluation is, as the study's pruner sees it.
    Column("last_step", BigInteger),
    Column("best_value", Double),
    Column("best_step", BigInteger),
    Column("rung", Integer, nullable=False, server_default="0"),
    Column("stop_reason", Text),
    UniqueConstraint("study_id", "number"),
    # What others are compared with: the newest of those that came to their end.
    Index(
        "ix_samples_complete",
        "study_id",
        "number",
        postgresql_where=text("objective_values IS NOT NULL AND NOT is_pruned"),
        sqlite_where=text("objective_values IS NOT NULL AND NOT is_pruned"),
    ),
    Index(
        "ix_samples_score",
        "study_id",
        "score",
        postgresql_where=text("score IS NOT NULL"),
        sqlite_where=text("score IS NOT NULL"),
    ),
    Index(
        "ix_samples_origin",
        "study_id",
        "origin",
        postgresql_where=text("origin <> 'sampler'"),
        sqlite_where=text("origin <> 'sampler'"),
    ),
    Index(
        "ix_samples_pruned",
        "study_id",
        postgresql_where=text("is_pruned"),
        sqlite_where=text("is_pruned"),
    ),
)

# What payloads say of samples on the way: one row a step.
intermediates = Table(
    "intermediates",
    metadata,
    Column(
        "content_id", Id, ForeignKey("samples.content_id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# Where samples stood when they came to a rung of successive halving: 0 is the lowest.
rungs = Table(
    "rungs",
    metadata,
    Column(
        "content_id", Id, ForeignKey("samples.content_id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("rung", Integer, primary_key=True, autoincrement=False),
    Column("study_id", Id, nullable=False),
    Column("bracket", Integer, nullable=False),
    Column("value", Double, nullable=False),
    # A sample is compared with the newest on its rung.
    Index(None, "study_id", "bracket", "rung", "content_id", "value"),
)

# A space that was redefined: what has no row is of the first version, which stands in the workflow.
study_versions = Table(
    "study_versions",
    metadata,
    Column("study_id", Id, ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer, nullable=False),
    Column("document", Json, nullable=False),
    Column("changes", Json, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("iteration", Integer),
    Column("at", BigInteger, nullable=False),
)

# Where a study stands that goes by iterations, or stops by what was found: folded from what is reported.
studies = Table(
    "studies",
    metadata,
    Column("study_id", Id, ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("iteration", Integer, nullable=False, server_default="1"),
    Column("heard", BigInteger, nullable=False, server_default="0"),
    Column("results", BigInteger, nullable=False, server_default="0"),
    Column("best", Double),
    Column("improved_at", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    Column("running", BigInteger, nullable=False, server_default="0"),
    Column("is_on_target", Boolean, nullable=False, server_default=false()),
    Column("stopped", Text),
)

processings = Table(
    "processings",
    metadata,
    _id(),
    _of("requests", "request_id", nullable=False),
    _of("transforms", "transform_id", nullable=False),
    Column("group_no", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("spent", Integer, nullable=False, server_default="0"),
    Column("status", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("handle", Text),
    Column("exit_code", Integer),
    Column("usage", Json),
    Column("reason", Text),
    Column("done", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("submitted_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("owner", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("due_at", BigInteger),
    UniqueConstraint("transform_id", "group_no"),
    Index(
        "ix_processings_poll",
        "provider",
        "due_at",
        postgresql_where=text("status IN ('ready', 'running')"),
        sqlite_where=text("status IN ('ready', 'running')"),
    ),
    Index(
        "ix_processings_handle",
        "handle",
        postgresql_where=text("status IN ('ready', 'running')"),
        sqlite_where=text("status IN ('ready', 'running')"),
    ),
    Index(
        "ix_processings_kept",
        "provider",
        "ended_at",
        postgresql_where=text("handle IS NOT NULL AND ended_at IS NOT NULL"),
        sqlite_where=text("handle IS NOT NULL AND ended_at IS NOT NULL"),
    ),
    Index(
        "ix_processings_open",
        "transform_id",
        "id",
        postgresql_where=text("status IN ('new', 'ready', 'running')"),
        sqlite_where=text("status IN ('new', 'ready', 'running')"),
    ),
    Index(None, "request_id", "id"),
)

effects = Table(
    "effects",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    _of("requests", "request_id"),
    Column("payload", Json, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("owner", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("entity", "attempt", "kind"),
    Index(None, "kind", "due_at"),
    Index(None, "request_id"),
    # A stale claim must never meet a new effect under an old id.
    sqlite_autoincrement=True,
)

moves = Table(
    "moves",
    metadata,
    _id(),
    _of("requests", "request_id"),
    Column("entity", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("ids", Json),
    Column("agent", Text, nullable=False),
    Column("reason", Text),
    Column("at", BigInteger, nullable=False),
    Index(None, "entity", "id"),
    Index(None, "request_id", "id"),
)

messages = Table(
    "messages",
    metadata,
    Column("request_id", Id, ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Index(
        "ix_messages_unsent",
        "request_id",
        "seq",
        postgresql_where=text("sent_at IS NULL"),
        sqlite_where=text("sent_at IS NULL"),
    ),
    Index(
        "ix_messages_sent",
        "sent_at",
        postgresql_where=text("sent_at IS NOT NULL"),
        sqlite_where=text("sent_at IS NOT NULL"),
    ),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Index(None, "received_at"),
)

tokens = Table(
    "tokens",
    metadata,
    _id(),
    Column("sha256", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("role", Text, nullable=False, server_default="user"),
    Column("shares", Json),
    Column("collection_id", Id, ForeignKey("collections.id", ondelete="CASCADE")),
    Column("made_by", Id, ForeignKey("tokens.id", ondelete="SET NULL")),
    Column("note", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index(None, "vo", "owner", "id"),
    Index(None, "made_by"),
    Index(None, "expires_at"),
    Index(None, "revoked_at"),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    Column("at", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("call", Text),
    Column("details", Json),
    Index(None, "entity", "id"),
    Index(None, "at"),
)

agents = Table(
    "agents",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("names", Json, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("duties", Json, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)
