"""A vote of the nearest documents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_search.engine import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_search.filters.filter import Value

DISTANCES = frozenset({Metric.EUCLIDEAN, Metric.HAMMING})
"""Metrics whose scores are distances below zero."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A class and its votes."""

    value: Value
    share: float
    """Of all votes by their weight, 0 to 1."""
    count: int
    """Documents that voted for it."""


def count_votes(ballots: Sequence[tuple[Value, float]], metric: Metric) -> list[Vote]:
    """The greatest share first; of equal shares the one with more votes, then the smaller value.

    ballots: the class of each document, all of one type, and its score.
    """
    weights = _weights([score for _, score in ballots], metric)
    cast: dict[Value, list[float]] = {}
    for (value, _), weight in zip(ballots, weights, strict=True):
        cast.setdefault(value, []).append(weight)
    total = math.fsum(weights)
    votes = [Vote(value, math.fsum(some) / total, len(some)) for value, some in cast.items()]
    return sorted(votes, key=lambda one: (-one.share, -one.count, one.value))


def _weights(scores: Sequence[float], metric: Metric) -> list[float]:
    """What each document's vote weighs: all the same where none weighs anything."""
    weights = [_weight(score, metric) for score in scores]
    return weights if any(weights) else [1.0] * len(scores)


def _weight(score: float, metric: Metric) -> float:
    """At least 0: the score, or 0 where it is less; of a distance d, 1 / (1 + d)."""
    return 1 / (1 + abs(score)) if metric in DISTANCES else max(score, 0.0)
