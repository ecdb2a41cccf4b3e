"""What was measured, and the goals that it is held against."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Sample: TypeAlias = "Mapping[str, float]"
"""The figures of one run, by name; the name ends in the unit."""


@dataclass(slots=True)
class Results:
    """Every sample of a run of the benchmark."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    """By workload and contender, one for each round."""

    def add(self, workload: str, contender: str, sample: Sample) -> None:
        self.samples.setdefault(workload, {}).setdefault(contender, []).append(sample)

    def medians(self, workload: str) -> Mapping[str, Sample]:
        """By contender, the median of each figure over the rounds."""
        return {
            contender: {
                figure: statistics.median(one[figure] for one in samples) for figure in samples[0]
            }
            for contender, samples in self.samples.get(workload, {}).items()
        }

    def __contains__(self, workload: str) -> bool:
        return workload in self.samples


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound."""

    workload: str
    sentence: str
    measured: float
    bound: float
    is_floor: bool
    """Whether the bound is the least, or the most, that meets the goal."""

    @property
    def is_met(self) -> bool:
        return self.measured >= self.bound if self.is_floor else self.measured <= self.bound

    @property
    def verdict(self) -> str:
        """`met`, or by how much it was missed."""
        if self.is_met:
            return "met"
        if not self.bound:
            return f"missed by {self.measured:g}"
        return f"missed by {abs(self.measured / self.bound - 1):.0%}"


def at_least(workload: str, sentence: str, measured: float, bound: float) -> Goal:
    """A goal whose bound is a floor."""
    return Goal(workload, sentence, measured, bound, is_floor=True)


def at_most(workload: str, sentence: str, measured: float, bound: float) -> Goal:
    """A goal whose bound is a ceiling."""
    return Goal(workload, sentence, measured, bound, is_floor=False)


def ratio(measured: float, reference: float) -> float:
    """0 where the reference is 0, which a run too short for it gives."""
    return measured / reference if reference else 0.0


def best(
    medians: Mapping[str, Sample], contenders: Iterable[str], figure: str
) -> tuple[str, float]:
    """The contender whose figure is highest, and the figure."""
    found: Iterator[tuple[float, str]] = (
        (medians[name][figure], name) for name in contenders if name in medians
    )
    value, name = max(found)
    return name, value
