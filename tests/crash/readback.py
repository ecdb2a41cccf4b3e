"""Everything read back, by every way there is, once the mesh has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import URL, select

from searchmesh_search.content_store import SUFFIX
from searchmesh_search.deadline import Deadline
from searchmesh_search.engine import row_key
from searchmesh_search.journal import Journal, content_rows
from searchmesh_search.journal.sqlite import SqliteDatabase
from searchmesh_search.journal.tables import collections, documents, garbage, pending
from searchmesh_search.milvus_engine import MilvusEngine
from tests.search.engines import until_up

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine, Table

    from searchmesh import Client

_SECONDS = 60.0


def read(client: Client, collection: str) -> tuple[dict[str, str], list[str]]:
    """What a collection's documents hold, and what does not fit together about it."""
    listed = list(client.list_documents(collection, page_size=50, timeout=_SECONDS))
    found = {one.id: str(one.content) for one in listed}
    faults = []
    if len(found) < len(listed):
        faults.append("a document is listed twice")
    count = client.count_documents(collection, timeout=_SECONDS)
    if count != len(listed):
        faults.append(f"{count} documents are counted, {len(listed)} listed")
    if found:
        faults += _search_all(client, collection, found)
    return found, faults


def _search_all(client: Client, collection: str, found: dict[str, str]) -> list[str]:
    """A search for more documents than there are finds each once, as it is now."""
    text = next(iter(found.values()))
    hits = client.search(
        collection, text, limit=1000, output_fields=["$content"], timeout=_SECONDS
    ).hits
    faults = []
    if len({hit.id for hit in hits}) < len(hits):
        faults.append("a search shows a document twice")
    shown = {hit.id: str(hit.content) for hit in hits}
    if shown != found:
        differing = sorted(shown.items() ^ found.items())
        faults.append(f"a search shows what the list does not, or the reverse: {differing[:6]}")
    return faults


def packs(home: Path) -> tuple[set[str], set[str]]:
    """Of the content store, while it is written to: packs that are there and that nothing points
    to, and those that are not there and that something points to.
    """
    url = URL.create("sqlite", database=str(home / "journal.db"))
    reader = SqliteDatabase(url).create_reader(1)
    try:
        # listed in between: what was made before is there, and what was deleted since was unused
        before = _used_packs(reader)
        there = {path.stem for path in (home / "contents").glob(f"*/*{SUFFIX}")}
        after = _used_packs(reader)
    finally:
        reader.dispose()
    return there - before - after, (before & after) - there


def _used_packs(reader: Engine) -> set[str]:
    with reader.begin() as connection:
        return set(content_rows.used(connection))


async def unexplained_rows(home: Path) -> list[str]:
    """Rows of the engine that the journal knows nothing of, or lacks; both services must be down.

    Each row has to be current, pending or garbage, and each current one has to be there.
    """
    journal = Journal(f"sqlite:///{home / 'journal.db'}")
    engine = MilvusEngine(str(home / "engine" / "milvus.db"))
    await journal.open()
    try:
        await engine.start()
        await until_up(engine)
        faults = []
        for physical, current, others in await journal.read(_keys, Deadline.after(_SECONDS)):
            there = await engine.vectors(physical, [*current, *others], _SECONDS)
            rows = await engine.count_rows(physical, _SECONDS)
            lost = current - there.keys()
            if lost:
                faults.append(f"the engine lacks {sorted(lost)[:5]}")
            if rows != len(there):
                faults.append(f"the engine holds {rows} rows, of which {len(there)} are explained")
        return faults
    finally:
        await engine.close()
        await journal.close()


def _keys(connection: Connection) -> list[tuple[str, set[str], set[str]]]:
    """Of each collection: its name in the engine, keys of current rows, keys of all others."""
    return [
        (
            row.physical,
            _keys_of(connection, documents, row.id),
            _keys_of(connection, pending, row.id) | _keys_of(connection, garbage, row.id),
        )
        for row in connection.execute(select(collections))
    ]


def _keys_of(connection: Connection, table: Table, collection_id: int) -> set[str]:
    columns = (table.c.document_id, table.c.generation, table.c.segments)
    rows = connection.execute(select(*columns).where(table.c.collection_id == collection_id))
    return {
        row_key(document_id, generation, segment)
        for document_id, generation, segments in rows
        for segment in range(segments)
    }
