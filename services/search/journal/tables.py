"""The journal's tables. A change here needs a migration beside it, in `migrations/versions/`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives ids by itself only to a column of type INTEGER
_Id = BigInteger().with_variant(Integer(), "sqlite")


def _content_columns() -> tuple[Column[str], Column[int], Column[int]]:
    """Where a document's bytes lie in the content store."""
    return (
        Column("pack", String(64), nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("length", BigInteger, nullable=False),
    )


collections = Table(
    "collections",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    # null once the collection is being deleted, so that its name is free at once
    Column("name", String(63), unique=True),
    Column("physical", String(64), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("model", String(63)),
    Column("fingerprint", String(128), nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("metric", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    # JSON of what else it was created with
    Column("spec", Text, nullable=False),
    Column("document_count", BigInteger, nullable=False),
    Column("next_generation", BigInteger, nullable=False),
    # microseconds since 1970, UTC
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    CheckConstraint("state IN ('CREATING', 'READY', 'DELETING')", name="state"),
    CheckConstraint("document_count >= 0", name="document_count"),
    sqlite_autoincrement=True,
)

documents = Table(
    "documents",
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True),
    Column("document_id", String(256), primary_key=True),
    # the generation that readers see
    Column("generation", BigInteger, nullable=False),
    # rows of that generation in the engine
    Column("segments", Integer, nullable=False),
    *_content_columns(),
    Column("update_time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Writes that were begun and not acknowledged. Their rows may or may not be in the engine.
pending = Table(
    "pending",
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    # the call that began it
    Column("intent", String(32), nullable=False),
    Column("document_id", String(256), nullable=False),
    Column("segments", Integer, nullable=False),
    *_content_columns(),
    Index(None, "intent"),
    sqlite_with_rowid=False,
)

# Rows that nobody may see any more and that the engine must still drop.
garbage = Table(
    "garbage",
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("document_id", String(256), nullable=False),
    Column("segments", Integer, nullable=False),
    # not before this: an insert that timed out may still arrive
    Column("due_time", BigInteger, nullable=False),
    Index(None, "due_time"),
    sqlite_with_rowid=False,
)

# Requests answered, so that a repeated one gets the same answer.
requests = Table(
    "requests",
    metadata,
    Column("method", String(64), primary_key=True),
    Column("request_id", String(128), primary_key=True),
    # SHA-256 of what was asked
    Column("digest", LargeBinary(32), nullable=False),
    Column("result", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Index(None, "create_time"),
)
