from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_search.engine import Metric
from searchmesh_search.votes import count_votes


@given(
    metric=st.sampled_from(Metric),
    ballots=st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e6, 0) | st.floats(0, 1e6))),
)
def test_shares_are_parts_of_one(metric: Metric, ballots: list[tuple[str, float]]) -> None:
    votes = count_votes(ballots, metric)
    assert {one.value for one in votes} == {value for value, _ in ballots}
    assert sum(one.count for one in votes) == len(ballots)
    assert all(0 <= one.share <= 1 for one in votes)
    if ballots:
        assert sum(one.share for one in votes) == pytest.approx(1)
    assert votes == sorted(votes, key=lambda one: (-one.share, -one.count, one.value))


@pytest.mark.parametrize(
    ("metric", "ballots", "votes"),
    [
        (Metric.COSINE, [("a", 0.5), ("b", 0.25), ("b", 0.25)], [("b", 0.5, 2), ("a", 0.5, 1)]),
        (Metric.COSINE, [("a", 0.9), ("b", 0.3), ("b", -1.0)], [("a", 0.75, 1), ("b", 0.25, 2)]),
        (Metric.INNER_PRODUCT, [("a", -1.0), ("b", -9.0)], [("a", 0.5, 1), ("b", 0.5, 1)]),
        (Metric.EUCLIDEAN, [(2, 0.0), (7, -3.0)], [(2, 0.8, 1), (7, 0.2, 1)]),
        (Metric.HAMMING, [(True, -1.0), (False, -1.0)], [(False, 0.5, 1), (True, 0.5, 1)]),
        (Metric.JACCARD, [], []),
    ],
)
def test_what_a_vote_weighs(
    metric: Metric,
    ballots: list[tuple[str | int, float]],
    votes: list[tuple[str | int, float, int]],
) -> None:
    counted = count_votes(ballots, metric)
    assert [(one.value, one.count) for one in counted] == [
        (value, count) for value, _, count in votes
    ]
    assert [one.share for one in counted] == pytest.approx([share for _, share, _ in votes])
