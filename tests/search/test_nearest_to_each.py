"""Rankings cut at a depth against the whole ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from searchmesh_search.engine import EngineHit
from searchmesh_search.nearest_to_each import best_of_each, settled
from searchmesh_search.searcher import Match

Scores = dict[str, int]


def ranking(scores: Scores, depth: int) -> list[Match]:
    ordered = sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:depth]
    # what the journal has of them plays no part
    return [Match(EngineHit(name, 1, 0, score), None) for name, score in ordered]  # type: ignore[arg-type]


def shown(matches: list[Match]) -> list[tuple[str, float]]:
    return [(one.near.document_id, one.near.score) for one in matches]


def scores_of(documents: int) -> st.SearchStrategy[Scores]:
    # few scores, so that many are equal
    names = [f"d{number}" for number in range(documents)]
    return st.fixed_dictionaries({name: st.integers(0, 4) for name in names})


@given(given=st.lists(scores_of(8), min_size=1, max_size=4), depth=st.integers(1, 10))
def test_what_is_settled_is_the_beginning_of_the_truth(given: list[Scores], depth: int) -> None:
    truth = shown(best_of_each([ranking(one, 8) for one in given]))
    best = {name: max(one[name] for one in given) for name in given[0]}
    assert truth == sorted(best.items(), key=lambda one: (-one[1], one[0]))
    found = shown(settled([ranking(one, depth) for one in given], depth))
    assert found == truth[: len(found)]
    assert len(found) >= min(depth, 8)
