"""How near is near enough: a threshold for `answer`, from questions whose right answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a question whose right answer is known."""

    score: float
    """Of the nearest stored question."""
    is_right: bool
    """Whether its answer is right; never where no stored one is."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold, and what it would have made of the trials."""

    threshold: float
    precision: float
    """Of the answers given, the share that is right."""
    recall: float
    """Of the questions that a stored answer is right for, the share that got it."""
    answered_count: int


def operating_points(trials: Sequence[Trial], answerable_count: int) -> list[OperatingPoint]:
    """One for each set of trials that some threshold answers, the greatest threshold first.

    answerable_count: questions that some stored answer is right for, of more trials than those
    given where some found nothing at all; at least 1.
    """
    ordered = sorted(trials, key=lambda one: -one.score)
    right_counts = accumulate(one.is_right for one in ordered)
    points = []
    for answered, (one, right) in enumerate(zip(ordered, right_counts, strict=True), 1):
        rest = ordered[answered : answered + 1]
        if rest and rest[0].score == one.score:
            continue  # no threshold comes between equal scores
        # halfway to what is refused, so that neither hangs on a last digit
        threshold = (one.score + rest[0].score) / 2 if rest else one.score
        points.append(
            OperatingPoint(threshold, right / answered, right / answerable_count, answered)
        )
    return points


def best_point(points: Sequence[OperatingPoint], precision: float) -> OperatingPoint | None:
    """The one with the greatest recall among those that are as precise as wanted; of equals the
    more precise. None where there is none.
    """
    precise = [one for one in points if one.precision >= precision]
    return max(precise, key=lambda one: (one.recall, one.precision), default=None)
