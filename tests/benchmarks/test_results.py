from __future__ import annotations

import math

from encoder.results import Results, at_least, at_most, best, no_failures, ratio


def test_medians_are_taken_figure_by_figure() -> None:
    results = Results()
    for texts_per_second, p99_ms in ((10, 3), (30, 1), (20, 2)):
        results.add("a", "ours", {"texts_per_second": texts_per_second, "p99_ms": p99_ms})
    assert results.medians("a") == {"ours": {"texts_per_second": 20, "p99_ms": 2}}
    assert results.medians("b") == {}


def test_one_round_with_failures_is_enough_to_miss() -> None:
    results = Results()
    for failed in (0.0, 4.0, 0.0):
        results.add("a", "ours", {"failed": failed})
    assert no_failures("a", results.medians("a")).verdict == "missed by 4"


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    results = Results()
    results.failed("a", "ours", "LoadError: h2load is gone")
    assert "a" in results
    medians = results.medians("a")
    assert math.isnan(medians["ours"]["p99_ms"])
    assert no_failures("a", medians).verdict == "not measured"
    assert at_least("a", "", ratio(1.0, 0.0), 2.0).verdict == "not measured"


def test_a_verdict_says_by_how_much() -> None:
    assert at_least("a", "", 2.1, 2.0).verdict == "met"
    assert at_least("a", "", 1.5, 2.0).verdict == "missed by 25.0%"
    assert at_most("a", "", 2.0, 2.0).verdict == "met"
    assert at_most("a", "", 3.0, 2.0).verdict == "missed by 50.0%"
    assert at_most("a", "", 3.0, 0.0).verdict == "missed by 3"


def test_the_best_is_the_highest_of_those_measured() -> None:
    medians = {"A": {"texts_per_second": 1.0}, "B": {"texts_per_second": 2.0}}
    assert best(medians, ("A", "B", "C"), "texts_per_second") == ("B", 2.0)
