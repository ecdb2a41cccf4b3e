"""Collections, documents, the writes in hand, the rows to drop, and the requests answered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text(length: int) -> sa.String:
    """Compared by its bytes on every database."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "collections",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("name", _text(63), nullable=True),
        sa.Column("physical", _text(64), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("model", _text(63), nullable=True),
        sa.Column("fingerprint", _text(128), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("metric", _text(16), nullable=False),
        sa.Column("kind", _text(16), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("document_count", sa.BigInteger(), nullable=False),
        sa.Column("next_generation", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('CREATING', 'READY', 'DELETING')", name=op.f("ck_collections_state")
        ),
        sa.CheckConstraint("document_count >= 0", name=op.f("ck_collections_document_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collections")),
        sa.UniqueConstraint("name", name=op.f("uq_collections_name")),
        sa.UniqueConstraint("physical", name=op.f("uq_collections_physical")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "requests",
        sa.Column("method", _text(64), nullable=False),
        sa.Column("request_id", _text(128), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("method", "request_id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_create_time"), "requests", ["create_time"], unique=False)
    op.create_table(
        "documents",
        sa.Column(
            "collection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("document_id", _text(256), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("pack", _text(64), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_documents_collection_id")
        ),
        sa.PrimaryKeyConstraint("collection_id", "document_id", name=op.f("pk_documents")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "garbage",
        sa.Column(
            "collection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document_id", _text(256), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("due_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_garbage_collection_id")
        ),
        sa.PrimaryKeyConstraint("collection_id", "generation", name=op.f("pk_garbage")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_garbage_due_time"), "garbage", ["due_time"], unique=False)
    op.create_table(
        "pending",
        sa.Column(
            "collection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("intent", _text(32), nullable=False),
        sa.Column("document_id", _text(256), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
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
