"""The sweeper: by itself, past what fails, and quiet when there is nothing to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh_common.errors import NotFound, ServiceError, Unavailable
from searchmesh_search import sweeper as module
from searchmesh_search.journal import collection_rows

from .stack import document, soon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
