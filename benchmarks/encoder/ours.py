"""The encoder as a user starts it, on free ports."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from encoder.processes import ServerProcess
from encoder.target import Target
from encoder.wires import encode_request, grpc_vectors, grpc_wire
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from encoder.model import ModelFiles
    from encoder.wires import Wire

WITHOUT_REPEATS = {"ENCODER_CACHE_BYTES": "0", "ENCODER_COALESCE": "false"}
"""Every content is computed, also one that was seen before."""

_SERVICE = "searchmesh.encoder.v1.EncoderService"


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder that serves."""

    target: Target
    model: str
    address: str
    health_address: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, dimension) float32."""
        with grpc.insecure_channel(self.address) as channel:
            stub = pb_grpc.EncoderServiceStub(channel)
            return grpc_vectors(stub.Encode(encode_request(texts, self.model), timeout=60))

    def called_by(self, wire: Wire) -> Target:
        """The same server, called in another way."""
        return replace(self.target, wire=wire)

    def is_serving(self) -> bool:
        """Whether the default model is warm."""
        with grpc.insecure_channel(self.health_address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=_SERVICE)
            try:
                answer = stub.Check(request, timeout=2)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def encoder(
    name: str, model: ModelFiles, home: Path, log: Path, settings: Mapping[str, str]
) -> Iterator[Encoder]:
    """Started and warm when the block begins, drained when it ends. Raises ServerError."""
    environ = {
        "SEARCHMESH_HOME": str(home),
        "ENCODER_DEFAULT_MODEL": model.name,
        "ENCODER_LISTEN": "127.0.0.1:0",
        "ENCODER_METRICS_LISTEN": "127.0.0.1:0",
        "ENCODER_HEALTH_LISTEN": "127.0.0.1:0",
        "ENCODER_LOG_FORMAT": "json",
        "ENCODER_DRAIN_SECONDS": "0",
        # h2load, unlike gRPC, counts a call as failed that crosses the end of its connection
        "ENCODER_MAX_CONNECTION_AGE_SECONDS": "86400",
        **settings,
    }
    command = [sys.executable, "-m", "searchmesh_encoder"]
    with ServerProcess(name, command, environ, log) as process:
        ports = listening_ports(process)
        found = Encoder(
            our_target(name, process, ports, model),
            model.name,
            address=f"127.0.0.1:{ports['grpc']}",
            health_address=f"127.0.0.1:{ports['health']}",
        )
        process.wait_until(found.is_serving)
        yield found


def our_target(
    name: str, process: ServerProcess, ports: Mapping[str, int], model: ModelFiles
) -> Target:
    """A server of ours, called with single queries' lane and deadline."""
    base, metrics = (f"http://127.0.0.1:{ports[purpose]}" for purpose in ("grpc", "metrics"))
    return Target(name, process, base, grpc_wire(model.name), f"{metrics}/metrics")


def listening_ports(process: ServerProcess) -> dict[str, int]:
    """The ports that one of our servers took, by purpose, as its log tells them."""

    def told() -> list[str]:
        return [line for line in process.log.read_text().splitlines() if '"listening"' in line]

    process.wait_until(lambda: bool(told()))
    ports: dict[str, int] = json.loads(told()[0])
    return ports
