"""Waiting items become batches; what nobody waits for is not computed."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_common.errors import DeadlineExceeded, Internal, InvalidRequest, Unavailable
from searchmesh_encoder.cpus import AFTER_ALL_OTHERS, AFTER_ANSWERS
from searchmesh_encoder.scheduling.scheduler import _BULK_WAITS_SECONDS
from searchmesh_encoder.work import Lane

from .runners import Recorder, serving, values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .runners import Served


async def test_answers_in_order() -> None:
    async with serving(workers=2) as served:
        futures = served.submit(*(served.waiting(number) for number in range(50)))
        assert await values(futures) == [2 * number for number in range(50)]
        assert served.scheduler.waiting_tokens(Lane.QUERY) == 0


async def test_an_idle_worker_takes_an_item_at_once() -> None:
    async with serving() as served:
        (future,) = served.submit(served.waiting(1))
        assert (await future).queue_seconds < 1
        assert served.runner.batches == [[1]]


async def test_what_waits_shares_a_batch() -> None:
    async with serving() as served:
        async with served.busy_worker():
            futures = served.submit(*(served.waiting(number) for number in range(1, 6)))
        await values(futures)
        assert served.runner.batches == [[0], [1, 2, 3, 4, 5]]
        assert [batch.items for batch in served.batches] == [1, 5]


async def test_each_lane_has_workers_of_its_own() -> None:
    async with serving() as served, served.busy_worker(Lane.BULK):
        query = Recorder("query")
        (future,) = served.submit(served.waiting(1, runner=query))
        assert (await future).value == 2
        served.submit(served.waiting(2, lane=Lane.BULK))
        assert served.scheduler.waiting_tokens(Lane.BULK) == 1
        assert served.scheduler.waiting_tokens(Lane.QUERY) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority only on Linux")
async def test_who_computes_gives_way_to_the_event_loop_and_bulk_to_all() -> None:
    class Priority(Recorder):
        def run(self, payloads: Sequence[Any]) -> list[Any]:
            return [os.getpriority(os.PRIO_PROCESS, threading.get_native_id())] * len(payloads)

    async with serving() as served:
        lanes = (Lane.QUERY, Lane.BULK)
        items = [served.waiting(1, lane=lane, runner=Priority()) for lane in lanes]
        assert await values(served.submit(*items)) == [AFTER_ANSWERS, AFTER_ALL_OTHERS]
        assert os.getpriority(os.PRIO_PROCESS, 0) < AFTER_ANSWERS < AFTER_ALL_OTHERS


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_no_more_batches_run_than_a_quota_lasts_for(most: int) -> None:
    async with serving(workers=3, most_running=most) as served:
        served.runner.hold()
        futures = served.submit(
            *(served.waiting(1, 90, lane=lane) for lane in Lane for _ in range(9))
        )
        for _ in range(most):
            await served.runner.wait_entered()
        served.runner.release()
        assert await values(futures) == [2] * 18
        assert served.runner.most_running == most


async def test_queries_come_first_where_a_quota_is_used_up() -> None:
    async with serving(most_running=1) as served:
        async with served.busy_worker(Lane.BULK):
            futures = served.submit(
                served.waiting("b", lane=Lane.BULK), served.waiting("q"), served.waiting("r", 50)
            )
        await values(futures)
        assert served.runner.batches == [[0], ["q"], ["r"], ["b"]]


async def test_bulk_goes_on_while_no_worker_of_queries_is_free() -> None:
    async with serving(most_running=2) as served, served.busy_worker():
        (waits,) = served.submit(served.waiting("q"))
        bulk = Recorder("bulk")
        (future,) = served.submit(served.waiting("b", runner=bulk, lane=Lane.BULK))
        assert (await asyncio.wait_for(future, 5)).value == "bb"
        assert not waits.done()


class Slow(Recorder):
    """Takes ten milliseconds."""

    def run(self, payloads: Sequence[Any]) -> list[Any]:
        time.sleep(0.01)
        return super().run(payloads)


@asynccontextmanager
async def saturated(served: Served) -> AsyncIterator[None]:
    """While queries wait at every moment, each of which is a batch of its own."""
    leaving = asyncio.Event()

    async def call() -> None:
        slow = Slow("slow")
        while not leaving.is_set():
            await served.submit(served.waiting(1, 100, runner=slow))[0]

    calls = [asyncio.create_task(call()) for _ in range(6)]
    try:
        yield
    finally:
        leaving.set()
        await asyncio.gather(*calls)


async def test_bulk_has_a_share_where_queries_would_use_a_quota_up() -> None:
    async with serving(workers=2, most_running=1) as served, saturated(served):
        futures = served.submit(*(served.waiting(1, 100, lane=Lane.BULK) for _ in range(3)))
        assert await asyncio.wait_for(values(futures), 10) == [2, 2, 2]


async def test_waiting_for_a_place_is_part_of_what_a_lane_costs() -> None:
    async with serving(workers=2, most_running=1) as served, saturated(served):
        futures = served.submit(*(served.waiting(1, 100, lane=Lane.BULK) for _ in range(4)))
        await asyncio.wait_for(values(futures), 10)
        # what a batch takes of each of two workers, though its run takes no time
        assert served.costs.worker_seconds(Lane.BULK) * 100 >= _BULK_WAITS_SECONDS
        assert served.costs.batch_seconds("recorder", Lane.BULK, 100) < _BULK_WAITS_SECONDS / 2


async def test_an_idle_lane_costs_nothing_while_nothing_waits() -> None:
    async with serving(most_running=1) as served:
        for _ in range(3):
            await asyncio.sleep(0.2)
            await served.submit(served.waiting(1, 100))[0]
        assert served.costs.worker_seconds(Lane.QUERY) * 100 < 0.1


async def test_a_lane_without_a_place_is_busy() -> None:
    async with serving(workers=2, most_running=1) as served:
        assert not any(map(served.scheduler.is_busy, Lane))
        async with served.busy_worker():
            assert all(map(served.scheduler.is_busy, Lane))


async def test_what_is_taken_back_is_not_computed() -> None:
    async with serving() as served:
        async with served.busy_worker():
            gone, kept = served.waiting(1), served.waiting(2)
            served.submit(gone, kept)
            served.scheduler.take_back([gone.item])
            assert served.scheduler.waiting_tokens(Lane.QUERY) == 1
            assert gone.item.payload is None
        await kept.future
        assert served.runner.batches == [[0], [2]]
        assert gone.told == 0


async def test_all_or_none_are_taken_back() -> None:
    async with serving() as served:
        async with served.busy_worker():
            one, other = served.waiting(1), served.waiting(2)
            served.submit(one, other)
            assert served.scheduler.take_back_all([one.item, other.item])
        (first,) = served.submit(third := served.waiting(3))
        await first
        async with served.busy_worker():
            served.submit(fourth := served.waiting(4))
            assert not served.scheduler.take_back_all([third.item, fourth.item])
        assert (await fourth.future).value == 8


async def test_what_is_too_late_is_not_computed() -> None:
    async with serving() as served:
        async with served.busy_worker():
            late, kept = served.submit(
                served.waiting(1, deadline=time.monotonic()), served.waiting(2, deadline=1e12)
            )
        with pytest.raises(DeadlineExceeded):
            await late
        await kept
        assert served.runner.batches == [[0], [2]]


async def test_what_cannot_be_in_time_any_more_is_not_computed() -> None:
    async with serving() as served:
        async with served.busy_worker():
            hopeless, kept = served.submit(
                served.waiting(1, deadline=time.monotonic() + 5), served.waiting(2, deadline=1e12)
            )
            # as if a batch of one token took ten seconds
            served.costs.batch_seconds = lambda *_: 10.0  # type: ignore[method-assign]
        with pytest.raises(DeadlineExceeded):
            await hopeless
        await kept
        assert served.runner.batches == [[0], [2]]


async def test_an_item_is_judged_while_the_lock_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[bool] = []

    def estimate(*_: object) -> float:
        lock = served.scheduler._lock
        free.append(lock.acquire(timeout=2))
        if free[-1]:
            lock.release()
        return 0.0

    async with serving() as served:
        monkeypatch.setattr(served.costs, "batch_seconds", estimate)
        (future,) = served.submit(served.waiting(1, deadline=1e12))
        assert (await future).value == 2
    assert free == [True]


async def test_a_deadline_can_be_put_off_while_an_item_waits() -> None:
    async with serving() as served:
        async with served.busy_worker():
            waiting = served.waiting(1, deadline=time.monotonic())
            served.submit(waiting)
            waiting.item.deadline = 1e12
        assert (await waiting.future).value == 2


async def test_a_deadline_can_be_put_off_until_its_end_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = threading.Event()

    def judge(*_: object) -> float:
        judged.set()
        return 10.0

    async with serving() as served:
        monkeypatch.setattr(served.costs, "batch_seconds", judge)
        waiting = served.waiting(1, deadline=time.monotonic() + 5)
        (future,) = served.submit(waiting)
        # the event loop stands still while a worker finds the item late
        assert judged.wait(10)
        waiting.item.deadline = math.inf
        assert (await asyncio.wait_for(future, 10)).value == 2
        assert waiting.told == 1


async def test_a_bad_item_fails_alone() -> None:
    async with serving() as served:
        async with served.busy_worker():
            *good, bad, own = served.submit(
                *(served.waiting(one) for one in (1, 2, 3, 4, 5, 6, "bad", "own"))
            )
        assert await values(good) == [2, 4, 6, 8, 10, 12]
        with pytest.raises(Internal, match="could not compute"):
            await bad
        with pytest.raises(InvalidRequest, match="own"):
            await own
        assert served.runner.batches[1:] == [
            [1, 2, 3, 4, 5, 6, "bad", "own"],
            [1, 2, 3, 4],
            [5, 6, "bad", "own"],
            [5, 6],
            ["bad", "own"],
            ["bad"],
            ["own"],
        ]


async def test_runs_that_fail_take_time_too() -> None:
    async with serving() as served:
        async with served.busy_worker():
            slow = Slow()
            bad, good = served.submit(*(served.waiting(one, runner=slow) for one in ("bad", 1)))
        with pytest.raises(Internal):
            await bad
        await good
        assert [batch.failed for batch in served.batches] == [False, True, True, False]
        assert all(batch.compute_seconds >= 0.01 for batch in served.batches[1:])
        # a worker was kept from others for all of it
        assert served.costs.worker_seconds(Lane.QUERY) * 2 >= 0.03


async def test_what_was_told_its_end_holds_nothing_any_more() -> None:
    async with serving() as served:
        async with served.busy_worker():
            waiting = [served.waiting(payload) for payload in (1, "bad")]
            futures = served.submit(*waiting)
        await asyncio.gather(*futures, return_exceptions=True)
        assert [one.item.payload for one in waiting] == [None, None]


async def test_who_went_away_while_a_batch_failed_is_not_computed_again() -> None:
    async with serving() as served:
        failing = Recorder()
        failing.hold()
        async with served.busy_worker():
            bad, gone = served.waiting("bad", runner=failing), served.waiting(2, runner=failing)
            served.submit(bad, gone)
        await failing.wait_entered()
        served.scheduler.take_back([gone.item])
        failing.release()
        with pytest.raises(Internal):
            await bad.future
        await served.submit(served.waiting(3))[0]
        assert failing.batches == [["bad", 2], ["bad"]]


async def test_a_runner_that_loses_an_answer_ends_no_worker() -> None:
    class Forgetful(Recorder):
        def run(self, payloads: Sequence[Any]) -> list[Any]:
            return super().run(payloads)[1:]

    async with serving() as served:
        (lost,) = served.submit(served.waiting(1, runner=Forgetful()))
        with pytest.raises(Internal, match="could not compute"):
            await asyncio.wait_for(lost, 5)
        assert await values(served.submit(served.waiting(2))) == [4]


async def test_who_cannot_take_an_answer_keeps_none_from_others() -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with serving() as served:
        async with served.busy_worker():
            bad, good = served.waiting(1), served.waiting(2)
            bad.item.done = fail
            served.submit(bad, good)
        assert (await asyncio.wait_for(good.future, 5)).value == 4


@pytest.mark.parametrize("who", ["costs", "on_batch"])
async def test_who_cannot_take_a_measurement_ends_no_worker(
    monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    more = {"on_batch": fail} if who == "on_batch" else {}
    async with serving(**more) as served:
        if who == "costs":
            monkeypatch.setattr(served.costs, "computed", fail)
        for number in range(3):
            (future,) = served.submit(served.waiting(number))
            assert (await asyncio.wait_for(future, 5)).value == 2 * number


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_panic_that_is_no_exception_ends_no_worker() -> None:
    class Panic(BaseException):
        """As libraries written in Rust raise."""

    class Panicking(Recorder):
        def run(self, payloads: Sequence[Any]) -> list[Any]:
            raise Panic

    async with serving() as served:
        (lost,) = served.submit(served.waiting(1, runner=Panicking()))
        with pytest.raises(Internal):
            await asyncio.wait_for(lost, 5)
        assert await values(served.submit(served.waiting(2))) == [4]


async def test_nothing_to_do_is_no_fault() -> None:
    async with serving() as served:
        assert served.submit() == []


async def test_ends_with_what_waits_answered() -> None:
    async with serving(workers=2) as served:
        futures = served.submit(*(served.waiting(number, length=60) for number in range(20)))
    assert await values(futures) == [2 * number for number in range(20)]


async def test_what_comes_after_the_end_is_told_so() -> None:
    async with serving() as served:
        pass
    (future,) = served.submit(served.waiting(1))
    with pytest.raises(Unavailable, match="stopping"):
        await asyncio.wait_for(future, 5)


async def test_tells_how_long_the_oldest_has_waited() -> None:
    async with serving() as served:
        async with served.busy_worker():
            assert served.scheduler.oldest_seconds() == {}
            gone, *futures = [served.waiting(number) for number in range(3)]
            served.submit(gone, *futures)
            served.scheduler.take_back([gone.item])
            (age,) = served.scheduler.oldest_seconds().values()
            assert 0 <= age < 10
        await asyncio.gather(*(one.future for one in futures))
        assert served.scheduler.oldest_seconds() == {}


@settings(max_examples=30, deadline=None)
@given(
    items=st.lists(
        st.tuples(
            st.integers(1, 300),
            st.sampled_from(Lane),
            st.sampled_from(("fine", "bad", "late", "gone")),
        ),
        max_size=60,
    ),
    workers=st.integers(1, 3),
    most_running=st.integers(1, 6),
)
async def test_every_item_has_one_outcome_within_the_budget(
    items: list[tuple[int, Lane, str]], workers: int, most_running: int
) -> None:
    async with serving(workers=workers, most_running=most_running) as served:
        everything = []
        for number, (length, lane, fate) in enumerate(items):
            payload: Any = "bad" if fate == "bad" else number
            late = {"deadline": 0.0} if fate == "late" else {}
            one = served.waiting(payload, length=length, lane=lane, **late)
            served.submit(one)
            everything.append((one, fate, number))
        gone = [one for one, fate, _ in everything if fate == "gone"]
        served.scheduler.take_back([one.item for one in gone])
    await asyncio.sleep(0)
    for one, fate, number in everything:
        assert one.told <= 1
        assert one.told == 1 or fate == "gone"
        if fate == "bad":
            assert isinstance(one.future.exception(), Internal)
        elif fate == "late":
            assert isinstance(one.future.exception(), DeadlineExceeded)
        elif one.told:
            assert one.future.result().value == 2 * number
    assert all(batch.padded_tokens <= 100 or batch.items == 1 for batch in served.batches)
    assert all(served.scheduler.waiting_tokens(lane) == 0 for lane in Lane)
