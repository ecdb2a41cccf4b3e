"""Files of documents, good and bad."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh.cli.rows import Columns, FileError, Row, read_csv, read_json_lines
from searchmesh.resources import FieldType


def _json_lines(data: bytes, columns: Columns | None = None) -> list[Row]:
    return list(read_json_lines(io.BytesIO(data), columns or Columns()))


def _csv(data: bytes, columns: Columns | None = None) -> list[Row]:
    return list(read_csv(io.BufferedReader(io.BytesIO(data)), columns or Columns()))


def test_json_lines_become_documents() -> None:
    data = b'\xef\xbb\xbf{"id": "a", "text": "milk", "year": 2001}\r\n\n{"id": 7, "text": "bread"}'
    first, second = _json_lines(data)
    assert (first.line, second.line) == (1, 3)
    assert first.document
    assert second.document
    assert (first.document.id, first.document.content) == ("a", "milk")
    assert first.document.attributes == {"year": 2001}
    assert second.document.id == "7"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"3", "must be a JSON object, not 3"),
        (b'{"text": "x"}', "no id: 'id' must be a string"),
        (b'{"id": true, "text": "x"}', "no id"),
        (b'{"id": "", "text": "x"}', "no id"),
        (b'{"id": "a"}', "no text: 'text' is missing"),
        (b'{"id": "a", "text": 3}', "'text' must be a string"),
        (b'{"id": "a", "text": "x", "n": NaN}', "holds NaN, which is no JSON"),
        (b'{"id": "a", "text": "\xff"}', "not UTF-8: byte 22"),
        (b"[" * 10 + b'{"id"', "not JSON"),
        (b'{"id":' + b"[" * 100_000, "nested too deeply"),
        (b'{"id": "a", "text": "x", "n": ' + b"9" * 5000 + b"}", "more than 4,300 digits"),
    ],
)
def test_a_faulty_line_fails_alone(line: bytes, fault: str) -> None:
    good = b'{"id": "a", "text": "milk"}\n'
    before, bad, after = _json_lines(good + line + b"\n" + good)
    assert before.document
    assert after.document
    assert bad.line == 2
    assert bad.document is None
    assert fault in bad.fault


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'[{"id": "a"}]', "one JSON array"),
        ('{"id": "a"}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_files_that_are_no_json_lines(data: bytes, sentence: str) -> None:
    with pytest.raises(FileError, match=sentence):
        _json_lines(data)


def test_an_empty_file_holds_nothing() -> None:
    assert _json_lines(b"") == []
    assert _json_lines(b"\n\n") == []


def test_csv_becomes_documents() -> None:
    data = b'\xef\xbb\xbfkey,body,year\r\n1,"milk, ""fresh""\nand cold",2001\r\n\r\n2,bread,\r\n'
    columns = Columns("key", "body", types={"year": FieldType.INT64})
    first, second = _csv(data, columns)
    assert (first.line, second.line) == (2, 5)
    assert first.document
    assert second.document
    assert first.document.content == 'milk, "fresh"\nand cold'
    assert first.document.attributes == {"year": 2001}
    assert second.document.attributes == {}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"a,b,c,d\n", "has 4 cells, the header has 3"),
        (b"a\n", "has 1 cells, the header has 3"),
        (b",text,1\n", "no id"),
        (b"a,,1\n", "no text"),
        (b"a,text,soon\n", "year: 'soon' is not int64"),
        (b"a,\xff,1\n", "text: not UTF-8"),
        (b'a,"x"y,1\n', "not CSV: ',' expected after"),
    ],
)
def test_a_faulty_row_fails_alone(row: bytes, fault: str) -> None:
    columns = Columns(types={"year": FieldType.INT64})
    rows = _csv(b"id,text,year\n" + row + b"b,bread,2\n", columns)
    assert [one.line for one in rows] == [2, 3]
    assert fault in rows[0].fault
    assert rows[1].document


def test_a_quote_that_never_ends_is_a_fault_of_its_row() -> None:
    first, second = _csv(b'id,text\na,milk\nb,"bread\nc,apples\n')
    assert first.document
    assert (second.line, second.document) == (3, None)
    assert second.fault == "not CSV: a quote is never closed, so nothing from line 3 on was read"


def test_a_quote_that_ends_rows_later_says_which_are_lost() -> None:
    bad, after = _csv(b'id,text\na,"milk\nb,"bread"\nc,apples\n')
    assert bad.line == 2
    assert bad.fault.endswith("so lines 2 to 3 were not read")
    assert after.document
    assert after.document.id == "c"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty"),
        (b"name,text\n", "no column 'id'; .* --id. The file has 'name', 'text'"),
        (b"id,body\n", "no column 'text'; .* --text. The file has 'id', 'body'"),
        (b"id,text,text\n", "columns that occur twice: text"),
        ("id,text\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_header_without_what_it_must_have(data: bytes, sentence: str) -> None:
    with pytest.raises(FileError, match=sentence):
        _csv(data)


def test_vectors_are_read_from_their_column() -> None:
    columns = Columns(vector="v")
    (row,) = _csv(b'id,v\na,"[1, 2.5]"\n', columns)
    assert row.document
    assert row.document.vector == [1, 2.5]
    (bad,) = _csv(b"id,v\na,1;2\n", columns)
    assert bad.fault == "v: '1;2' is not a JSON list"
    deep, after = _csv(b"id,v\na," + b"[" * 100_000 + b'\nb,"[1]"\n', columns)
    assert deep.fault.endswith("is not a JSON list")
    assert after.document


_cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(st.tuples(_cell, _cell), min_size=1, max_size=5))
def test_what_python_writes_is_read_back(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("id", "text"), *rows])
    read = [row.document for row in _csv(out.getvalue().encode())]
    assert [(one.id, one.content) for one in read if one] == rows
    lines = "".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in rows)
    read = [row.document for row in _json_lines(lines.encode())]
    assert [(one.id, one.content) for one in read if one] == rows
