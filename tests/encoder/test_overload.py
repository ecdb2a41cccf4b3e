"""What has no room or no time is refused on arrival, unread; the rest is answered in time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from searchmesh_common.errors import DeadlineExceeded, Overloaded
from searchmesh_encoder.prepared import PrepareOptions, Segmentation
from searchmesh_encoder.scheduling import cost_model
from searchmesh_encoder.work import Lane

from .encoders import ONE_AT_A_TIME, Served, StubModel, serving


class SlowModel(StubModel):
    """Takes a millisecond for ten characters, as if computed at once."""

    seconds_per_character = 1e-4

    def run(self, payloads: Any) -> Any:
        time.sleep(self.seconds_per_character * sum(map(len, payloads)))
        return super().run(payloads)


async def learn(served: Served, count: int = 20) -> None:
    """Let the cost model see some batches."""
    for number in range(count):
        await served.outcomes(f"{number:100}")


async def test_a_deadline_that_is_past_is_told_at_once() -> None:
    model = StubModel()
    async with serving(model) as served:
        with pytest.raises(DeadlineExceeded, match="when the call arrived"):
            await served.outcomes("a", deadline=time.monotonic())
        assert model.read == []
        assert served.counted("encoder_contents_total", outcome="expired") == 1


async def test_what_cannot_be_in_time_is_refused_unread() -> None:
    model = SlowModel()
    async with serving(model, **ONE_AT_A_TIME, queue_tokens=10**6) as served:
        await learn(served)
        model.hold()
        waiting = served.start(*(f"{number:100}" for number in range(100)))
        await model.wait_entered()
        known = len(model.read)
        # a second's work is ahead
        with pytest.raises(Overloaded, match="its deadline is in 0") as caught:
            await served.outcomes("b" * 100, deadline=time.monotonic() + 0.5)
        assert 0.1 < caught.value.retry_after_seconds < 5
        assert len(model.read) == known
        assert served.counted("encoder_contents_total", outcome="refused") == 1
        patient = served.start("c" * 100, deadline=time.monotonic() + 20)
        model.release()
        await asyncio.gather(waiting, patient)


async def test_what_takes_too_long_by_itself_is_refused() -> None:
    model = SlowModel()
    async with serving(model, **ONE_AT_A_TIME, queue_tokens=10**6) as served:
        await learn(served)
        with pytest.raises(Overloaded, match="of which"):
            await served.outcomes(
                *(f"{number:100}" for number in range(100)), deadline=time.monotonic() + 0.3
            )
        await served.outcomes("d" * 100, deadline=time.monotonic() + 0.3)


async def test_an_idle_encoder_refuses_nothing_that_it_can_do_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = StubModel()
    async with serving(model, **ONE_AT_A_TIME) as served:
        # as if a hundred tokens took four seconds
        costs = served.encoder._admission._computing.costs
        monkeypatch.setattr(costs, "worker_seconds", lambda *_: 0.04)
        assert await served.outcomes("x" * 99, deadline=time.monotonic() + 5)
        model.hold()
        first = served.start("first")
        await model.wait_entered()
        waiting = served.start("w" * 10)
        await served.until("encoder_queue_tokens", 10)
        # others are ahead, for half a second
        with pytest.raises(Overloaded):
            await served.outcomes("y" * 99, deadline=time.monotonic() + 5)
        model.release()
        await asyncio.gather(first, waiting)


async def test_a_slow_first_run_does_not_close_the_lane_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost_model, "_BELIEVED_SECONDS", 0.5)
    monkeypatch.setattr(cost_model, "_BELIEVED_TIMES", 0.0)
    model = StubModel()
    async with serving(model, **ONE_AT_A_TIME) as served:
        model.hold()
        first = served.start("first")
        await asyncio.sleep(0.8)
        model.release()
        await first
        # or late, where it came before the worker had noted its time
        with pytest.raises((Overloaded, DeadlineExceeded)):
            await served.outcomes("other", deadline=time.monotonic() + 0.1)
        await asyncio.sleep(0.6)
        await served.outcomes("other", deadline=time.monotonic() + 1)


async def test_one_who_floods_a_lane_keeps_nobody_else_out() -> None:
    model = StubModel()
    async with serving(model, **ONE_AT_A_TIME, queue_tokens=1000) as served:
        model.hold()
        first = served.start("first")
        await model.wait_entered()
        flood = [
            served.start(*(f"{number:05}{one:05}" for one in range(10)), caller="flood")
            for number in range(20)
        ]
        few = served.start("few", caller="few")
        await asyncio.sleep(0.05)
        refused = [one for one in flood if one.done()]
        assert 10 <= len(refused) <= 11
        assert all(isinstance(one.exception(), Overloaded) for one in refused)
        assert not few.done()
        model.release()
        await asyncio.gather(first, few, *(one for one in flood if one not in refused))
        # by turns: it did not wait for more than what was begun and one of the flood's own
        assert model.computed.index("few") <= 3


async def test_room_is_taken_before_long_contents_are_read() -> None:
    model = StubModel()
    async with serving(model, queue_tokens=10_000, workers=1, coalesce=False) as served:
        await served.outcomes("x" * 1000)
        calls = [served.start("y" * 6000) for _ in range(3)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(one, Overloaded) for one in ended] == [False, True, True]


async def test_no_more_bytes_are_worked_on_than_allowed() -> None:
    model = StubModel()
    async with serving(model, pending_bytes=10_000, queue_tokens=10**6) as served:
        model.hold()
        first = served.start("a" * 8000)
        await model.wait_entered()
        with pytest.raises(Overloaded, match="bytes of contents are being worked on"):
            await served.outcomes("b" * 4000)
        bulk = served.start("c" * 20_000, lane=Lane.BULK)
        await model.wait_entered()
        model.release()
        await asyncio.gather(first, bulk)
        await served.outcomes("b" * 4000)


async def test_equals_of_what_is_on_its_way_take_room_too() -> None:
    model = StubModel()
    async with serving(model, pending_bytes=10_000, queue_tokens=10**6, workers=1) as served:
        model.hold()
        calls = [served.start("a" * 3000) for _ in range(3)]
        await model.wait_entered()
        with pytest.raises(Overloaded, match="bytes of contents are being worked on"):
            await served.outcomes("a" * 3000)
        model.release()
        await asyncio.gather(*calls)


async def test_a_call_larger_than_the_room_is_let_in_alone_whatever_the_cache_has_of_it() -> None:
    async with serving(StubModel(), pending_bytes=100, queue_tokens=10**6) as served:
        await served.outcomes("a" * 90)
        await served.outcomes("a" * 90, "b" * 90)


async def test_segments_are_estimated_beyond_the_window() -> None:
    model = StubModel()
    segments = PrepareOptions(segmentation=Segmentation.SEGMENTS)
    async with serving(model, **ONE_AT_A_TIME, queue_tokens=1000) as served:
        model.hold()
        first = served.start("first")
        waiting = served.start("a" * 500, options=segments)
        await served.until("encoder_queue_tokens", 500)
        with pytest.raises(Overloaded):
            await served.outcomes("b " * 300, options=segments)
        model.release()
        await asyncio.gather(first, waiting)


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, 10])
async def test_overload_leaves_the_rate_of_answers_in_time_as_it_was(times: int) -> None:
    """Open-loop: calls of 16 contents come however many are answered."""
    model = SlowModel()
    model.seconds_per_character = 2e-5
    # 16 contents of 100 characters on two workers: 16 ms a call
    async with serving(
        model, workers=2, batch_tokens=256, coalesce=False, cache_bytes=0, queue_tokens=10**6
    ) as served:
        await learn(served)

        async def offer(rate: float, seconds: float) -> tuple[int, int]:
            calls = []
            began = time.monotonic()
            number = 0
            while (now := time.monotonic()) < began + seconds:
                for _ in range(int((now - began) * rate) - number):
                    number += 1
                    deadline = time.monotonic() + (0.25, 0.5, 1.0)[number % 3]
                    texts = (f"{number} {one:95}" for one in range(16))
                    calls.append(served.start(*texts, deadline=deadline))
                await asyncio.sleep(0.001)
            ended = await asyncio.gather(*calls, return_exceptions=True)
            answered = sum(isinstance(one, list) for one in ended)
            others = [one for one in ended if not isinstance(one, list)]
            assert all(isinstance(one, Overloaded | DeadlineExceeded) for one in others)
            late = sum(isinstance(one, DeadlineExceeded) for one in others)
            return answered, late

        peak = 1 / 0.016
        answered, late = await offer(peak * times, 2.0)
        # what was let in at the end is answered after the load has ended
        assert answered >= 0.7 * peak * 2.0
        assert late <= 0.1 * answered
        assert served.gauge("encoder_queue_tokens") == 0
