from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_search.diversity import diverse

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])

Candidates = tuple["NDArray[np.float64]", "NDArray[np.float64]"]


@st.composite
def candidates(draw: st.DrawFn) -> Candidates:
    """Scores, best first, and a symmetric matrix of likenesses; of few values, so that many are
    equal.
    """
    count = draw(st.integers(0, 7))
    eighths = st.integers(-8, 8).map(lambda one: one / 8)
    scores = sorted(draw(st.lists(eighths, min_size=count, max_size=count)), reverse=True)
    cells = draw(st.lists(eighths, min_size=count**2, max_size=count**2))
    half = np.array(cells, np.float64).reshape(count, count)
    return np.array(scores, np.float64), np.maximum(half, half.T)


@given(given=candidates(), weight=WEIGHTS, count=st.integers(0, 9))
def test_every_choice_is_the_best_of_those_that_are_left(
    given: Candidates, weight: float, count: int
) -> None:
    scores, likeness = given
    chosen = diverse(scores, likeness, weight, count)
    assert len(set(chosen)) == len(chosen) == min(count, len(scores))
    others = likeness[~np.eye(len(scores), dtype=bool)]
    for place, choice in enumerate(chosen):
        before = chosen[:place]

        def value(one: int, before: list[int] = before) -> float:
            alike = max((scaled(likeness[one, other], others) for other in before), default=0.0)
            return weight * scaled(scores[one], scores) - (1 - weight) * alike

        left = [one for one in range(len(scores)) if one not in before]
        most = max(value(one) for one in left)
        assert value(choice) == pytest.approx(most)


def scaled(value: float, of: NDArray[np.float64]) -> float:
    if len(of) == 0 or of.max() == of.min():
        return 0.0
    return float((value - of.min()) / (of.max() - of.min()))


@given(given=candidates(), weight=WEIGHTS, factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_units_and_bounds_of_a_metric_play_no_part(
    given: Candidates, weight: float, factor: float
) -> None:
    scores, likeness = given
    expected = diverse(scores, likeness, weight, 7)
    assert diverse(scores * factor - 3, likeness * factor + 5, weight, 7) == expected
    assert expected[:1] == list(range(len(scores)))[:1]


@given(given=candidates())
def test_a_weight_of_one_changes_nothing(given: Candidates) -> None:
    scores, likeness = given
    assert diverse(scores, likeness, 1.0, 7) == list(range(len(scores)))


def test_a_copy_of_the_best_comes_after_what_differs() -> None:
    scores = np.array([0.9, 0.89, 0.5])
    likeness = np.array([[1, 1, 0.1], [1, 1, 0.1], [0.1, 0.1, 1]])
    assert diverse(scores, likeness, 0.5, 3) == [0, 2, 1]
