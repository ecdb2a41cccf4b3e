"""Waiting items to batches: late, by length, within a budget.

The scheduler sees lane, deadline and length of an item, never a modality. There is no timer: a
worker that falls free takes its batch then, the oldest item and others of nearly its length, so
that batches grow with the load and an idle service answers at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from searchmesh_common.errors import DeadlineExceeded, Internal, Overloaded, ServiceError
from searchmesh_common.logs import fields
from searchmesh_encoder.work import Batch, Done, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from searchmesh_encoder.work import Item, Payload, Result

_log = logging.getLogger("searchmesh.scheduler")

_ENOUGH_LOOKED_AT = 256
"""Waiting items that are looked at for one batch: bounds the time the queue is locked."""

_NEAR_TOKENS = 16
_NEAR_SHARE = 0.25
"""Items share a batch up to the larger of these differences in length, the share being that of the
longer one: a run's fixed cost is that of some 16 tokens, so more padding costs more than it saves.
"""

_FORGET_SECONDS = 0.1
"""Least time between two looks through a full queue, which keep the event loop."""

_RETRY_SECONDS = (0.1, 30.0)
_RATE_SMOOTHING = 0.1


@dataclass(slots=True, eq=False)
class _Waiting:
    item: Item[Any, Any]
    future: asyncio.Future[Done[Any]]
    since: float = field(default_factory=time.monotonic)


class Scheduler:
    """A bounded queue and the threads that empty it; `async with` starts and ends them."""

    def __init__(
        self,
        *,
        workers: int,
        batch_tokens: int,
        queue_tokens: int,
        on_batch: Callable[[Batch], None],
    ) -> None:
        """workers: threads, of which each computes one batch at a time.

        batch_tokens: most tokens of a batch, padding counted; a longer item is a batch alone.
        queue_tokens: most tokens that wait; an item that meets an empty queue always fits.
        on_batch: told of every batch from the worker's thread.
        """
        self._batch_tokens = batch_tokens
        self._queue_tokens = queue_tokens
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._lanes: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in Lane}
        self._waiting_tokens = 0
        self._forgot = -math.inf
        self._tokens_per_second = 1000.0 * workers
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"encode-{number}", daemon=True)
            for number in range(workers)
        ]

    async def __aenter__(self) -> Scheduler:
        for worker in self._workers:
            worker.start()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        """Let the workers finish what is waiting, and end them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            await asyncio.to_thread(worker.join)

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue."""
        return self._waiting_tokens

    def submit(self, items: Sequence[Item[Payload, Result]]) -> list[asyncio.Future[Done[Result]]]:
        """Queue items, all or none, and return the futures of their results.

        A future fails with DeadlineExceeded where the deadline passed first, or with what the
        runner raised. One that is cancelled before its batch is taken is not computed.
        Raises Overloaded where the queue has no room for all of them.
        """
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(item, loop.create_future()) for item in items]
        tokens = sum(item.length for item in items)
        with self._changed:
            if not self._has_room(tokens):
                self._forget_cancelled()
                if not self._has_room(tokens):
                    raise self._overloaded()
            self._waiting_tokens += tokens
            for one in waiting:
                self._lanes[one.item.lane].append(one)
            self._changed.notify(len(waiting))
        return [one.future for one in waiting]

    def _has_room(self, tokens: int) -> bool:
        return not self._waiting_tokens or self._waiting_tokens + tokens <= self._queue_tokens

    def _forget_cancelled(self) -> None:
        """Give the room back that is held for callers who went away, every now and then."""
        now = time.monotonic()
        if now < self._forgot + _FORGET_SECONDS:
            return
        self._forgot = now
        for lane in self._lanes.values():
            alive = [one for one in lane if not one.future.cancelled()]
            lane.clear()
            lane.extend(alive)
        self._waiting_tokens = sum(one.item.length for lane in self._lanes.values() for one in lane)

    def _overloaded(self) -> Overloaded:
        shortest, longest = _RETRY_SECONDS
        seconds = self._waiting_tokens / self._tokens_per_second
        return Overloaded(
            f"{self._waiting_tokens} tokens are waiting, no room for more",
            retry_after_seconds=min(max(seconds, shortest), longest),
        )

    def _work(self) -> None:
        while batch := self._next_batch():
            self._compute(batch)

    def _next_batch(self) -> list[_Waiting] | None:
        """The next batch, as soon as there is one; None when the scheduler has ended."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or any(self._lanes.values()))
                lane = next((lane for lane in self._lanes.values() if lane), None)
                if lane is None:
                    return None
                batch = self._take(lane)
            alive = [one for one in batch if not self._has_gone(one)]
            if alive:
                return alive

    def _take(self, lane: deque[_Waiting]) -> list[_Waiting]:
        """The oldest item and, of those behind it, the nearest in length that fit the budget."""
        oldest = lane.popleft()
        behind = [
            one
            for one, _ in zip(lane, range(_ENOUGH_LOOKED_AT), strict=False)
            if not one.future.cancelled()
            and one.item.runner is oldest.item.runner
            and _is_near(one.item, oldest.item)
        ]
        behind.sort(key=lambda one: abs(one.item.length - oldest.item.length))
        batch = [oldest]
        longest = oldest.item.length
        for one in behind:
            longest = max(longest, one.item.length)
            if longest * (len(batch) + 1) > self._batch_tokens:
                break
            batch.append(one)
        for one in batch[1:]:
            lane.remove(one)
        self._waiting_tokens -= sum(one.item.length for one in batch)
        return batch

    def _has_gone(self, one: _Waiting) -> bool:
        """Whether nobody waits for an item any more; one that is too late is told so."""
        if one.future.cancelled():
            return True
        if one.item.deadline is not None and time.monotonic() >= one.item.deadline:
            self._answer([one], [DeadlineExceeded("the deadline passed in the queue")])
            return True
        return False

    def _compute(self, batch: list[_Waiting]) -> None:
        started = time.monotonic()
        runner = batch[0].item.runner
        try:
            values = runner.run([one.item.payload for one in batch])
            seconds = time.monotonic() - started
            answers = [
                value
                if isinstance(value, ServiceError)
                else Done(value, started - one.since, seconds)
                for one, value in zip(batch, values, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - a worker outlives whatever a batch meets
            self._isolate(batch, error)
            return
        self._report(batch, started, seconds)
        self._answer(batch, answers)

    def _isolate(self, batch: list[_Waiting], error: Exception) -> None:
        """Find the item that made a batch fail by computing each alone."""
        if len(batch) > 1:
            for one in batch:
                if not self._has_gone(one):
                    self._compute([one])
            return
        _log.error("an item failed", exc_info=error, extra=fields(model=batch[0].item.runner.name))
        known = error if isinstance(error, ServiceError) else None
        self._answer(batch, [known or Internal("the model could not compute this")])

    def _report(self, batch: list[_Waiting], started: float, seconds: float) -> None:
        lengths = [one.item.length for one in batch]
        tokens = sum(lengths)
        rate = len(self._workers) * tokens / max(seconds, 1e-6)
        self._tokens_per_second += _RATE_SMOOTHING * (rate - self._tokens_per_second)
        self._on_batch(
            Batch(
                runner=batch[0].item.runner.name,
                lane=batch[0].item.lane,
                items=len(batch),
                tokens=tokens,
                padded_tokens=max(lengths) * len(batch),
                queue_seconds=[started - one.since for one in batch],
                compute_seconds=seconds,
            )
        )

    def _answer(
        self, batch: Sequence[_Waiting], answers: Sequence[Done[Any] | ServiceError]
    ) -> None:
        loop = batch[0].future.get_loop()
        # a loop that has ended has nobody left who waits
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_results, batch, answers)


def _is_near(one: Item[Any, Any], other: Item[Any, Any]) -> bool:
    longer = max(one.length, other.length)
    return abs(one.length - other.length) <= max(_NEAR_TOKENS, _NEAR_SHARE * longer)


def _set_results(batch: Sequence[_Waiting], answers: Sequence[Done[Any] | ServiceError]) -> None:
    for one, answer in zip(batch, answers, strict=True):
        if one.future.done():
            continue
        if isinstance(answer, ServiceError):
            one.future.set_exception(answer)
        else:
            one.future.set_result(answer)
