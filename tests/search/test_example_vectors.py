from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.engine import Metric
from searchmesh_search.example_vectors import moved_mean, summed
from searchmesh_search.similarity import similarities

LINEAR = (Metric.COSINE, Metric.INNER_PRODUCT)
NONE = np.zeros((0, 3), np.float32)


def rows(*vectors: tuple[float, ...]) -> np.ndarray:
    return np.array(vectors, np.float32)


@given(
    metric=st.sampled_from(LINEAR),
    liked=st.integers(1, 5),
    disliked=st.integers(0, 5),
    seed=st.integers(0, 1 << 32),
)
def test_the_score_to_the_sum_is_the_sum_of_the_scores(
    metric: Metric, liked: int, disliked: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    some, others, documents = (
        random.standard_normal((count, 8), np.float32) for count in (liked, disliked, 6)
    )
    vector, factor = summed(some, others, metric)
    expected = similarities(some, documents, metric).sum(0)
    expected -= similarities(others, documents, metric).sum(0)
    found = similarities(vector[None], documents, metric)[0] * factor
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_mean_moves_away_from_what_is_disliked() -> None:
    liked, disliked = rows((2, 0, 0), (0, 4, 0)), rows((0, 0, 2))
    plain = moved_mean(liked, NONE, Metric.EUCLIDEAN)
    np.testing.assert_allclose(plain, [1, 2, 0])
    moved = moved_mean(liked, disliked, Metric.INNER_PRODUCT)
    np.testing.assert_allclose(moved, [2, 4, -2])
    # by cosine a long vector counts no more than a short one
    by_cosine = moved_mean(liked, disliked, Metric.COSINE)
    np.testing.assert_allclose(by_cosine, [1, 1, -1])


@pytest.mark.parametrize("make", [moved_mean, summed])
def test_what_cancels_out_has_no_direction(make: object) -> None:
    assert callable(make)
    with pytest.raises(FailedPrecondition, match="cancel each other out") as caught:
        make(rows((1, 0, 0), (-2, 0, 0)), NONE, Metric.COSINE)
    assert caught.value.reason == "NO_MEAN"
    make(rows((1, 0, 0), (-1, 0, 0)), NONE, Metric.INNER_PRODUCT)
