"""What a service of texts to vectors does at heart, without a server: shared by every peer.

Runs in the peers' own environments, so it imports nothing of ours.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 256
"""Most tokens of a text."""

MINI_BATCH = 32
"""Texts of like length that one run of the graph takes at most: as in sentence-transformers."""


class TextEncoder:
    """One tokenizer and one session, as the environment names them."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(os.environ["BENCH_TOKENIZER"])
        self._tokenizer.enable_truncation(WINDOW)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_INTRA_OP_THREADS"])
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCH_GRAPH"], options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, dimension) float32, in the order given."""
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors: list[np.ndarray | None] = [None] * len(texts)
        for start in range(0, len(texts), MINI_BATCH):
            batch = by_length[start : start + MINI_BATCH]
            for index, vector in zip(batch, self._run([texts[at] for at in batch]), strict=True):
                vectors[index] = vector
        return np.stack(vectors)  # type: ignore[arg-type]  # every index was in one batch

    def encode_to_base64(self, texts: Sequence[str]) -> list[str]:
        """Each vector's float32 bytes in base64: the cheapest form that JSON can hold."""
        return [base64.b64encode(vector.tobytes()).decode() for vector in self.encode(texts)]

    def _run(self, texts: Sequence[str]) -> np.ndarray:
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        vectors: np.ndarray = self._session.run(
            None,
            {
                "input_ids": np.array([one.ids for one in encodings], np.int64),
                "attention_mask": np.array([one.attention_mask for one in encodings], np.int64),
            },
        )[0]
        return vectors
