"""Parquet files, read and written: the only file that imports pyarrow.

A file of ours, marked in its schema, holds documents whole:

    id          string
    text        string              the content, where it is a text
    content     binary              any other, as a serialised searchmesh.type.v1.Content
    vector      list<float|uint8>
    segments    list<struct<start, end, vector>>
    attributes  string              a JSON object

Any other file is read as a table, whose columns are named as those of a CSV file are.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from searchmesh import convert
from searchmesh.cli.rows import Columns, FileError, Row, document_of, row_of
from searchmesh.resources import Document, VectorKind
from searchmesh.results import EmbeddedSegment, TextSpan
from searchmesh.type.v1 import content_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from searchmesh.contents import Content
    from searchmesh.resources import VectorSpace

_MARK = {b"searchmesh.documents": b"1"}
_ROWS_AT_ONCE = 500


def read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    """The rows of a file, numbered from 1. Raises FileError."""
    arrow, parquet = _pyarrow(), _pyarrow("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
        ours = _MARK.items() <= (file.schema_arrow.metadata or {}).items()
        read = _whole_document if ours else document_of
        if not ours and columns.id not in file.schema_arrow.names:
            names = ", ".join(map(repr, file.schema_arrow.names))
            raise FileError(f"no column {columns.id!r}; name the ids' column with --id: {names}")
        number = 0
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            for fields in batch.to_pylist():
                number += 1
                given = {name: value for name, value in fields.items() if value is not None}
                yield row_of(number, read, given, columns)
    except arrow.ArrowException as error:
        raise FileError(f"no parquet file that can be read: {error}") from error


def write_parquet(path: Path, documents: Iterable[Document], space: VectorSpace) -> int:
    """Write documents whole; returns how many. Raises FileError without pyarrow."""
    arrow, parquet = _pyarrow(), _pyarrow("pyarrow.parquet")
    schema = _schema(arrow, space)
    count = 0
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as writer:
        for document in documents:
            rows.append(_fields(document))
            count += 1
            if len(rows) == _ROWS_AT_ONCE:
                writer.write_batch(arrow.RecordBatch.from_pylist(rows, schema))
                rows.clear()
        if rows:
            writer.write_batch(arrow.RecordBatch.from_pylist(rows, schema))
    return count


def _schema(arrow: Any, space: VectorSpace) -> Any:
    number = arrow.uint8() if space.kind is VectorKind.BINARY else arrow.float32()
    vector = arrow.list_(number)
    segment = arrow.struct([("start", arrow.int64()), ("end", arrow.int64()), ("vector", vector)])
    return arrow.schema(
        [
            ("id", arrow.string()),
            ("text", arrow.string()),
            ("content", arrow.binary()),
            ("vector", vector),
            ("segments", arrow.list_(segment)),
            ("attributes", arrow.string()),
        ],
        metadata=_MARK,
    )


def _fields(document: Document) -> dict[str, Any]:
    content = document.content
    is_text = isinstance(content, str)
    return {
        "id": document.id,
        "text": content if is_text else None,
        "content": None if is_text or content is None else _serialised(content),
        "vector": document.vector,
        "segments": [_segment_fields(one) for one in document.segments] or None,
        "attributes": json.dumps(dict(document.attributes)),
    }


def _serialised(content: Content) -> bytes:
    return convert.content_to(content, "content").SerializeToString()


def _segment_fields(segment: EmbeddedSegment) -> dict[str, Any]:
    span = segment.segment
    assert span
    return {"start": span.start, "end": span.end, "vector": segment.vector}


def _whole_document(fields: dict[str, Any], _columns: Columns) -> Document:
    content = fields.get("text")
    if data := fields.get("content"):
        content = convert.content_from(content_pb2.Content.FromString(data))
    vector = fields.get("vector")
    return Document(
        fields["id"],
        content,
        None if vector is None else _vector(vector),
        attributes=json.loads(fields["attributes"]),
        segments=tuple(_segment(one) for one in fields.get("segments", ())),
    )


def _segment(fields: dict[str, Any]) -> EmbeddedSegment:
    span = TextSpan(fields["start"], fields["end"])
    return EmbeddedSegment(segment=span, vector=_vector(fields["vector"]))


def _vector(numbers: list[Any]) -> np.ndarray:
    """Whole numbers are packed bits."""
    bits = isinstance(numbers[0], int)
    return np.array(numbers, np.uint8 if bits else np.float32)


def _pyarrow(module: str = "pyarrow") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FileError(
            "parquet needs pyarrow, which is not installed: pip install 'searchmesh[parquet]'"
        ) from error
