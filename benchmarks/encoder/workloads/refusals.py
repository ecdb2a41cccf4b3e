"""Refusals under overload: each has to say when to come back.

Callers of our own look at the RetryInfo of every refusal that they are told. h2load cannot: its
refusals are held against the encoder's own count of contents that its admission refused, whose
refusals all carry one. What gRPC counts as RESOURCE_EXHAUSTED beyond those is unexplained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.results import at_least, at_most

if TYPE_CHECKING:
    from encoder.results import Goal, Sample
    from encoder.workloads.measuring import Meter

_ENOUGH = 10
"""Refusals of a round, so that a verdict on them says something."""


def unexplained_refusals(meter: Meter, texts_a_call: int) -> float:
    """Calls by which the two counts differ."""
    by_admission = meter.change.sum("encoder_contents_total", outcome="refused") / texts_a_call
    return abs(meter.calls("ResourceExhausted") - by_admission)


def goals_of_refusals(workload: str, contender: str, sample: Sample) -> list[Goal]:
    """What has to hold throughout an overload."""
    bounds = {
        "refusals seen without RetryInfo, none": ("no_retry_info", 0),
        "refusals that are not the admission's, none": ("unexplained", 0),
        "health p99, ms ≤ 100": ("health_p99_ms", 100),
    }
    return [
        at_least(
            workload,
            f"{contender}: refusals whose RetryInfo was looked at ≥ {_ENOUGH}",
            sample["looked_at"],
            _ENOUGH,
            contender=contender,
        ),
        *(
            at_most(
                workload, f"{contender}: {sentence}", sample[figure], bound, contender=contender
            )
            for sentence, (figure, bound) in bounds.items()
        ),
    ]
