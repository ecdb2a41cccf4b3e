"""Vectors of float32 in the forms in which they travel, and cut to their leading components.

All vectors of an answer are converted at once where that is cheaper: numpy's fixed cost a call is
some microseconds, which is more than the arithmetic on one vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searchmesh.type.v1 import vector_pb2
from searchmesh_common import packed_floats
from searchmesh_common.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from searchmesh.type.v1.vector_pb2 import Vector

_LARGEST_FLOAT16 = 65_504
_LARGEST_INT8 = 127
_SMALLEST_SCALE = np.finfo(np.float32).tiny


def check_format(vector_format: int) -> None:
    """Raise InvalidRequest for a form that vectors of floats do not have."""
    if vector_format not in _WRITERS:
        raise InvalidRequest.of(
            "vector_format",
            "VECTOR_FORMAT_PACKED_BITS given, which only binary models answer; ask for floats",
        )


def leading(vectors: Sequence[np.ndarray], dimensions: int) -> Sequence[np.ndarray]:
    """The leading components of each vector, at unit length again.

    vectors: (dimension,) float32 each, of one length. A vector whose leading components are all 0
    stays as it is. Source: Kusupati et al. 2022, Matryoshka Representation Learning.
    """
    if not vectors:
        return vectors
    cut = np.stack(vectors)[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    return list(cut / np.where(lengths > 0, lengths, 1))


def write(messages: Sequence[Vector], vectors: Sequence[np.ndarray], vector_format: int) -> None:
    """Fill a message with each vector, finite and (dimension,) float32, in a form that exists."""
    if vectors:
        _WRITERS[vector_format](messages, vectors)


def int8_scaled(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 of each row: (vectors, dimension) int8, and their scales (vectors,) float32.

    scale = max|x| / 127 and value = x / scale, rounded half to even, so that scale * value is
    within half a scale of x. A row without a component that float32 could scale, such as one of
    zeros, has the scale 1.
    """
    scales = np.abs(vectors).max(axis=1) / np.float32(_LARGEST_INT8)
    scales = np.where(scales < _SMALLEST_SCALE, np.float32(1), scales)
    return np.rint(vectors / scales[:, np.newaxis]).astype(np.int8), scales


def _write_float32(messages: Sequence[Vector], vectors: Sequence[np.ndarray]) -> None:
    for message, vector in zip(messages, vectors, strict=True):
        message.float32_le = vector.astype("<f4", copy=False).tobytes()


def _write_float16(messages: Sequence[Vector], vectors: Sequence[np.ndarray]) -> None:
    within = np.clip(np.stack(vectors), -_LARGEST_FLOAT16, _LARGEST_FLOAT16)
    for message, row in zip(messages, within.astype("<f2"), strict=True):
        message.float16_le = row.tobytes()


def _write_int8(messages: Sequence[Vector], vectors: Sequence[np.ndarray]) -> None:
    values, scales = int8_scaled(np.stack(vectors))
    for message, row, scale in zip(messages, values, scales.tolist(), strict=True):
        message.int8_scaled.values = row.tobytes()
        message.int8_scaled.scale = scale


def _write_floats(messages: Sequence[Vector], vectors: Sequence[np.ndarray]) -> None:
    for message, vector in zip(messages, vectors, strict=True):
        packed_floats.write(message.floats, vector)


_WRITERS: dict[int, Callable[[Sequence[Vector], Sequence[np.ndarray]], None]] = {
    vector_pb2.VECTOR_FORMAT_UNSPECIFIED: _write_float32,
    vector_pb2.VECTOR_FORMAT_FLOAT32_LE: _write_float32,
    vector_pb2.VECTOR_FORMAT_FLOAT16_LE: _write_float16,
    vector_pb2.VECTOR_FORMAT_INT8_SCALED: _write_int8,
    vector_pb2.VECTOR_FORMAT_FLOATS: _write_floats,
}
