"""What is asked about collections."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from searchmesh import convert
from searchmesh.errors import InvalidRequest
from searchmesh.resources import Segmentation
from searchmesh.rpc import Call, Page, Pages, Rpc
from searchmesh.search.v1 import collection_service_pb2
from searchmesh.type.v1 import segment_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh.resources import Collection, Field, Index, VectorSpace


_FILE = collection_service_pb2.DESCRIPTOR
_CREATE = Rpc.of(_FILE, "CollectionService.CreateCollection", collection_service_pb2.Collection)
_GET = Rpc.of(_FILE, "CollectionService.GetCollection", collection_service_pb2.Collection)
_LIST = Rpc.of(
    _FILE, "CollectionService.ListCollections", collection_service_pb2.ListCollectionsResponse
)
_DELETE = Rpc.of(_FILE, "CollectionService.DeleteCollection", Empty)

_LOOKUP_TIMEOUT = 10.0
# the engine makes or drops a table meanwhile
_CHANGE_TIMEOUT = 60.0


def create_collection(
    name: str,
    *,
    model: str = "",
    space: VectorSpace | None = None,
    fields: Sequence[Field] = (),
    segmentation: Segmentation = Segmentation.WHOLE,
    index: Index | None = None,
    request_id: str = "",
    timeout: float | None = None,
) -> Call[Collection]:
    """Create a collection. Raises AlreadyExists where the name is taken, NotFound for the model.

    name: a lower-case letter, then at most 62 lower-case letters, digits and underscores.
    model, space: exactly one. A model of the encoder, or the space of vectors that you bring.
    fields: attributes that filters may use; others are stored and answered all the same.
    segmentation: SEGMENTS gives each passage of a text a vector, and a hit the one that matched.
    request_id: makes the call safe to repeat; by default one of its own, so that retries are safe.
    """
    if model and space:
        # a oneof: the last one set would win
        raise InvalidRequest.of("collection", "give exactly one of model and space")
    definition = collection_service_pb2.Collection(
        name=name,
        fields=[convert.field_to(field) for field in fields],
        segmentation=convert.enum_to(segment_pb2.Segmentation, "SEGMENTATION", segmentation),
        index=convert.index_to(index) if index else None,
    )
    if space:
        definition.vector_space.CopyFrom(convert.space_to(space))
    if model:
        definition.model = model
    request = collection_service_pb2.CreateCollectionRequest(
        collection=definition, request_id=request_id or uuid.uuid4().hex
    )
    return Call(_CREATE, request, convert.collection_from, _CHANGE_TIMEOUT, timeout)


def get_collection(name: str, *, timeout: float | None = None) -> Call[Collection]:
    """Get a collection. Raises NotFound."""
    request = collection_service_pb2.GetCollectionRequest(name=name)
    return Call(_GET, request, convert.collection_from, _LOOKUP_TIMEOUT, timeout)


def list_collections(*, page_size: int = 100, timeout: float | None = None) -> Pages[Collection]:
    """Iterate over the collections by name.

    page_size: collections fetched in one call, at most 1000. timeout: of each call.
    """

    def page(token: str) -> Call[Page[Collection]]:
        request = collection_service_pb2.ListCollectionsRequest(
            page_size=page_size, page_token=token
        )
        return Call(_LIST, request, _collections_from, _LOOKUP_TIMEOUT, timeout)

    return Pages(page)


def delete_collection(
    name: str, *, request_id: str = "", timeout: float | None = None
) -> Call[None]:
    """Delete a collection with all its documents. Raises NotFound."""
    request = collection_service_pb2.DeleteCollectionRequest(
        name=name, request_id=request_id or uuid.uuid4().hex
    )
    return Call(_DELETE, request, _nothing_from, _CHANGE_TIMEOUT, timeout)


def _collections_from(
    response: collection_service_pb2.ListCollectionsResponse,
) -> Page[Collection]:
    return Page(
        [convert.collection_from(collection) for collection in response.collections],
        response.next_page_token,
    )


def _nothing_from(_response: Empty) -> None:
    return None
