"""Contents become embeddings in order; one that cannot be encoded fails alone."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    NotFound,
    Overloaded,
)
from searchmesh_encoder.content import Content
from searchmesh_encoder.encoder import EncodeCall
from searchmesh_encoder.metrics import EncoderMetrics
from searchmesh_encoder.models.card import Modality
from searchmesh_encoder.prepared import InputRole, OnTooLong, PrepareOptions
from searchmesh_encoder.registry import ModelRegistry, State
from searchmesh_encoder.server import build_encoder
from searchmesh_encoder.settings import EncoderSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from searchmesh_encoder.encoder import Encoder
    from searchmesh_encoder.registry import KnownModel
    from searchmesh_encoder.text_model import TextModel


class Served:
    def __init__(self, encoder: Encoder, prometheus: CollectorRegistry) -> None:
        self.encoder = encoder
        self._prometheus = prometheus

    async def outcomes(self, *texts: str, **changes: Any) -> list[Any]:
        encoded = await self.encoder.encode(call(*texts, **changes))
        return [one.outcome for one in encoded.embeddings]

    def counted(self, name: str, **labels: str) -> float:
        labels = {"model": "tiny", "lane": "query", **labels}
        return self._prometheus.get_sample_value(name, labels) or 0.0


def call(*texts: str, **changes: Any) -> EncodeCall:
    contents = [Content(Modality.TEXT, text) for text in texts]
    return EncodeCall(**{"model": "tiny", "contents": contents, **changes})


@asynccontextmanager
async def serving(model: TextModel, **changes: Any) -> AsyncIterator[Served]:
    prometheus = CollectorRegistry()
    ready = asyncio.Event()

    def on_change(known: KnownModel) -> None:
        if known.state is State.READY:
            ready.set()

    settings = EncoderSettings(
        **{"workers": 2, "batch_tokens": 64, "queue_tokens": 4096, **changes}
    )
    registry = ModelRegistry({model.name: model.card}, ["tiny"], lambda *_: model, on_change)
    metrics = EncoderMetrics(prometheus)
    async with build_encoder(settings, registry, metrics) as encoder, registry:
        await ready.wait()
        yield Served(encoder, prometheus)


async def test_vectors_come_in_order_and_do_not_depend_on_company(tiny: TextModel) -> None:
    texts = [chr(97 + index % 26) * (1 + index % 9) for index in range(60)]
    async with serving(tiny) as served:
        together = await served.outcomes(*texts)
        alone = [(await served.outcomes(text))[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one, other)
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)


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
    async with serving(tiny, workers=1, batch_tokens=1, coalesce=False) as served:
        with pytest.raises(DeadlineExceeded):
            await served.outcomes(*["a"] * 20, deadline=time.monotonic() + 0.2)


async def test_more_than_the_queue_holds_is_refused(tiny: TextModel) -> None:
    async with serving(
        tiny, workers=1, batch_tokens=1, queue_tokens=100, cache_bytes=0, coalesce=False
    ) as served:
        results = await asyncio.gather(
            *(served.outcomes(*["aaaaa"] * 10) for _ in range(20)), return_exceptions=True
        )
        refused = [one for one in results if isinstance(one, Overloaded)]
        answered = [one for one in results if isinstance(one, list)]
        assert refused
        assert answered
        assert len(refused) + len(answered) == 20
