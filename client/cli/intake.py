"""Rows on their way in: which line each document came from, and what became of it."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from searchmesh.cli.failures import Failure, Failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from searchmesh.cli.rows import Row
    from searchmesh.errors import ServiceError
    from searchmesh.resources import Document
    from searchmesh.results import ImportFailure

_PATH_IN_CALL = re.compile(r"^documents?(\[\d+\])?\.")


class Intake:
    """Hands a file's documents out, and tells failures by their lines."""

    def __init__(self, rows: Iterable[Row], failures: Failures) -> None:
        self._rows = rows
        self._failures = failures
        # only where a line is not the one after the line before: most files have few of these
        self._jumps_at = array("q")
        self._lines_ahead = array("q")

    def documents(self) -> Iterator[Document]:
        """The documents in order; rows that hold none are failures at once."""
        position = 0
        for row in self._rows:
            if row.document is None:
                self._failures.add(Failure(row.line, "", row.fault))
                continue
            self._note_line(position, row.line)
            position += 1
            yield row.document

    def settle(self, failure: ImportFailure) -> None:
        """Take in a document that could not be sent, or that the service set aside."""
        line = self._line(failure.position)
        self._failures.add(Failure(line, failure.id, _reason(failure.error)))

    def _note_line(self, position: int, line: int) -> None:
        ahead = line - position
        if not self._lines_ahead or self._lines_ahead[-1] != ahead:
            self._jumps_at.append(position)
            self._lines_ahead.append(ahead)

    def _line(self, position: int) -> int:
        return position + self._lines_ahead[bisect_right(self._jumps_at, position) - 1]


def _reason(error: ServiceError) -> str:
    """The error's words without the document's place in its call, which says nothing here."""
    return _PATH_IN_CALL.sub("", error.message)
