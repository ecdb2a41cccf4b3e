"""Requests and responses of Facets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import struct_pb2

from searchmesh.search.v1 import search_service_pb2 as pb

if TYPE_CHECKING:
    from searchmesh_search.facets import FacetCounts
    from searchmesh_search.filters.filter import Value

DEFAULT_LIMIT = 10


def limit(request: pb.FacetsRequest) -> int:
    """Most values in the answer."""
    return request.limit if request.HasField("limit") else DEFAULT_LIMIT


def response(counts: FacetCounts) -> pb.FacetsResponse:
    return pb.FacetsResponse(
        facets=[pb.Facet(value=_value(value), count=count) for value, count in counts.facets],
        other_count=counts.other_count,
    )


def _value(value: Value) -> struct_pb2.Value:
    match value:
        case bool():
            return struct_pb2.Value(bool_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case _:
            return struct_pb2.Value(number_value=value + 0.0)  # no -0
