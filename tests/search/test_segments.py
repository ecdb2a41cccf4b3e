from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common.errors import DataLoss, FailedPrecondition
from searchmesh_search.engine import Metric
from searchmesh_search.segments import (
    TextSpan,
    mean_vector,
    span_at,
    spans_from_bytes,
    spans_to_bytes,
)

PLACES = st.integers(0, 2**32 - 1)
SPANS = st.lists(st.builds(TextSpan, PLACES, PLACES))


@given(SPANS)
def test_spans_come_back_all_together_or_one_by_one(spans: list[TextSpan]) -> None:
    data = spans_to_bytes(spans)
    assert len(data) == 1 + 8 * len(spans)
    assert spans_from_bytes(data) == spans
    assert [span_at(data, segment) for segment in range(len(spans))] == spans
    for outside in (-1, len(spans)):
        with pytest.raises(DataLoss):
            span_at(data, outside)


@given(st.binary(max_size=64))
def test_other_bytes_are_refused_rather_than_guessed_at(data: bytes) -> None:
    try:
        spans = spans_from_bytes(data)
    except DataLoss:
        with pytest.raises(DataLoss):
            span_at(data, 0)
    else:
        assert spans_to_bytes(spans) == data


def test_the_format_of_the_journal_stays_readable() -> None:
    data = bytes([1, 3, 0, 0, 0, 5, 1, 0, 0])
    assert spans_from_bytes(data) == [TextSpan(3, 261)]
    assert spans_to_bytes([TextSpan(3, 261)]) == data


def test_the_mean_goes_by_direction_for_cosine_and_by_components_otherwise() -> None:
    vectors = np.array([[10, 0], [0, 1]], np.float32)
    assert mean_vector(vectors, Metric.COSINE).tolist() == [0.5, 0.5]
    assert mean_vector(vectors, Metric.INNER_PRODUCT).tolist() == [5, 0.5]
    assert mean_vector(vectors, Metric.COSINE).dtype == np.float32


def test_a_single_segment_is_its_own_mean_bit_by_bit() -> None:
    vector = np.array([[1, 2, 255]], np.uint8)
    np.testing.assert_array_equal(mean_vector(vector, Metric.JACCARD), vector[0])


def test_segments_that_cancel_each_other_have_no_mean_to_compare_by() -> None:
    opposed = np.array([[0.6, 0.8], [-6, -8]], np.float32)
    with pytest.raises(FailedPrecondition) as caught:
        mean_vector(opposed, Metric.COSINE)
    assert caught.value.reason == "NO_MEAN"
    assert mean_vector(opposed, Metric.EUCLIDEAN).tolist() == pytest.approx([-2.7, -3.6])
