"""Attributes between plain values and a Struct."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh.attributes import attributes_from, attributes_to
from searchmesh.errors import InvalidRequest

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_number = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | _number | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=10,
)


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
        ({1: "x"}, r"attributes: the key 1 must be a string"),
        ({"o": {1: "x"}}, r"attributes\.o: the key 1 must be a string"),
    ],
)
def test_what_a_struct_cannot_hold_is_refused_where_it_is(
    attributes: dict[Any, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        attributes_to(attributes, "attributes")
