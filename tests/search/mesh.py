"""Both services over loopback: the real encoder with a tiny model, and the real engine."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh.search.v1 import collection_service_pb2 as collections_pb
from searchmesh.search.v1 import (
    collection_service_pb2_grpc,
    document_service_pb2_grpc,
    search_service_pb2_grpc,
)
from searchmesh.search.v1 import document_service_pb2 as documents_pb
from searchmesh.search.v1 import search_service_pb2 as search_pb
from searchmesh.type.v1.vector_pb2 import (
    METRIC_INNER_PRODUCT,
    FloatList,
    Vector,
    VectorSpace,
)
from searchmesh_common import status
from searchmesh_common.channels import Target, aio_channel
from searchmesh_common.errors import InvalidRequest
from searchmesh_encoder.server import build_server as build_encoder
from searchmesh_encoder.settings import EncoderSettings
from searchmesh_search.server import build_server as build_search
from searchmesh_search.settings import SearchSettings
from tests.models import WINDOW, write_text_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from searchmesh.search.v1.document_pb2 import Document
    from searchmesh_common.errors import ServiceError
    from searchmesh_common.server import Server

QUICK = {
    "listen": "127.0.0.1:0",
    "metrics_listen": "127.0.0.1:0",
    "health_listen": "127.0.0.1:0",
    "drain_seconds": 0.0,
    "stream_grace_seconds": 0.05,
}
"""Settings of servers that a test can have many of, and that do not wait when they end."""

NOBODY = "127.0.0.1:1"
"""An address where no encoder is."""

SECONDS = 30
"""Deadline of a test's call."""


@dataclass(frozen=True)
class Mesh:
    """A running search service and stubs that call it."""

    server: Server
    channel: grpc.aio.Channel
    collections: Any
    documents: Any
    search: Any
    operations: Any

    async def create(self, name: str, **definition: Any) -> collections_pb.Collection:
        """A collection; of four components and inner product unless told otherwise."""
        if "model" not in definition:
            space = VectorSpace(dimension=4, metric=METRIC_INNER_PRODUCT)
            definition.setdefault("vector_space", space)
        request = collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(name=name, **definition)
        )
        created: collections_pb.Collection = await self.collections.CreateCollection(
            request, timeout=SECONDS
        )
        return created

    async def upsert(
        self, collection: str, *documents: Document
    ) -> documents_pb.UpsertDocumentsResponse:
        request = documents_pb.UpsertDocumentsRequest(collection=collection, documents=documents)
        response: documents_pb.UpsertDocumentsResponse = await self.documents.UpsertDocuments(
            request, timeout=SECONDS
        )
        return response

    async def find(
        self, collection: str, timeout: float = SECONDS, **query: Any
    ) -> search_pb.SearchResponse:
        request = search_pb.SearchRequest(collection=collection, **query)
        response: search_pb.SearchResponse = await self.search.Search(request, timeout=timeout)
        return response

    async def delete(self, name: str) -> None:
        request = collections_pb.DeleteCollectionRequest(name=name)
        await self.collections.DeleteCollection(request, timeout=SECONDS)

    async def until_serving(self, name: str, *, wanted: bool = True) -> None:
        """Wait for a change of health, as a balancer does that watches."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=60)
        async for answer in watch:
            if (answer.status == health_pb2.HealthCheckResponse.SERVING) == wanted:
                watch.cancel()
                return
        raise AssertionError(f"{name} did not change")


def floats(*values: float) -> Vector:
    return Vector(floats=FloatList(values=values))


async def refused(call: Awaitable[object]) -> ServiceError:
    """The error of our family that a call ends with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return status.from_rpc_error(error)
    raise AssertionError(f"answered {answer}")


async def faults(call: Awaitable[object]) -> list[str]:
    """The fields that a call is refused for."""
    return faulty_fields(await refused(call))


def faulty_fields(error: ServiceError) -> list[str]:
    """The fields that a refused request, or one document of it, is refused for."""
    assert isinstance(error, InvalidRequest)
    return [one.field for one in error.violations]


@asynccontextmanager
async def running_encoder(
    folder: Path, *, window: int = WINDOW, **settings: Any
) -> AsyncIterator[Server]:
    """An encoder whose model `tiny` reads one token a letter and answers 16 components."""
    cards = write_text_model(folder / "cards", window=window).parent
    chosen = EncoderSettings(
        **{
            **QUICK,
            "home": folder / "home",
            "cards": cards,
            "default_model": "tiny",
            "workers": 1,
            **settings,
        }
    )
    async with build_encoder(chosen) as server, server:
        yield server


@asynccontextmanager
async def running_search(folder: Path, encoder: str, **settings: Any) -> AsyncIterator[Mesh]:
    """A search service with its state in `folder` that calls the encoder at an address."""
    chosen = SearchSettings(
        **{
            **QUICK,
            "home": folder,
            "encoder": encoder,
            "health_interval_seconds": 0.1,
            **settings,
        }
    )
    async with build_search(chosen) as server, server:
        address = f"127.0.0.1:{server.ports.grpc}"
        async with aio_channel(Target(address)) as channel:
            yield Mesh(
                server,
                channel,
                collection_service_pb2_grpc.CollectionServiceStub(channel),
                document_service_pb2_grpc.DocumentServiceStub(channel),
                search_service_pb2_grpc.SearchServiceStub(channel),
                operations_pb2_grpc.OperationsStub(channel),  # type: ignore[no-untyped-call]
            )


def address_of(server: Server) -> str:
    return f"127.0.0.1:{server.ports.grpc}"
