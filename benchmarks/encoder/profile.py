"""Where the time of our encoder goes under a load, by its own metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from encoder.results import ratio

if TYPE_CHECKING:
    from encoder.results import Sample
    from encoder.scrape import Scrape

PROFILE = {
    "profile_read_ms": "tokenising, ms/text",
    "profile_compute_ms": "model, ms/text",
    "profile_cpu_ms": "server CPU, ms/text",
    "profile_queue_ms": "in the queue, ms/text",
    "profile_batch_ms": "model, ms/batch",
    "profile_batch_texts": "texts/batch",
    "profile_batch_tokens": "tokens/batch",
    "profile_useful": "useful/padded tokens",
    "profile_workers_busy": "workers busy",
    "profile_cpus_busy": "CPUs busy with the server",
}
"""Figures of a profile, with their headings.

The workers' times are wall time: where more threads want to run than there are CPUs they hold the
wait for one, too. Workers are counted as one for each CPU, so that two lanes at once may exceed 1.
"""


def profile(change: Scrape, *, seconds: float, cpus: int, cpu_seconds: float) -> Sample:
    """What the encoder's metrics grew by in so many seconds, a text and a batch."""
    texts = change.sum("encoder_batch_items_sum")
    compute = change.sum("encoder_worker_busy_seconds_total", stage="compute")
    read = change.sum("encoder_worker_busy_seconds_total", stage="preprocess")
    tokens, padded = (change.sum(f"encoder_{name}_total") for name in ("tokens", "padded_tokens"))
    found = {
        "profile_read_ms": ratio(read, texts) * 1e3,
        "profile_compute_ms": ratio(compute, texts) * 1e3,
        "profile_cpu_ms": ratio(cpu_seconds, texts) * 1e3,
        "profile_queue_ms": change.mean("encoder_queue_seconds") * 1e3,
        "profile_batch_ms": change.mean("encoder_compute_seconds") * 1e3,
        "profile_batch_texts": change.mean("encoder_batch_items"),
        "profile_batch_tokens": change.mean("encoder_batch_tokens"),
        "profile_useful": ratio(tokens, padded),
        "profile_workers_busy": compute / (cpus * seconds),
        "profile_cpus_busy": cpu_seconds / (cpus * seconds),
    }
    return found if texts else dict.fromkeys(found, math.nan)


def hint(sample: Sample) -> str:
    """A profile in a sentence or two; empty where there is none."""
    if math.isnan(sample.get("profile_cpu_ms", math.nan)):
        return ""
    cpu, compute, read = (sample[f"profile_{name}_ms"] for name in ("cpu", "compute", "read"))
    return (
        f"{cpu:.3g} ms of server CPU a computed text, beside {compute:.3g} ms of the workers' time "
        f"in the model and {read:.3g} ms in tokenising; {sample['profile_queue_ms']:.3g} ms in the "
        f"queue; batches of {sample['profile_batch_texts']:.3g} texts and "
        f"{sample['profile_batch_tokens']:.0f} tokens, {sample['profile_useful']:.0%} of them "
        f"useful; workers busy {sample['profile_workers_busy']:.0%} of the time, CPUs "
        f"{sample['profile_cpus_busy']:.0%} with the server."
    )
