"""Vectors between numpy and the wire, where they travel as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchmesh.errors import InvalidRequest
from searchmesh.type.v1 import vector_pb2
from searchmesh_common import packed_floats

VectorLike: TypeAlias = NDArray[np.floating] | NDArray[np.uint8] | Sequence[float]
"""Floats, or uint8 of packed bits, the first component in the most significant bit."""


def vector_to(vector: VectorLike, path: str) -> vector_pb2.Vector:
    """path: where the vector is in the request, for the error.

    Raises InvalidRequest for what is not one row of numbers.
    """
    try:
        array = np.asarray(vector)
    except ValueError as error:
        raise InvalidRequest.of(path, "must be one row of numbers, not lists in a list") from error
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise InvalidRequest.of(path, f"must be one row of numbers, {_otherwise(array)}")
    if array.dtype == np.uint8:
        return vector_pb2.Vector(packed_bits=array.tobytes())
    with np.errstate(over="ignore"):
        # what is past 32 bits becomes infinite, which the service refuses
        return vector_pb2.Vector(float32_le=array.astype("<f4").tobytes())


def _otherwise(array: np.ndarray) -> str:
    """What an array is instead of one row of numbers."""
    if array.ndim == 0:
        return "not a single value"
    if array.ndim > 1:
        return "not lists in a list"
    kinds = {"U": "texts", "S": "bytes", "b": "booleans", "c": "complex numbers"}
    return f"and holds {kinds.get(array.dtype.kind, 'something else')}"


def vector_from(vector: vector_pb2.Vector) -> np.ndarray:
    """(dimension,) float32, or (dimension / 8,) uint8 for packed bits."""
    match vector.WhichOneof("data"):
        case "packed_bits":
            return np.frombuffer(vector.packed_bits, np.uint8)
        case "float16_le":
            return np.frombuffer(vector.float16_le, "<f2").astype(np.float32)
        case "int8_scaled":
            components = np.frombuffer(vector.int8_scaled.values, np.int8)
            return components.astype(np.float32) * np.float32(vector.int8_scaled.scale)
        case "floats":
            return packed_floats.read(vector.floats, len(vector.floats.values))
        case _:
            return np.frombuffer(vector.float32_le, "<f4").astype(np.float32, copy=False)
