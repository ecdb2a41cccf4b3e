"""Health and memory of an encoder while it is under load."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from encoder.ours import Encoder

_PERIOD_SECONDS = 0.02
_TIMEOUT_SECONDS = 5.0


class Watch:
    """Asks the health port and looks at the memory from a thread, while its block lasts."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._seconds: list[float] = []
        self._most_bytes = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def health_p99_ms(self) -> float:
        """Of the checks; one that failed counts as its whole timeout."""
        return float(np.percentile(self._seconds, 99)) * 1e3

    @property
    def resident_mib(self) -> float:
        """The most that was seen."""
        return self._most_bytes / 2**20

    def _watch(self) -> None:
        with grpc.insecure_channel(self._encoder.health_address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            while not self._end.wait(_PERIOD_SECONDS):
                self._seconds.append(_check(stub))
                resident = self._encoder.target.process.resident_bytes()
                self._most_bytes = max(self._most_bytes, resident)


def _check(stub: Any) -> float:
    began = time.perf_counter()
    try:
        stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)
    except grpc.RpcError:
        return _TIMEOUT_SECONDS
    return time.perf_counter() - began
