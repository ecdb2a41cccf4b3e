"""Rows on their way in: which line each document came from, and what became of it."""

from __future__ import annotations

import io
import re
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from searchmesh.cli.failures import Failure, Failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from searchmesh.cli.rows import Row
    from searchmesh.errors import ServiceError
    from searchmesh.resources import Document
    from searchmesh.results import UpsertBatch


_PATH_IN_CALL = re.compile(r"^documents?(\[\d+\])?\.")


class Intake:
    """Hands a file's documents out and takes their outcomes back in the same order."""

    def __init__(self, rows: Iterable[Row], stream: BinaryIO, failures: Failures) -> None:
        """stream: what the rows are read from, for how far they are."""
        self._rows = rows
        self._stream = stream
        self._failures = failures
        # line and place in the stream of each document that is on its way
        self._waiting: deque[tuple[int, int | None]] = deque()
        self.stored_count = 0
        self.done_bytes: int | None = None
        """Bytes of the stream that are dealt with; None where it cannot tell."""

    def documents(self) -> Iterator[Document]:
        """The documents in order; rows that hold none are failures at once."""
        for row in self._rows:
            if row.document is None:
                self._failures.add(Failure(row.line, "", row.fault))
                continue
            self._waiting.append((row.line, _place(self._stream)))
            yield row.document

    def settle(self, batch: UpsertBatch) -> int:
        """Take in what became of the next documents; returns how many are dealt with so far."""
        for result in batch.results:
            line, self.done_bytes = self._waiting.popleft()
            if result.error:
                self._failures.add(Failure(line, result.id, _reason(result.error)))
            else:
                self.stored_count += 1
        return self.stored_count + self._failures.count


def _reason(error: ServiceError) -> str:
    """The error's words without the document's place in its call, which says nothing here."""
    return _PATH_IN_CALL.sub("", error.message)


def _place(stream: BinaryIO) -> int | None:
    try:
        return stream.tell()
    except (OSError, io.UnsupportedOperation):
        return None
