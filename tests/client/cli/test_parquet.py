"""Documents through parquet and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searchmesh import Document, Image, Metric, VectorSpace
from searchmesh.cli.parquet import read_parquet, write_parquet
from searchmesh.cli.rows import Columns
from searchmesh.resources import VectorKind
from searchmesh.results import EmbeddedSegment, TextSpan

if TYPE_CHECKING:
    from pathlib import Path


def read(file: Path) -> list[Document]:
    rows = list(read_parquet(file, Columns()))
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    return [row.document for row in rows if row.document]


def test_documents_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"
    vector = np.array([0.1, -2.5, 3e-8], np.float32)
    passage = EmbeddedSegment(segment=TextSpan(0, 4), vector=vector)
    given = [
        Document("a", "milk", vector, {"id": 1, "deep": {"list": [None, True, "x"]}}),
        Document("b", Image(b"\xff\x00"), vector),
        Document("c", None, vector),
        Document("d", "milk", segments=[passage]),
    ]
    assert write_parquet(file, given, VectorSpace(3, metric=Metric.COSINE)) == 4
    whole, image, bare, passages = read(file)
    assert (whole.id, whole.content, whole.attributes) == ("a", "milk", given[0].attributes)
    assert whole.vector is not None
    np.testing.assert_array_equal(whole.vector, vector)
    assert image.content == Image(b"\xff\x00")
    assert (bare.content, bare.attributes) == (None, {})
    assert passages.vector is None
    assert passages.segments[0].segment == TextSpan(0, 4)
    np.testing.assert_array_equal(passages.segments[0].vector, vector)


def test_packed_bits_stay_bits(tmp_path: Path) -> None:
    file = tmp_path / "bits.parquet"
    bits = np.array([255, 0], np.uint8)
    space = VectorSpace(16, kind=VectorKind.BINARY, metric=Metric.HAMMING)
    # more than are written and read at once
    given = [Document(f"d{n}", "milk", bits) for n in range(1201)]
    assert write_parquet(file, given, space) == 1201
    found = read(file)
    assert [one.id for one in found] == [one.id for one in given]
    assert found[0].vector is not None
    assert found[0].vector.dtype == np.uint8
