"""The encoder is built for the CPUs that there are."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh_common.settings import load
from searchmesh_encoder import server
from searchmesh_encoder.cpus import Cpus
from searchmesh_encoder.settings import PREFIX, EncoderSettings
from searchmesh_encoder.work import Lane

from .encoders import ONE_AT_A_TIME, StubModel, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


class Counting(StubModel):
    """Knows how many batches were computed side by side."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._running = 0
        self.most_running = 0

    def run(self, payloads: Sequence[np.ndarray]) -> Any:
        with self._lock:
            self._running += 1
            self.most_running = max(self.most_running, self._running)
        time.sleep(0.02)
        with self._lock:
            self._running -= 1
        return super().run(payloads)


async def most_running(**changes: Any) -> int:
    """Batches side by side while both lanes have enough to do."""
    model = Counting()
    async with serving(model, **{**ONE_AT_A_TIME, **changes}) as served:
        await asyncio.gather(
            *(served.outcomes(f"{number}", lane=lane) for number in range(20) for lane in Lane)
        )
    return model.most_running


@pytest.mark.parametrize(
    ("cpus", "workers", "expected"),
    [
        # priorities keep CPUs free for queries: as many of either lane as there are CPUs
        (Cpus(allowed=3, quota=None), None, 6),
        (Cpus(allowed=3, quota=3.0), None, 6),
        (Cpus(allowed=3, quota=None), 2, 4),
        # nothing does under a quota that is smaller, whatever the setting says
        (Cpus(allowed=8, quota=1.5), None, 2),
        (Cpus(allowed=8, quota=2.0), 6, 2),
        (Cpus(allowed=8, quota=2.0), 1, 1),
    ],
)
async def test_as_many_batches_run_as_the_cpus_allow(
    monkeypatch: pytest.MonkeyPatch, cpus: Cpus, workers: int | None, expected: int
) -> None:
    monkeypatch.setattr(server, "available", lambda: cpus)
    assert await most_running(workers=workers) == expected


async def test_workers_are_as_many_as_the_cpus_or_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def told(workers: int | None) -> set[float]:
        async with serving(StubModel(), workers=workers) as served:
            return {
                served.gauge("encoder_workers", lane.value, stage=stage)
                for stage in ("preprocess", "compute")
                for lane in Lane
            }

    monkeypatch.setattr(server, "available", lambda: Cpus(allowed=8, quota=2.5))
    assert await told(None) == {3}
    assert await told(load(EncoderSettings, PREFIX, {"ENCODER_WORKERS": "5"}).workers) == {5}
