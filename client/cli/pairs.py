"""Questions with the answers that are right for them, from a file."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, and what is right for it: a stored document, an answer, or, without both,
    nothing that is stored.
    """

    question: str
    id: str
    answer: str

    @property
    def is_answerable(self) -> bool:
        return bool(self.id or self.answer)

    def fits(self, document_id: str, answer: str) -> bool:
        """Whether a stored answer is right; in its words, where the pair names no document."""
        if self.id:
            return document_id == self.id
        return bool(self.answer) and answer == self.answer


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of FILE.csv or of a file with a JSON object a line. Raises BadParameter."""
    read = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            pairs = [_pair(path, line, row) for line, row in read(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise typer.BadParameter(f"{path}: {error}") from error
    if not any(one.is_answerable for one in pairs):
        raise typer.BadParameter(f"{path}: no question with the id or the answer that is right")
    return pairs


def _csv_rows(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(lines, strict=True)
    for row in reader:
        yield reader.line_num, row


def _json_rows(lines: Iterator[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, json.loads(line)


def _pair(path: Path, line: int, row: Any) -> Pair:
    fields = row if isinstance(row, dict) else {}
    question, document_id, answer = (
        fields.get(name) or "" for name in ("question", "id", "answer")
    )
    if not isinstance(question, str) or not question.strip():
        raise typer.BadParameter(f"{path}, line {line}: no question")
    if not isinstance(answer, str):
        raise typer.BadParameter(f"{path}, line {line}: the answer must be a string")
    return Pair(question, str(document_id), answer)
