"""Requests and responses of Facets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh_search.convert import values

if TYPE_CHECKING:
    from searchmesh_search.facets import FacetCounts

DEFAULT_LIMIT = 10


def limit(request: pb.FacetsRequest) -> int:
    """Most values in the answer."""
    return request.limit if request.HasField("limit") else DEFAULT_LIMIT


def response(counts: FacetCounts) -> pb.FacetsResponse:
    return pb.FacetsResponse(
        facets=[
            pb.Facet(value=values.attribute_message(value), count=count)
            for value, count in counts.facets
        ],
        other_count=counts.other_count,
    )
