"""What a request of Search wants of its hits beside that they are near."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.convert import searches
from searchmesh_search.refiner import Diversity, Grouping, RefinedQuery

if TYPE_CHECKING:
    from searchmesh.search.v1 import search_service_pb2 as pb


DEFAULT_WEIGHT = 0.5


def query(request: pb.SearchRequest) -> RefinedQuery:
    """Raises as `searches.query`."""
    return RefinedQuery(searches.query(request), _grouping(request), _diversity(request))


def _grouping(request: pb.SearchRequest) -> Grouping | None:
    if request.group_by:
        return Grouping(request.group_by, request.group_size or 1)
    if request.HasField("group_size"):
        raise InvalidRequest.of("group_size", "goes with group_by; give both or none")
    return None


def _diversity(request: pb.SearchRequest) -> Diversity | None:
    if not request.HasField("diversity"):
        return None
    message = request.diversity
    # the field's name is a keyword of Python's
    weight = getattr(message, "lambda") if message.HasField("lambda") else DEFAULT_WEIGHT
    return Diversity(weight, message.candidates if message.HasField("candidates") else None)
