"""Queries of any kind, where a request takes more than one or not as its own fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.convert import values
from searchmesh_search.query_vectors import Example

if TYPE_CHECKING:
    from collections.abc import Iterable

    from searchmesh.search.v1 import search_service_pb2 as pb


def example(message: pb.Query, path: str) -> Example:
    """path: of the message in its request. Raises InvalidRequest for a vector that cannot be read
    and for a content without a kind.
    """
    match message.WhichOneof("query"):
        case "vector":
            return Example(f"{path}.vector", vector=values.vector(message.vector, f"{path}.vector"))
        case "document_id":
            return Example(f"{path}.document_id", document_id=message.document_id)
    content = values.content(message.content)
    if content is None:
        raise InvalidRequest.of(f"{path}.content", "required: set one of its fields")
    kind = values.MODALITY_FIELDS[content.modality]
    return Example(f"{path}.content.{kind}", content=content)


def examples(messages: Iterable[pb.Query], path: str) -> list[Example]:
    """path: of the list in its request. Raises as `example`."""
    return [example(one, f"{path}[{place}]") for place, one in enumerate(messages)]
