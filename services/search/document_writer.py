"""Writes documents: upserts and deletes.

The journal is the truth and the engine an index of it. A write goes through four places, each safe
before the next:

    content store   the document's bytes, on disk
    journal         a new generation, noted as pending
    engine          the rows of that generation
    journal         the generation made current; what it replaces becomes garbage

Only the last step shows it to readers, who take from the engine nothing but what the journal calls
current. A write that stops before it was never acknowledged, is never seen, and is undone by the
sweeper or the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import Aborted, ServiceError
from searchmesh_search.document_checks import prepare
from searchmesh_search.document_vectors import rows_of, vectors_of, writes_of
from searchmesh_search.engine_losses import losses_told, require_rows
from searchmesh_search.journal import (
    Journal,
    collection_rows,
    deletion_rows,
    document_rows,
    request_rows,
    write_rows,
)
from searchmesh_search.off_loop import off_loop
from searchmesh_search.upsert_results import UpsertResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content_store import ContentStore, NewContents
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.document_checks import NewDocument, PreparedDocument
    from searchmesh_search.document_vectors import Encode
    from searchmesh_search.engine import Engine
    from searchmesh_search.journal.write_rows import Write
    from searchmesh_search.segments import Segments
    from searchmesh_search.sweeper import InHand, Sweeper

DELETE = "DeleteDocuments"
UPSERT = "UpsertDocuments"


@dataclass(frozen=True, slots=True)
class _Request:
    """How a call is known again; one without an id is not."""

    id: str
    digest: bytes
    """Of what was asked for."""


@dataclass(frozen=True, slots=True)
class _Finished:
    """How the last step of an upsert ended."""

    result: UpsertResult | None
    """What to answer; None where the writes were taken back, because this replica was taken for
    gone."""
    left_garbage: bool


class DocumentWriter:
    """Writes the documents of every collection."""

    def __init__(
        self,
        journal: Journal,
        contents: ContentStore,
        engine: Engine,
        encode: Encode,
        sweeper: Sweeper,
        in_hand: InHand,
    ) -> None:
        self._journal = journal
        self._contents = contents
        self._engine = engine
        self._encode = encode
        self._sweeper = sweeper
        self._in_hand = in_hand

    async def upsert(
        self,
        collection: Collection,
        documents: Sequence[NewDocument | ServiceError],
        deadline: Deadline,
        request_id: str = "",
    ) -> UpsertResult:
        """Store documents, replacing those of equal id; they are searchable when this returns.

        A document with an error, given or found here, fails alone. When this raises, nothing was
        acknowledged: NotFound when the collection was deleted meanwhile, DataLoss when the engine
        lost it, otherwise what the encoder, the engine, the journal or the content store raised.

        Repeating a request_id under which anything was stored writes nothing and returns the same,
        also where the documents were changed since. Raises AlreadyExists for a request_id used for
        another upsert.
        """
        request = _Request("", b"")
        if request_id:
            digest = await asyncio.to_thread(_digest, collection, documents)
            request = _Request(request_id, digest)
            earlier = await self._journal.read(lambda c: _earlier(c, request), deadline)
            if earlier is not None:
                return earlier
        return await self._upsert(collection, documents, request, deadline)

    async def delete(
        self,
        collection: Collection,
        document_ids: Iterable[str],
        request_id: str,
        deadline: Deadline,
    ) -> int:
        """Delete documents, for all readers at once; returns how many of them there were.

        Repeating a request_id deletes nothing more and returns the same. Raises AlreadyExists for a
        request_id used for another deletion, NotFound when the collection was deleted meanwhile.
        """
        wanted = frozenset(document_ids)
        removed = await self._journal.write(
            lambda c: _delete(c, collection, wanted, request_id), deadline
        )
        if removed:
            self._sweeper.wake()
        return removed

    async def _upsert(
        self,
        collection: Collection,
        documents: Sequence[NewDocument | ServiceError],
        request: _Request,
        deadline: Deadline,
    ) -> UpsertResult:
        errors: list[ServiceError | None] = [
            one if isinstance(one, ServiceError) else None for one in documents
        ]
        # a thousand checks would keep the event loop for too long
        prepared = await asyncio.to_thread(prepare, collection, documents, errors)
        if prepared:
            # or a caller that tries again and again would fill the content store
            await require_rows(self._journal, self._engine, collection, deadline)
        vectors = await vectors_of(self._encode, collection, prepared, errors, deadline)
        stored = [one for one in prepared if one.place in vectors]
        if not stored:
            return UpsertResult(errors, b"")
        return await self._store(collection, stored, vectors, errors, request, deadline)

    async def _store(
        self,
        collection: Collection,
        documents: Sequence[PreparedDocument],
        vectors: Mapping[int, Segments],
        errors: Sequence[ServiceError | None],
        request: _Request,
        deadline: Deadline,
    ) -> UpsertResult:
        intent = uuid.uuid4().hex
        self._in_hand.intents.add(intent)
        try:
            writes = await self._begin(collection, documents, vectors, intent, deadline)
            rows = await off_loop(
                sum(one.segments for one in writes),
                rows_of,
                collection,
                documents,
                vectors,
                writes,
            )
            async with losses_told(self._journal, collection, deadline):
                token = await self._engine.insert(collection.physical, rows, deadline.remaining())
            result = UpsertResult(errors, token)
            finished = await self._journal.write(
                lambda c: _finish(c, collection, intent, writes, request, result), deadline
            )
        finally:
            # whatever is still pending now is the sweeper's to undo
            self._in_hand.intents.discard(intent)
        if finished.left_garbage:
            self._sweeper.wake()
        if finished.result is None:
            raise Aborted("the write was taken back before it was done; repeat it")
        return finished.result

    async def _begin(
        self,
        collection: Collection,
        documents: Sequence[PreparedDocument],
        vectors: Mapping[int, Segments],
        intent: str,
        deadline: Deadline,
    ) -> list[Write]:
        """Put documents on disk, and note their writes as pending."""
        stored = [one.document.stored for one in documents]
        async with self._contents.storing(stored, deadline) as contents:
            return await self._journal.write(
                lambda c: _begin(
                    c, collection, intent, self._in_hand.owner, documents, vectors, contents
                ),
                deadline,
            )


def _digest(collection: Collection, documents: Sequence[NewDocument | ServiceError]) -> bytes:
    """Of the documents as they are stored, and of the faults of those that cannot be."""
    digest = hashlib.sha256(b"%d;" % collection.id)
    for one in documents:
        given = one.message.encode() if isinstance(one, ServiceError) else one.stored
        digest.update(b"%d:" % len(given))
        digest.update(given)
    return digest.digest()


def _earlier(connection: Connection, request: _Request) -> UpsertResult | None:
    """What an earlier call of this request answered. Raises AlreadyExists as `recall`."""
    kept = request_rows.recall(connection, UPSERT, request.id, request.digest)
    return None if kept is None else UpsertResult.from_json(kept)


def _begin(
    connection: Connection,
    collection: Collection,
    intent: str,
    owner: str,
    documents: Sequence[PreparedDocument],
    vectors: Mapping[int, Segments],
    contents: NewContents,
) -> list[Write]:
    contents.claim()
    collection_rows.require(connection, collection.id, collection.name)
    first = write_rows.allocate_generations(connection, collection.id, len(documents))
    generations = range(first, first + len(documents))
    writes = writes_of(documents, vectors, generations, contents.refs)
    write_rows.add_pending(connection, collection.id, intent, owner, writes)
    return writes


def _finish(
    connection: Connection,
    collection: Collection,
    intent: str,
    writes: Sequence[Write],
    request: _Request,
    result: UpsertResult,
) -> _Finished:
    """Make a call's writes current, unless this very request has been answered meanwhile."""
    collection_rows.require(connection, collection.id, collection.name)
    earlier = _earlier(connection, request)
    taken = write_rows.take_pending(connection, intent)
    if earlier is not None or taken != len(writes):
        write_rows.drop_again(connection, collection.id, writes)
        return _Finished(earlier, left_garbage=True)
    if request.id:
        request_rows.remember(connection, UPSERT, request.id, request.digest, result.to_json())
    return _Finished(result, document_rows.make_current(connection, collection.id, writes))


def _delete(
    connection: Connection, collection: Collection, document_ids: frozenset[str], request_id: str
) -> int:
    described = json.dumps([collection.id, sorted(document_ids)])
    digest = hashlib.sha256(described.encode()).digest()
    removed_before = request_rows.recall(connection, DELETE, request_id, digest)
    if removed_before is not None:
        return int(removed_before)
    collection_rows.require(connection, collection.id, collection.name)
    removed = document_rows.remove(connection, collection.id, document_ids)
    deletion_rows.add(connection, collection.id, document_ids)
    request_rows.remember(connection, DELETE, request_id, digest, str(removed))
    return removed
