from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from searchmesh_search.fusion import Place, Ranking, fuse

KEYS = st.lists(st.sampled_from("abcdefghij"), unique=True)
WEIGHTS = st.one_of(st.just(0.0), st.floats(0.001, 1000))
RANKINGS = st.lists(st.builds(Ranking, KEYS, WEIGHTS), max_size=4)
CONSTANTS = st.integers(1, 1000)


def test_a_known_answer() -> None:
    both, first, second = fuse([Ranking(["a", "b"]), Ranking(["b", "c"], 0.5)], 60)
    assert (both.key, first.key, second.key) == ("b", "a", "c")
    assert both.score == 1 / 62 + 0.5 / 61
    assert both.places == [Place(2, 1 / 62), Place(1, 0.5 / 61)]
    assert (first.score, first.places[1]) == (1 / 61, None)


@given(RANKINGS, CONSTANTS)
def test_every_key_comes_once_in_order_and_its_contributions_add_up(
    rankings: list[Ranking], constant: int
) -> None:
    fused = fuse(rankings, constant)
    assert {one.key for one in fused} == {
        key for ranking in rankings if ranking.weight for key in ranking.keys
    }
    assert fused == sorted(fused, key=lambda one: (-one.score, one.key))
    assert len({one.key for one in fused}) == len(fused)
    for one in fused:
        assert one.score == sum(place.contribution for place in one.places if place)
        assert 0 < one.score <= sum(ranking.weight for ranking in rankings) / (constant + 1)
        for ranking, place in zip(rankings, one.places, strict=True):
            if place is None:
                assert not ranking.weight or one.key not in ranking.keys
            else:
                assert ranking.keys[place.rank - 1] == one.key


@given(KEYS, st.floats(0.001, 1000), CONSTANTS)
def test_one_ranking_keeps_its_order(keys: list[str], weight: float, constant: int) -> None:
    assert [one.key for one in fuse([Ranking(keys, weight)], constant)] == keys


@given(KEYS, KEYS, CONSTANTS)
def test_the_order_of_rankings_does_not_matter(
    one: list[str], other: list[str], constant: int
) -> None:
    forth = fuse([Ranking(one), Ranking(other)], constant)
    back = fuse([Ranking(other), Ranking(one)], constant)
    assert [fused.key for fused in forth] == [fused.key for fused in back]


@given(KEYS, KEYS, st.floats(0.5, 4), CONSTANTS)
def test_a_key_that_is_before_another_everywhere_stays_before_it(
    one: list[str], other: list[str], weight: float, constant: int
) -> None:
    fused = fuse([Ranking(one), Ranking(other, weight)], constant)
    places = {found.key: at for at, found in enumerate(fused)}
    for left, place in places.items():
        for right, other_place in places.items():
            if _rank(one, left) < _rank(one, right) and _rank(other, left) < _rank(other, right):
                assert place < other_place


def _rank(keys: list[str], key: str) -> float:
    return keys.index(key) if key in keys else math.inf
