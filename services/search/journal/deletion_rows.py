"""Rows of the table `deletions`: deletes of documents that a batch may hold which was received
before and is yet to be stored. It must not bring them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Exists, Select, delete, exists, insert, select, tuple_

from searchmesh_search.journal import write_rows
from searchmesh_search.journal.batch_rows import WAITING
from searchmesh_search.journal.chunks import chunks
from searchmesh_search.journal.tables import deletions, import_batches, imports

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from searchmesh_search.journal.write_rows import Write


def add(connection: Connection, collection_id: int, document_ids: Collection[str]) -> None:
    """Note a delete, where there is a batch that it must win over."""
    has_waiting = select(_waiting().where(imports.c.collection_id == collection_id))
    if not document_ids or not connection.execute(has_waiting).scalar_one():
        return
    generation = write_rows.allocate_generations(connection, collection_id, 1)
    ids = sorted(document_ids)
    for some in chunks(ids):
        connection.execute(
            delete(deletions).where(
                deletions.c.collection_id == collection_id, deletions.c.document_id.in_(some)
            )
        )
    connection.execute(
        insert(deletions).values(collection_id=collection_id, generation=generation),
        [{"document_id": one} for one in ids],
    )


def not_deleted(connection: Connection, collection_id: int, writes: Sequence[Write]) -> list[Write]:
    """Those of the writes whose documents were not deleted after the writes were received."""
    deleted: dict[str, int] = {}
    for ids in chunks([one.document_id for one in writes]):
        found = connection.execute(
            select(deletions.c.document_id, deletions.c.generation).where(
                deletions.c.collection_id == collection_id, deletions.c.document_id.in_(ids)
            )
        )
        deleted |= {row.document_id: row.generation for row in found}
    return [one for one in writes if deleted.get(one.document_id, -1) < one.generation]


def any_settled(connection: Connection) -> bool:
    """Whether there is a delete that has nothing left to win over."""
    return connection.execute(_settled(1)).first() is not None


def forget_settled(connection: Connection, limit: int) -> bool:
    """Drop up to `limit` deletes that have nothing left to win over; whether those are all."""
    key = tuple_(deletions.c.collection_id, deletions.c.document_id)
    settled = [(row.collection_id, row.document_id) for row in connection.execute(_settled(limit))]
    connection.execute(delete(deletions).where(key.in_(settled)))
    return len(settled) < limit


def _settled(limit: int) -> Select[tuple[int, str]]:
    older = _waiting().where(
        imports.c.collection_id == deletions.c.collection_id,
        import_batches.c.generation < deletions.c.generation,
    )
    columns = deletions.c.collection_id, deletions.c.document_id
    return select(*columns).where(~older.correlate(deletions)).limit(limit)


def _waiting() -> Exists:
    """Whether there is a batch that is not done."""
    return exists().where(
        import_batches.c.import_id == imports.c.id, import_batches.c.state == WAITING
    )
