"""Reciprocal rank fusion: several rankings become one, by places alone.

Scores of different measures cannot be added, their places can. Source: Cormack, Clarke and
Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Ranking:
    """Keys, the best first, none twice, and how much their places count."""

    keys: Sequence[str]
    weight: float = 1.0
    """At least 0. With 0 the ranking is as if it were empty."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key stands in one ranking."""

    rank: int
    """From 1."""
    contribution: float
    """weight / (rank_constant + rank)"""


@dataclass(frozen=True, slots=True)
class Fused:
    """A key of any of the rankings."""

    key: str
    score: float
    """The sum of the contributions; more than 0."""
    places: Sequence[Place | None]
    """In each ranking, in the order given; None where it is not in it."""


def fuse(rankings: Sequence[Ranking], rank_constant: int) -> list[Fused]:
    """Every key once, best first; of equal scores the smaller key first.

    rank_constant: at least 1; the greater it is, the less the first places stand out.
    """
    places = [_places(one, rank_constant) for one in rankings]
    keys = {key for one in places for key in one}
    fused = [_fused(key, [one.get(key) for one in places]) for key in keys]
    return sorted(fused, key=lambda one: (-one.score, one.key))


def _places(ranking: Ranking, rank_constant: int) -> dict[str, Place]:
    if not ranking.weight:
        return {}
    return {
        key: Place(rank, ranking.weight / (rank_constant + rank))
        for rank, key in enumerate(ranking.keys, 1)
    }


def _fused(key: str, places: Sequence[Place | None]) -> Fused:
    return Fused(key, sum(place.contribution for place in places if place is not None), places)
