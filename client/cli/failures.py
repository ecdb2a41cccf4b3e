"""What an import could not store: all in a file where one is given, the first in memory."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_KEPT = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """One row that is not stored."""

    line: int
    """Where the row begins, from 1."""
    id: str
    """Empty where the row has none."""
    reason: str


class Failures:
    """Counts failures, keeps the first, and writes each to the file as a JSON object on a line."""

    def __init__(self, file: Path | None) -> None:
        self.count = 0
        self.first: list[Failure] = []
        self._file = file
        self._stack = ExitStack()
        self._out: TextIO | None = None

    def __enter__(self) -> Failures:
        if self._file:
            # half a character, which an id may hold, is written as JSON's escape of it
            self._out = self._stack.enter_context(
                self._file.open("w", encoding="utf-8", errors="backslashreplace")
            )
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add(self, failure: Failure) -> None:
        self.count += 1
        if len(self.first) < _KEPT:
            self.first.append(failure)
        if self._out:
            self._out.write(json.dumps(asdict(failure), ensure_ascii=False) + "\n")
