"""What a command prints: its answer on standard output, everything else on standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from searchmesh.contents import Audio, Image, NucleotideSequence, Smiles, Video
from searchmesh.errors import InvalidRequest, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

# what is not a terminal has no width to keep to
_PIPE_WIDTH = 160


class Output:
    """Tables and sentences for people, or one JSON value for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        self._answers = Console(width=width, highlight=False)
        self.notes = Console(stderr=True, highlight=False)
        """For progress and remarks."""

    def answer(self, value: object, render: Callable[[], RenderableType]) -> None:
        """Print the one answer of a command: `value` as JSON, or what `render` makes of it."""
        if self.as_json:
            print(_json(plain(value), indent=2))
        else:
            self._answers.print(render())

    def note(self, sentence: str, style: str = "") -> None:
        """Say something that is no part of the answer."""
        self.notes.print(Text(_printable(sentence), style=style), soft_wrap=True)

    def complain(self, error: Exception, hint: str = "") -> None:
        """Say what went wrong, after the answer or instead of one."""
        self.notes.print(
            Text.assemble(("error: ", "bold red"), _printable(str(error))), soft_wrap=True
        )
        if hint:
            self.note(hint)

    def error(self, error: Exception, hint: str = "") -> None:
        """Say why there is no answer; with JSON, on standard output as `{"error": …}` too."""
        self.complain(error, hint)
        if self.as_json:
            print(_json({"error": error_fields(error)}))


def _json(value: Any, indent: int | None = None) -> str:
    return _printable(json.dumps(value, ensure_ascii=False, indent=indent))


def _printable(text: str) -> str:
    """The text with halves of characters as escapes, which are JSON's too."""
    return text.encode(errors="backslashreplace").decode()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> RenderableType:
    """Columns whose name starts with `>` are aligned to the right. No row: a dash."""
    if not rows:
        return Text("none", style="dim")
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        made.add_column(
            column.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        # Text, so that square brackets in the data are not read as styles
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def error_fields(error: Exception) -> dict[str, Any]:
    """An error as JSON holds it."""
    fields: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, InvalidRequest):
        fields["violations"] = [plain(violation) for violation in error.violations]
    return fields


def plain(value: Any) -> Any:
    """A value in what JSON has."""
    match value:
        case ServiceError():
            return error_fields(value)
        case Image() | Audio() | Video():
            return {type(value).__name__.lower(): b64encode(value.data).decode()}
        case Smiles():
            return {"smiles": value.text}
        case NucleotideSequence():
            return {"sequence": value.text}
        case np.ndarray():
            return value.tolist()
        case datetime():
            return value.isoformat()
        case str() | int() | float() | None:
            return value
        case Mapping():
            return {key: plain(inner) for key, inner in value.items()}
        case Sequence():
            return [plain(inner) for inner in value]
    return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
