"""Vectors between numpy and the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from searchmesh.errors import InvalidRequest
from searchmesh.type.v1 import vector_pb2
from searchmesh.vectors import vector_from, vector_to


@pytest.mark.parametrize("given", [[1, 2], [1.0, 2.0], np.array([1, 2], ">f8"), (1, 2.0)])
def test_numbers_travel_as_little_endian_floats(given: Any) -> None:
    vector = vector_to(given, "vector")
    assert vector.float32_le == np.array([1, 2], "<f4").tobytes()
    assert vector_from(vector).tolist() == [1.0, 2.0]
    assert vector_from(vector).dtype == np.float32


def test_bytes_travel_as_packed_bits() -> None:
    bits = np.array([0b10000000, 1], np.uint8)
    vector = vector_to(bits, "vector")
    assert vector.packed_bits == b"\x80\x01"
    assert vector_from(vector).tolist() == [128, 1]


@pytest.mark.parametrize(
    "vector",
    [
        vector_pb2.Vector(float16_le=np.array([0.5, -2], "<f2").tobytes()),
        vector_pb2.Vector(floats=vector_pb2.FloatList(values=[0.5, -2])),
        vector_pb2.Vector(int8_scaled=vector_pb2.Int8Scaled(values=b"\x01\xfc", scale=0.5)),
    ],
    ids=["float16", "floats", "int8"],
)
def test_every_form_reads_as_floats(vector: vector_pb2.Vector) -> None:
    assert vector_from(vector).tolist() == [0.5, -2.0]
    assert vector_from(vector).dtype == np.float32


@pytest.mark.parametrize("given", [[[1, 2]], 3.0, ["a"], [[1], [1, 2]], None, [1j]])
def test_what_is_no_row_of_numbers_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"query\.vector: must be one row of numbers"):
        vector_to(given, "query.vector")


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ([[1, 2]], ", not lists in a list"),
        ([[1], [1, 2]], ", not lists in a list"),
        ("12", ", not a single value"),
        (["a"], ", and holds texts"),
        ([True], ", and holds booleans"),
        ([1, None], ", and holds something else"),
    ],
)
def test_it_says_in_plain_words_what_is_there_instead(given: Any, instead: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        vector_to(given, "vector")
    assert str(raised.value) == f"vector: must be one row of numbers{instead}"


def test_what_is_past_32_bits_is_for_the_service_to_refuse() -> None:
    assert vector_from(vector_to([1e300], "vector")).tolist() == [float("inf")]


def test_no_component_is_an_empty_vector() -> None:
    assert vector_from(vector_pb2.Vector(floats=vector_pb2.FloatList())).shape == (0,)
