"""Segments over the wire: each with the vector that its text has alone, in every form."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import segment_pb2, vector_pb2
from searchmesh.vectors import vector_from
from searchmesh_common import status
from tests.models import write_text_model

from .serving import quick_settings, serving, texts, vectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .serving import Served

SEGMENTS = segment_pb2.SEGMENTATION_SEGMENTS
TEXT = "Abc de f. 私は\r\nJkl \U0001f600 mno! And a se nte nce of ma ny wor ds, e\u0301 nds."


@pytest.fixture
async def served(
    tmp_path_factory: pytest.TempPathFactory, tiny_home: Path
) -> AsyncIterator[Served]:
    """The tiny model, whose vectors may be cut to 4 and 8 components."""
    cards = write_text_model(tmp_path_factory.mktemp("cards"), dimensions=[4, 8]).parent
    async with serving(quick_settings(tiny_home, cards)) as served:
        yield served


async def test_segments_have_the_vectors_of_their_texts(served: Served) -> None:
    response = await served.encoder.Encode(
        texts("Abc.", TEXT, "", segmentation=SEGMENTS, on_too_long=pb.ON_TOO_LONG_REJECT)
    )
    short, long, empty = response.embeddings
    assert [one.segment.text.text for one in short.segments.segments] == ["Abc."]
    assert (short.tokens, short.original_tokens, short.truncated) == (6, 6, False)
    assert empty.error.message == "contents[2].text: must hold a character that is not white space"
    segments = long.segments.segments
    spans = [one.segment.text for one in segments]
    assert len(spans) == 3
    assert all(TEXT[span.start : span.end] == span.text for span in spans)
    assert all(before.end > after.start for before, after in pairwise(spans))
    alone = await served.encoder.Encode(texts(*(span.text for span in spans)))
    assert [one.vector.float32_le for one in segments] == [
        one.vector.float32_le for one in alone.embeddings
    ]
    assert long.tokens == sum(one.tokens for one in alone.embeddings)
    whole = await served.encoder.Encode(texts(TEXT))
    assert long.original_tokens == whole.embeddings[0].original_tokens
    assert not long.truncated


async def test_a_prefix_counts_and_is_no_part_of_the_text(served: Served) -> None:
    text = "a" * 22  # with two special tokens it fills the window
    for role, count in ((pb.INPUT_ROLE_DOCUMENT, 1), (pb.INPUT_ROLE_QUERY, 2)):
        response = await served.encoder.Encode(texts(text, segmentation=SEGMENTS, input_role=role))
        segments = response.embeddings[0].segments.segments
        assert len(segments) == count
        assert segments[0].segment.text.start == 0
        assert segments[-1].segment.text.end == len(text)


@pytest.mark.parametrize("dimensions", [0, 8])
async def test_every_form_and_length(served: Served, dimensions: int) -> None:
    reference = await served.encoder.Encode(texts(TEXT, segmentation=SEGMENTS))
    expected = [
        vector_from(one.vector)[: dimensions or None]
        for one in reference.embeddings[0].segments.segments
    ]
    lengths = [np.linalg.norm(one) for one in expected]
    for vector_format in (
        vector_pb2.VECTOR_FORMAT_FLOAT32_LE,
        vector_pb2.VECTOR_FORMAT_FLOAT16_LE,
        vector_pb2.VECTOR_FORMAT_INT8_SCALED,
        vector_pb2.VECTOR_FORMAT_FLOATS,
    ):
        response = await served.encoder.Encode(
            texts(TEXT, segmentation=SEGMENTS, vector_format=vector_format, dimensions=dimensions)
        )
        assert response.dimension == (dimensions or 16)
        read = [vector_from(one.vector) for one in response.embeddings[0].segments.segments]
        for one, whole, length in zip(read, expected, lengths, strict=True):
            assert one == pytest.approx(whole / length, abs=0.01)


async def test_dimensions_are_those_of_the_card(served: Served) -> None:
    model = await served.encoder.GetModel(pb.GetModelRequest(name="tiny"))
    assert (list(model.dimensions), model.precision) == ([4, 8], "fp32")
    whole = await served.encoder.Encode(texts("abc"))
    cut = await served.encoder.Encode(texts("abc", dimensions=4))
    (all_of_it,), (leading,) = vectors(whole), vectors(cut)
    assert cut.dimension == 4
    assert leading == pytest.approx(all_of_it[:4] / np.linalg.norm(all_of_it[:4]))
    assert vectors(await served.encoder.Encode(texts("abc", dimensions=16)))[0].tobytes() == (
        all_of_it.tobytes()
    )


async def test_an_answer_that_is_too_large_is_that_contents_error(
    tiny_cards: Path, tiny_home: Path
) -> None:
    settings = quick_settings(tiny_home, tiny_cards, max_message_bytes=65_536)
    request = texts("Abc.", "Abc def. " * 6000, "Def.", segmentation=SEGMENTS)
    async with serving(settings) as served:
        sent = pb.EncodeStreamRequest(id="x" * 128, request=request)
        stream = served.encoder.EncodeStream(iter([sent, sent]))
        responses = [one.response async for one in stream]
        responses.append(await served.encoder.Encode(request))
    for response in responses:
        outcomes = [one.WhichOneof("outcome") for one in response.embeddings]
        assert outcomes == ["segments", "error", "segments"]
        error = status.from_proto(response.embeddings[1].error)
        assert "which the answer has no room" in str(error)
