"""A server's run as a sample."""

from __future__ import annotations

from itertools import cycle, islice
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from encoder.ceiling import PASS_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from encoder.bench import Bench
    from encoder.ceiling import Best
    from encoder.h2load import Load
    from encoder.ours import Encoder
    from encoder.results import Sample
    from encoder.target import Target


def served(target: Target, texts_a_call: int, run: Callable[[], Load]) -> dict[str, float]:
    """What a load was answered with, and the CPU time of both sides, a text."""
    cpu = target.process.cpu_seconds()
    load = run()
    if not load.answered:
        raise target.process.error("answered no call of a load")
    cpu = target.process.cpu_seconds() - cpu
    texts = load.answered * texts_a_call
    p50, p99 = np.percentile(load.latencies, (50, 99)) * 1e3
    return {
        "texts_per_second": texts / load.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "server_cpu_ms": cpu / texts * 1e3,
        "generator_cpu_ms": load.cpu_seconds / texts * 1e3,
        "failed": float(load.failed),
        "seconds": load.seconds,
    }


def answered(load: Load) -> dict[str, float]:
    """What single texts were answered with, beside others whose CPU time cannot be told apart."""
    p50, p99 = np.percentile(load.latencies, (50, 99)) * 1e3
    return {
        "texts_per_second": load.answered / load.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "generator_cpu_ms": load.cpu_seconds / load.answered * 1e3,
        "failed": float(load.failed),
    }


def not_ok(encoder: Encoder) -> float:
    """Encode calls that ended badly, by the encoder's own count: h2load sees no grpc-status.

    Those that were cancelled are not counted: h2load hangs up when its time is over.
    """
    name, method = "grpc_server_handled_total", "Encode"
    every = encoder.count(name, grpc_method=method)
    fine = (encoder.count(name, grpc_method=method, grpc_code=code) for code in ("OK", "Canceled"))
    return every - sum(fine)


def at_ceiling(bench: Bench, workload: str, texts: Sequence[str]) -> Sample:
    """The same texts without a server, in the best batches."""
    enough = _enough(bench, texts)
    budget = best_batches(bench, workload, texts).batch_tokens
    measured = bench.ceiling.measure(enough, budget, bench.seconds)
    return {
        "texts_per_second": measured["texts_per_second"],
        "server_cpu_ms": measured["cpu_ms"],
        "useful_share": measured["useful_share"],
        "batch_tokens": float(budget),
        "seconds": measured["seconds"],
    }


def alone(bench: Bench, texts: Sequence[str], seconds: float) -> Sample:
    """One text after another without a server."""
    measured = bench.ceiling.measure_alone(texts, seconds)
    return {
        "texts_per_second": measured["texts_per_second"],
        "p50_ms": measured["p50_ms"],
        "p99_ms": measured["p99_ms"],
        "server_cpu_ms": measured["cpu_ms"],
        "seconds": measured["seconds"],
    }


def best_batches(bench: Bench, workload: str, texts: Sequence[str]) -> Best:
    """How large batches of these texts are best, and what that gives."""
    # what is alike but for the size of its calls has one best size of batch
    return bench.ceiling.best(workload[0], _enough(bench, texts), bench.seconds / 4)


def _enough(bench: Bench, texts: Sequence[str]) -> Sequence[str]:
    """Of the texts, over and over, as many as keep all threads busy for a while."""
    average = sum(map(bench.texts.tokens, texts)) / len(texts)
    return list(islice(cycle(texts), ceil(PASS_TOKENS / average)))
