"""How texts travel to each server, and vectors back."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import content_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Lane: TypeAlias = pb.Lane.ValueType

ENCODE = "/searchmesh.encoder.v1.EncoderService/Encode"


@dataclass(frozen=True, slots=True)
class Wire:
    """The form of one call."""

    path: str
    headers: tuple[str, ...]
    is_http2: bool
    """HTTP/2 without TLS and by prior knowledge, or HTTP/1.1."""
    body: Callable[[Sequence[str]], bytes]
    """Texts to the body of a request."""
    vectors: Callable[[bytes], np.ndarray]
    """The body of an answer to (texts, dimension) float32."""


def encode_request(
    texts: Sequence[str], model: str, lane: Lane = pb.LANE_QUERY
) -> pb.EncodeRequest:
    """What our callers send."""
    contents = [content_pb2.Content(text=text) for text in texts]
    return pb.EncodeRequest(model=model, contents=contents, lane=lane)


def grpc_wire(model: str, lane: Lane = pb.LANE_QUERY, timeout_milliseconds: int = 60_000) -> Wire:
    """One Encode call, unary, with a deadline. Source: grpc/doc/PROTOCOL-HTTP2.md."""
    return Wire(
        path=ENCODE,
        headers=(
            "content-type: application/grpc",
            "te: trailers",
            f"grpc-timeout: {timeout_milliseconds}m",
        ),
        is_http2=True,
        body=lambda texts: _framed(encode_request(texts, model, lane).SerializeToString()),
        vectors=lambda body: grpc_vectors(pb.EncodeResponse.FromString(body[5:])),
    )


def grpc_vectors(response: pb.EncodeResponse) -> np.ndarray:
    """(texts, dimension) float32."""
    return np.stack([np.frombuffer(one.vector.float32_le, "<f4") for one in response.embeddings])


def _framed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def _json_body(request: dict[str, Any]) -> bytes:
    return json.dumps(request).encode()


def _from_base64(vectors: Iterable[str]) -> np.ndarray:
    return np.stack([np.frombuffer(base64.b64decode(one), "<f4") for one in vectors])


JSON = Wire(
    path="/encode",
    headers=("content-type: application/json",),
    is_http2=False,
    body=lambda texts: _json_body({"texts": list(texts)}),
    vectors=lambda body: _from_base64(json.loads(body)["vectors"]),
)

JSON_LIST = replace(JSON, vectors=lambda body: _from_base64(json.loads(body)))
"""The answer is the list of vectors itself."""

OPEN_INFERENCE = replace(
    JSON,
    path="/v2/models/encoder/infer",
    body=lambda texts: _json_body(
        {
            "inputs": [
                {
                    "name": "texts",
                    "shape": [len(texts), 1],
                    "datatype": "BYTES",
                    "parameters": {"content_type": "str"},
                    "data": list(texts),
                }
            ]
        }
    ),
    vectors=lambda body: _from_base64(json.loads(body)["outputs"][0]["data"]),
)
"""The Open Inference Protocol over REST."""
