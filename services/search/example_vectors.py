"""One vector to search by, made of the vectors of what is liked and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.engine import Metric
from searchmesh_search.similarity import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_LENGTH = 1e-6
"""Of a vector that is made of unit vectors; what is shorter is made of rounding errors."""

LINEAR_METRICS = frozenset({Metric.COSINE, Metric.INNER_PRODUCT})
"""Those by which a sum of scores is the score to one vector, times a factor."""


def moved_mean(liked: np.ndarray, disliked: np.ndarray, metric: Metric) -> np.ndarray:
    """The mean of the liked, moved by as much as it is away from the mean of the disliked.

    liked: (m, dimension) float32, m > 0. disliked: (n, dimension). For COSINE each is made of unit
    length first. Returns (dimension,) float32. Raises FailedPrecondition, reason NO_MEAN, where
    COSINE finds no direction in it.
    """
    liked, disliked = _scaled(liked, metric), _scaled(disliked, metric)
    mean = liked.mean(axis=0)
    if len(disliked):
        mean = mean + (mean - disliked.mean(axis=0))
    _require_direction(mean, metric)
    return _float32(mean)


def summed(liked: np.ndarray, disliked: np.ndarray, metric: Metric) -> tuple[np.ndarray, float]:
    """What the sum of the scores to the liked, less those to the disliked, is the score to.

    metric: one of LINEAR_METRICS. Returns (dimension,) float32, and by how much its score must be
    multiplied. Otherwise as `moved_mean`.
    """
    total = _scaled(liked, metric).sum(axis=0) - _scaled(disliked, metric).sum(axis=0)
    _require_direction(total, metric)
    # the cosine does not know how long the sum is
    factor = float(np.linalg.norm(total)) if metric is Metric.COSINE else 1.0
    return _float32(total), factor


def _scaled(vectors: np.ndarray, metric: Metric) -> NDArray[np.float64]:
    return unit(vectors) if metric is Metric.COSINE else vectors.astype(np.float64)


def _require_direction(vector: NDArray[np.float64], metric: Metric) -> None:
    if metric is Metric.COSINE and np.linalg.norm(vector) < MIN_LENGTH:
        raise FailedPrecondition(
            "NO_MEAN", "what is liked and what is not cancel each other out; leave some of it away"
        )


def _float32(vector: NDArray[np.float64]) -> np.ndarray:
    narrow: np.ndarray = vector.astype(np.float32)
    return narrow
