"""Contents become embeddings in order; one that cannot be encoded fails alone."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    NotFound,
    Overloaded,
)
from searchmesh_encoder import encoder
from searchmesh_encoder.content import Content
from searchmesh_encoder.models.card import Modality
from searchmesh_encoder.prepared import InputRole, OnTooLong, PrepareOptions, Segmentation

from .encoders import ONE_AT_A_TIME, StubModel, call, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_encoder.text_model import TextModel

SEGMENTS = PrepareOptions(segmentation=Segmentation.SEGMENTS)


async def test_vectors_come_in_order_and_do_not_depend_on_company(tiny: TextModel) -> None:
    texts = [chr(97 + index % 26) * (1 + index % 9) for index in range(60)]
    async with serving(tiny) as served:
        together = await served.outcomes(*texts)
        alone = [(await served.outcomes(text))[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one, other)
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
async def test_a_full_call_of_full_texts_leaves_others_their_turns(minilm_int8: TextModel) -> None:
    texts = [f"{number} {'word ' * 300}" for number in range(256)]
    async with serving(minilm_int8, batch_tokens=256, queue_tokens=10**6, cache_bytes=0) as served:
        began = time.monotonic()
        full = served.start(*texts, caller="many")
        waited = []
        while not full.done():
            asked = time.monotonic()
            await served.outcomes(f"a short query {asked}", caller="few")
            waited.append(time.monotonic() - asked)
            await asyncio.sleep(0.02)
        took = time.monotonic() - began
        vectors = await full
        assert len({vector.tobytes() for vector in vectors}) == 256
        assert np.array_equal(vectors[7], (await served.outcomes(texts[7]))[0])
        # each waits for a batch or two of the hundreds
        assert sorted(waited)[len(waited) // 2] < took / 20


async def test_a_bad_content_fails_alone(tiny: TextModel) -> None:
    async with serving(tiny) as served:
        outcomes = await served.outcomes("good", " ", "b" * 1001, "fine")
        assert isinstance(outcomes[1], InvalidRequest)
        assert isinstance(outcomes[2], InvalidRequest)
        assert np.array_equal(outcomes[0], (await served.outcomes("good"))[0])
        assert np.array_equal(outcomes[3], (await served.outcomes("fine"))[0])
        assert served.counted("encoder_contents_total", outcome="error") == 2
        assert served.counted("encoder_contents_total", outcome="vector") == 4


async def test_all_contents_may_be_bad(tiny: TextModel) -> None:
    async with serving(tiny) as served:
        outcomes = await served.outcomes(*[""] * 256)
        assert all(isinstance(one, InvalidRequest) for one in outcomes)


@pytest.mark.parametrize("content", [Content(Modality.IMAGE, b"\xff"), Content(None, "")])
async def test_another_kind_of_content_is_that_contents_error(
    tiny: TextModel, content: Content
) -> None:
    async with serving(tiny) as served:
        encoded = await served.encoder.encode(call(contents=[content]))
        outcome = encoded.embeddings[0].outcome
        assert isinstance(outcome, InvalidRequest)
        assert "tiny reads text" in outcome.message


async def test_truncation_is_told(tiny: TextModel) -> None:
    async with serving(tiny) as served:
        encoded = await served.encoder.encode(call("a" * 100, "ab"))
        long, short = encoded.embeddings
        assert (long.tokens, long.original_tokens, long.truncated) == (24, 102, True)
        assert (short.tokens, short.original_tokens, short.truncated) == (4, 4, False)
        (outcome,) = await served.outcomes(
            "a" * 100, options=PrepareOptions(on_too_long=OnTooLong.REJECT)
        )
        assert isinstance(outcome, InvalidRequest)
        assert served.counted("encoder_truncated_total") == 1


async def test_a_query_has_its_prefix(tiny: TextModel) -> None:
    async with serving(tiny) as served:
        (query,) = await served.outcomes("ab", options=PrepareOptions(InputRole.QUERY))
        assert np.array_equal(query, (await served.outcomes("q ab"))[0])


async def test_a_vector_that_is_not_finite_is_that_contents_error(
    tiny: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = tiny._graph.run

    def spoil_the_first(tensors: Any) -> np.ndarray:
        vectors = compute(tensors).copy()
        vectors[0, 3] = np.nan
        return vectors

    async with serving(tiny, workers=1) as served:
        monkeypatch.setattr(tiny._graph, "run", spoil_the_first)
        spoilt, _ = tiny.run(
            [
                tiny._preprocessor.prepare(text, PrepareOptions()).parts[0].payload
                for text in ("a", "b")
            ]
        )
        assert isinstance(spoilt, Internal)
        assert isinstance((await served.outcomes("a"))[0], Internal)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model": "big"}, NotFound),
        ({"fingerprint": "other"}, FailedPrecondition),
        ({"dimensions": 8}, InvalidRequest),
        ({"deadline": 0.0}, DeadlineExceeded),
    ],
)
async def test_a_call_is_refused_as_a_whole(
    tiny: TextModel, changes: dict[str, Any], error: type[Exception]
) -> None:
    async with serving(tiny) as served:
        with pytest.raises(error):
            await served.outcomes("a", **changes)


async def test_what_is_demanded_and_true_is_no_hindrance(tiny: TextModel) -> None:
    async with serving(tiny) as served:
        await served.outcomes("a", fingerprint=tiny.fingerprint, dimensions=16)


async def test_a_deadline_that_passes_in_the_queue_ends_the_call(
    tiny: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = tiny.run

    def slow(texts: Sequence[Any]) -> Any:
        time.sleep(0.05)
        return compute(texts)

    monkeypatch.setattr(tiny, "run", slow)
    async with serving(tiny, **ONE_AT_A_TIME) as served:
        with pytest.raises(DeadlineExceeded):
            await served.outcomes(*["a"] * 20, deadline=time.monotonic() + 0.2)


async def test_more_than_the_queue_holds_is_refused(tiny: TextModel) -> None:
    async with serving(tiny, queue_tokens=100, **ONE_AT_A_TIME) as served:
        results = await asyncio.gather(
            *(served.outcomes(*["aaaaa"] * 10) for _ in range(20)), return_exceptions=True
        )
        refused = [one for one in results if isinstance(one, Overloaded)]
        answered = [one for one in results if isinstance(one, list)]
        assert refused
        assert answered
        assert len(refused) + len(answered) == 20


async def test_every_segment_has_its_vector_in_order() -> None:
    async with serving(StubModel()) as served:
        (segments,) = await served.outcomes("one three seventeen", options=SEGMENTS)
        assert [one.segment.text for one in segments] == ["one", "three", "seventeen"]
        assert [one.segment.start for one in segments] == [0, 4, 10]
        assert [one.vector[0] for one in segments] == [3, 5, 9]


async def test_a_segment_that_fails_fails_its_content_alone() -> None:
    async with serving(StubModel()) as served:
        bad, good = await served.outcomes("fine bad! fine", "all fine", options=SEGMENTS)
        assert isinstance(bad, Internal)
        assert len(good) == 2


async def test_one_bad_content_of_a_batch_fails_alone() -> None:
    async with serving(StubModel(), workers=1, batch_tokens=4096) as served:
        outcomes = await served.outcomes(*(f"t{number}" for number in range(20)), "t!", "last")
        assert isinstance(outcomes.pop(20), Internal)
        assert all(isinstance(one, np.ndarray) for one in outcomes)


async def test_long_contents_are_read_on_threads_and_equal_short_ones() -> None:
    model = StubModel()
    async with serving(model, queue_tokens=10**6) as served:
        texts = [str(number) * 1000 for number in range(10)]
        outcomes = await served.outcomes(*texts, "", *texts)
        assert isinstance(outcomes.pop(10), InvalidRequest)
        assert [one[0] for one in outcomes] == [1000.0] * 20
        # equal contents of one call, too, are read once
        assert sorted(model.read) == sorted([*texts, ""])


class Panic(BaseException):
    """As libraries written in Rust raise."""


@pytest.mark.parametrize("length", [1, 1000])
@pytest.mark.parametrize("error", [ZeroDivisionError, Panic])
async def test_what_prepare_did_not_foresee_is_that_contents_error(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], length: int
) -> None:
    model = StubModel()
    prepare = model.prepare

    def broken(content: Content, options: PrepareOptions) -> Any:
        if content.data == "broken":
            raise error
        return prepare(content, options)

    monkeypatch.setattr(model, "prepare", broken)
    async with serving(model) as served:
        broken_, fine = await served.outcomes("broken", "fine" * length)
        assert isinstance(broken_, Internal)
        assert isinstance(fine, np.ndarray)


async def test_a_shorter_vector_is_allowed_where_the_card_says_so() -> None:
    async with serving(StubModel()) as served:
        await served.outcomes("a", dimensions=1)
        with pytest.raises(InvalidRequest, match="dimensions: 3 given, tiny allows 1, 2"):
            await served.outcomes("a", dimensions=3)


async def test_a_caller_who_leaves_takes_its_work_along() -> None:
    model = StubModel()
    async with serving(model, **ONE_AT_A_TIME) as served:
        model.hold()
        leaving = served.start(*(f"text {number}" for number in range(10)))
        await model.wait_entered()
        assert served.gauge("encoder_queue_tokens") > 0
        assert served.gauge("encoder_pending_bytes") > 0
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert served.gauge("encoder_queue_tokens") == 0
        assert served.gauge("encoder_pending_bytes") == 0
        model.release()
        await served.outcomes("after")
        assert len(model.computed) == 2
        assert served.counted("encoder_contents_total", outcome="cancelled") == 10


async def test_a_call_that_cannot_be_in_time_takes_its_work_along() -> None:
    model = StubModel()
    async with serving(model, **ONE_AT_A_TIME) as served:
        model.hold()
        first = served.start("first")
        await model.wait_entered()
        late = served.start(*(f"text {number}" for number in range(10)), deadline=_soon())
        await served.until("encoder_queue_tokens", 60)
        await asyncio.sleep(0.06)
        model.release()
        with pytest.raises(DeadlineExceeded):
            await late
        await first
        assert served.gauge("encoder_queue_tokens") == 0
        assert model.computed == ["first"]
        assert served.counted("encoder_contents_total", outcome="expired") == 10


def _soon() -> float:
    return time.monotonic() + 0.05


async def test_the_time_to_read_is_that_of_what_was_read_for_a_call() -> None:
    class SlowToRead(StubModel):
        def prepare(self, *given: Any) -> Any:
            time.sleep(0.02)
            return super().prepare(*given)

    def observed() -> tuple[float, float]:
        name = "encoder_preprocess_seconds"
        return served.counted(f"{name}_count"), served.counted(f"{name}_sum")

    model = SlowToRead()
    async with serving(model, workers=1) as served:
        long = "x" * 500
        model.hold()
        first = served.start("first")
        await model.wait_entered()
        # read by a thread, and the second waits for the first
        calls = [served.start(long), served.start(long)]
        await served.until("encoder_queue_tokens", 500)
        # which is no part of it
        await asyncio.sleep(0.2)
        model.release()
        await asyncio.gather(first, *calls)
        await served.outcomes(long)
        count, seconds = observed()
        assert count == 2
        assert 0.04 <= seconds < 0.2


async def test_what_is_not_read_yet_is_told() -> None:
    model = StubModel()
    async with serving(model, workers=1) as served:
        model.hold_reading()
        calls = [served.start("x" * 1000)]
        await served.until("encoder_unread_tokens", 1001)
        # a reader has it, for which the other one waits
        await served.until("encoder_unread_units", 0)
        calls.append(served.start("y" * 1000))
        await served.until("encoder_unread_units", 1000)
        assert served.counted("encoder_unread_oldest_seconds") > 0
        assert served.gauge("encoder_queue_tokens") == 0
        model.release()
        await asyncio.gather(*calls)
        for name in ("units", "tokens"):
            assert served.gauge(f"encoder_unread_{name}") == 0


async def test_time_of_runs_that_fail_is_told() -> None:
    class SlowToFail(StubModel):
        def run(self, payloads: Sequence[np.ndarray]) -> Any:
            time.sleep(0.02)
            return super().run(payloads)

    async with serving(SlowToFail()) as served:
        await served.outcomes("bad!")
        busy = served.counted("encoder_worker_busy_seconds_total", stage="compute")
        assert busy >= 0.02
        assert served.counted("encoder_compute_seconds_count") == 0


async def test_bytes_are_those_of_contents_parts_and_vectors() -> None:
    model = StubModel()
    async with serving(model) as served:
        model.hold()
        call = served.start("a bc def", options=SEGMENTS)
        await model.wait_entered()
        # characters, a byte a character in its parts, and two components for each
        assert served.gauge("encoder_pending_bytes") == 8 + 6 + 3 * 2 * 4
        model.release()
        await call
        served.assert_nothing_is_left()


async def test_room_is_taken_before_digests_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(*_: object) -> bytes:
        digesting.set()
        assert go_on.wait(10)
        return b"key"

    digesting, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(encoder, "content_key", digest)
    async with serving(StubModel(), pending_bytes=500_000, queue_tokens=10**6) as served:
        first = served.start("a" * 300_000)
        assert await asyncio.to_thread(digesting.wait, 10)
        with pytest.raises(Overloaded, match="bytes of contents are being worked on"):
            await served.outcomes("b" * 300_000)
        go_on.set()
        await first
        served.assert_nothing_is_left()
