from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from encoder.h2load import LoadError, calls_noted, poisson

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Calls at 0, 10 and 20 ms, of which the third began 30 ms late; in the order of their ends."""
    path = tmp_path / "calls"
    path.write_text("1000000\t200\t5000\n1010000\t200\t100000\n1050000\t503\t1000\n")
    return path


def test_latency_counts_from_when_a_call_should_have_begun(noted: Path) -> None:
    load = calls_noted(noted, failed=0, cpu_seconds=0.5, offsets=np.array([0.0, 0.01, 0.02]))
    assert load.answered == 2
    assert load.latencies == pytest.approx([0.005, 0.1])
    assert load.seconds == pytest.approx(0.11)


def test_arrivals_come_at_their_rate_and_in_order() -> None:
    starts = poisson(100, 2, np.random.default_rng(0))
    assert 150 < len(starts) < 250
    assert (np.diff(starts) >= 0).all()


def test_calls_that_were_not_noted_are_missed(noted: Path) -> None:
    with pytest.raises(LoadError, match="3 of 4"):
        calls_noted(noted, failed=0, cpu_seconds=0.0, offsets=np.arange(4.0))
