"""What the journal says the engine holds and it does not: told to callers, and in the log of a
start.

It happens when the engine's data is lost, replaced, or restored from an older copy than the
journal's. Nothing here mends it: only an operator knows where the data is.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from searchmesh_common.errors import DataLoss, NotFound, ServiceError
from searchmesh_common.logs import fields
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, collection_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.engine import Engine

_log = logging.getLogger("searchmesh.engine")

_REMEDY = "restore the engine's data, or delete the collection and bring its documents in again"

_COLLECTION_SECONDS = 60.0


@asynccontextmanager
async def losses_told(
    journal: Journal, collection: Collection, deadline: Deadline
) -> AsyncIterator[None]:
    """Around a call of the engine that is about a collection's rows.

    The engine knows no such collection: raises NotFound where a caller deleted it meanwhile,
    DataLoss where it should be there.
    """
    try:
        yield
    except NotFound as error:
        raise await _loss(journal, collection, deadline) from error


async def require_rows(
    journal: Journal, engine: Engine, collection: Collection, deadline: Deadline
) -> None:
    """Before anything is stored that would be lost with the call: the engine answers and has the
    collection. Raises as `losses_told` does, Unavailable, DeadlineExceeded.
    """
    if not await engine.has_collection(collection.physical, deadline.remaining()):
        raise await _loss(journal, collection, deadline)


async def report_losses(journal: Journal, engine: Engine, *, retry_seconds: float = 2.0) -> None:
    """Once the engine answers, log an error for each collection of which it holds fewer rows than
    there are documents.
    """
    while True:
        try:
            rows = await journal.read(collection_rows.ready, Deadline.after(_COLLECTION_SECONDS))
            for row in rows:
                await _report(journal, engine, row)
        except ServiceError:
            # health tells that the engine is away
            await asyncio.sleep(retry_seconds)
        else:
            return


async def _report(journal: Journal, engine: Engine, row: collection_rows.CollectionRow) -> None:
    deadline = Deadline.after(_COLLECTION_SECONDS)
    try:
        held = await engine.count_rows(row.physical, deadline.remaining())
    except NotFound:
        held = None
    if held is not None and held >= row.document_count:
        return
    if await journal.read(lambda c: collection_rows.find_by_id(c, row.id), deadline) != row:
        return  # written or deleted while the rows were counted
    _log.error(
        "the engine has lost rows",
        extra=fields(
            collection=row.name, documents=row.document_count, rows=held or 0, remedy=_REMEDY
        ),
    )


async def _loss(journal: Journal, collection: Collection, deadline: Deadline) -> DataLoss:
    """Raises NotFound where the collection was deleted."""
    documents = await journal.read(
        lambda c: collection_rows.require(c, collection.id, collection.name), deadline
    )
    return DataLoss(
        f"the engine has lost the rows of collection {collection.name!r} (documents: {documents}); "
        f"{_REMEDY}"
    )
