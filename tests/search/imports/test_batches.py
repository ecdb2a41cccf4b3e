"""Batches whose storing breaks off: on the real engine and journal, worked on without a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from searchmesh_common.errors import Unavailable
from searchmesh_search.convert import documents as convert
from searchmesh_search.imports.batches import Batches, BatchLostError
from searchmesh_search.imports.changes import Changes
from searchmesh_search.imports.housekeeping import Housekeeping
from searchmesh_search.imports.importer import Importer
from searchmesh_search.imports.receiver import ImportConfig, Receiver
from searchmesh_search.journal import batch_rows, collection_rows, import_rows
from searchmesh_search.journal.batch_rows import Claimant
from searchmesh_search.journal.import_rows import State
from searchmesh_search.metrics import ImportMetrics
from tests.search.stack import soon

from .streams import numbered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.engine import Row
    from searchmesh_search.journal.import_rows import ImportRow
    from tests.search.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Imports:
    """What works on imports, over a stack's storage."""

    stack: Stack
    receiver: Receiver
    batches: Batches
    importer: Importer

    async def bring(self, count: int, request_id: str = "r") -> str:
        async def stored() -> AsyncGenerator[Sequence[bytes]]:
            yield [convert.stored(one) for one in numbered(count)]

        return await self.receiver.receive(ImportConfig("things", request_id, 0), stored())

    async def row(self, import_id: str) -> ImportRow:
        row = await self.stack.journal.read(lambda c: import_rows.find(c, import_id), soon())
        assert row is not None
        return row

    async def work_until_ended(self, import_id: str) -> ImportRow:
        working = asyncio.create_task(self.importer.run(2))
        try:
            async with asyncio.timeout(30):
                while True:
                    row = await self.row(import_id)
                    if row.has_ended:
                        return row
                    await asyncio.sleep(0.02)
        finally:
            working.cancel()
            await asyncio.wait([working])

    async def claim(self, replica_id: str) -> batch_rows.Batch:
        batch = await self.stack.journal.write(
            lambda c: batch_rows.claim(c, Claimant(replica_id, (), ())), soon()
        )
        assert batch is not None
        return batch


def imports_of(stack: Stack) -> Imports:
    metrics = ImportMetrics(CollectorRegistry())
    changes = Changes()
    batches = Batches(
        stack.journal,
        stack.contents,
        stack.engine,
        stack.models.encode,
        convert.read_stored,
        metrics,
    )
    importer = Importer(
        stack.journal,
        batches,
        changes,
        metrics,
        stack.in_hand.owner,
        wake_sweeper=stack.sweeper.wake,
        poll_seconds=0.05,
        first_hold_seconds=0.01,
        most_hold_seconds=0.05,
    )
    receiver = Receiver(
        stack.journal,
        stack.contents,
        changes,
        metrics,
        draining=asyncio.Event(),
        wake_importer=importer.wake,
    )
    return Imports(stack, receiver, batches, importer)


async def test_a_document_that_makes_the_others_fail_is_found_and_set_aside(stack: Stack) -> None:
    things = await stack.collection()

    async def insert(
        work: Callable[..., Any], physical: str, rows: Sequence[Row], timeout: float
    ) -> Any:
        if any(row.document_id == "77" for row in rows):
            raise RuntimeError("poison")
        return await work(physical, rows, timeout)

    stack.engine.patch("insert", insert)
    imports = imports_of(stack)
    row = await imports.work_until_ended(await imports.bring(100))
    assert row.state is State.SUCCEEDED
    assert (row.searchable_count, row.failed_count, row.encoded_count) == (99, 1, 100)
    (failure,) = await stack.journal.read(lambda c: import_rows.failures(c, "r", -1, 9), soon())
    assert (failure.position, failure.document_id) == (77, "77")
    assert len(await stack.ids(things)) == 99


async def test_a_batch_is_tried_until_the_engine_takes_it(stack: Stack) -> None:
    things = await stack.collection()
    refusals = 8

    async def insert(work: Callable[..., Any], *given: Any) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            # what it stored before is stored again under the same keys
            await work(*given)
            raise Unavailable("away")
        return await work(*given)

    stack.engine.patch("insert", insert)
    imports = imports_of(stack)
    row = await imports.work_until_ended(await imports.bring(50))
    assert (row.state, row.searchable_count, row.encoded_count) == (State.SUCCEEDED, 50, 50)
    assert row.waiting_for is None
    await stack.sweeper.sweep(soon())
    assert await stack.engine.count_rows(things.physical, 5) == 50


async def test_a_worker_whose_batch_was_given_away_finishes_nothing(stack: Stack) -> None:
    things = await stack.collection()
    imports = imports_of(stack)
    import_id = await imports.bring(20)
    batch = await imports.claim(stack.in_hand.owner)
    entered, go_on = stack.engine.hold("insert")
    working = asyncio.create_task(imports.batches.store(batch))
    await entered.wait()
    # the sweeper leaves what is pending of a batch alone, whoever works on it
    await stack.sweeper.recover(soon())
    row = await imports.work_until_ended(import_id)
    assert (row.searchable_count, row.encoded_count) == (20, 20)
    go_on.set()
    with pytest.raises(BatchLostError):
        await working
    assert (await imports.row(import_id)).searchable_count == 20
    await stack.sweeper.sweep(soon())
    assert await stack.engine.count_rows(things.physical, 5) == 20


async def test_what_a_cancelled_import_had_begun_is_dropped(stack: Stack) -> None:
    things = await stack.collection()
    imports = imports_of(stack)
    import_id = await imports.bring(20)
    batch = await imports.claim(stack.in_hand.owner)
    entered, go_on = stack.engine.hold("insert")
    working = asyncio.create_task(imports.batches.store(batch))
    await entered.wait()
    await stack.journal.write(lambda c: import_rows.end(c, import_id, State.CANCELLED), soon())
    housekeeping = Housekeeping(stack.journal, kept_seconds=3600, resume_seconds=3600)
    await housekeeping.sweep(soon())
    go_on.set()
    with pytest.raises(BatchLostError):
        await working
    assert await stack.ids(things) == []


async def test_imports_are_forgotten_after_their_time_and_fail_when_not_resumed(
    stack: Stack,
) -> None:
    things = await stack.collection()
    imports = imports_of(stack)
    await imports.work_until_ended(await imports.bring(20))

    def begin(connection: Connection) -> ImportRow:
        collection = collection_rows.find(connection, "things")
        assert collection is not None
        return import_rows.add(connection, "open", "open", collection)

    await stack.journal.write(begin, soon())
    await asyncio.sleep(0.01)
    await Housekeeping(stack.journal, kept_seconds=3600, resume_seconds=0).sweep(soon())
    assert (await imports.row("open")).state is State.FAILED
    await asyncio.sleep(0.01)
    await Housekeeping(stack.journal, kept_seconds=0, resume_seconds=0).sweep(soon())
    assert await stack.journal.read(lambda c: import_rows.page(c, "", 9), soon()) == []
    assert len(await stack.ids(things)) == 20


async def test_a_batch_of_a_replica_that_is_gone_is_taken_over(stack: Stack) -> None:
    things = await stack.collection()
    imports = imports_of(stack)
    import_id = await imports.bring(20)
    batch = await imports.claim("gone")
    row = await imports.work_until_ended(import_id)
    assert (row.state, row.searchable_count) == (State.SUCCEEDED, 20)
    # should that one wake up, it has nothing to do any more
    with pytest.raises(BatchLostError):
        await imports.batches.store(batch)
    await stack.sweeper.sweep(soon())
    assert await stack.engine.count_rows(things.physical, 5) == 20
