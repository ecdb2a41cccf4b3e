"""What a scrape shows adds up, also while every worker is busy."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh_encoder.metrics import EncoderMetrics
from searchmesh_encoder.tallies import OUTCOMES
from searchmesh_encoder.work import Batch, Lane

from .serving import quick_settings, serving, texts

if TYPE_CHECKING:
    from pathlib import Path

    from .serving import Served

    Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(served: Served) -> Samples:
    url = f"http://127.0.0.1:{served.ports.metrics}/metrics"

    def read() -> str:
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(response.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(read))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        if family.name.startswith("encoder_")
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels among theirs; 0 where there is none."""
    return sum(
        value
        for (one, given), value in samples.items()
        if one == name and labels.items() <= dict(given).items()
    )


@pytest.mark.slow
async def test_scrapes_add_up_while_every_worker_is_busy(tiny_cards: Path, tiny_home: Path) -> None:
    settings = quick_settings(
        tiny_home, tiny_cards, metrics_listen="127.0.0.1:0", queue_tokens=3000, workers=1
    )
    async with serving(settings) as served:
        sent = 0
        stopping = asyncio.Event()

        async def load(number: int) -> None:
            nonlocal sent
            lane = pb.LANE_BULK if number % 2 else pb.LANE_QUERY
            while not stopping.is_set():
                given = [f"{sent} {one} {'x' * (one % 20)}" for one in range(64)]
                sent += len(given)
                try:
                    await served.encoder.Encode(texts(*given, "same", lane=lane))
                except Exception:  # noqa: BLE001 - refusals are part of it, and counted below
                    await asyncio.sleep(0.01)
                sent += 1

        loads = [asyncio.create_task(load(number)) for number in range(16)]
        before: Samples = {}
        for _ in range(5):
            await asyncio.sleep(0.2)
            now = await scraped(served)
            for lane in ("query", "bulk"):
                batches = of(now, "encoder_compute_seconds_count", lane=lane)
                assert batches == of(now, "encoder_batch_items_count", lane=lane)
                assert batches == of(now, "encoder_batch_items_bucket", lane=lane, le="+Inf")
                items = of(now, "encoder_batch_items_sum", lane=lane)
                assert items == of(now, "encoder_queue_seconds_count", lane=lane)
                padded = of(now, "encoder_padded_tokens_total", lane=lane)
                assert padded == of(now, "encoder_batch_tokens_sum", lane=lane)
                assert 0 <= of(now, "encoder_tokens_total", lane=lane) <= padded
                assert 0 <= of(now, "encoder_queue_tokens", lane=lane) <= 3000 * 1.25
            for key, value in before.items():
                if key[0].endswith(("_total", "_count", "_bucket")):
                    assert now[key] >= value
            before = now
        stopping.set()
        await asyncio.gather(*loads)
        end = await scraped(served)
        outcomes = {one: of(end, "encoder_contents_total", outcome=one) for one in OUTCOMES}
        assert sum(outcomes.values()) == sent
        assert outcomes["vector"] > 0
        assert outcomes["refused"] > 0
        hits = of(end, "encoder_cache_hits_total")
        assert hits > 0
        computed = of(end, "encoder_queue_seconds_count")
        joined = of(end, "encoder_coalesced_total")
        assert computed + joined + hits == outcomes["vector"]
        for gone in ("encoder_in_flight", "encoder_queue_tokens", "encoder_pending_bytes"):
            assert of(end, gone) == 0
        assert of(end, "encoder_queue_oldest_seconds") == 0
        assert of(end, "encoder_worker_busy_seconds_total", stage="compute") == pytest.approx(
            of(end, "encoder_compute_seconds_sum")
        )
        assert of(end, "encoder_workers", stage="compute", lane="bulk") == 1
        assert 0 < of(end, "encoder_cache_bytes") <= settings.cache_bytes


def test_a_distribution_counts_what_is_at_a_bound_below_it() -> None:
    registry = CollectorRegistry()
    metrics = EncoderMetrics(registry)
    metrics.computed(Batch("m", Lane.BULK, 2, 14, 16, [0.001, 40.0], 0.0025))
    labels = {"model": "m", "lane": "bulk"}

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"encoder_{name}", {**labels, **more})

    assert value("batch_tokens_bucket", le="8.0") == 0
    assert value("batch_tokens_bucket", le="16.0") == 1
    assert value("compute_seconds_bucket", le="0.0025") == 1
    assert value("queue_seconds_bucket", le="30.0") == 1
    assert value("queue_seconds_bucket", le="+Inf") == 2
    assert value("queue_seconds_sum") == pytest.approx(40.001)
    assert value("tokens_total") == 14
