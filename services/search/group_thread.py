"""A thread that takes everything that waits for it at once: the group commit of the journal and the
content store.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from searchmesh_common.errors import DeadlineExceeded, Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from searchmesh_search.deadline import Deadline

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[Item, Result]):
    """An item that waits, and the future that tells its owner the result."""

    item: Item
    future: Future[Result] = field(default_factory=Future)


class GroupThread(Generic[Item, Result]):
    """One thread that hands all waiting jobs, oldest first, to `process`, which must settle every
    future.

    The queue is bounded. A job whose owner has gone before its group began is left out.
    """

    def __init__(
        self,
        name: str,
        process: Callable[[Sequence[Job[Item, Result]]], None],
        *,
        max_waiting: int,
        max_group: int,
    ) -> None:
        self._name = name
        self._process = process
        self._max_group = max_group
        self._jobs: queue.Queue[Job[Item, Result] | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._closing = False

    def start(self) -> None:
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that no group has taken yet."""
        return self._jobs.qsize()

    async def submit(self, item: Item, deadline: Deadline) -> Result:
        """Have `item` processed. Raises what its processing raised.

        Raises Overloaded when the queue is full, Unavailable once closed, and DeadlineExceeded when
        the time ran out: an item not begun by then never is, one begun may still take effect.
        """
        if self._closing:
            raise Unavailable(f"the {self._name} is closed")
        timeout = deadline.remaining()
        job: Job[Item, Result] = Job(item)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise Overloaded(f"the {self._name} has {self._jobs.maxsize} writes waiting") from None
        try:
            # not wait_for, which until Python 3.12 loses a cancellation that meets the result
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(job.future)
        except TimeoutError:
            raise DeadlineExceeded(f"the {self._name} did not answer in time") from None

    async def close(self) -> None:
        """Process what waits, then end the thread."""
        if self._closing or self._thread.ident is None:
            return
        self._closing = True
        await asyncio.to_thread(self._jobs.put, None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            group, ended = self._take_waiting(first)
            live = [job for job in group if job.future.set_running_or_notify_cancel()]
            if live:
                self._settle(live)
            if ended:
                return

    def _take_waiting(self, first: Job[Item, Result]) -> tuple[list[Job[Item, Result]], bool]:
        """The group that `first` leads, and whether the queue ended with it."""
        group = [first]
        while len(group) < self._max_group:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _settle(self, group: Sequence[Job[Item, Result]]) -> None:
        try:
            self._process(group)
        except Exception as error:  # noqa: BLE001 - handed to every owner; the thread must live on
            for job in group:
                if not job.future.done():
                    job.future.set_exception(error)
