"""The sweeper: by itself, past what fails, and quiet when there is nothing to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from searchmesh_common.errors import Aborted, NotFound, ServiceError, Unavailable
from searchmesh_search import sweeper as module
from searchmesh_search.journal import collection_rows, replica_rows, write_rows

from .stack import document, open_stack, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from searchmesh_search.milvus_engine import MilvusEngine

    from .stack import Stack

    Delete = Callable[..., Awaitable[bytes]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("fault", [Unavailable("away"), RuntimeError("a fault of our own")])
async def test_it_runs_by_itself_when_woken_and_outlives_what_fails(
    stack: Stack, fault: Exception
) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a"))
    stack.sweeper._interval_seconds = 0.02
    dropped = asyncio.Event()
    faults = [fault]

    async def delete_and_tell(delete: Delete, *given: Any) -> None:
        if faults:
            raise faults.pop()
        await delete(*given)
        dropped.set()

    stack.engine.patch("delete", delete_and_tell)
    sweeping = asyncio.create_task(stack.sweeper.run())
    await stack.writer.delete(things, ["a"], "", soon())
    await asyncio.wait_for(dropped.wait(), 20)
    assert await stack.engine.count_rows(things.physical, 5) == 0
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping


async def test_a_collection_that_cannot_be_swept_keeps_no_other_from_it(stack: Stack) -> None:
    bad, good, old = [await stack.collection(name) for name in ("bad", "good", "old")]
    for things in (bad, good):
        await stack.upsert(things, document("a"))
        await stack.writer.delete(things, ["a"], "", soon())
    await stack.collections.delete("old", "", soon())
    await stack.collections.delete((await stack.collection("worse")).name, "", soon())

    async def refuse_once(work: Delete, physical: str, *given: Any) -> bytes:
        if physical not in (good.physical, old.physical):
            raise ServiceError("damaged")
        return await work(physical, *given)

    stack.engine.patch("delete", refuse_once)
    stack.engine.patch("drop_collection", refuse_once)
    with pytest.raises(ServiceError, match="damaged"):
        await stack.sweeper.sweep(soon())
    assert await stack.engine.count_rows(good.physical, 5) == 0
    assert await stack.engine.count_rows(bad.physical, 5) == 1
    assert len(await stack.journal.read(collection_rows.leftovers, soon())) == 1


async def test_an_idle_one_writes_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    await stack.collection()
    monkeypatch.setattr(stack.journal, "write", None)
    await stack.sweeper.sweep(soon())


async def test_old_requests_are_forgotten(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    await stack.collection()
    await stack.collections.delete("things", "d-1", soon())
    await stack.sweeper.sweep(soon())
    await stack.collections.delete("things", "d-1", soon())  # remembered
    monkeypatch.setattr(module, "REQUESTS_KEPT_SECONDS", -1)
    await stack.sweeper.sweep(soon())
    with pytest.raises(NotFound):
        await stack.collections.delete("things", "d-1", soon())


@pytest_asyncio.fixture(loop_scope="module")
async def replicas(
    engine: MilvusEngine, tmp_path: Path, postgres_url: str
) -> AsyncIterator[tuple[Stack, Stack]]:
    """Two on one journal, one content store and one engine."""
    async with (
        open_stack(tmp_path, engine, postgres_url) as one,
        open_stack(tmp_path, engine, postgres_url) as other,
    ):
        yield one, other


async def end_lease(stack: Stack) -> None:
    """As if it had stood still for too long."""
    await stack.journal.write(lambda c: replica_rows.leave(c, stack.replica.id), soon())


async def intents(stack: Stack) -> int:
    """Calls of any replica that have pending writes."""
    asked = "SELECT count(DISTINCT intent) FROM pending"
    return await stack.journal.read(lambda c: int(c.exec_driver_sql(asked).scalar_one()), soon())


async def test_what_a_live_replica_has_in_hand_is_left_alone(
    replicas: tuple[Stack, Stack],
) -> None:
    one, other = replicas
    things = await one.collection()
    entered, go_on = one.engine.hold("insert")
    writing = asyncio.create_task(one.upsert(things, document("a")))
    await entered.wait()
    making, make = one.engine.hold("create_collection")
    creating = asyncio.create_task(one.collection("more"))
    await making.wait()
    await other.sweeper.sweep(soon())
    assert await intents(other) == 1
    go_on.set()
    make.set()
    await asyncio.gather(writing, creating)
    assert await other.ids(await other.collections.get("things", soon())) == ["a"]


async def test_a_write_whose_replica_is_gone_is_undone_and_what_it_still_does_too(
    replicas: tuple[Stack, Stack],
) -> None:
    one, other = replicas
    things = await one.collection()
    entered, go_on = one.engine.hold("insert")
    writing = asyncio.create_task(one.upsert(things, document("a")))
    await entered.wait()
    await end_lease(one)
    await other.sweeper.sweep(soon())
    assert await intents(other) == 0
    go_on.set()
    with pytest.raises(Aborted, match="taken back"):
        await writing
    await other.sweeper.sweep(soon())
    assert await other.engine.count_rows(things.physical, 5) == 0
    assert await other.ids(things) == []
    # it only has to say that it lives
    await one.replica.join(soon())
    await one.upsert(things, document("a"))
    await other.sweeper.sweep(soon())
    assert await other.ids(things) == ["a"]


async def test_a_creation_whose_replica_is_gone_frees_its_name(
    replicas: tuple[Stack, Stack],
) -> None:
    one, other = replicas
    entered, go_on = one.engine.hold("create_collection")
    creating = asyncio.create_task(one.collection())
    await entered.wait()
    await end_lease(one)
    await other.sweeper.sweep(soon())
    made = await other.collection()
    go_on.set()
    with pytest.raises(Aborted, match="taken back"):
        await creating
    before = await other.engine.list_collections(5)
    await other.sweeper.sweep(soon())
    after = await other.engine.list_collections(5)
    assert len(set(before) - set(after)) == 1
    assert made.physical in after


async def test_replicas_that_sweep_at_once_do_no_harm(replicas: tuple[Stack, Stack]) -> None:
    one, other = replicas
    things, old = await one.collection(), await one.collection("old")
    for collection in (things, old):
        await one.upsert(collection, *(document(str(n)) for n in range(50)))
        await one.upsert(collection, *(document(str(n)) for n in range(50)))
    await one.collections.delete("old", "", soon())
    await asyncio.gather(*(each.sweeper.sweep(soon()) for each in replicas for _ in range(3)))
    assert await other.engine.count_rows(things.physical, 5) == 50
    assert old.physical not in await other.engine.list_collections(5)
    assert await other.journal.read(write_rows.with_due_garbage, soon()) == []
    assert await other.journal.read(collection_rows.leftovers, soon()) == []


async def test_a_round_ends_though_documents_are_replaced_all_the_time(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a"))
    await stack.upsert(things, document("a"))

    async def replace_then_delete(delete: Any, *given: Any) -> Any:
        await stack.upsert(things, document("a"))
        return await delete(*given)

    stack.engine.patch("delete", replace_then_delete)
    await asyncio.wait_for(stack.sweeper.sweep(soon()), 10)
    assert await stack.engine.count_rows(things.physical, 5) == 2
