"""A running encoder and a client connected to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh_encoder.server import build_server
from searchmesh_encoder.servicer import SERVICE
from searchmesh_encoder.settings import EncoderSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from searchmesh_common.server import Ports, Server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Served:
    """What a test needs of a running encoder."""

    def __init__(self, channel: grpc.aio.Channel, server: Server, ports: Ports) -> None:
        self.channel = channel
        self.server = server
        self.ports = ports
        self.encoder: Any = pb_grpc.EncoderServiceStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)

    async def until_serving(self, name: str = SERVICE) -> None:
        """Wait until health says that a name serves."""
        watching = self.health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=30)
        async for response in watching:
            if response.status == SERVING:
                break
        watching.cancel()

    async def health_of(self, name: str) -> int:
        response = await self.health.Check(health_pb2.HealthCheckRequest(service=name))
        return int(response.status)


def texts(*given: str, model: str = "tiny", **fields: Any) -> pb.EncodeRequest:
    """A request to encode texts."""
    request = pb.EncodeRequest(model=model, **fields)
    for text in given:
        request.contents.add(text=text)
    return request


def vectors(response: pb.EncodeResponse) -> list[np.ndarray]:
    """The vectors of an answer in the default form."""
    return [np.frombuffer(one.vector.float32_le, "<f4") for one in response.embeddings]


def quick_settings(home: Path, cards: Path, **changes: Any) -> EncoderSettings:
    """Settings that serve the tiny model on free ports and do not wait at the end."""
    return EncoderSettings(
        **{
            "home": home,
            "cards": cards,
            "default_model": "tiny",
            "listen": "127.0.0.1:0",
            # its thread takes half a second to end
            "metrics_listen": "",
            "health_listen": "",
            "drain_seconds": 0.0,
            "stream_grace_seconds": 0.2,
            **changes,
        }
    )


@asynccontextmanager
async def serving(settings: EncoderSettings) -> AsyncIterator[Served]:
    """Serve, and wait until the default model is warm."""
    async with build_server(settings) as server, server:
        options = [("grpc.max_send_message_length", -1)]
        address = f"127.0.0.1:{server.ports.grpc}"
        async with grpc.aio.insecure_channel(address, options) as channel:
            served = Served(channel, server, server.ports)
            await served.until_serving()
            yield served
