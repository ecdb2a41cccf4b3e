"""Whether a query is one of a collection: a vector of its space, a content of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.document_checks import check_vector, kind_of

if TYPE_CHECKING:
    import numpy as np

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content import Content


def check_query_vector(collection: Collection, vector: np.ndarray, path: str) -> None:
    """Raises FailedPrecondition for a vector of a kind that the collection cannot be searched by,
    InvalidRequest for one of its kind that is not of its space.

    path: of the vector in its request.
    """
    given, held = kind_of(vector), collection.space.kind
    if given is not held:
        raise FailedPrecondition(
            "VECTOR_KIND_MISMATCH",
            f"the query is a {given.value} vector, collection {collection.name!r} holds "
            f"{held.value} ones",
            {"collection": collection.name, "kind": held.value},
        )
    check_vector(vector, collection.space, path)


def model_for(collection: Collection, content: Content) -> str:
    """The collection's model, if it reads such a content. Raises FailedPrecondition."""
    if collection.model is None:
        raise FailedPrecondition(
            "NO_MODEL",
            f"collection {collection.name!r} has no model to encode with; search by vector or by "
            "document_id",
            {"collection": collection.name},
        )
    if content.modality is not collection.modality:
        assert collection.modality is not None
        raise FailedPrecondition(
            "MODALITY_MISMATCH",
            f"the query is {content.modality.value}, the model {collection.model} of collection "
            f"{collection.name!r} reads {collection.modality.value}",
            {"collection": collection.name, "modality": collection.modality.value},
        )
    return collection.model
