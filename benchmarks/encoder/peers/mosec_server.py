"""Mosec: HTTP and dynamic batching in Rust, the model in Python processes behind it."""

from __future__ import annotations

import os
from typing import Any

from mosec import Server, Worker  # type: ignore[import-not-found]

from encoder.peers.text_encoder import TextEncoder


class TextWorker(Worker):  # type: ignore[misc]
    """A batch of calls, each of any number of texts."""

    def __init__(self) -> None:
        super().__init__()
        self._encoder = TextEncoder()

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        vectors = iter(
            self._encoder.encode_to_base64([text for one in data for text in one["texts"]])
        )
        return [{"vectors": [next(vectors) for _ in one["texts"]]} for one in data]


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        TextWorker,
        num=int(os.environ["BENCH_WORKERS"]),
        max_batch_size=int(os.environ["BENCH_MAX_BATCH"]),
        max_wait_time=1,  # milliseconds, the least there is
        timeout=120,
        route="/encode",
    )
    server.run()
