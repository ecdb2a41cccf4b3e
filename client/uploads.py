"""What is sent of an import, over all the times that its stream is opened.

    taken -> sent -> received
              ^ | the stream broke
              +-+

The stream is answered once, at its end. How much was received before is asked of the operation, now
and then, and what was is forgotten: so that any iterable can be imported, and go on after a cut, in
the memory of one window. Nothing here waits.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchmesh.batches import Batch, batches
from searchmesh.errors import AlreadyExists, DataLoss, Internal, NotFound, ServiceError
from searchmesh.openings import Openings
from searchmesh.results import ImportFailure
from searchmesh.search.v1 import document_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from searchmesh.connection import Connection
    from searchmesh.resources import Document
    from searchmesh.results import ImportProgress, Operation
    from searchmesh.rpc import Rpc
    from searchmesh.search.v1 import document_pb2

MOST_DOCUMENTS = 500
MOST_BYTES = 1024 * 1024
"""A message holds no more than this, or one document."""

WINDOW_BYTES = 16 * 1024 * 1024
"""No more is taken while so much is not known to be received."""

ASK_SECONDS = 1.0
"""How often the operation is asked, at most, while the window has room."""


@dataclass(frozen=True, slots=True)
class ImportStream:
    """An import, ready to be carried."""

    rpc: Rpc[Any]
    collection: str
    documents: Iterable[Document]
    request_id: str
    resume_from: int
    refused: Callable[[ImportFailure], None] | None
    progress: Callable[[ImportProgress], None] | None
    timeout: float | None
    """Seconds for all of it."""

    @property
    def operation(self) -> str:
        """Its operation's name."""
        return f"operations/{self.request_id}"


class CutError(Exception):
    """The stream ended early, or the operation cannot be asked."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error)
        self.error = error


class Positions:
    """Where the documents that were sent are among all that were given."""

    def __init__(self) -> None:
        self._sent_before_refused = array("q")

    def refused(self, sent_before: int) -> None:
        """One was not sent, after so many that were."""
        self._sent_before_refused.append(sent_before)

    def given(self, sent: int) -> int:
        """The place among those given of the one at a place among those sent."""
        return sent + bisect_right(self._sent_before_refused, sent)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Documents of one message."""

    first: int
    """Place of the first among those sent."""
    documents: Sequence[document_pb2.Document]
    size_bytes: int

    @property
    def end(self) -> int:
        return self.first + len(self.documents)

    def request(self, received: int) -> pb.ImportDocumentsRequest:
        """The message with those that are not received."""
        missing = self.documents[max(0, received - self.first) :]
        return pb.ImportDocumentsRequest(documents=missing)


class Upload:
    """The documents of one import that are sent and not known to be received."""

    def __init__(self, stream: ImportStream, connection: Connection) -> None:
        self.openings = Openings(stream.rpc.service, connection, stream.timeout)
        self.positions = Positions()
        self.refused: list[ImportFailure] = []
        """Documents that cannot be sent, where nobody else is told."""
        self._stream = stream
        self._tell_refused = stream.refused or self.refused.append
        self._batches = batches(
            stream.documents, MOST_DOCUMENTS, MOST_BYTES, connection.most_document_bytes
        )
        self._given = 0
        self._taken = 0
        """Documents taken to be sent."""
        self._received = stream.resume_from
        self._window: deque[_Piece] = deque()
        self._window_bytes = 0
        self._asked_at = time.monotonic()
        self._is_whole = False
        """Whether all documents are taken."""

    @property
    def is_full(self) -> bool:
        return self._window_bytes >= WINDOW_BYTES

    @property
    def is_due(self) -> bool:
        """Whether the operation is to be asked."""
        return self.is_full or time.monotonic() - self._asked_at >= ASK_SECONDS

    def asked(self) -> None:
        """The operation is asked now."""
        self._asked_at = time.monotonic()

    @contextmanager
    def named(self) -> Iterator[None]:
        """Whatever ends it early says in its traceback how the import is named."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"import: {self._stream.operation}")
            raise

    def opening(self) -> Iterator[pb.ImportDocumentsRequest]:
        """What a stream that is opened begins with: the config, and all that was sent in vain."""
        stream = self._stream
        yield pb.ImportDocumentsRequest(
            config=pb.ImportConfig(
                collection=stream.collection,
                request_id=stream.request_id,
                resume_from=self._received,
            )
        )
        for piece in self._window:
            yield piece.request(self._received)

    def take(self) -> pb.ImportDocumentsRequest | None:
        """The next message to send on the stream that is open; None after the last."""
        for batch in self._batches:
            self._set_aside(batch)
            piece = _Piece(self._taken, batch.messages, batch.size_bytes)
            self._taken = piece.end
            if piece.end > self._received:
                self._window.append(piece)
                self._window_bytes += piece.size_bytes
                return piece.request(self._received)
        if self._taken < self._received:
            raise AlreadyExists(
                "operation",
                self._stream.operation,
                f"{self._stream.operation} has received {self._received:,} documents and only"
                f" {self._taken:,} are given now: other content needs another request_id",
            )
        self._is_whole = True
        return None

    def release(self, operation: Operation | None) -> None:
        """Take in what the operation says; None: there is none yet."""
        received = operation.progress.received_count if operation and operation.progress else 0
        if received < self._received:
            raise self._lost(operation, received)
        if received > self._received:
            self.openings.advanced()
        self._received = received
        while self._window and self._window[0].end <= received:
            self._window_bytes -= self._window.popleft().size_bytes
        if operation and operation.progress and self._stream.progress:
            self._stream.progress(operation.progress)

    def checked(self, operation: Operation) -> Operation:
        """What the stream was answered. Raises Internal where it has not received all."""
        received = operation.progress.received_count if operation.progress else self._taken
        if not self._is_whole or received < self._taken:
            raise Internal("the search service ended the import before it had received all of it")
        return operation

    def _set_aside(self, batch: Batch) -> None:
        """Tell of the documents that cannot be sent."""
        for refused, (place, result) in enumerate(batch.refused.items()):
            assert result.error
            self.positions.refused(self._taken + place - refused)
            self._tell_refused(ImportFailure(self._given + place, result.id, result.error))
        self._given += len(batch)

    def _lost(self, operation: Operation | None, received: int) -> ServiceError:
        name = self._stream.operation
        if operation is None:
            return NotFound(
                "operation",
                name,
                f"{name} is not there, and {self._received:,} of it were received",
            )
        return DataLoss(
            f"{name} has received {received:,} documents, and had {self._received:,} before"
        )
