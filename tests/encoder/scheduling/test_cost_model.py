"""Costs follow what was measured lately."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from searchmesh_encoder.scheduling import cost_model
from searchmesh_encoder.scheduling.cost_model import CostModel
from searchmesh_encoder.work import Batch, Lane


def batch(padded: int, seconds: float, lane: Lane = Lane.QUERY, runner: str = "m") -> Batch:
    return Batch(runner, lane, 1, padded, padded, [0.0], seconds)


def test_what_was_never_seen_takes_no_time() -> None:
    costs = CostModel()
    assert costs.batch_seconds("m", Lane.QUERY, 100) == 0
    assert costs.worker_seconds(Lane.QUERY) == 0
    assert costs.worker_seconds(Lane.QUERY, "m") == 0


def test_contents_of_a_model_that_read_nothing_are_as_long_as_can_be() -> None:
    costs = CostModel()
    assert costs.tokens("m", 100) == 100
    costs.read("m", 400, 100)
    costs.read("m", 200, 50)
    assert costs.tokens("m", 100) == pytest.approx(25)


def test_a_batch_has_a_fixed_cost_and_one_for_each_token() -> None:
    costs = CostModel()
    for padded in (10, 20, 40, 80, 160):
        costs.computed(batch(padded, 0.002 + 0.0001 * padded), 0.01)
    assert costs.batch_seconds("m", Lane.QUERY, 100) == pytest.approx(0.012)
    assert costs.batch_seconds("m", Lane.QUERY, 1) == pytest.approx(0.0021)


def test_batches_of_one_size_give_a_proportional_cost() -> None:
    costs = CostModel()
    for _ in range(5):
        costs.computed(batch(100, 0.01), 0.01)
    assert costs.batch_seconds("m", Lane.QUERY, 50) == pytest.approx(0.005)


def test_a_line_that_would_fall_is_not_believed() -> None:
    costs = CostModel()
    costs.computed(batch(10, 0.02), 0.02)
    costs.computed(batch(20, 0.01), 0.02)
    assert costs.batch_seconds("m", Lane.QUERY, 1000) > costs.batch_seconds("m", Lane.QUERY, 10) > 0


def test_the_lane_that_gives_way_is_seen_as_slow_as_it_is() -> None:
    costs = CostModel()
    for _ in range(50):
        costs.computed(batch(100, 0.01), 0.01)
        costs.computed(batch(100, 0.01, Lane.BULK), 0.05)
    assert costs.worker_seconds(Lane.QUERY) == pytest.approx(0.0001)
    assert costs.worker_seconds(Lane.BULK, "m") == pytest.approx(0.0005)


def test_the_past_fades() -> None:
    costs = CostModel()
    for _ in range(100):
        costs.computed(batch(100, 0.01), 0.01)
    for _ in range(100):
        costs.computed(batch(100, 0.04), 0.04)
    assert costs.worker_seconds(Lane.QUERY) == pytest.approx(0.0004, rel=0.1)
    assert costs.batch_seconds("m", Lane.QUERY, 100) == pytest.approx(0.04, rel=0.1)


def test_a_lane_of_several_models_costs_their_mixture() -> None:
    costs = CostModel()
    for _ in range(100):
        costs.computed(batch(100, 0.01, runner="fast"), 0.01)
        costs.computed(batch(100, 0.03, runner="slow"), 0.03)
    assert costs.worker_seconds(Lane.QUERY, "fast") == pytest.approx(0.0001)
    assert costs.worker_seconds(Lane.QUERY) == pytest.approx(0.0002, rel=0.05)


def test_a_lanes_runs_say_nothing_of_the_others() -> None:
    costs = CostModel()
    costs.computed(batch(100, 1.0, Lane.BULK), 1.0)
    assert costs.batch_seconds("m", Lane.QUERY, 100) == 0
    costs.computed(batch(100, 0.01), 0.01)
    assert costs.batch_seconds("m", Lane.QUERY, 100) == pytest.approx(0.01)
    assert costs.batch_seconds("m", Lane.BULK, 100) == pytest.approx(1.0)


@pytest.mark.parametrize(("took", "believed"), [(0.01, 2), (10, 20)])
def test_what_nothing_follows_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, took: float, believed: float
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(cost_model, "time", SimpleNamespace(monotonic=lambda: clock.now))
    costs = CostModel()
    costs.computed(batch(100, took), took)
    clock.now += 0.9 * believed
    assert costs.batch_seconds("m", Lane.QUERY, 100) == pytest.approx(took)
    assert costs.worker_seconds(Lane.QUERY) == pytest.approx(took / 100)
    clock.now += 0.2 * believed
    assert costs.batch_seconds("m", Lane.QUERY, 100) == 0
    assert costs.worker_seconds(Lane.QUERY) == costs.worker_seconds(Lane.QUERY, "m") == 0
    # and what comes next is not mixed with it
    costs.computed(batch(100, 0.02), 0.02)
    assert costs.batch_seconds("m", Lane.QUERY, 100) == pytest.approx(0.02)
    assert costs.worker_seconds(Lane.QUERY) == pytest.approx(0.0002)
