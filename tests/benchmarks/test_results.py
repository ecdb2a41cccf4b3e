from __future__ import annotations

from encoder.results import Results, at_least, at_most, best


def test_medians_are_taken_figure_by_figure() -> None:
    results = Results()
    for texts_per_second, p99_ms in ((10, 3), (30, 1), (20, 2)):
        results.add("a", "ours", {"texts_per_second": texts_per_second, "p99_ms": p99_ms})
    assert results.medians("a") == {"ours": {"texts_per_second": 20, "p99_ms": 2}}
    assert results.medians("b") == {}


def test_a_verdict_says_by_how_much() -> None:
    assert at_least("a", "", 2.1, 2.0).verdict == "met"
    assert at_least("a", "", 1.5, 2.0).verdict == "missed by 25%"
    assert at_most("a", "", 2.0, 2.0).verdict == "met"
    assert at_most("a", "", 3.0, 2.0).verdict == "missed by 50%"
    assert at_most("a", "", 3.0, 0.0).verdict == "missed by 3"


def test_the_best_is_the_highest_of_those_measured() -> None:
    medians = {"A": {"texts_per_second": 1.0}, "B": {"texts_per_second": 2.0}}
    assert best(medians, ("A", "B", "C"), "texts_per_second") == ("B", 2.0)
