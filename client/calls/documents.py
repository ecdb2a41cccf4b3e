"""What is asked about documents."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from searchmesh import convert
from searchmesh.results import DeleteResult, UpsertBatch
from searchmesh.rpc import Call, Page, Pages, Rpc
from searchmesh.search.v1 import document_pb2, document_service_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh.resources import Document

_FILE = document_service_pb2.DESCRIPTOR
_UPSERT = Rpc.of(
    _FILE, "DocumentService.UpsertDocuments", document_service_pb2.UpsertDocumentsResponse
)
_GET = Rpc.of(_FILE, "DocumentService.GetDocument", document_pb2.Document)
_LIST = Rpc.of(_FILE, "DocumentService.ListDocuments", document_service_pb2.ListDocumentsResponse)
_DELETE = Rpc.of(
    _FILE, "DocumentService.DeleteDocuments", document_service_pb2.DeleteDocumentsResponse
)
_COUNT = Rpc.of(
    _FILE, "DocumentService.CountDocuments", document_service_pb2.CountDocumentsResponse
)

_LOOKUP_TIMEOUT = 10.0
_PAGE_TIMEOUT = 30.0
_DELETE_TIMEOUT = 60.0
# 1000 documents to encode and store, on a small machine that does other work too
_UPSERT_TIMEOUT = 300.0


def upsert_documents(
    collection: str,
    documents: Sequence[Document],
    *,
    request_id: str = "",
    timeout: float | None = None,
) -> Call[UpsertBatch]:
    """Write documents in one call; those of equal id are replaced, one that is faulty fails alone.

    `upsert` takes any number. Answers when all are stored and searchable.
    documents: 1 to 1000.
    request_id: a repeat under it writes nothing and answers the same. By default none, as an upsert
        replaces by id: a repeat at most undoes what others have written meanwhile.
    """
    messages = [
        convert.document_to(document, f"documents[{index}]")
        for index, document in enumerate(documents)
    ]
    return upsert_messages(collection, messages, request_id=request_id, timeout=timeout)


def upsert_messages(
    collection: str,
    messages: Sequence[document_pb2.Document],
    *,
    request_id: str = "",
    timeout: float | None = None,
) -> Call[UpsertBatch]:
    """As `upsert_documents`, of documents that are converted already."""
    request = document_service_pb2.UpsertDocumentsRequest(
        collection=collection, documents=messages, request_id=request_id
    )
    return Call(_UPSERT, request, convert.upsert_batch_from, _UPSERT_TIMEOUT, timeout)


def get_document(
    collection: str,
    document_id: str,
    *,
    include_vector: bool = False,
    timeout: float | None = None,
) -> Call[Document]:
    """Get a document. Raises NotFound for the collection and for the document."""
    request = document_service_pb2.GetDocumentRequest(
        collection=collection, id=document_id, include_vector=include_vector
    )
    return Call(_GET, request, convert.document_from, _LOOKUP_TIMEOUT, timeout)


def list_documents(
    collection: str, *, page_size: int = 100, timeout: float | None = None
) -> Pages[Document]:
    """Iterate over a collection's documents by id, without their vectors.

    page_size: documents fetched in one call, at most 1000. timeout: of each call.
    """

    def page(token: str) -> Call[Page[Document]]:
        request = document_service_pb2.ListDocumentsRequest(
            collection=collection, page_size=page_size, page_token=token
        )
        return Call(_LIST, request, _documents_from, _PAGE_TIMEOUT, timeout)

    return Pages(page)


def delete_documents(
    collection: str,
    ids: Sequence[str],
    *,
    request_id: str = "",
    timeout: float | None = None,
) -> Call[DeleteResult]:
    """Delete documents by id, all at once for every reader; ids that are not there are no error.

    ids: 1 to 1000.
    """
    request = document_service_pb2.DeleteDocumentsRequest(
        collection=collection,
        ids=convert.ids_to(ids),
        request_id=request_id or uuid.uuid4().hex,
    )
    return Call(_DELETE, request, _deletion_from, _DELETE_TIMEOUT, timeout)


def count_documents(
    collection: str, *, read_after: str = "", timeout: float | None = None
) -> Call[int]:
    """Count a collection's documents.

    read_after: a `write_token` whose write must be seen.
    """
    request = document_service_pb2.CountDocumentsRequest(
        collection=collection, read_after=read_after
    )
    return Call(_COUNT, request, _count_from, _LOOKUP_TIMEOUT, timeout)


def _documents_from(response: document_service_pb2.ListDocumentsResponse) -> Page[Document]:
    return Page(
        [convert.document_from(document) for document in response.documents],
        response.next_page_token,
    )


def _deletion_from(response: document_service_pb2.DeleteDocumentsResponse) -> DeleteResult:
    return DeleteResult(response.deleted_count, response.write_token)


def _count_from(response: document_service_pb2.CountDocumentsResponse) -> int:
    return response.count
