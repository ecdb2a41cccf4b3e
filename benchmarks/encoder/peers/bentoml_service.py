"""BentoML: one service, behind BentoML's adaptive batching."""

import os

import bentoml  # type: ignore[import-not-found]

from encoder.peers.text_encoder import TextEncoder


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]), traffic={"timeout": 120})
class EncoderService:
    """Texts in, vectors in base64 out."""

    def __init__(self) -> None:
        self._encoder = TextEncoder()

    @bentoml.api(  # type: ignore[untyped-decorator]
        batchable=True,
        max_batch_size=int(os.environ["BENCH_MAX_BATCH"]),
        # what it believes to take longer it answers with 503
        max_latency_ms=60_000,
    )
    def encode(self, texts: list[str]) -> list[str]:
        return self._encoder.encode_to_base64(texts)
