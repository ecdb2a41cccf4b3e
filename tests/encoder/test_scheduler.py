"""Waiting items become batches; what nobody waits for is not computed."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_common.errors import DeadlineExceeded, Internal, InvalidRequest, Overloaded
from searchmesh_encoder.scheduler import Scheduler
from searchmesh_encoder.work import Batch, Done, Item, Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Recorder:
    """Answers each payload doubled, and can be held back."""

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.batches: list[list[Any]] = []
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def run(self, payloads: Sequence[Any]) -> list[Any]:
        self.batches.append(list(payloads))
        self.entered.release()
        assert self._open.wait(10)
        if "bad" in payloads:
            raise ValueError("bad payload")
        return [InvalidRequest.of("x", "own") if one == "own" else 2 * one for one in payloads]

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)


class Served:
    def __init__(self, scheduler: Scheduler, batches: list[Batch]) -> None:
        self.scheduler = scheduler
        self.batches = batches
        self.runner = Recorder()

    def item(self, payload: Any, length: int = 1, **changes: Any) -> Item[Any, Any]:
        return Item(
            **{
                "runner": self.runner,
                "payload": payload,
                "length": length,
                "lane": Lane.QUERY,
                **changes,
            }
        )

    def submit(self, *items: Item[Any, Any]) -> list[asyncio.Future[Done[Any]]]:
        return self.scheduler.submit(items)

    @asynccontextmanager
    async def busy_worker(self) -> AsyncIterator[None]:
        """While the only worker is held, what is submitted waits."""
        self.runner.hold()
        (first,) = self.submit(self.item(0))
        await self.runner.wait_entered()
        try:
            yield
        finally:
            self.runner.release()
            await first


@asynccontextmanager
async def serving(**changes: int) -> AsyncIterator[Served]:
    batches: list[Batch] = []
    arguments = {"workers": 1, "batch_tokens": 100, "queue_tokens": 1000, **changes}
    async with Scheduler(**arguments, on_batch=batches.append) as scheduler:
        yield Served(scheduler, batches)


async def values(futures: Sequence[asyncio.Future[Done[Any]]]) -> list[Any]:
    return [done.value for done in await asyncio.gather(*futures)]


async def test_answers_in_order() -> None:
    async with serving(workers=2) as served:
        futures = served.submit(*(served.item(number) for number in range(50)))
        assert await values(futures) == [2 * number for number in range(50)]
        assert served.scheduler.waiting_tokens == 0


async def test_an_idle_worker_takes_an_item_at_once() -> None:
    async with serving() as served:
        (future,) = served.submit(served.item(1))
        assert (await future).queue_seconds < 1
        assert served.runner.batches == [[1]]


async def test_what_waits_shares_a_batch() -> None:
    async with serving() as served:
        async with served.busy_worker():
            futures = served.submit(*(served.item(number) for number in range(1, 6)))
        await values(futures)
        assert served.runner.batches == [[0], [1, 2, 3, 4, 5]]
        assert [batch.items for batch in served.batches] == [1, 5]


async def test_nearest_lengths_share_a_batch_within_the_budget() -> None:
    async with serving() as served:
        async with served.busy_worker():
            lengths = (30, 90, 33, 10, 31)
            futures = served.submit(*(served.item(one, length=one) for one in lengths))
        await values(futures)
        # three of at most 33 are 99 tokens; 90 and 10 together would be 180
        assert served.runner.batches[1:] == [[30, 31, 33], [90], [10]]


async def test_far_lengths_share_no_batch_though_the_budget_would_hold_them() -> None:
    async with serving() as served:
        async with served.busy_worker():
            futures = served.submit(*(served.item(one, length=one) for one in (4, 20, 21, 25)))
        await values(futures)
        assert served.runner.batches[1:] == [[4, 20], [21, 25]]


async def test_an_item_over_the_budget_is_a_batch_alone() -> None:
    async with serving() as served:
        async with served.busy_worker():
            futures = served.submit(served.item(1, length=500), served.item(2, length=400))
        await values(futures)
        assert served.runner.batches == [[0], [1], [2]]


async def test_the_query_lane_is_served_first() -> None:
    async with serving() as served:
        async with served.busy_worker():
            futures = served.submit(served.item("b", lane=Lane.BULK))
            futures += served.submit(served.item("q"))
        await values(futures)
        assert served.runner.batches == [[0], ["q"], ["b"]]


async def test_runners_never_share_a_batch() -> None:
    async with serving() as served:
        other = Recorder("other")
        async with served.busy_worker():
            futures = served.submit(served.item(1), served.item(2, runner=other), served.item(3))
        assert await values(futures) == [2, 4, 6]
        assert (served.runner.batches, other.batches) == ([[0], [1, 3]], [[2]])


async def test_what_is_cancelled_is_not_computed() -> None:
    async with serving() as served:
        async with served.busy_worker():
            cancelled, kept = served.submit(served.item(1), served.item(2))
            cancelled.cancel()
        await kept
        assert served.runner.batches == [[0], [2]]


async def test_what_is_too_late_is_not_computed() -> None:
    async with serving() as served:
        async with served.busy_worker():
            late, kept = served.submit(
                served.item(1, deadline=time.monotonic()), served.item(2, deadline=1e12)
            )
        with pytest.raises(DeadlineExceeded):
            await late
        await kept
        assert served.runner.batches == [[0], [2]]


async def test_a_full_queue_refuses_all_or_none_and_says_when_to_come_back() -> None:
    async with serving(queue_tokens=10) as served:
        async with served.busy_worker():
            futures = served.submit(served.item(1, length=8))
            with pytest.raises(Overloaded, match="8 tokens are waiting") as caught:
                served.submit(served.item(2), served.item(3, length=2))
            futures += served.submit(served.item(4, length=2))
        assert caught.value.retry_after_seconds >= 0.1
        assert await values(futures) == [2, 8]


async def test_callers_who_went_away_hold_no_room() -> None:
    async with serving(queue_tokens=10) as served:
        async with served.busy_worker():
            gone, kept = served.submit(served.item(1, length=6), served.item(2, length=4))
            gone.cancel()
            (fits,) = served.submit(served.item(3, length=6))
            assert served.scheduler.waiting_tokens == 10
            with pytest.raises(Overloaded):
                served.submit(served.item(4))
        assert await values([kept, fits]) == [4, 6]
        assert served.scheduler.waiting_tokens == 0


async def test_callers_who_went_away_take_no_part_of_a_batch() -> None:
    async with serving() as served:
        async with served.busy_worker():
            _, gone, kept = served.submit(*(served.item(one, length=40) for one in (1, 2, 3)))
            gone.cancel()
        await kept
        assert served.runner.batches == [[0], [1, 3]]


async def test_an_empty_queue_takes_any_request() -> None:
    async with serving(queue_tokens=10) as served:
        assert await values(served.submit(served.item(1, length=5000))) == [2]


async def test_a_bad_item_fails_alone() -> None:
    async with serving() as served:
        async with served.busy_worker():
            good, bad, own = served.submit(*(served.item(one) for one in (1, "bad", "own")))
        assert (await good).value == 2
        with pytest.raises(Internal, match="could not compute"):
            await bad
        with pytest.raises(InvalidRequest, match="own"):
            await own
        assert await values(served.submit(served.item(5))) == [10]


async def test_who_went_away_while_a_batch_failed_is_not_computed_alone() -> None:
    async with serving() as served:
        failing = Recorder()
        failing.hold()
        async with served.busy_worker():
            bad, gone = served.submit(*(served.item(one, runner=failing) for one in ("bad", 2)))
        await failing.wait_entered()
        gone.cancel()
        failing.release()
        with pytest.raises(Internal):
            await bad
        await served.submit(served.item(3))[0]
        assert failing.batches == [["bad", 2], ["bad"]]


async def test_a_runner_that_loses_an_answer_ends_no_worker() -> None:
    class Forgetful(Recorder):
        def run(self, payloads: Sequence[Any]) -> list[Any]:
            return super().run(payloads)[1:]

    async with serving() as served:
        (lost,) = served.submit(served.item(1, runner=Forgetful()))
        with pytest.raises(Internal, match="could not compute"):
            await asyncio.wait_for(lost, 5)
        assert await values(served.submit(served.item(2))) == [4]


async def test_nothing_to_do_is_no_fault() -> None:
    async with serving() as served:
        assert served.submit() == []


async def test_ends_with_what_waits_answered() -> None:
    async with serving(workers=2) as served:
        futures = served.submit(*(served.item(number, length=60) for number in range(20)))
    assert await values(futures) == [2 * number for number in range(20)]


@settings(max_examples=30, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(1, 300), st.sampled_from(Lane)), max_size=60),
    workers=st.integers(1, 3),
)
async def test_every_item_is_computed_once_within_the_budget(
    items: list[tuple[int, Lane]], workers: int
) -> None:
    async with serving(workers=workers, queue_tokens=100_000) as served:
        futures = [
            served.submit(served.item(number, length=length, lane=lane))[0]
            for number, (length, lane) in enumerate(items)
        ]
        assert await values(futures) == [2 * number for number in range(len(items))]
    computed = [payload for batch in served.runner.batches for payload in batch]
    assert sorted(computed) == list(range(len(items)))
    assert all(batch.padded_tokens <= 100 or batch.items == 1 for batch in served.batches)
    assert sum(batch.tokens for batch in served.batches) == sum(length for length, _ in items)
