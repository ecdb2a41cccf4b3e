"""Thresholds against what they make of the trials that they were found by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from searchmesh.calibration import OperatingPoint, Trial, best_point, operating_points

TRIALS = st.lists(
    st.builds(Trial, st.integers(-5, 5).map(lambda one: one / 8), st.booleans()), max_size=12
)


def judged(trials: list[Trial], threshold: float, answerable: int) -> OperatingPoint:
    answered = [one for one in trials if one.score >= threshold]
    right = sum(one.is_right for one in answered)
    return OperatingPoint(threshold, right / len(answered), right / answerable, len(answered))


@given(trials=TRIALS, unanswered=st.integers(0, 3))
def test_each_point_is_what_its_threshold_makes_of_the_trials(
    trials: list[Trial], unanswered: int
) -> None:
    answerable = max(1, sum(one.is_right for one in trials) + unanswered)
    points = operating_points(trials, answerable)
    assert points == [judged(trials, one.threshold, answerable) for one in points]
    assert len(points) == len({one.score for one in trials})


@given(trials=TRIALS, precision=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_no_threshold_is_better_than_the_best(trials: list[Trial], precision: float) -> None:
    best = best_point(operating_points(trials, 12), precision)
    every = [judged(trials, score, 12) for score in {one.score for one in trials}]
    precise = [one for one in every if one.precision >= precision]
    if best is None:
        assert not precise
    else:
        assert best.recall == max(one.recall for one in precise)
        assert best.precision >= precision


def test_a_threshold_lies_between_what_it_takes_and_what_it_leaves() -> None:
    trials = [Trial(0.9, True), Trial(0.5, True), Trial(0.3, False)]
    best = best_point(operating_points(trials, 4), 0.9)
    assert best == OperatingPoint(0.4, 1.0, 0.5, 2)
