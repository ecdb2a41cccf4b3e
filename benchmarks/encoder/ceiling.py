"""The ceiling: the bare model in a process of its own, at its best batch size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder.h2load import LoadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from encoder.model import ModelFiles

BATCH_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Budgets of the sweep, in tokens with padding."""

PASS_TOKENS = 16_384
"""Tokens of one pass over the texts, at the least: the end of a pass, where not all threads have
work, must not show."""


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest point of a sweep."""

    batch_tokens: int
    texts_per_second: float


class Ceiling:
    """A process that computes texts without a server; `with` ends it."""

    def __init__(self, model: ModelFiles, threads: int) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "encoder.bare"),
                *(str(model.graph), str(model.tokenizer), str(threads)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # threads of ours tokenise, as many as there are CPUs for
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
        )
        self._best: dict[str, Best] = {}

    def __enter__(self) -> Ceiling:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._process.kill()
        self._process.communicate()

    def best(self, workload: str, texts: Sequence[str], seconds: float) -> Best:
        """Where these texts go fastest; swept once for each workload, so many seconds a budget."""
        if workload not in self._best:
            self.measure(texts, BATCH_TOKENS[0], seconds)
            self._best[workload] = max(
                (
                    Best(budget, self.measure(texts, budget, seconds)["texts_per_second"])
                    for budget in BATCH_TOKENS
                ),
                key=lambda one: one.texts_per_second,
            )
        return self._best[workload]

    def measure(
        self, texts: Sequence[str], batch_tokens: int, seconds: float
    ) -> Mapping[str, float]:
        """Throughput of texts that are all known in advance. Raises LoadError, as all here do."""
        return self._ask(texts, batch_tokens, seconds)

    def measure_alone(self, texts: Sequence[str], seconds: float) -> Mapping[str, float]:
        """Latency and CPU time of one text at a time."""
        return self._ask(texts, 0, seconds)

    def _ask(self, texts: Sequence[str], batch_tokens: int, seconds: float) -> Mapping[str, float]:
        request = {"texts": list(texts), "batch_tokens": batch_tokens, "seconds": seconds}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise LoadError("the process without a server has ended")
        answer: Mapping[str, float] = json.loads(line)
        return answer
