"""What is asked about documents."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from google.longrunning import operations_pb2

from searchmesh import convert
from searchmesh.results import DeleteResult, ImportProgress, UpsertBatch
from searchmesh.rpc import Answers, Call, Page, Pages, Rpc
from searchmesh.search.v1 import document_pb2, document_service_pb2
from searchmesh.uploads import ImportStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from searchmesh.resources import Document
    from searchmesh.results import ImportFailure

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
_IMPORT = Rpc.of(_FILE, "DocumentService.ImportDocuments", operations_pb2.Operation)
_WATCH = Rpc.of(_FILE, "DocumentService.WatchImport", document_service_pb2.ImportMetadata)
_FAILURES = Rpc.of(
    _FILE,
    "DocumentService.ListImportFailures",
    document_service_pb2.ListImportFailuresResponse,
)
_EXPORT = Rpc.of(
    _FILE, "DocumentService.ExportDocuments", document_service_pb2.ExportDocumentsResponse
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


def import_documents(
    collection: str,
    documents: Iterable[Document],
    *,
    request_id: str = "",
    resume_from: int = 0,
    refused: Callable[[ImportFailure], None] | None = None,
    progress: Callable[[ImportProgress], None] | None = None,
    timeout: float | None = None,
) -> ImportStream:
    """Bring any number of documents in, replacing those of equal id, and go on after every cut.

    Returns once all are on the service's disk, where nothing is lost any more; they are encoded and
    stored meanwhile and afterwards, as the operation tells that is returned. A faulty document is
    set aside. A stream that breaks, as where a server makes way for a new one, is opened again and
    goes on where it was.

    documents: iterated over once. No more of them are held than what is sent and not known to be
        received, 16 MiB or one document.
    request_id: names the import, as `operations/<request_id>`: letters, digits and `._:-`, at most
        128. By default one of its own. What was received under it is compared and not stored again;
        other content under it raises AlreadyExists.
    resume_from: documents to pass over, because an earlier call under this `request_id` sent them:
        at most the `received_count` of its operation. They are not compared.
    refused: told of each document that cannot be sent, for example with a whole number past 2^53;
        by default they are kept, as `refused` of the operation.
    progress: told about once a second how far the import is.
    timeout: seconds until all are received. Default: for ever, whatever the connection says.
    Raises where the collection is not there, and where nothing comes of opening the stream again
    for as long as the connection's `retries` say; what was received stays so.
    """
    return ImportStream(
        _IMPORT,
        collection,
        documents,
        request_id or uuid.uuid4().hex,
        resume_from,
        refused,
        progress,
        timeout,
    )


def watch_import(name: str, *, timeout: float | None = None) -> Answers[ImportProgress]:
    """Follow an import: how far it is now and at every change, until it has ended.

    A stream that breaks is opened again. Raises NotFound.
    name: of its operation. timeout: seconds for all of it. Default: for ever.
    """
    request = document_service_pb2.WatchImportRequest(name=name)
    return Answers(
        _WATCH,
        lambda _last: request,
        lambda response: [convert.import_progress_from(response)],
        timeout,
    )


def list_import_failures(
    name: str, *, page_size: int = 1000, timeout: float | None = None
) -> Pages[ImportFailure]:
    """Iterate over the documents that an import has set aside so far, by position.

    name: of its operation.
    page_size: failures fetched in one call, at most 1000. timeout: of each call.
    """

    def page(token: str) -> Call[Page[ImportFailure]]:
        request = document_service_pb2.ListImportFailuresRequest(
            name=name, page_size=page_size, page_token=token
        )
        return Call(_FAILURES, request, _failures_from, _PAGE_TIMEOUT, timeout)

    return Pages(page)


def export_documents(
    collection: str,
    *,
    include_vectors: bool = False,
    read_after: str = "",
    timeout: float | None = None,
) -> Answers[Document]:
    """Iterate over all of a collection's documents, by id.

    A stream that breaks is opened again and goes on after the last document.
    read_after: a `write_token` whose write must be seen.
    timeout: seconds for all of it. Default: for ever, whatever the connection says.
    """

    def request(last: Document | None) -> document_service_pb2.ExportDocumentsRequest:
        return document_service_pb2.ExportDocumentsRequest(
            collection=collection,
            include_vectors=include_vectors,
            read_after=read_after,
            after_id=last.id if last else "",
        )

    return Answers(
        _EXPORT,
        request,
        lambda response: [convert.document_from(one) for one in response.documents],
        timeout,
    )


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
    ids: Sequence[str] = (),
    *,
    filter: str = "",  # noqa: A002 - as the contract calls it
    request_id: str = "",
    timeout: float | None = None,
) -> Call[DeleteResult]:
    """Delete documents by id or by a filter, all at once for every reader.

    ids, filter: one of the two. 1 to 1000 ids, of which some may not be there; or a filter, as
        `year >= 2020 AND NOT kind = "draft"`: all documents that it is true for.
    """
    request = document_service_pb2.DeleteDocumentsRequest(
        collection=collection,
        ids=convert.ids_to(ids),
        filter=convert.text_to(filter, "filter"),
        request_id=request_id or uuid.uuid4().hex,
    )
    return Call(_DELETE, request, _deletion_from, _DELETE_TIMEOUT, timeout)


def count_documents(
    collection: str,
    *,
    filter: str = "",  # noqa: A002 - as the contract calls it
    read_after: str = "",
    timeout: float | None = None,
) -> Call[int]:
    """Count a collection's documents.

    filter: only those that it is true for.
    read_after: a `write_token` whose write must be seen.
    """
    request = document_service_pb2.CountDocumentsRequest(
        collection=collection, filter=convert.text_to(filter, "filter"), read_after=read_after
    )
    return Call(_COUNT, request, _count_from, _LOOKUP_TIMEOUT, timeout)


def _documents_from(response: document_service_pb2.ListDocumentsResponse) -> Page[Document]:
    return Page(
        [convert.document_from(document) for document in response.documents],
        response.next_page_token,
    )


def _failures_from(
    response: document_service_pb2.ListImportFailuresResponse,
) -> Page[ImportFailure]:
    return Page(
        [convert.import_failure_from(failure) for failure in response.failures],
        response.next_page_token,
    )


def _deletion_from(response: document_service_pb2.DeleteDocumentsResponse) -> DeleteResult:
    return DeleteResult(response.deleted_count, response.write_token)


def _count_from(response: document_service_pb2.CountDocumentsResponse) -> int:
    return response.count
