"""Vectors reach the wire with every bit, in whichever form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import vector_pb2
from searchmesh_encoder.convert import encode_response
from searchmesh_encoder.embedding import Embedding
from searchmesh_encoder.encoder import Encoded


def written(vector: np.ndarray, vector_format: int) -> vector_pb2.Vector:
    """What a caller reads of one vector."""
    model: Any = SimpleNamespace(
        name="m", fingerprint="f", card=SimpleNamespace(dimension=len(vector))
    )
    encoded = Encoded(
        model=model,
        embeddings=[Embedding(vector, 3, 3)],
        preprocess_seconds=0.0,
        queue_seconds=0.0,
        compute_seconds=0.0,
        total_seconds=0.0,
    )
    request = pb.EncodeRequest(vector_format=vector_format)  # type: ignore[arg-type]
    response = encode_response(request, encoded)
    return pb.EncodeResponse.FromString(response.SerializeToString()).embeddings[0].vector


# lengths whose size in bytes takes one, two and three bytes to write
@pytest.mark.parametrize("dimension", [1, 31, 32, 384, 4095, 4096])
def test_floats_have_the_bits_of_bytes(dimension: int) -> None:
    vector = np.random.default_rng(dimension).normal(size=dimension).astype(np.float32)
    vector[0] = np.float32(-0.0)
    floats = written(vector, vector_pb2.VECTOR_FORMAT_FLOATS)
    assert np.array(floats.floats.values, np.float32).tobytes() == vector.tobytes()
    assert floats == vector_pb2.Vector(floats=vector_pb2.FloatList(values=vector.tolist()))
    assert written(vector, vector_pb2.VECTOR_FORMAT_FLOAT32_LE).float32_le == vector.tobytes()
