"""CollectionService: translate, call the core, translate back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import empty_pb2

from searchmesh.search.v1 import collection_service_pb2 as pb
from searchmesh.search.v1 import collection_service_pb2_grpc as pb_grpc
from searchmesh_search.convert import collections as convert
from searchmesh_search.deadline import Deadline
from searchmesh_search.later import later

if TYPE_CHECKING:
    from typing import Any

    from google.longrunning import operations_pb2
    from grpc.aio import ServicerContext

    from searchmesh_search.collections import Collections

SERVICE: str = pb.DESCRIPTOR.services_by_name["CollectionService"].full_name

DEFAULT_PAGE_SIZE = 100


class CollectionServicer(pb_grpc.CollectionServiceServicer):
    """Keeps collections."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    async def CreateCollection(
        self, request: pb.CreateCollectionRequest, context: ServicerContext[Any, Any]
    ) -> pb.Collection:
        spec = convert.spec(request.collection)
        made = await self._collections.create(spec, request.request_id, Deadline.of_call())
        return convert.message(made)

    async def GetCollection(
        self, request: pb.GetCollectionRequest, context: ServicerContext[Any, Any]
    ) -> pb.Collection:
        return convert.message(await self._collections.get(request.name, Deadline.of_call()))

    async def ListCollections(
        self, request: pb.ListCollectionsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListCollectionsResponse:
        page = await self._collections.list_page(
            request.page_size or DEFAULT_PAGE_SIZE, request.page_token, Deadline.of_call()
        )
        return convert.page(page)

    async def DeleteCollection(
        self, request: pb.DeleteCollectionRequest, context: ServicerContext[Any, Any]
    ) -> empty_pb2.Empty:
        await self._collections.delete(request.name, request.request_id, Deadline.of_call())
        return empty_pb2.Empty()

    async def RebuildCollection(
        self, request: pb.RebuildCollectionRequest, context: ServicerContext[Any, Any]
    ) -> operations_pb2.Operation:
        raise later("RebuildCollection")

    async def RollbackCollection(
        self, request: pb.RollbackCollectionRequest, context: ServicerContext[Any, Any]
    ) -> operations_pb2.Operation:
        raise later("RollbackCollection")
