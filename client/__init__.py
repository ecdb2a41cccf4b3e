"""Client of the search mesh: calls both services, and carries the generated stubs.

    from searchmesh import Client, Document

    with Client() as mesh:
        mesh.create_collection("notes", model="all-minilm-l6-v2")
        mesh.upsert("notes", [Document("1", "Milk, bread and apples.")])
        for hit in mesh.search("notes", "groceries"):
            print(hit.score, hit.id)

`AsyncClient` has the same methods, awaited. Every error that they raise is a `ServiceError`, see
`searchmesh.errors`. Importing this package loads nothing; the first use of a name does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from searchmesh.async_client import AsyncClient
    from searchmesh.client import Client
    from searchmesh.connection import Connection, Service
    from searchmesh.contents import Audio, Content, Image, NucleotideSequence, Smiles, Video
    from searchmesh.errors import ServiceError
    from searchmesh.filters import filter_value
    from searchmesh.import_operation import AsyncImportOperation, ImportOperation
    from searchmesh.queries import Diversity, DocumentId, Query, Search
    from searchmesh.request_ids import request_id
    from searchmesh.resources import (
        Collection,
        Document,
        Field,
        FieldType,
        Index,
        IndexType,
        Lane,
        Metric,
        Modality,
        Model,
        ModelState,
        OnTooLong,
        RecommendStrategy,
        Role,
        Segmentation,
        VectorFormat,
        VectorKind,
        VectorSpace,
    )
    from searchmesh.results import (
        AnswerResult,
        BatchSearchResult,
        ClassifyResult,
        DeleteResult,
        EmbeddedSegment,
        Embedding,
        EncodeResult,
        Explain,
        Facet,
        FacetResult,
        Health,
        Hit,
        ImportFailure,
        ImportProgress,
        ImportState,
        Operation,
        RecommendResult,
        SearchResult,
        StoredAnswer,
        StreamedResult,
        TextSpan,
        Timing,
        UpsertBatch,
        UpsertFailure,
        UpsertResult,
        UpsertSummary,
        Vote,
    )
    from searchmesh.retries import RetryPolicy

__all__ = [
    "AnswerResult",
    "AsyncClient",
    "AsyncImportOperation",
    "Audio",
    "BatchSearchResult",
    "ClassifyResult",
    "Client",
    "Collection",
    "Connection",
    "Content",
    "DeleteResult",
    "Diversity",
    "Document",
    "DocumentId",
    "EmbeddedSegment",
    "Embedding",
    "EncodeResult",
    "Explain",
    "Facet",
    "FacetResult",
    "Field",
    "FieldType",
    "Health",
    "Hit",
    "Image",
    "ImportFailure",
    "ImportOperation",
    "ImportProgress",
    "ImportState",
    "Index",
    "IndexType",
    "Lane",
    "Metric",
    "Modality",
    "Model",
    "ModelState",
    "NucleotideSequence",
    "OnTooLong",
    "Operation",
    "Query",
    "RecommendResult",
    "RecommendStrategy",
    "RetryPolicy",
    "Role",
    "Search",
    "SearchResult",
    "Segmentation",
    "Service",
    "ServiceError",
    "Smiles",
    "StoredAnswer",
    "StreamedResult",
    "TextSpan",
    "Timing",
    "UpsertBatch",
    "UpsertFailure",
    "UpsertResult",
    "UpsertSummary",
    "VectorFormat",
    "VectorKind",
    "VectorSpace",
    "Video",
    "Vote",
    "filter_value",
    "request_id",
]

# which module each is in
_HOMES = {
    "AnswerResult": "results",
    "AsyncClient": "async_client",
    "AsyncImportOperation": "import_operation",
    "Audio": "contents",
    "BatchSearchResult": "results",
    "ClassifyResult": "results",
    "Client": "client",
    "Collection": "resources",
    "Connection": "connection",
    "Content": "contents",
    "DeleteResult": "results",
    "Diversity": "queries",
    "Document": "resources",
    "DocumentId": "queries",
    "EmbeddedSegment": "results",
    "Embedding": "results",
    "EncodeResult": "results",
    "Explain": "results",
    "Facet": "results",
    "FacetResult": "results",
    "Field": "resources",
    "FieldType": "resources",
    "Health": "results",
    "Hit": "results",
    "Image": "contents",
    "ImportFailure": "results",
    "ImportOperation": "import_operation",
    "ImportProgress": "results",
    "ImportState": "results",
    "Index": "resources",
    "IndexType": "resources",
    "Lane": "resources",
    "Metric": "resources",
    "Modality": "resources",
    "Model": "resources",
    "ModelState": "resources",
    "NucleotideSequence": "contents",
    "OnTooLong": "resources",
    "Operation": "results",
    "Query": "queries",
    "RecommendResult": "results",
    "RecommendStrategy": "resources",
    "RetryPolicy": "retries",
    "Role": "resources",
    "Search": "queries",
    "SearchResult": "results",
    "Segmentation": "resources",
    "Service": "connection",
    "ServiceError": "errors",
    "Smiles": "contents",
    "StoredAnswer": "results",
    "StreamedResult": "results",
    "TextSpan": "results",
    "Timing": "results",
    "UpsertBatch": "results",
    "UpsertFailure": "results",
    "UpsertResult": "results",
    "UpsertSummary": "results",
    "VectorFormat": "resources",
    "VectorKind": "resources",
    "VectorSpace": "resources",
    "Video": "contents",
    "Vote": "results",
    "filter_value": "filters",
    "request_id": "request_ids",
}


def __getattr__(name: str) -> object:
    """Load a public name where it is first used, so that importing a stub loads only the stub."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
