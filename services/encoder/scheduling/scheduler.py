"""Waiting items to batches on worker threads: late, by length, within a budget.

The scheduler sees lane, caller, deadline and length of an item, never a modality. There is no
timer: a worker that falls free takes its batch then, so that batches grow with the load and an idle
service answers at once. Each lane has a queue and workers of its own; those of the bulk lane run
at the lowest priority, so that the kernel takes the CPU from them, in the middle of a batch too.
The event loop comes before both: workers that take its CPU have it hand them ever smaller batches.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from searchmesh_common.errors import DeadlineExceeded, Unavailable
from searchmesh_encoder.cpus import AFTER_ALL_OTHERS, AFTER_ANSWERS, lower_thread_priority
from searchmesh_encoder.scheduling.computing import compute
from searchmesh_encoder.scheduling.fair_queue import FairQueue
from searchmesh_encoder.work import Batch, Lane, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from searchmesh_common.errors import ServiceError
    from searchmesh_encoder.scheduling.cost_model import CostModel
    from searchmesh_encoder.work import Done, Item

    AnyItem = Item[Any, Any]
    Outcome = Done[Any] | ServiceError

_log = logging.getLogger("searchmesh.scheduler")

_BULK_WAITS_SECONDS = 0.25
"""Where queries would take every place for a batch, bulk begins one as often as this: some percent
of a CPU, so that it goes on and its cost stays known.
"""


@dataclass(slots=True)
class _Pool:
    lane: Lane
    queue: FairQueue
    idle: list[threading.Lock] = field(default_factory=list)
    """Of each worker that waits for work, the last to begin with at the end; to be released to wake
    it."""
    threads: list[threading.Thread] = field(default_factory=list)
    took_at: float = -math.inf
    """When a worker took a batch last."""

    @property
    def wants_a_place(self) -> bool:
        """Whether something waits that a worker of its own could begin with."""
        return bool(self.queue and self.idle)


class Scheduler:
    """The queues and the threads that empty them; `async with` starts and ends them.

    Items are given and taken back on the event loop that it was started on.
    """

    def __init__(
        self,
        name: str,
        *,
        workers: int,
        batch_tokens: int,
        age_bound_seconds: float,
        most_running: float,
        costs: CostModel,
        on_batch: Callable[[Batch], None],
    ) -> None:
        """name: of its threads. workers: threads of each lane, each computing a batch at a time.

        batch_tokens, age_bound_seconds: see FairQueue. most_running: batches of both lanes that
        are computed side by side; infinite where the lanes' priorities are enough.
        costs: told of every batch, and asked whether an item can be in time. on_batch: told of
        every batch, too, from the worker's thread.
        """
        self._costs = costs
        self._on_batch = on_batch
        self._most_running = most_running
        # where places are few, idle workers take turns, so that each one's waiting is counted in
        # what it costs; else the one whose caches are warm is next
        self._is_capped = most_running < math.inf
        self._next_idle = 0 if self._is_capped else -1
        self._lock = threading.Lock()
        self._pools = {
            lane: _Pool(lane, FairQueue(batch_tokens, age_bound_seconds)) for lane in Lane
        }
        self._queries_first = tuple(self._pools.values())
        self._bulk_first = self._queries_first[::-1]
        self._running = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        for lane, pool in self._pools.items():
            pool.threads = [
                threading.Thread(
                    target=self._work,
                    args=[pool],
                    name=f"{name}-{lane.value}-{number}",
                    daemon=True,
                )
                for number in range(workers)
            ]

    async def __aenter__(self) -> Scheduler:
        self._loop = asyncio.get_running_loop()
        for pool in self._pools.values():
            for thread in pool.threads:
                thread.start()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        """Let the workers finish what is waiting, and end them."""
        with self._lock:
            self._closed = True
            for pool in self._pools.values():
                self._wake_all(pool)
        for pool in self._pools.values():
            for thread in pool.threads:
                await asyncio.to_thread(thread.join)

    def submit(self, items: Sequence[AnyItem]) -> None:
        """Queue items, but for those taken back before; each one's `done` is called later.

        It is told what the runner answered or raised, DeadlineExceeded where the item's turn came
        too late, or Unavailable where the workers are being ended.
        """
        now = time.monotonic()
        with self._lock:
            if self._closed:
                self._answer(items, [Unavailable("this encoder is stopping")] * len(items))
                return
            for item in items:
                if item.place is Place.OUTSIDE:
                    self._pools[item.lane].queue.push(item, now)
            self._wake()

    def take_back(self, items: Iterable[AnyItem]) -> None:
        """Forget those that still wait, at once; their `done` is not called.

        The `done` of those that a worker has may still be.
        """
        with self._lock:
            for item in items:
                if item.place is Place.WAITING:
                    self._pools[item.lane].queue.remove(item)
                item.place = Place.GONE

    def take_back_all(self, items: Sequence[AnyItem]) -> bool:
        """Forget items if all of them still wait; whether they did."""
        with self._lock:
            if any(item.place is not Place.WAITING for item in items):
                return False
            for item in items:
                self._pools[item.lane].queue.remove(item)
            return True

    def waiting_tokens(self, lane: Lane) -> int:
        """Tokens in a lane's queue."""
        return self._pools[lane].queue.tokens

    def waiting_tokens_of(self, lane: Lane, caller: str) -> int:
        """Tokens of one caller in a lane's queue."""
        return self._pools[lane].queue.tokens_of(caller)

    def tokens_ahead(self, lane: Lane, caller: str, tokens: int, longest: int) -> int:
        """Tokens in a lane's queue that are computed before so many more of a caller.

        longest: tokens of the longest of them.
        """
        with self._lock:
            return self._pools[lane].queue.tokens_ahead(caller, tokens, longest)

    def is_sooner_for(self, items: Sequence[AnyItem], caller: str) -> bool:
        """Whether some of the items wait, and would have their turn sooner as another caller's."""
        with self._lock:
            first = next((item for item in items if item.place is Place.WAITING), None)
            if first is None:
                return False
            queue = self._pools[first.lane].queue
            return queue.tokens_ahead(caller, first.length, first.length) < queue.tokens_before(
                first
            )

    def is_busy(self, lane: Lane) -> bool:
        """Whether what a lane is given now has to wait for a worker, or for a place to run."""
        return not self._pools[lane].idle or self._running >= self._most_running

    def oldest_seconds(self) -> dict[tuple[str, Lane], float]:
        """Age of the item that waits longest, by runner and lane; none where none waits."""
        now = time.monotonic()
        with self._lock:
            return {
                (runner, lane): now - since
                for lane, pool in self._pools.items()
                for runner, since in pool.queue.oldest().items()
            }

    def _wake(self) -> None:
        """Let idle workers go, one for each item that waits; under the lock."""
        for pool in self._by_turn():
            for _ in range(min(len(pool.queue), len(pool.idle))):
                if self._running >= self._most_running:
                    return
                self._running += 1
                pool.idle.pop(self._next_idle).release()

    def _by_turn(self) -> Sequence[_Pool]:
        """The pools, first the one that comes first where places are few."""
        if not self._is_capped:
            return self._queries_first
        bulk_took_at = self._bulk_first[0].took_at
        is_bulks_turn = time.monotonic() - bulk_took_at >= _BULK_WAITS_SECONDS
        return self._bulk_first if is_bulks_turn else self._queries_first

    def _wake_all(self, pool: _Pool) -> None:
        while pool.idle:
            self._running += 1
            pool.idle.pop().release()

    def _work(self, pool: _Pool) -> None:
        """What a worker does all its life; it is counted as running unless it is idle."""
        lower_thread_priority(AFTER_ALL_OTHERS if pool.lane is Lane.BULK else AFTER_ANSWERS)
        wakeup = threading.Lock()
        wakeup.acquire()
        free_since = time.monotonic()
        with self._lock:
            self._running += 1
        while True:
            with self._lock:
                # nothing else here: a worker of the lowest priority that is stopped while it holds
                # the lock stops all others
                waiting_since = pool.queue.waiting_since
                batch = [] if self._must_yield(pool) else self._take(pool)
                if not batch:
                    self._running -= 1
                    if self._closed:
                        return
                    pool.idle.append(wakeup)
                    self._wake()
            if not batch:
                wakeup.acquire()
            elif in_time := self._in_time(batch):
                self._compute(in_time, max(free_since, waiting_since))
                free_since = time.monotonic()

    def _take(self, pool: _Pool) -> list[AnyItem]:
        now = time.monotonic()
        batch = pool.queue.take(now)
        if batch:
            pool.took_at = now
        return batch

    def _in_time(self, batch: Sequence[AnyItem]) -> list[AnyItem]:
        """Those of a batch that can meet their deadlines; the others are told."""
        now = time.monotonic()
        in_time: list[AnyItem] = []
        late: list[tuple[AnyItem, float]] = []
        for item in batch:
            deadline = item.deadline
            if self._is_late(item, deadline, now):
                late.append((item, deadline))
            else:
                in_time.append(item)
        if late:
            self._post(self._tell_late, late)
        return in_time

    def _must_yield(self, pool: _Pool) -> bool:
        """Whether too many run, or a worker that comes first is idle only because this one runs."""
        if self._closed or self._running < self._most_running:
            return False
        if self._running > self._most_running:
            return True
        first = self._by_turn()[0]
        return first is not pool and first.wants_a_place

    def _is_late(self, item: AnyItem, deadline: float, now: float) -> bool:
        if deadline == math.inf:
            return False
        return now + self._costs.batch_seconds(item.runner.name, item.lane, item.length) >= deadline

    def _compute(self, batch: Sequence[AnyItem], began: float) -> None:
        """began: since when the worker could have computed it, but for want of a place."""
        for items, outcomes, run in compute(batch):
            # first, so that a scrape that follows an answer has it
            _whatever_happens(self._on_batch, run)
            self._answer(items, outcomes)
            if not run.failed:
                now = time.monotonic()
                _whatever_happens(self._costs.computed, run, now - began)
                began = now

    def _answer(self, items: Sequence[AnyItem], outcomes: Sequence[Outcome]) -> None:
        self._post(_tell, items, outcomes)

    def _tell_late(self, late: Sequence[tuple[AnyItem, float]]) -> None:
        """Tell items that they are late for the deadlines that they were judged by.

        Those that were given more time since then wait again.
        """
        again: list[AnyItem] = []
        gone: list[AnyItem] = []
        for item, deadline in late:
            if item.place is Place.TAKEN and item.deadline > deadline:
                item.place = Place.OUTSIDE
                again.append(item)
            else:
                gone.append(item)
        error = DeadlineExceeded("the deadline could not be met any more when its turn came")
        _tell(gone, [error] * len(gone))
        self.submit(again)

    def _post(self, tell: Callable[..., None], *what: object) -> None:
        """Let the event loop tell somebody something."""
        loop = self._loop
        assert loop
        # a loop that has ended has nobody left who waits
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, *what)


def _tell(items: Sequence[AnyItem], outcomes: Sequence[Outcome]) -> None:
    for item, outcome in zip(items, outcomes, strict=True):
        # the queue's order may keep the item for a while, but not what it holds
        item.payload = None
        _whatever_happens(item.done, item, outcome)


def _whatever_happens(tell: Callable[..., object], *what: object) -> None:
    """Tell somebody something; what fails there ends no worker and keeps no answer from others."""
    try:
        tell(*what)
    except Exception:  # noqa: BLE001 - as it says
        _log.exception("a batch's outcome could not be told")
