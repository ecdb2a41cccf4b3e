"""Imports and their batches, replicas that share the journal, and where segments lie."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_LATE_INSERT_SECONDS = 60
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(length: int) -> sa.String:
    """Compared by its bytes on every database."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", _text(32), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.add_column("collections", sa.Column("owner", _text(32), nullable=True))
    # being made by nobody that is still there
    op.execute("UPDATE collections SET state = 'DELETING', name = NULL WHERE state = 'CREATING'")
    op.add_column("documents", sa.Column("spans", sa.LargeBinary(), nullable=True))
    _replace_pending()
    op.create_table(
        "imports",
        sa.Column("id", _text(128), nullable=False),
        sa.Column("request_id", _text(128), nullable=False),
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("collection_name", _text(63), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("receiver", sa.BigInteger(), nullable=False),
        sa.Column("received_count", sa.BigInteger(), nullable=False),
        sa.Column("encoded_count", sa.BigInteger(), nullable=False),
        sa.Column("stored_count", sa.BigInteger(), nullable=False),
        sa.Column("searchable_count", sa.BigInteger(), nullable=False),
        sa.Column("failed_count", sa.BigInteger(), nullable=False),
        sa.Column("batch_count", sa.Integer(), nullable=False),
        sa.Column("write_token", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.Column("waiting_for", sa.LargeBinary(), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('RECEIVING', 'RUNNING', 'SUCCEEDED', 'CANCELLED', 'FAILED')",
            name=op.f("ck_imports_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index(op.f("ix_imports_end_time"), "imports", ["end_time"], unique=False)
    op.create_table(
        "import_batches",
        sa.Column("import_id", _text(128), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("refs", sa.LargeBinary(), nullable=True),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("owner", _text(32), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_time", sa.BigInteger(), nullable=False),
        sa.Column("encoded", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('WAITING', 'DONE')", name=op.f("ck_import_batches_state")),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_batches_import_id")
        ),
        sa.PrimaryKeyConstraint("import_id", "number", name=op.f("pk_import_batches")),
    )
    op.create_index(
        op.f("ix_import_batches_state"), "import_batches", ["state", "due_time"], unique=False
    )
    op.create_table(
        "import_failures",
        sa.Column("import_id", _text(128), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("status", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_failures_import_id")
        ),
        sa.PrimaryKeyConstraint("import_id", "position", name=op.f("pk_import_failures")),
    )
    op.create_table(
        "deletions",
        sa.Column("collection_id", _ID, nullable=False),
        sa.Column("document_id", _text(256), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_deletions_collection_id")
        ),
        sa.PrimaryKeyConstraint("collection_id", "document_id", name=op.f("pk_deletions")),
        sqlite_with_rowid=False,
    )


def _replace_pending() -> None:
    """Pending rows live for the time of one call: those of before are abandoned anyway, so their
    rows become garbage as at every start, once none of their inserts can be on its way any more."""
    due_time = int((time.time() + _LATE_INSERT_SECONDS) * 1e6)
    moved = sa.text(
        "INSERT INTO garbage (collection_id, generation, document_id, segments, due_time) "
        "SELECT collection_id, generation, document_id, segments, :due_time FROM pending"
    )
    op.execute(moved.bindparams(due_time=due_time))
    op.drop_table("pending")
    op.create_table(
        "pending",
        sa.Column("collection_id", _ID, nullable=False),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("intent", _text(160), nullable=False),
        sa.Column("owner", _text(32), nullable=True),
        sa.Column("document_id", _text(256), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("spans", sa.LargeBinary(), nullable=True),
        sa.Column("pack", _text(64), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_pending_collection_id")
        ),
        sa.PrimaryKeyConstraint("collection_id", "generation", name=op.f("pk_pending")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_pending_intent"), "pending", ["intent"], unique=False)
