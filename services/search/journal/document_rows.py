"""Rows of the table `documents`: what readers see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, update

from searchmesh_search.content_store import ContentRef
from searchmesh_search.engine import row_keys
from searchmesh_search.journal import write_rows
from searchmesh_search.journal.chunks import chunks
from searchmesh_search.journal.clock import NOW_US, to_datetime
from searchmesh_search.journal.tables import collections, documents
from searchmesh_search.journal.write_rows import Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

# a statement made once is compiled once; every search runs it
_BY_IDS = select(documents).where(
    documents.c.collection_id == bindparam("of_id"),
    documents.c.document_id.in_(bindparam("document_ids", expanding=True)),
)
_GENERATIONS = _BY_IDS.with_only_columns(documents.c.document_id, documents.c.generation)


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """The current generation of a document."""

    document_id: str
    generation: int
    segments: int
    spans: bytes | None
    """Where each segment lies in the content; None where the document is one segment."""
    content: ContentRef
    update_time: datetime

    def row_keys(self) -> list[str]:
        """Primary keys of its rows in the engine, one for each segment."""
        return row_keys(self.document_id, self.generation, self.segments)


def find(
    connection: Connection, collection_id: int, document_ids: Iterable[str]
) -> dict[str, DocumentRow]:
    """The documents of those ids that there are."""
    return {
        row.document_id: _from_row(row)
        for some in chunks(list(document_ids))
        for row in connection.execute(_BY_IDS, {"of_id": collection_id, "document_ids": some})
    }


def generations(
    connection: Connection, collection_id: int, document_ids: Iterable[str]
) -> Iterator[tuple[str, int]]:
    """Of the documents of those ids that there are the id and the generation that readers see."""
    for some in chunks(list(document_ids)):
        given = {"of_id": collection_id, "document_ids": some}
        for row in connection.execute(_GENERATIONS, given):
            yield row.document_id, row.generation


def changed_since(
    connection: Connection, collection_id: int, since_us: int
) -> Sequence[tuple[str, int]]:
    """The same of the documents that were written since that time, in microseconds since 1970."""
    is_written = select(collections.c.id).where(
        collections.c.id == collection_id, collections.c.update_time >= since_us
    )
    # mostly there are none, and looking at each document would take long
    if connection.execute(is_written).one_or_none() is None:
        return []
    changed = select(documents.c.document_id, documents.c.generation).where(
        documents.c.collection_id == collection_id, documents.c.update_time >= since_us
    )
    return [(row.document_id, row.generation) for row in connection.execute(changed)]


def page(
    connection: Connection, collection_id: int, after: str, limit: int
) -> Sequence[DocumentRow]:
    """Documents in order of id, those after `after`."""
    rows = connection.execute(
        select(documents)
        .where(documents.c.collection_id == collection_id, documents.c.document_id > after)
        .order_by(documents.c.document_id)
        .limit(limit)
    )
    return [_from_row(row) for row in rows]


def make_current(connection: Connection, collection_id: int, writes: Sequence[Write]) -> bool:
    """Show these writes to readers, and turn what they replace into garbage; returns whether there
    is any.

    Where a newer generation is current already, that one stays: the last write begun wins.
    """
    old = find(connection, collection_id, (one.document_id for one in writes))
    winners = [
        one
        for one in writes
        if one.document_id not in old or old[one.document_id].generation < one.generation
    ]
    won = {one.document_id for one in winners}
    losers = [one for one in writes if one.document_id not in won]
    replaced = [_as_write(old[one.document_id]) for one in winners if one.document_id in old]
    outdated = [*losers, *replaced]
    write_rows.add_garbage(connection, collection_id, outdated)
    _drop(connection, collection_id, [one.document_id for one in replaced])
    _insert(connection, collection_id, winners)
    _touch(connection, collection_id, len(winners) - len(replaced))
    return bool(outdated)


def remove(connection: Connection, collection_id: int, document_ids: Iterable[str]) -> int:
    """Hide those documents from readers and turn their rows into garbage; returns how many there
    were.
    """
    found = find(connection, collection_id, document_ids)
    write_rows.add_garbage(connection, collection_id, [_as_write(one) for one in found.values()])
    _drop(connection, collection_id, list(found))
    if found:
        _touch(connection, collection_id, -len(found))
    return len(found)


def remove_generations(
    connection: Connection, collection_id: int, generations: Mapping[str, int]
) -> list[str]:
    """The same of those documents alone that readers still see in the generation named; returns
    which they were.
    """
    removed: list[str] = []
    for some in chunks(list(generations.items())):
        is_one = and_(
            documents.c.collection_id == collection_id,
            documents.c.document_id.in_([document_id for document_id, _ in some]),
            # no two documents share one
            documents.c.generation.in_([generation for _, generation in some]),
        )
        write_rows.copy_to_garbage(connection, documents, is_one)
        dropped = delete(documents).where(is_one).returning(documents.c.document_id)
        removed += connection.execute(dropped).scalars()
    if removed:
        _touch(connection, collection_id, -len(removed))
    return removed


def _insert(connection: Connection, collection_id: int, writes: Sequence[Write]) -> None:
    if writes:
        connection.execute(
            insert(documents).values(update_time=NOW_US),
            [{**one.columns(), "collection_id": collection_id} for one in writes],
        )


def _drop(connection: Connection, collection_id: int, document_ids: Sequence[str]) -> None:
    for some in chunks(document_ids):
        connection.execute(
            delete(documents).where(
                documents.c.collection_id == collection_id, documents.c.document_id.in_(some)
            )
        )


def _touch(connection: Connection, collection_id: int, added: int) -> None:
    """Note that documents of a collection changed, and how many more there are."""
    connection.execute(
        update(collections)
        .where(collections.c.id == collection_id)
        .values(document_count=collections.c.document_count + added, update_time=NOW_US)
    )


def _as_write(row: DocumentRow) -> Write:
    return Write(row.document_id, row.generation, row.segments, row.content)


def _from_row(row: Row[Any]) -> DocumentRow:
    return DocumentRow(
        row.document_id,
        row.generation,
        row.segments,
        row.spans,
        ContentRef(row.pack, row.offset, row.length),
        to_datetime(row.update_time),
    )
