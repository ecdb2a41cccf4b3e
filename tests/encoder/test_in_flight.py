"""Equal contents that are encoded at the same time are computed once, for whoever waits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_common.errors import DeadlineExceeded, Internal, Overloaded
from searchmesh_encoder.prepared import InputRole, PrepareOptions, Segmentation
from searchmesh_encoder.work import Lane

from .encoders import StubModel, serving

if TYPE_CHECKING:
    from .encoders import Served

LONG = "long " * 199 + "long"
"""Too long to be read on the event loop."""


WITHOUT_MATES: dict[str, Any] = {"workers": 1, "batch_tokens": 1, "cache_bytes": 0}
"""Settings under which every computation is a batch of its own."""


async def held(served: Served, model: StubModel, lane: Lane = Lane.QUERY) -> asyncio.Task[object]:
    """Keep the only worker of a lane, so that what comes waits."""
    model.hold()
    first = served.start("first", lane=lane)
    await model.wait_entered()
    return first


@pytest.mark.parametrize("text", ["short", LONG])
async def test_equal_contents_are_computed_once(text: str) -> None:
    model = StubModel()
    async with serving(model, workers=1, cache_bytes=0) as served:
        first = await held(served, model)
        calls = [served.start(text, "own", text) for _ in range(5)]
        await asyncio.sleep(0)
        model.release()
        outcomes = await asyncio.gather(*calls)
        await first
        assert {one[0] for call in outcomes for one in call} == {len(text), 3}
        assert sorted(model.computed) == sorted(["first", text, "own"])
        assert served.counted("encoder_coalesced_total") == 13


async def test_not_where_that_is_switched_off() -> None:
    model = StubModel()
    async with serving(model, workers=1, coalesce=False, cache_bytes=0) as served:
        await served.outcomes("same", "same")
        assert model.computed == ["same", "same"]


async def test_only_what_is_asked_for_in_the_same_way_is_equal() -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        first = await held(served, model)
        calls = [
            served.start("same", options=PrepareOptions(InputRole.QUERY)),
            served.start("same", options=PrepareOptions(InputRole.DOCUMENT)),
        ]
        await asyncio.sleep(0)
        model.release()
        await asyncio.gather(first, *calls)
        assert model.computed == ["first", "same", "same"]


@pytest.mark.parametrize("text", ["short", LONG])
async def test_a_first_caller_who_leaves_leaves_the_others_their_answer(text: str) -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        first = await held(served, model)
        leader, follower = served.start(text), served.start(text)
        await asyncio.sleep(0)
        leader.cancel()
        await asyncio.sleep(0)
        model.release()
        assert (await follower)[0][0] == len(text)
        await first
        assert leader.cancelled()
        assert model.computed == ["first", text]


async def test_the_last_who_leaves_ends_it() -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        first = await held(served, model)
        calls = [served.start("same") for _ in range(3)]
        await served.until("encoder_queue_tokens", 4)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert served.gauge("encoder_queue_tokens") == 0
        model.release()
        await first
        assert model.computed == ["first"]


async def test_the_latest_deadline_of_those_who_wait_counts() -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        first = await held(served, model)
        soon = time.monotonic() + 0.05
        hasty, patient = served.start("same", deadline=soon), served.start("same")
        late = served.start("other", deadline=soon)
        await asyncio.sleep(0.06)
        model.release()
        assert (await patient)[0][0] == 4
        await hasty
        with pytest.raises(DeadlineExceeded):
            await late
        await first


async def test_a_query_takes_what_waits_in_bulk_over_into_its_lane() -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        first = await held(served, model, Lane.BULK)
        bulk = served.start("same", lane=Lane.BULK)
        await served.until("encoder_queue_tokens", 4, lane="bulk")
        query = served.start("same")
        await model.wait_entered()
        assert served.gauge("encoder_queue_tokens", "bulk") == 0
        assert not first.done()
        model.release()
        await asyncio.gather(first, bulk, query)
        assert model.computed == ["first", "same"]
        assert served.gauge("encoder_pending_bytes", "query") == 0
        assert served.gauge("encoder_pending_bytes", "bulk") == 0


@pytest.mark.parametrize("lane", Lane)
async def test_who_joins_another_caller_need_not_wait_for_all_of_theirs(lane: Lane) -> None:
    model = StubModel()
    async with serving(model, **WITHOUT_MATES) as served:
        first = await held(served, model, lane)
        flood = [served.start(f"flood {one:03}", lane=lane, caller="flood") for one in range(50)]
        flood.append(served.start("same same", lane=lane, caller="flood"))
        await served.until("encoder_queue_tokens", 51 * 9, lane=lane.value)
        few = served.start("same same", lane=lane, caller="few")
        await asyncio.sleep(0)
        await served.until("encoder_queue_tokens", 51 * 9, lane=lane.value)
        model.release()
        await asyncio.gather(first, few, *flood)
        assert model.computed.index("same same") <= 3
        assert model.computed.count("same same") == 1
        served.assert_nothing_is_left()


async def test_who_joins_another_caller_keeps_them_no_longer() -> None:
    model = StubModel()
    async with serving(model, **WITHOUT_MATES) as served:
        first = await held(served, model)
        one = served.start("same same", caller="few")
        await served.until("encoder_queue_tokens", 9)
        flood = [served.start(f"flood {one:03}", caller="flood") for one in range(50)]
        flood.append(served.start("same same", caller="flood"))
        await served.until("encoder_queue_tokens", 51 * 9)
        model.release()
        await asyncio.gather(first, one, *flood)
        assert model.computed.index("same same") <= 2
        assert model.computed.count("same same") == 1


async def test_what_is_kept_from_being_read_by_others_is_read_for_who_comes() -> None:
    model = StubModel()
    async with serving(model, workers=1, cache_bytes=0, queue_tokens=10**6) as served:
        model.hold_reading()
        first = served.start("first " * 200)
        await served.until("encoder_unread_tokens", 1 + 6 * 200)
        flood = [served.start(f"{one} {LONG}" * 40, caller="flood") for one in range(20)]
        flood.append(served.start(LONG, caller="flood"))
        await asyncio.sleep(0)
        few = served.start(LONG, caller="few")
        await asyncio.sleep(0)
        model.release()
        await asyncio.gather(first, few, *flood)
        assert model.read.index(LONG) <= 3


async def test_what_would_be_taken_over_needs_time_of_the_caller_who_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = StubModel()
    async with serving(model, **WITHOUT_MATES) as served:
        await served.outcomes("warm")
        running = [await held(served, model), served.start("same", caller="flood")]
        running += [served.start(f"few {one:03}", caller="few") for one in range(20)]
        await served.until("encoder_queue_tokens", 4 + 20 * 7)
        # as if a token took ten seconds
        costs = served.encoder._admission._computing.costs
        monkeypatch.setattr(costs, "worker_seconds", lambda *_: 10.0)
        with pytest.raises(Overloaded):
            await served.outcomes("same", caller="few", deadline=time.monotonic() + 1)
        model.release()
        await asyncio.gather(*running)


async def test_what_a_query_would_take_over_needs_room_in_its_lane() -> None:
    model = StubModel()
    async with serving(model, workers=1, queue_tokens=100) as served:
        running = [await held(served, model, lane) for lane in (Lane.BULK, Lane.QUERY)]
        running += [served.start("b" * 60, lane=Lane.BULK), served.start("q" * 60)]
        await served.until("encoder_queue_tokens", 60, lane="bulk")
        await served.until("encoder_queue_tokens", 60)
        with pytest.raises(Overloaded):
            await served.outcomes("b" * 60)
        assert served.gauge("encoder_queue_tokens", "bulk") == 60
        model.release()
        await asyncio.gather(*running)


async def test_a_query_does_not_wait_for_what_a_bulk_worker_has() -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        bulk = await held(served, model, Lane.BULK)
        query = served.start("first")
        await model.wait_entered()
        model.release()
        await asyncio.gather(bulk, query)
        assert model.computed == ["first", "first"]


async def test_all_who_wait_get_the_error() -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        first = await held(served, model)
        calls = [served.start("bad!") for _ in range(3)]
        await asyncio.sleep(0)
        model.release()
        for (outcome,) in await asyncio.gather(*calls):
            assert isinstance(outcome, Internal)
        await first


async def test_what_was_encoded_before_is_answered_from_the_cache() -> None:
    model = StubModel()
    async with serving(model) as served:
        first = await served.outcomes("same", "other", "bad!")
        again = await served.outcomes("same", "other", "bad!")
        for one, other in zip(first[:2], again[:2], strict=True):
            assert np.array_equal(one, other)
        assert sorted(model.computed) == ["bad!"] * 2 + ["other", "same"] or (
            # the bad one was first tried together with its mates
            model.computed.count("bad!") >= 2
        )
        assert served.counted("encoder_cache_hits_total") == 2
        assert served.counted("encoder_cache_misses_total") == 4


_CALLS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(("a", "bb", "cc", "d!", LONG)), min_size=1, max_size=6),
        st.sampled_from(Lane),
        st.sampled_from(("stays", "leaves", "leaves later", "is late")),
        st.sampled_from(("", "one", "other")),
        st.sampled_from(Segmentation),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(calls=_CALLS, coalesce=st.booleans(), cache_bytes=st.sampled_from((0, 10_000)))
async def test_every_call_has_one_end_and_nothing_is_left(
    calls: list[tuple[list[str], Lane, str, str, Segmentation]], coalesce: bool, cache_bytes: int
) -> None:
    model = StubModel()
    more = {"coalesce": coalesce, "cache_bytes": cache_bytes, "queue_tokens": 10**6}
    async with serving(model, **more) as served:
        tasks = []
        for texts, lane, fate, caller, segmentation in calls:
            asked = {
                "lane": lane,
                "caller": caller,
                "options": PrepareOptions(segmentation=segmentation),
            }
            deadline = time.monotonic() + 0.001 if fate == "is late" else None
            task = served.start(*texts, deadline=deadline, **asked)
            tasks.append((task, texts, fate, segmentation))
            await asyncio.sleep(0.001 if fate == "leaves later" else 0)
            if fate.startswith("leaves"):
                task.cancel()
        ended = await asyncio.gather(*(task for task, *_ in tasks), return_exceptions=True)
        for end, (_, texts, fate, segmentation) in zip(ended, tasks, strict=True):
            if isinstance(end, BaseException):
                assert isinstance(end, _ENDS[fate])
                continue
            for outcome, text in zip(end, texts, strict=True):
                if "!" in text:
                    assert isinstance(outcome, Internal)
                elif segmentation is Segmentation.WHOLE:
                    assert outcome[0] == len(text)
                else:
                    assert [one.segment.text for one in outcome] == text.split(" ")
        given_contents = sum(len(texts) for _, texts, *_ in tasks)
        assert served.contents_ended() == given_contents
        served.assert_nothing_is_left()


_ENDS: dict[str, type[BaseException] | tuple[type[BaseException], ...]] = {
    "leaves": asyncio.CancelledError,
    "leaves later": asyncio.CancelledError,
    "is late": (DeadlineExceeded, Overloaded),
}
