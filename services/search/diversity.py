"""Maximal marginal relevance: hits that are good, and unlike those before them.

Source: Carbonell and Goldstein 1998, The use of MMR. Scores and likenesses are of any metric, with
bounds or without, and of a search by words they are not even of one kind; so both are scaled to 0
to 1 over the candidates before they are weighed against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def diverse(
    scores: NDArray[np.float64], likeness: NDArray[np.float64], weight: float, count: int
) -> list[int]:
    """Places of at most `count` candidates, in the order in which they are chosen.

    scores: (n,), best first. likeness: (n, n) of each with each; higher is more alike. weight: of
    the score against the likeness to what was chosen before, 0 to 1. Each choice is the candidate
    with the most of `weight * score - (1 - weight) * greatest likeness`, of equals the first; so
    the first is the best, and with a weight of 1 the order stays as it is.
    """
    total = len(scores)
    gain = weight * _scaled(scores, np.ones(total, bool))
    cost = (1 - weight) * _scaled(likeness, ~np.eye(total, dtype=bool))
    chosen: list[int] = []
    greatest = np.zeros(total)
    for _ in range(min(count, total)):
        value = gain - greatest
        value[chosen] = -np.inf
        best = int(value.argmax())
        chosen.append(best)
        greatest = np.maximum(greatest, cost[best])
    return chosen


def _scaled(values: NDArray[np.float64], which: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Linearly, so that the least of those is 0 and the greatest 1; all 0 where they are equal."""
    some = values[which]
    least, greatest = some.min(initial=np.inf), some.max(initial=-np.inf)
    if not greatest > least:
        return np.zeros_like(values)
    scaled: NDArray[np.float64] = (values - least) / (greatest - least)
    return scaled
