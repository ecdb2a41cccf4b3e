"""Runners that a test can hold back and look into, and a scheduler that answers with futures."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from searchmesh_common.errors import InvalidRequest, ServiceError
from searchmesh_encoder.scheduling.cost_model import CostModel
from searchmesh_encoder.scheduling.scheduler import Scheduler
from searchmesh_encoder.work import Item, Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from searchmesh_encoder.work import Batch, Done


class Recorder:
    """Answers each payload doubled, and can be held back."""

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.batches: list[list[Any]] = []
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._running = 0
        self.most_running = 0

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def padded_length(self, longest: int) -> int:
        return longest

    def run(self, payloads: Sequence[Any]) -> list[Any]:
        with self._lock:
            self.batches.append(list(payloads))
            self._running += 1
            self.most_running = max(self.most_running, self._running)
        try:
            self.entered.release()
            assert self._open.wait(10)
            if "bad" in payloads:
                raise ValueError("bad payload")
            return [InvalidRequest.of("x", "own") if one == "own" else 2 * one for one in payloads]
        finally:
            with self._lock:
                self._running -= 1

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)


class Waiting:
    """An item and its outcome."""

    def __init__(self, runner: Any, payload: Any, length: int, lane: Lane, **more: Any) -> None:
        self.future: asyncio.Future[Done[Any]] = asyncio.get_running_loop().create_future()
        self.told = 0
        self.item = Item(runner, payload, length, lane, self._done, **more)

    def _done(self, item: Item[Any, Any], outcome: Done[Any] | ServiceError) -> None:
        assert item is self.item
        self.told += 1
        if isinstance(outcome, ServiceError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Served:
    """A scheduler with a runner of its own."""

    def __init__(self, scheduler: Scheduler, costs: CostModel, batches: list[Batch]) -> None:
        self.scheduler = scheduler
        self.costs = costs
        self.batches = batches
        self.runner = Recorder()

    def waiting(self, payload: Any, length: int = 1, **changes: Any) -> Waiting:
        arguments = {"runner": self.runner, "lane": Lane.QUERY, **changes}
        return Waiting(payload=payload, length=length, **arguments)

    def submit(self, *given: Waiting) -> list[asyncio.Future[Done[Any]]]:
        self.scheduler.submit([one.item for one in given])
        return [one.future for one in given]

    @asynccontextmanager
    async def busy_worker(self, lane: Lane = Lane.QUERY) -> AsyncIterator[None]:
        """While the only worker of a lane is held, what is submitted to it waits."""
        self.runner.hold()
        (first,) = self.submit(self.waiting(0, lane=lane))
        await self.runner.wait_entered()
        try:
            yield
        finally:
            self.runner.release()
            await first


@asynccontextmanager
async def serving(**changes: Any) -> AsyncIterator[Served]:
    """A scheduler of one worker a lane."""
    batches: list[Batch] = []
    costs = CostModel()
    arguments = {
        "workers": 1,
        "batch_tokens": 100,
        "age_bound_seconds": 1e9,
        "most_running": 1024,
        "on_batch": batches.append,
        **changes,
    }
    async with Scheduler("test", **arguments, costs=costs) as scheduler:
        yield Served(scheduler, costs, batches)


async def values(futures: Sequence[asyncio.Future[Done[Any]]]) -> list[Any]:
    """What was computed, in order."""
    return [done.value for done in await asyncio.gather(*futures)]
