"""What was measured, and the goals that it is held against."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Sample: TypeAlias = "Mapping[str, float]"
"""The figures of one run, by name; the name ends in the unit."""

WORST = ("failed", "no_retry_info", "unexplained", "resident_mib")
"""Figures of which not the median of the rounds counts but the highest."""


class _Unmeasured(dict[str, float]):
    """The figures of what failed: none is a number, and nothing reckoned from them is."""

    def __missing__(self, _figure: str) -> float:
        return math.nan


class Medians(dict[str, "Sample"]):
    """By contender, the median of each figure over the rounds; of WORST the highest."""

    def __missing__(self, _contender: str) -> Sample:
        return _Unmeasured()


@dataclass(slots=True)
class Results:
    """Every sample of a run of the benchmark."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    """By workload and contender, one for each round that went well."""
    faults: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By workload and contender, what went wrong in the other rounds."""

    def add(self, workload: str, contender: str, sample: Sample) -> None:
        self.samples.setdefault(workload, {}).setdefault(contender, []).append(sample)

    def failed(self, workload: str, contender: str, sentence: str) -> None:
        """Note that a round gave no sample."""
        self.faults.setdefault(workload, {}).setdefault(contender, []).append(sentence)

    def medians(self, workload: str) -> Medians:
        """Of all contenders with samples; what else is asked for is not a number."""
        return Medians(
            {
                contender: _Unmeasured(
                    {name: _of_rounds(name, [one[name] for one in every]) for name in every[0]}
                )
                for contender, every in self.samples.get(workload, {}).items()
            }
        )

    def __contains__(self, workload: str) -> bool:
        return workload in self.samples or workload in self.faults


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound."""

    workload: str
    sentence: str
    measured: float
    """Not a number where it could not be measured."""
    bound: float
    is_floor: bool
    """Whether the bound is the least, or the most, that meets the goal."""
    contender: str
    """Whose figure it is: the row of the workload's table."""

    @property
    def is_met(self) -> bool:
        return self.measured >= self.bound if self.is_floor else self.measured <= self.bound

    @property
    def is_measured(self) -> bool:
        return not (math.isnan(self.measured) or math.isnan(self.bound))

    @property
    def verdict(self) -> str:
        """`met`, or by how much it was missed."""
        if not self.is_measured:
            return "not measured"
        if self.is_met:
            return "met"
        if not self.bound:
            return f"missed by {self.measured:g}"
        return f"missed by {abs(self.measured / self.bound - 1):.1%}"


def at_least(
    workload: str, sentence: str, measured: float, bound: float, *, contender: str = "ours"
) -> Goal:
    """A goal whose bound is a floor."""
    return Goal(workload, sentence, measured, bound, is_floor=True, contender=contender)


def at_most(
    workload: str, sentence: str, measured: float, bound: float, *, contender: str = "ours"
) -> Goal:
    """A goal whose bound is a ceiling."""
    return Goal(workload, sentence, measured, bound, is_floor=False, contender=contender)


def no_failures(workload: str, medians: Medians, contender: str = "ours") -> Goal:
    """That every call was answered, in every round."""
    failed = medians[contender]["failed"]
    return at_most(workload, f"{contender}: failed calls, none", failed, 0, contender=contender)


def _of_rounds(figure: str, values: Sequence[float]) -> float:
    return max(values) if figure in WORST else statistics.median(values)


def ratio(measured: float, reference: float) -> float:
    """Not a number where the reference is 0, which a run too short for it gives."""
    return measured / reference if reference else math.nan


def best(
    medians: Mapping[str, Sample], contenders: Iterable[str], figure: str
) -> tuple[str, float]:
    """The contender whose figure is highest, and the figure; not a number where none has it."""
    found: Iterator[tuple[float, str]] = (
        (medians[name][figure], name) for name in contenders if name in medians
    )
    value, name = max(found, default=(math.nan, "none"))
    return name, value
