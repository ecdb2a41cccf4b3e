"""Stores a batch of an import: the same steps as an upsert, taken up again wherever they broke off.

    content store   the documents, read back
    encoder         their vectors, in the bulk lane
    journal         their generations, which the batch has had since it was received, as pending
    engine          the rows of those generations
    journal         the generations made current, the batch done, the import's counts

Pending writes belong to the batch, not to who works on it. A second attempt uses the same
generations, and with them the same keys of rows, so what is still under way of the first can do no
harm. What the last step finds pending and not stored becomes garbage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchmesh_common.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServiceError,
    Unavailable,
    Unsupported,
)
from searchmesh_common.logs import fields
from searchmesh_search.collection_spec import Collection
from searchmesh_search.deadline import Deadline
from searchmesh_search.document_checks import NewDocument, prepare_each
from searchmesh_search.document_vectors import rows_of, vectors_of, writes_of
from searchmesh_search.engine_losses import losses_told
from searchmesh_search.imports.failures import failure
from searchmesh_search.journal import (
    Journal,
    batch_rows,
    collection_rows,
    deletion_rows,
    document_rows,
    import_rows,
    write_rows,
)
from searchmesh_search.journal.clock import SECOND_US
from searchmesh_search.journal.import_rows import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from searchmesh_search.content_store import ContentStore
    from searchmesh_search.document_checks import PreparedDocument
    from searchmesh_search.document_vectors import Encode
    from searchmesh_search.engine import Engine, Row
    from searchmesh_search.journal.batch_rows import Batch
    from searchmesh_search.journal.import_rows import Failure
    from searchmesh_search.journal.write_rows import Write
    from searchmesh_search.metrics import ImportMetrics

_log = logging.getLogger("searchmesh.imports")

ENCODE_SECONDS = 600.0
"""Time for the vectors of a batch: on a small machine a batch of long texts takes minutes."""
ENGINE_SECONDS = 60.0
JOURNAL_SECONDS = 60.0

HELD_UP = (Unavailable, Overloaded, DeadlineExceeded)
"""What passes by itself: the batch is tried again until it does."""
HOPELESS = (FailedPrecondition, NotFound, DataLoss, Unsupported)
"""What no attempt would change: the import fails."""
PATIENT_ATTEMPTS = 3
"""How often a batch is tried as a whole that fails for a reason nobody foresaw."""

LATE_INSERT_US = 120 * SECOND_US
"""How long after a batch was stored or dropped what else it had begun is dropped: an insert may be
under way for ENGINE_SECONDS, and arrive some time later.
"""

Read = Callable[[bytes, str], tuple[str, NewDocument | ServiceError]]
"""A document as it was stored: its id, and itself or its fault. The second argument is what the
names of its faulty fields begin with."""


class BatchLostError(Exception):
    """The batch is not this worker's any more: another has it, or its import has ended."""


@dataclass(slots=True)
class _Work:
    """A batch in hand, and what is known of its documents so far."""

    batch: Batch
    collection: Collection
    ids: Sequence[str]
    documents: Sequence[NewDocument | ServiceError]
    errors: list[ServiceError | None]
    writes: list[Write] = field(default_factory=list)
    write_token: bytes = b""


class Batches:
    """Stores the batches of every import."""

    def __init__(
        self,
        journal: Journal,
        contents: ContentStore,
        engine: Engine,
        encode: Encode,
        read: Read,
        metrics: ImportMetrics,
    ) -> None:
        self._journal = journal
        self._contents = contents
        self._engine = engine
        self._encode = encode
        self._read = read
        self._metrics = metrics

    async def store(self, batch: Batch) -> bool:
        """Store or set aside every document of a batch; returns whether that left garbage.

        Raises one of HELD_UP or HOPELESS, BatchLostError, and whatever is a fault of our own.
        """
        with self._metrics.stage("read"):
            work = await self._begin(batch)
            prepared = await asyncio.to_thread(
                prepare_each, work.collection, work.documents, work.errors
            )
        await self._store(work, prepared)
        with self._metrics.stage("finish"):
            failures = await asyncio.to_thread(_failures, work)
            left_garbage = await self._journal.write(
                lambda c: _finish(c, work, failures), Deadline.after(JOURNAL_SECONDS)
            )
        self._metrics.stored(len(batch.refs) - len(failures), len(failures))
        return left_garbage

    async def _begin(self, batch: Batch) -> _Work:
        row = await self._journal.read(
            lambda c: collection_rows.find_by_id(c, batch.collection_id),
            Deadline.after(JOURNAL_SECONDS),
        )
        if row is None:
            raise NotFound(
                "collection",
                batch.collection_name,
                f"collection {batch.collection_name!r} was deleted",
            )
        stored = await self._read_contents(batch)
        ids, documents = await asyncio.to_thread(self._documents, stored)
        errors = [one if isinstance(one, ServiceError) else None for one in documents]
        return _Work(batch, Collection.from_row(row), ids, documents, errors)

    async def _read_contents(self, batch: Batch) -> Sequence[bytes | ServiceError]:
        try:
            return await self._contents.get(batch.refs)
        except DataLoss:
            return [await self._read_content(batch, place) for place in range(len(batch.refs))]

    async def _read_content(self, batch: Batch, place: int) -> bytes | ServiceError:
        try:
            return (await self._contents.get([batch.refs[place]]))[0]
        except DataLoss as error:
            return error

    def _documents(
        self, stored: Sequence[bytes | ServiceError]
    ) -> tuple[Sequence[str], Sequence[NewDocument | ServiceError]]:
        read = [
            self._read(one, _path(place)) if isinstance(one, bytes) else ("", one)
            for place, one in enumerate(stored)
        ]
        return [document_id for document_id, _ in read], [document for _, document in read]

    async def _store(self, work: _Work, documents: Sequence[PreparedDocument]) -> None:
        """Store documents; those that make the others fail are found by halves and set aside."""
        try:
            await self._store_together(work, documents)
        except (*HELD_UP, *HOPELESS, BatchLostError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not hold up the others
            if len(documents) > 1:
                self._require_last_patience(work.batch, error)
                middle = len(documents) // 2
                await self._store(work, documents[:middle])
                await self._store(work, documents[middle:])
                return
            _log.exception(
                "a document is set aside",
                extra=fields(
                    operation=work.batch.import_id,
                    position=work.batch.position + documents[0].place,
                ),
            )
            work.errors[documents[0].place] = _own_fault(error)

    def _require_last_patience(self, batch: Batch, error: Exception) -> None:
        """Raises the error where it may have been a whim: refused requests never are."""
        if not isinstance(error, InvalidRequest) and batch.attempts < PATIENT_ATTEMPTS:
            raise error

    async def _store_together(self, work: _Work, documents: Sequence[PreparedDocument]) -> None:
        with self._metrics.stage("encode"):
            vectors = await vectors_of(
                self._encode,
                work.collection,
                documents,
                work.errors,
                Deadline.after(ENCODE_SECONDS),
            )
        stored = [one for one in documents if one.place in vectors]
        if not stored:
            return
        writes = writes_of(
            stored,
            vectors,
            [work.batch.generation + one.place for one in stored],
            [work.batch.refs[one.place] for one in stored],
        )
        encoded = await self._journal.write(
            lambda c: _add_pending(c, work, writes), Deadline.after(JOURNAL_SECONDS)
        )
        self._metrics.encoded(encoded)
        rows = await asyncio.to_thread(rows_of, work.collection, stored, vectors, writes)
        with self._metrics.stage("store"):
            token = await self._insert(work.collection, rows)
        work.writes += writes
        work.write_token = max(work.write_token, token)

    async def _insert(self, collection: Collection, rows: Sequence[Row]) -> bytes:
        deadline = Deadline.after(ENGINE_SECONDS)
        async with losses_told(self._journal, collection, deadline):
            return await self._engine.insert(collection.physical, rows, deadline.remaining())


def _path(place: int) -> str:
    """As `prepare_each` and `vectors_of` name a document."""
    return f"documents[{place}]"


def _own_fault(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    return Internal("internal error; the server's log has it, with the operation and the position")


def _failures(work: _Work) -> list[Failure]:
    return [
        failure(work.batch.position + place, work.ids[place], error, _path(place))
        for place, error in enumerate(work.errors)
        if error is not None
    ]


def _add_pending(connection: Connection, work: _Work, writes: Sequence[Write]) -> int:
    """Note writes as pending, unless an attempt before has; returns how many documents are encoded
    for the first time.
    """
    collection = work.collection
    collection_rows.require(connection, collection.id, collection.name)
    encoded = batch_rows.count_encoded(connection, work.batch, len(work.writes) + len(writes))
    if encoded is None or not import_rows.advance(
        connection, work.batch.import_id, Progress(encoded=encoded)
    ):
        raise BatchLostError
    pending = write_rows.pending_generations(connection, work.batch.intent)
    new = [one for one in writes if one.generation not in pending]
    if new:
        write_rows.add_pending(connection, collection.id, work.batch.intent, None, new)
    return encoded


def _finish(connection: Connection, work: _Work, failures: Sequence[Failure]) -> bool:
    """Make a batch's writes current; returns whether that left garbage."""
    batch, collection = work.batch, work.collection
    if not batch_rows.finish(connection, batch):
        raise BatchLostError
    progress = Progress(
        searchable=len(batch.refs) - len(failures),
        failed=len(failures),
        write_token=work.write_token,
    )
    if not import_rows.advance(connection, batch.import_id, progress):
        raise BatchLostError
    collection_rows.require(connection, collection.id, collection.name)
    # of equal ids the later document wins
    newest = {one.document_id: one for one in sorted(work.writes, key=lambda one: one.generation)}
    current = deletion_rows.not_deleted(connection, collection.id, list(newest.values()))
    generations = {one.generation for one in current}
    if generations != write_rows.roll_back_others(
        connection, batch.intent, generations, LATE_INSERT_US
    ):
        raise BatchLostError
    replaced = document_rows.make_current(connection, collection.id, current)
    import_rows.add_failures(connection, batch.import_id, failures)
    import_rows.succeed_if_done(connection, batch.import_id)
    return replaced
