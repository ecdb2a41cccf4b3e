from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import Mock

from encoder.results import Results
from encoder.rounds import rounds

if TYPE_CHECKING:
    from encoder.results import Goal, Sample


class _Workload:
    key = "w"
    title = ""
    rotates = True
    contenders = ("A", "B")

    def measure(self, contender: str) -> Sample:
        if contender == "A":
            raise OSError("refused\nat length")
        return {"texts_per_second": 1.0}

    def goals(self, results: Results) -> list[Goal]:
        return []


def test_a_contender_that_fails_costs_its_own_figures_only() -> None:
    bench, results = Mock(), Results()
    for _, act in rounds(bench, _Workload(), results, 2):
        act()
    assert results.samples == {"w": {"B": [{"texts_per_second": 1.0}] * 2}}
    assert results.faults == {"w": {"A": ["OSError: refused\nat length"] * 2}}
    # so that the next measurement starts it anew
    assert bench.peers.stop.call_count == 2


def test_each_round_another_contender_begins() -> None:
    steps = [told for told, _ in rounds(Mock(), _Workload(), Results(), 2)]
    assert steps == ["w, round 1: A", "w, round 1: B", "w, round 2: B", "w, round 2: A"]
