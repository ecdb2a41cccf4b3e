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


def _text(length: int) -> String:
    """Text that is compared by its bytes, as SQLite does. By default PostgreSQL asks the operating
    system for an order, and an update of that breaks the indexes.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _content_columns() -> tuple[Column[str], Column[int], Column[int]]:
    """Where a document's bytes lie in the content store."""
    return (
        Column("pack", _text(64), nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("length", BigInteger, nullable=False),
    )


# Search services that share the journal. One whose lease is over has died, or is as good as dead:
# what it had begun is undone or goes to another.
replicas = Table(
    "replicas",
    metadata,
    Column("id", _text(32), primary_key=True),
    Column("lease_until", BigInteger, nullable=False),
)

collections = Table(
    "collections",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    # null once the collection is being deleted, so that its name is free at once
    Column("name", _text(63), unique=True),
    Column("physical", _text(64), nullable=False, unique=True),
    Column("state", _text(16), nullable=False),
    Column("model", _text(63)),
    Column("fingerprint", _text(128), nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("metric", _text(16), nullable=False),
    Column("kind", _text(16), nullable=False),
    # JSON of what else it was created with
    Column("spec", Text, nullable=False),
    Column("document_count", BigInteger, nullable=False),
    Column("next_generation", BigInteger, nullable=False),
    # the replica that creates it; null once it is ready
    Column("owner", _text(32)),
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
    Column("document_id", _text(256), primary_key=True),
    # the generation that readers see
    Column("generation", BigInteger, nullable=False),
    # rows of that generation in the engine
    Column("segments", Integer, nullable=False),
    # where each segment lies in the content; null where the document is one segment
    Column("spans", LargeBinary),
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
    # the call or the batch of an import that began it
    Column("intent", _text(160), nullable=False),
    # the replica that serves the call; null for a batch, whose pending rows stay its own until it
    # is done, whoever works on it
    Column("owner", _text(32)),
    Column("document_id", _text(256), nullable=False),
    Column("segments", Integer, nullable=False),
    Column("spans", LargeBinary),
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
    Column("document_id", _text(256), nullable=False),
    Column("segments", Integer, nullable=False),
    # not before this: an insert that timed out may still arrive
    Column("due_time", BigInteger, nullable=False),
    Index(None, "due_time"),
    sqlite_with_rowid=False,
)

# Deletes of documents that a batch may hold which was received before and is not stored yet.
deletions = Table(
    "deletions",
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True),
    Column("document_id", _text(256), primary_key=True),
    # taken at the delete: what has a lower one was received before it
    Column("generation", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Requests answered, so that a repeated one gets the same answer.
requests = Table(
    "requests",
    metadata,
    Column("method", _text(64), primary_key=True),
    Column("request_id", _text(128), primary_key=True),
    # SHA-256 of what was asked
    Column("digest", LargeBinary(32), nullable=False),
    Column("result", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Index(None, "create_time"),
)

# Imports, and the operations of the same names.
imports = Table(
    "imports",
    metadata,
    Column("id", _text(128), primary_key=True),
    Column("request_id", _text(128), nullable=False),
    # not a foreign key: an import outlives its collection
    Column("collection_id", BigInteger, nullable=False),
    Column("collection_name", _text(63), nullable=False),
    Column("state", _text(16), nullable=False),
    # counts the streams that have brought documents: only the last one may
    Column("receiver", BigInteger, nullable=False),
    Column("received_count", BigInteger, nullable=False),
    Column("encoded_count", BigInteger, nullable=False),
    Column("stored_count", BigInteger, nullable=False),
    Column("searchable_count", BigInteger, nullable=False),
    Column("failed_count", BigInteger, nullable=False),
    Column("batch_count", Integer, nullable=False),
    # the engine's, of the last rows stored
    Column("write_token", LargeBinary, nullable=False),
    # google.rpc.Status of an import that could not go on
    Column("error", LargeBinary),
    # google.rpc.Status: why nothing can be stored at present
    Column("waiting_for", LargeBinary),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    CheckConstraint(
        "state IN ('RECEIVING', 'RUNNING', 'SUCCEEDED', 'CANCELLED', 'FAILED')", name="state"
    ),
    Index(None, "end_time"),
)

# What an import received and committed at once, to be encoded and stored at once.
import_batches = Table(
    "import_batches",
    metadata,
    Column("import_id", ForeignKey("imports.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # the first document's place in the import
    Column("position", BigInteger, nullable=False),
    Column("documents", Integer, nullable=False),
    # of the first document, taken when the batch was received: what was received last wins
    Column("generation", BigInteger, nullable=False),
    # where each document lies in the content store; null once the batch is done
    Column("refs", LargeBinary),
    # of each document, to tell a repeated import from another
    Column("digests", LargeBinary, nullable=False),
    Column("state", _text(16), nullable=False),
    # the replica that works on it, and how many have begun to: what an earlier one says no longer
    # counts
    Column("owner", _text(32)),
    Column("fence", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    # not before this: it failed, and may succeed later
    Column("due_time", BigInteger, nullable=False),
    # documents counted as encoded, so that a second attempt does not count them again
    Column("encoded", Integer, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    CheckConstraint("state IN ('WAITING', 'DONE')", name="state"),
    Index(None, "state", "due_time"),
)

# Documents that an import set aside.
import_failures = Table(
    "import_failures",
    metadata,
    Column("import_id", ForeignKey("imports.id"), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("document_id", Text, nullable=False),
    # google.rpc.Status
    Column("status", LargeBinary, nullable=False),
)
