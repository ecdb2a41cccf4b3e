"""Answers as callers read them: vectors, segments and errors, each in its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import segment_pb2, vector_pb2
from searchmesh.vectors import vector_from
from searchmesh_common import status
from searchmesh_common.errors import FieldViolation, Internal, InvalidRequest
from searchmesh_encoder.convert import encode_response
from searchmesh_encoder.embedding import Embedding, SegmentVector
from searchmesh_encoder.encoder import Encoded
from searchmesh_encoder.prepared import TextSpan

if TYPE_CHECKING:
    from searchmesh_common.errors import ServiceError

DIMENSION = 8


def answered(
    *outcomes: Any, most_bytes: int = 1_000_000, dimension: int = DIMENSION, **asked: Any
) -> pb.EncodeResponse:
    """What a caller reads of contents with these outcomes."""
    model: Any = SimpleNamespace(
        name="m", fingerprint="f", card=SimpleNamespace(dimension=dimension)
    )
    encoded = Encoded(
        model=model,
        embeddings=[Embedding(outcome, 3, 4, truncated=True) for outcome in outcomes],
        preprocess_seconds=0.0,
        queue_seconds=0.0,
        compute_seconds=0.0,
        total_seconds=0.0,
    )
    response = encode_response(pb.EncodeRequest(**asked), encoded, most_bytes)
    assert response.ByteSize() <= most_bytes
    return pb.EncodeResponse.FromString(response.SerializeToString())


def vector(seed: int, dimension: int = DIMENSION) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=dimension).astype(np.float32)


def passages(count: int, length: int = 3) -> list[SegmentVector]:
    return [
        SegmentVector(TextSpan(index, index + length, "é" * length), vector(index))
        for index in range(count)
    ]


def error_of(embedding: pb.Embedding) -> ServiceError:
    assert embedding.WhichOneof("outcome") == "error"
    return status.from_proto(embedding.error)


# lengths whose size in bytes takes one, two and three bytes to write
@pytest.mark.parametrize("dimension", [1, 31, 32, 384, 4095, 4096])
def test_floats_are_as_if_written_one_by_one(dimension: int) -> None:
    given = vector(dimension, dimension)
    given[0] = np.float32(-0.0)
    response = answered(given, dimension=dimension, vector_format=vector_pb2.VECTOR_FORMAT_FLOATS)
    written = response.embeddings[0].vector
    assert np.array(written.floats.values, np.float32).tobytes() == given.tobytes()
    assert written == vector_pb2.Vector(floats=vector_pb2.FloatList(values=given.tolist()))


@pytest.mark.parametrize("vector_format", [0, 1, 2, 3, 5])
def test_vectors_segments_and_errors_keep_their_places(vector_format: int) -> None:
    outcomes = [vector(100), passages(3), Internal("oh"), vector(101), passages(1)]
    response = answered(*outcomes, vector_format=vector_format)
    assert [one.WhichOneof("outcome") for one in response.embeddings] == [
        *("vector", "segments", "error", "vector", "segments")
    ]
    assert (response.embeddings[0].tokens, response.embeddings[0].original_tokens) == (3, 4)
    assert vector_from(response.embeddings[3].vector) == pytest.approx(vector(101), abs=0.02)
    for index, segment in enumerate(response.embeddings[1].segments.segments):
        span = segment.segment.text
        assert (span.start, span.end, span.text) == (index, index + 3, "ééé")
        assert vector_from(segment.vector) == pytest.approx(vector(index), abs=0.02)


def test_leading_components_of_vectors_and_segments() -> None:
    response = answered(vector(7), passages(1), dimensions=2)
    assert response.dimension == 2
    whole = vector_from(response.embeddings[0].vector)
    part = vector_from(response.embeddings[1].segments.segments[0].vector)
    assert whole == pytest.approx(vector(7)[:2] / np.linalg.norm(vector(7)[:2]))
    assert part == pytest.approx(vector(0)[:2] / np.linalg.norm(vector(0)[:2]))


@pytest.mark.parametrize("dimensions", [0, DIMENSION])
def test_all_components_are_as_the_model_made_them(dimensions: int) -> None:
    response = answered(3 * vector(7), dimensions=dimensions)
    assert response.dimension == DIMENSION
    read = vector_from(response.embeddings[0].vector)
    assert read.tobytes() == (3 * vector(7)).tobytes()


def test_faults_of_contents_name_their_places() -> None:
    response = answered(
        vector(0), InvalidRequest.of("text", "is wrong"), InvalidRequest.of("", "is odd")
    )
    first, second = (error_of(one) for one in response.embeddings[1:])
    assert isinstance(first, InvalidRequest)
    assert first.violations == (FieldViolation("contents[1].text", "is wrong"),)
    assert str(second) == "contents[2]: is odd"


def test_segments_without_room_in_the_answer_are_that_contents_error() -> None:
    response = answered(
        *(passages(2), passages(2000), Internal("oh"), passages(2000), passages(3)),
        most_bytes=180_000,
        segmentation=segment_pb2.SEGMENTATION_SEGMENTS,
    )
    assert [one.WhichOneof("outcome") for one in response.embeddings] == [
        *("segments", "segments", "error", "error", "segments")
    ]
    assert len(response.embeddings[1].segments.segments) == 2000
    error = error_of(response.embeddings[3])
    assert str(error).startswith("contents[3]: its 2000 segments take ")
    assert "send it in another call, or in parts" in str(error)
