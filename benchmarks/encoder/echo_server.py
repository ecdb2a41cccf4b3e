"""A method of ours that does no work, on the encoder's own stack: what a call costs at the least.

ECHO_LISTEN=127.0.0.1:0 python -m encoder.echo_server
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh.type.v1 import vector_pb2
from searchmesh_common.lifecycle import run
from searchmesh_common.metrics import new_registry
from searchmesh_common.server import Server
from searchmesh_common.server_settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVICE = pb.DESCRIPTOR.services_by_name["EncoderService"].full_name

_RESPONSE = pb.EncodeResponse(
    model="echo",
    dimension=384,
    embeddings=[pb.Embedding(vector=vector_pb2.Vector(float32_le=bytes(384 * 4)), tokens=10)],
)


class EchoServicer(pb_grpc.EncoderServiceServicer):
    """Answers at once with one vector of zeros; the other rpcs are not called."""

    async def Encode(self, _request: pb.EncodeRequest, _context: Any) -> pb.EncodeResponse:
        return _RESPONSE


@asynccontextmanager
async def build_server(settings: ServerSettings) -> AsyncIterator[Server]:
    """A server that is not started yet."""
    server = Server(settings, new_registry("echo"))
    servicer = EchoServicer()  # type: ignore[abstract]
    server.add(pb_grpc.add_EncoderServiceServicer_to_server, servicer, SERVICE)
    yield server


if __name__ == "__main__":
    sys.exit(run("echo", ServerSettings, "ECHO_", build_server))
