"""Segments: the parts of a document that have a vector each, and where they lie in its content.

The journal keeps their places as bytes: a format, then a record of fixed width for each segment, so
that the place of one is found without reading the others. Beside its vector in the engine a record
weighs nothing. A kind of segment that is not a passage gets a format of its own.

    bytes = 1 (1 byte) record*
    record = start, end (4 bytes each, little-endian)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import DataLoss, FailedPrecondition
from searchmesh_search.engine import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SEGMENTS = 10_000
"""Of one document, which is also the most that the encoder makes of a text."""

MIN_MEAN_LENGTH = 1e-6
"""Of unit vectors; what is shorter is made of rounding errors."""

_TEXT = 1
_RECORD = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A passage of a text, in code points: 0 <= start < end < 2^32, `end` exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Segments:
    """What the engine holds of a document: a row for each segment."""

    vectors: np.ndarray
    """(segments, dimension) float32, or (segments, dimension / 8) uint8 of packed bits."""
    spans: Sequence[TextSpan] | None = None
    """Where each segment lies in the content; None for a document that is one vector as a whole."""


def mean_vector(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """The mean of segments' vectors, for COSINE each of unit length first: what is near to it is
    near to the document as a whole.

    vectors: (segments, dimension); a single one is returned as it is. Returns (dimension,) float32.
    Raises FailedPrecondition, reason NO_MEAN, where they cancel each other.
    """
    if len(vectors) == 1:
        first: np.ndarray = vectors[0]
        return first
    exact = vectors.astype(np.float64)
    if metric is Metric.COSINE:
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    mean: np.ndarray = exact.mean(axis=0)
    if metric is Metric.COSINE and np.linalg.norm(mean) < MIN_MEAN_LENGTH:
        raise FailedPrecondition(
            "NO_MEAN", "the document's segments point everywhere and nowhere; search by vector"
        )
    return mean.astype(np.float32)


def spans_to_bytes(spans: Sequence[TextSpan]) -> bytes:
    """As the journal keeps them."""
    return bytes([_TEXT]) + b"".join(_RECORD.pack(one.start, one.end) for one in spans)


def spans_from_bytes(data: bytes) -> list[TextSpan]:
    """The inverse of `spans_to_bytes`. Raises DataLoss for bytes that it did not make."""
    _check(data)
    return [TextSpan(*record) for record in _RECORD.iter_unpack(memoryview(data)[1:])]


def span_at(data: bytes, segment: int) -> TextSpan:
    """Where one segment lies. Raises DataLoss as `spans_from_bytes`, or where it is missing."""
    _check(data)
    offset = 1 + segment * _RECORD.size
    if not 1 <= offset < len(data):
        raise DataLoss(f"the journal does not say where segment {segment} of a document lies")
    return TextSpan(*_RECORD.unpack_from(data, offset))


def _check(data: bytes) -> None:
    if data[:1] != bytes([_TEXT]) or (len(data) - 1) % _RECORD.size:
        raise DataLoss("the journal's places of a document's segments are in an unknown form")
