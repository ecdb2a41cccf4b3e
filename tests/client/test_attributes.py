"""Attributes between plain values and a Struct."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh import Document, convert
from searchmesh.attributes import attributes_from, attributes_to
from searchmesh.errors import InvalidRequest
from searchmesh.search.v1 import document_service_pb2

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_number = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | _number | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=10,
)


def _nested(depth: int, *, objects: bool = False) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"k": value} if objects else [value]
    return value


@given(st.dictionaries(_text, _json, max_size=4))
def test_values_come_back_as_they_were(attributes: dict[str, Any]) -> None:
    assert attributes_from(attributes_to(attributes, "attributes")) == attributes


def test_whole_numbers_come_back_as_whole_numbers() -> None:
    back = attributes_from(attributes_to({"year": 2001, "price": 2.5}, "attributes"))
    assert back == {"year": 2001, "price": 2.5}
    assert type(back["year"]) is int


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"n": 2**53 + 1}, r"attributes\.n: 9007199254740993 is past 2\^53.*as a string"),
        ({"n": float("nan")}, r"attributes\.n: nan is not finite"),
        ({"a": [1, {"b": float("inf")}]}, r"attributes\.a\[1\]\.b: inf is not finite"),
        ({"o": object()}, r"attributes\.o: a object is no JSON value"),
        ({"b": b"bytes"}, r"attributes\.b: a bytes is no JSON value"),
        ({"s": "\ud800"}, r"attributes\.s: holds half a character"),
        ({"n": 10**5000}, r"attributes\.n: a whole number is past 2\^53"),
        ({"deep": _nested(31)}, r"lists and objects nest more than 30 deep"),
        ({1: "x"}, r"attributes: the key 1 must be a string"),
        ({"o": {1: "x"}}, r"attributes\.o: the key 1 must be a string"),
    ],
)
def test_what_a_struct_cannot_hold_is_refused_where_it_is(
    attributes: dict[Any, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        attributes_to(attributes, "attributes")


@pytest.mark.parametrize("objects", [False, True])
def test_the_deepest_attributes_still_travel(objects: bool) -> None:
    attributes = {"deep": _nested(30, objects=objects)}
    document = convert.document_to(Document("a", attributes=attributes))
    request = document_service_pb2.UpsertDocumentsRequest(documents=[document])
    received = document_service_pb2.UpsertDocumentsRequest.FromString(request.SerializeToString())
    assert attributes_from(received.documents[0].attributes) == attributes
