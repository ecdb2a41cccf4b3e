"""The nearest documents to each of several vectors, as one ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_search.searcher import Match


def best_of_each(rankings: Sequence[Sequence[Match]]) -> list[Match]:
    """Each document with its best score of all rankings, best first; of equal scores the smaller id
    first.
    """
    best: dict[str, Match] = {}
    for match in sorted((one for ranking in rankings for one in ranking), key=_order):
        best.setdefault(match.near.document_id, match)
    return list(best.values())


def settled(rankings: Sequence[Sequence[Match]], depth: int) -> list[Match]:
    """The beginning of `best_of_each` that deeper rankings would not change.

    depth: how many documents each ranking may hold; one with fewer holds all that there are.
    """
    # what a ranking does not show comes after its last
    ends = [_order(ranking[-1]) for ranking in rankings if len(ranking) == depth]
    best = best_of_each(rankings)
    return [one for one in best if _order(one) <= min(ends)] if ends else best


def _order(match: Match) -> tuple[float, str]:
    return -match.near.score, match.near.document_id
