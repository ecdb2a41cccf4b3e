"""The model without a server: what the hardware can do with the same texts, as a process.

    python -m encoder.bare GRAPH TOKENIZER THREADS

Reads one JSON request a line, {"texts", "batch_tokens", "seconds"}, and answers each
with a line. Texts are tokenised and then run, sorted by length, in batches within the budget, on
threads that share one session: the best that can be done when all texts are known in advance.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from encoder.texts import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 16
"""Texts that a thread tokenises at once."""

_SEQUENCE_MULTIPLE = 4
"""As the encoder pads: the graph is faster at such lengths."""


class BareModel:
    """Texts to vectors on threads of its own."""

    def __init__(self, graph: str, tokenizer: str, threads: int) -> None:
        self._tokenizer = Tokenizer.from_file(tokenizer)
        self._tokenizer.enable_truncation(WINDOW)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # as the encoder has it: its graphs hold fused operators already
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # plans are kept for every shape that was ever run
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def encode(self, texts: Sequence[str], batch_tokens: int) -> tuple[int, int]:
        """Compute the vectors of all texts. Returns their tokens, without padding and with it."""
        chunks = [texts[at : at + _CHUNK] for at in range(0, len(texts), _CHUNK)]
        ids = [one for chunk in self._pool.map(self._tokenise, chunks) for one in chunk]
        batches = batches_of(sorted(ids, key=len, reverse=True), batch_tokens)
        padded = sum(len(batch) * _padded(len(batch[0])) for batch in batches)
        waiting = deque(batches)
        for done in [self._pool.submit(self._run_all, waiting) for _ in range(self._threads)]:
            done.result()
        return sum(map(len, ids)), padded

    def encode_one(self, text: str) -> None:
        """Tokenise and run one text on this thread."""
        self._run(self._tokenise([text]))

    def _tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        return [one.ids for one in self._tokenizer.encode_batch_fast(list(texts))]

    def _run_all(self, waiting: deque[list[list[int]]]) -> None:
        while True:
            try:
                batch = waiting.popleft()
            except IndexError:
                return
            self._run(batch)

    def _run(self, batch: Sequence[Sequence[int]]) -> None:
        longest = _padded(max(map(len, batch)))
        ids = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for row, text in enumerate(batch):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        self._session.run(None, {"input_ids": ids, "attention_mask": mask})


def _padded(length: int) -> int:
    return -(-length // _SEQUENCE_MULTIPLE) * _SEQUENCE_MULTIPLE


def batches_of(longest_first: Sequence[list[int]], batch_tokens: int) -> list[list[list[int]]]:
    """Neighbours in length, as many as the budget of tokens with padding holds; at least one."""
    batches: list[list[list[int]]] = []
    for text in longest_first:
        last = batches[-1] if batches else None
        if last and (len(last) + 1) * _padded(len(last[0])) <= batch_tokens:
            last.append(text)
        else:
            batches.append([text])
    return batches


def _measure(model: BareModel, request: dict[str, Any]) -> dict[str, float]:
    """All texts again and again, for at least so many seconds."""
    texts, rounds, tokens, padded = request["texts"], 0, 0, 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() < began + request["seconds"]:
        tokens, padded = model.encode(texts, request["batch_tokens"])
        rounds += 1
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    encoded = rounds * len(texts)
    return {
        "texts_per_second": encoded / seconds,
        "cpu_ms": cpu / encoded * 1e3,
        "useful_share": tokens / padded,
        "seconds": seconds,
    }


def _measure_alone(model: BareModel, request: dict[str, Any]) -> dict[str, float]:
    """One text at a time, on one thread."""
    texts = request["texts"]
    times: list[float] = []
    end, cpu = time.perf_counter() + request["seconds"], time.thread_time()
    while time.perf_counter() < end:
        began = time.perf_counter()
        model.encode_one(texts[len(times) % len(texts)])
        times.append(time.perf_counter() - began)
    cpu = time.thread_time() - cpu
    return {
        "texts_per_second": len(times) / sum(times),
        "p50_ms": float(np.percentile(times, 50)) * 1e3,
        "p99_ms": float(np.percentile(times, 99)) * 1e3,
        "cpu_ms": cpu / len(times) * 1e3,
        "seconds": sum(times),
    }


def main() -> None:
    """Answer requests until standard input ends."""
    graph, tokenizer, threads = sys.argv[1:]
    model = BareModel(graph, tokenizer, int(threads))
    for line in sys.stdin:
        request = json.loads(line)
        measure = _measure if request["batch_tokens"] else _measure_alone
        print(json.dumps(measure(model, request)), flush=True)


if __name__ == "__main__":
    main()
