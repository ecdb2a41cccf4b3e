"""Any number of documents -> calls of a good size, and their outcomes -> one summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchmesh import convert
from searchmesh.errors import InvalidRequest, ServiceError
from searchmesh.results import UpsertBatch, UpsertFailure, UpsertResult, UpsertSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from searchmesh.resources import Document
    from searchmesh.search.v1 import document_pb2

DEFAULT_BATCH_SIZE = 256
"""Documents in one call: as many as the encoder takes at once."""

MOST_BATCH_BYTES = 8 * 1024 * 1024
"""A call holds no more than this, or one document; well below the servers' limit of a message."""


@dataclass(slots=True)
class Batch:
    """Documents of one call, in order, and those among them that cannot be sent."""

    messages: list[document_pb2.Document] = field(default_factory=list)
    refused: dict[int, UpsertResult] = field(default_factory=dict)
    """By place in the batch."""
    size_bytes: int = 0

    def __len__(self) -> int:
        return len(self.messages) + len(self.refused)

    def outcome(self, sent: UpsertBatch | None) -> UpsertBatch:
        """Every document's result, in order. sent: the answer to `messages`, None without any."""
        answered = iter(sent.results if sent else ())
        results = [self.refused.get(place) or next(answered) for place in range(len(self))]
        return UpsertBatch(results, sent.write_token if sent else "")


def batches(
    documents: Iterable[Document],
    batch_size: int,
    most_bytes: int = MOST_BATCH_BYTES,
    most_document_bytes: int | None = None,
) -> Iterator[Batch]:
    """Cut documents into batches; reads no further than the batch at hand and one document.

    batch_size, most_bytes: most of a batch; one document may have more bytes.
    most_document_bytes: a larger document cannot be sent.
    """
    batch = Batch()
    for document in documents:
        try:
            message = _message(document, most_document_bytes)
        except ServiceError as error:
            batch.refused[len(batch)] = UpsertResult(document.id, error)
        else:
            size_bytes = message.ByteSize()
            if batch.messages and batch.size_bytes + size_bytes > most_bytes:
                yield batch
                batch = Batch()
            batch.messages.append(message)
            batch.size_bytes += size_bytes
        if len(batch) >= batch_size:
            yield batch
            batch = Batch()
    if len(batch):
        yield batch


def _message(document: Document, most_bytes: int | None) -> document_pb2.Document:
    """Raises InvalidRequest for a document that cannot be sent."""
    message = convert.document_to(document)
    if most_bytes is not None and message.ByteSize() > most_bytes:
        raise InvalidRequest.of(
            "document", f"has {message.ByteSize():,} bytes, a message has room for {most_bytes:,}"
        )
    return message


class Summing:
    """Adds outcomes up, in the order of the documents."""

    def __init__(self, *, in_order: bool) -> None:
        """in_order: whether each call was made after the one before had been answered."""
        self._in_order = in_order
        self._seen = 0
        self._stored_count = 0
        self._failures: list[UpsertFailure] = []
        self._write_token = ""

    def add(self, batch: UpsertBatch) -> int:
        """Returns the documents seen so far."""
        for position, result in enumerate(batch.results, self._seen):
            if result.error:
                self._failures.append(UpsertFailure(position, result.id, result.error))
        self._seen += len(batch.results)
        self._stored_count += batch.stored_count
        self._write_token = batch.write_token or self._write_token
        return self._seen

    def summary(self) -> UpsertSummary:
        token = self._write_token if self._in_order else ""
        return UpsertSummary(self._stored_count, tuple(self._failures), token)
