"""Files of documents, read row by row: JSON lines and CSV. A faulty row fails alone."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, ParamSpec

from searchmesh.resources import Document, FieldType

if TYPE_CHECKING:
    from _csv import Reader as _CsvReader
    from collections.abc import Callable, Iterator, Mapping, Sequence

Parameters = ParamSpec("Parameters")

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
_MOST_ROW_BYTES = 64 * 1024 * 1024


class FileError(Exception):
    """The file as a whole cannot be imported; the message says what to change."""


class _RowError(Exception):
    """A row cannot be imported; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns (of JSON: keys) are no attributes."""

    id: str = "id"
    content: str = "text"
    vector: str | None = None
    """A list of numbers; in CSV in JSON's notation."""
    types: Mapping[str, FieldType] | None = None
    """Declared types, which CSV's cells are converted to."""


@dataclass(frozen=True, slots=True)
class Row:
    """A document of a file, or why there is none."""

    line: int
    """Where the row begins, from 1."""
    document: Document | None
    fault: str = ""


def read_json_lines(stream: BinaryIO, columns: Columns) -> Iterator[Row]:
    """One object a line; empty lines are passed over. Raises FileError."""
    line = 0
    while raw := stream.readline(_MOST_ROW_BYTES):
        line += 1
        if line == 1:
            raw = _without_bom(raw)
            if raw.lstrip().startswith(b"["):
                raise FileError(
                    "the file is one JSON array; give one object a line:"
                    " jq -c '.[]' FILE > FILE.jsonl"
                )
        if len(raw) == _MOST_ROW_BYTES and not raw.endswith(b"\n"):
            raise FileError(f"line {line} is longer than {_MOST_ROW_BYTES:,} bytes")
        if raw.strip():
            yield row_of(line, _from_json, raw, columns)


def read_csv(stream: BinaryIO, columns: Columns) -> Iterator[Row]:
    """The first row names the columns; empty rows are passed over, empty cells left out.

    Raises FileError where the header lacks what it must have.
    """
    csv.field_size_limit(_MOST_ROW_BYTES)
    start = stream.peek(2)[:2] if isinstance(stream, io.BufferedReader) else b""
    _refuse_utf16(start)
    # a byte that is no UTF-8 becomes half a character, which the row is then refused for
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(csv.reader(text, strict=True), columns)
    finally:
        # the stream is its opener's to close
        text.detach()


def _csv_rows(reader: _CsvReader, columns: Columns) -> Iterator[Row]:
    header = _header(reader, columns)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, None, _csv_fault(line, reader.line_num, error))
            continue
        if cells:
            yield row_of(line, _from_cells, cells, header, columns)


def _csv_fault(line: int, last_line: int, error: csv.Error) -> str:
    """What is wrong, and which lines go with it: an open quote takes in all up to the next."""
    if str(error) == "unexpected end of data":
        return f"not CSV: a quote is never closed, so nothing from line {line} on was read"
    lost = f", so lines {line} to {last_line} were not read" if last_line > line else ""
    return f"not CSV: {error}{lost}"


def _from_json(raw: bytes, columns: Columns) -> Document:
    return document_of(_parse_object(raw), columns)


def _from_cells(cells: list[str], header: list[str], columns: Columns) -> Document:
    return document_of(_named(cells, header, columns), columns)


def row_of(
    line: int,
    read: Callable[Parameters, Document],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Row:
    """The row that `read` makes of its arguments, or why it made none."""
    try:
        return Row(line, read(*args, **kwargs))
    except _RowError as error:
        return Row(line, None, str(error))


def _without_bom(first_line: bytes) -> bytes:
    _refuse_utf16(first_line)
    return first_line.removeprefix(_BOM)


def _refuse_utf16(start: bytes) -> None:
    if start.startswith(_OTHER_BOMS):
        raise FileError("the file is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE")


def _parse_object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _RowError(f"not UTF-8: byte {error.start + 1} of the line") from error
    except json.JSONDecodeError as error:
        raise _RowError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise _RowError("not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        # what is left is Python's limit on digits
        raise _RowError(
            f"holds a whole number of more than {sys.get_int_max_str_digits():,} digits:"
            " send it as a string"
        ) from error
    if not isinstance(value, dict):
        raise _RowError(f"must be a JSON object, not {raw[:20].decode(errors='replace').strip()}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _RowError(f"holds {name}, which is no JSON: leave it out or send a string")


def _header(reader: Iterator[list[str]], columns: Columns) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise FileError(f"the first row is not CSV: {error}") from error
    if not header:
        raise FileError("the file is empty; the first row must name the columns")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise FileError(f"columns that occur twice: {', '.join(doubled)}")
    if columns.id not in header:
        raise FileError(f"no column {columns.id!r}; name the ids' column with --id. {_has(header)}")
    if columns.content not in header and columns.vector not in header:
        raise FileError(
            f"no column {columns.content!r}; name the texts' column with --text. {_has(header)}"
        )
    return header


def _has(header: Sequence[str]) -> str:
    return f"The file has {', '.join(repr(name) for name in header)}."


def _named(cells: list[str], header: list[str], columns: Columns) -> dict[str, Any]:
    """A row's cells by their column, in their declared types, empty ones left out."""
    if len(cells) != len(header):
        raise _RowError(f"has {len(cells)} cells, the header has {len(header)}")
    named: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            raise _RowError(f"{name}: not UTF-8") from error
        if cell:
            named[name] = _typed(name, cell, columns)
    return named


def _typed(name: str, cell: str, columns: Columns) -> Any:
    try:
        if name == columns.vector:
            return json.loads(cell)
        match (columns.types or {}).get(name):
            case FieldType.INT64:
                return int(cell)
            case FieldType.DOUBLE:
                return float(cell)
            case FieldType.BOOL:
                return {"true": True, "1": True, "false": False, "0": False}[cell.lower()]
            case _:
                return cell
    except (ValueError, KeyError, RecursionError) as error:
        kind = "a JSON list" if name == columns.vector else (columns.types or {})[name].lower()
        raise _RowError(f"{name}: {cell[:40]!r} is not {kind}") from error


def document_of(fields: dict[str, Any], columns: Columns) -> Document:
    """The document of a row's values by their column."""
    document_id = fields.pop(columns.id, None)
    content = fields.pop(columns.content, None)
    vector = fields.pop(columns.vector, None) if columns.vector else None
    if isinstance(document_id, int) and not isinstance(document_id, bool):
        document_id = str(document_id)
    if not isinstance(document_id, str) or not document_id:
        raise _RowError(f"no id: {columns.id!r} must be a string or a whole number")
    if content is None and vector is None:
        raise _RowError(f"no text: {columns.content!r} is missing or empty")
    if content is not None and not isinstance(content, str):
        raise _RowError(f"{columns.content!r} must be a string")
    return Document(document_id, content, vector, fields)
