"""Takes in an import's stream: documents go to disk as they come, batch by batch.

A batch's documents go to the content store, then one transaction of the journal adds the batch and
counts it. The documents' generations are taken there, in the order of arrival: whichever write of
a document was received last wins, however long the storing takes.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    ServiceError,
    Unavailable,
)
from searchmesh_search.deadline import Deadline
from searchmesh_search.imports.intake import Arrival, Intake
from searchmesh_search.imports.repeats import DIGEST_BYTES, Repeats
from searchmesh_search.journal import (
    Journal,
    batch_rows,
    collection_rows,
    import_rows,
    write_rows,
)
from searchmesh_search.journal.import_rows import State
from searchmesh_search.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.content_store import ContentStore, NewContents
    from searchmesh_search.imports.changes import Changes
    from searchmesh_search.journal.collection_rows import CollectionRow
    from searchmesh_search.journal.import_rows import ImportRow
    from searchmesh_search.metrics import ImportMetrics

COMMIT_SECONDS = 30.0
"""Time to put one batch on disk."""
LOOK_SECONDS = 1.0
"""How often an open stream looks whether its import was ended on another replica."""
PAUSE_SECONDS = 0.25
"""Least time between two looks."""


@dataclass(frozen=True, slots=True)
class ImportConfig:
    """What a stream is about."""

    collection: str
    request_id: str
    """Empty for an import that cannot be resumed."""
    resume_from: int
    """Position of the stream's first document in the import."""


class Receiver:
    """Takes in the streams of every import."""

    def __init__(
        self,
        journal: Journal,
        contents: ContentStore,
        changes: Changes,
        metrics: ImportMetrics,
        *,
        draining: asyncio.Event,
        wake_importer: Callable[[], None],
    ) -> None:
        """draining: when it is set, streams end; what was read is kept.

        wake_importer: called when there is a batch to work on.
        """
        self._journal = journal
        self._contents = contents
        self._changes = changes
        self._metrics = metrics
        self._draining = draining
        self._wake_importer = wake_importer

    async def receive(self, config: ImportConfig, messages: AsyncGenerator[Sequence[bytes]]) -> str:
        """Take in a stream; returns its import's id once all documents are on disk.

        messages: documents as they are to be stored. Raises what `messages` raises, InvalidRequest
        for a faulty config, NotFound when there is no such collection, AlreadyExists for a
        request_id that was used for other content, Aborted when another stream has taken over,
        FailedPrecondition when the import was cancelled or failed, Unavailable when the server
        drains or the disk does not take it.
        """
        opened = await self._journal.write(lambda c: _open(c, config), _commit_deadline())
        self._changes.tell(opened.id)
        repeats = Repeats(self._journal, opened, config.resume_from)
        await self._take_in(opened, repeats, messages)
        repeats.check_end()
        await self._journal.write(lambda c: _end(c, opened), _commit_deadline())
        self._changes.tell(opened.id)
        return opened.id

    async def _take_in(
        self, opened: ImportRow, repeats: Repeats, messages: AsyncGenerator[Sequence[bytes]]
    ) -> None:
        intake = Intake()
        reading = asyncio.create_task(_read(messages, repeats, intake))
        committing = asyncio.create_task(self._commit_all(opened, intake))
        ending = asyncio.create_task(self._until_ended(opened))
        draining = asyncio.create_task(self._draining.wait())
        tasks = (reading, committing, ending, draining)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            await asyncio.wait([reading])
            # what was read is kept, however the stream has ended
            await intake.end()
            await committing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not reading.cancelled():
            reading.result()
        elif ending.done() and not ending.cancelled():
            raise ending.result()
        else:
            raise Unavailable("this server is draining; open the stream again")

    async def _until_ended(self, opened: ImportRow) -> ServiceError:
        """Why the import takes nothing more of a stream, as soon as that is so."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await self._changes.wait(opened.id, LOOK_SECONDS)
            # where the journal is away, a batch says so
            with suppress(ServiceError):
                refusal = await self._journal.read(
                    lambda c: _refusal(c, opened), Deadline.after(LOOK_SECONDS)
                )
                if refusal is not None:
                    return refusal

    async def _commit_all(self, opened: ImportRow, intake: Intake) -> None:
        while batch := await intake.take():
            with self._metrics.receiving(len(batch)):
                await self._commit(opened, batch)
            self._changes.tell(opened.id)
            self._wake_importer()

    async def _commit(self, opened: ImportRow, batch: Sequence[Arrival]) -> None:
        deadline = _commit_deadline()
        digests = b"".join(one.digest for one in batch)
        async with self._contents.storing([one.stored for one in batch], deadline) as contents:
            await self._journal.write(lambda c: _add_batch(c, opened, contents, digests), deadline)


async def _read(
    messages: AsyncGenerator[Sequence[bytes]], repeats: Repeats, intake: Intake
) -> None:
    async with aclosing(messages):
        async for documents in messages:
            kibibytes = sum(len(one) for one in documents) // 1024
            arrivals = await off_loop(len(documents) + kibibytes, _arrivals, documents)
            new = await repeats.new(arrivals)
            if new:
                await intake.put(new)


def _arrivals(documents: Sequence[bytes]) -> list[Arrival]:
    return [
        Arrival(one, hashlib.blake2b(one, digest_size=DIGEST_BYTES).digest()) for one in documents
    ]


def _commit_deadline() -> Deadline:
    return Deadline.after(COMMIT_SECONDS)


def _open(connection: Connection, config: ImportConfig) -> ImportRow:
    """The import that a stream belongs to, begun or taken over."""
    collection = collection_rows.find(connection, config.collection)
    if collection is None:
        raise NotFound("collection", config.collection, f"no collection {config.collection!r}")
    found = _begin(connection, config, collection)
    _require_same(found, config, collection)
    if config.resume_from > found.received_count:
        raise InvalidRequest.of(
            "config.resume_from",
            f"{config.resume_from} given, but {found.received_count} documents of this import were "
            "received",
        )
    if found.state in {State.CANCELLED, State.FAILED}:
        raise _has_ended(found)
    return import_rows.take_over(connection, found.id) or found


def _begin(connection: Connection, config: ImportConfig, collection: CollectionRow) -> ImportRow:
    import_id = config.request_id or uuid.uuid4().hex
    return import_rows.find(connection, import_id) or import_rows.add(
        connection, import_id, config.request_id, collection
    )


def _require_same(found: ImportRow, config: ImportConfig, collection: CollectionRow) -> None:
    if (found.request_id, found.collection_id) != (config.request_id, collection.id):
        raise AlreadyExists(
            "import",
            config.request_id,
            f"request_id: {config.request_id!r} was used for an import into another collection; "
            "use a new one",
        )


def _add_batch(
    connection: Connection, opened: ImportRow, contents: NewContents, digests: bytes
) -> None:
    contents.claim()
    refs = contents.refs
    counted = import_rows.receive(connection, opened.id, opened.receiver, len(refs))
    if counted is None:
        raise _refused(connection, opened)
    collection_rows.require(connection, counted.collection_id, counted.collection_name)
    batch_rows.add(
        connection,
        counted.id,
        counted.batch_count - 1,
        counted.received_count - len(refs),
        write_rows.allocate_generations(connection, counted.collection_id, len(refs)),
        refs,
        digests,
    )


def _end(connection: Connection, opened: ImportRow) -> None:
    """Take note that all is received."""
    if opened.state is not State.RECEIVING:
        return
    if import_rows.end_receiving(connection, opened.id, opened.receiver) is None:
        raise _refused(connection, opened)
    import_rows.succeed_if_done(connection, opened.id)


def _refused(connection: Connection, opened: ImportRow) -> ServiceError:
    """Why an import did not take what a stream brought."""
    return _refusal(connection, opened) or _taken_over()


def _refusal(connection: Connection, opened: ImportRow) -> ServiceError | None:
    """Why an import takes nothing more of a stream; None where it does."""
    found = import_rows.find(connection, opened.id)
    if found is None:
        return NotFound("operation", f"operations/{opened.id}", "the import was deleted")
    if found.state in {State.CANCELLED, State.FAILED}:
        return _has_ended(found)
    return None if found.receiver == opened.receiver else _taken_over()


def _taken_over() -> Aborted:
    return Aborted("another stream of the same request_id has taken over")


def _has_ended(found: ImportRow) -> FailedPrecondition:
    how = "was cancelled" if found.state is State.CANCELLED else "has failed"
    return FailedPrecondition(
        "IMPORT_ENDED",
        f"the import {how} after {found.received_count} documents; its operation says more. Bring "
        "documents in under a new request_id",
        {"operation": f"operations/{found.id}", "state": found.state.value},
    )
