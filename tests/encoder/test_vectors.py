"""Vectors in every form are what they were, as nearly as the form can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from searchmesh.type.v1 import vector_pb2
from searchmesh.vectors import vector_from
from searchmesh_common.errors import InvalidRequest
from searchmesh_encoder import vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=FLOATS)
LARGEST_FLOAT16 = 65504


def written(rows: Sequence[np.ndarray], vector_format: int) -> list[np.ndarray]:
    """What a caller reads of rows that were written together."""
    messages = [vector_pb2.Vector() for _ in rows]
    vectors.write(messages, rows, vector_format)
    return [vector_from(vector_pb2.Vector.FromString(one.SerializeToString())) for one in messages]


@given(rows=ROWS)
def test_float32_and_floats_keep_every_bit(rows: np.ndarray) -> None:
    for vector_format in (
        vector_pb2.VECTOR_FORMAT_UNSPECIFIED,
        vector_pb2.VECTOR_FORMAT_FLOAT32_LE,
        vector_pb2.VECTOR_FORMAT_FLOATS,
    ):
        read = written(list(rows), vector_format)
        assert np.stack(read).tobytes() == rows.tobytes()


@given(rows=ROWS)
def test_float16_is_the_nearest_that_is_finite(rows: np.ndarray) -> None:
    read = np.stack(written(list(rows), vector_pb2.VECTOR_FORMAT_FLOAT16_LE))
    expected = np.clip(rows, -LARGEST_FLOAT16, LARGEST_FLOAT16).astype(np.float16)
    assert read.tobytes() == expected.astype(np.float32).tobytes()
    assert np.isfinite(read).all()


# of float32's largest, the rounding up is no number of 32 bits any more
@given(rows=ROWS.map(lambda rows: np.clip(rows, -1e38, 1e38)))
def test_int8_is_within_half_a_scale(rows: np.ndarray) -> None:
    values, scales = vectors.int8_scaled(rows)
    assert scales.dtype == np.float32
    assert (scales > 0).all()
    assert np.isfinite(scales).all()
    assert np.abs(values.astype(int)).max() <= 127
    # exact arithmetic but for the division, which is rounded once
    off = np.abs(values * scales[:, np.newaxis].astype(np.float64) - rows)
    assert (off <= scales[:, np.newaxis] * (0.5 + 127 * 2**-23)).all()
    read = np.stack(written(list(rows), vector_pb2.VECTOR_FORMAT_INT8_SCALED))
    assert read.tobytes() == (values.astype(np.float32) * scales[:, np.newaxis]).tobytes()


def test_int8_by_hand() -> None:
    rows = np.array([[127, -127, 0.5, 1.5], [0, 0, 0, 0], [2, -1, 1, 0]], np.float32)
    values, scales = vectors.int8_scaled(rows)
    assert values.tolist() == [[127, -127, 0, 2], [0, 0, 0, 0], [127, -64, 64, 0]]
    assert scales.tolist() == [1, 1, np.float32(2 / 127)]


@given(rows=ROWS, data=st.data())
def test_leading_components_have_unit_length(rows: np.ndarray, data: st.DataObject) -> None:
    dimensions = data.draw(st.integers(1, rows.shape[1]))
    # lengths of numbers whose squares are no numbers of 32 bits any more
    rows = np.where((np.abs(rows) > 1e15) | (np.abs(rows) < 1e-15), 0, rows)
    cut = vectors.leading(list(rows), dimensions)
    for row, leading in zip(rows, cut, strict=True):
        assert leading.dtype == np.float32
        length = np.linalg.norm(row[:dimensions].astype(np.float64))
        expected = row[:dimensions] / length if length else row[:dimensions]
        assert leading == pytest.approx(expected, abs=1e-6)


def test_no_vectors_are_no_vectors() -> None:
    assert list(vectors.leading([], 3)) == []
    assert written([], vector_pb2.VECTOR_FORMAT_INT8_SCALED) == []


def test_bits_are_refused() -> None:
    vectors.check_format(vector_pb2.VECTOR_FORMAT_FLOATS)
    with pytest.raises(InvalidRequest, match="vector_format: VECTOR_FORMAT_PACKED_BITS given"):
        vectors.check_format(vector_pb2.VECTOR_FORMAT_PACKED_BITS)
