"""Filters of requests, in either form."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings

from searchmesh.search.v1 import filter_pb2, search_service_pb2
from searchmesh_common.errors import InvalidRequest
from searchmesh_search.convert import filters
from searchmesh_search.filters.filter import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Filter,
    Inclusion,
    Not,
    Operator,
    Prefix,
)
from searchmesh_search.filters.text import parse
from tests.search.filters import random_filters

_OPERATORS = {
    Operator.EQUAL: "COMPARISON_OPERATOR_EQUAL",
    Operator.NOT_EQUAL: "COMPARISON_OPERATOR_NOT_EQUAL",
    Operator.LESS: "COMPARISON_OPERATOR_LESS",
    Operator.LESS_OR_EQUAL: "COMPARISON_OPERATOR_LESS_OR_EQUAL",
    Operator.GREATER: "COMPARISON_OPERATOR_GREATER",
    Operator.GREATER_OR_EQUAL: "COMPARISON_OPERATOR_GREATER_OR_EQUAL",
}


def tree_of(filter_: Filter) -> dict[str, Any]:
    """As JSON of the contract has it."""
    match filter_:
        case AllOf() | AnyOf():
            name = "all_of" if isinstance(filter_, AllOf) else "any_of"
            return {name: {"filters": [tree_of(one) for one in filter_.filters]}}
        case Not():
            return {"negation": tree_of(filter_.filter)}
        case Comparison(field, operator, value):
            tree = {"field": field, "operator": _OPERATORS[operator], "value": value}
            return {"comparison": tree}
        case Inclusion(field, values):
            return {"inclusion": {"field": field, "values": list(values)}}
        case Between(field, low, high):
            return {"between": {"field": field, "low": low, "high": high}}
        case Prefix(field, prefix):
            return {"prefix": {"field": field, "prefix": prefix}}
        case Exists(field):
            return {"exists": field}


def request_of(tree: dict[str, Any], **others: Any) -> search_service_pb2.SearchRequest:
    return search_service_pb2.SearchRequest(
        collection="c", filter_tree=ParseDict(tree, filter_pb2.Filter()), **others
    )


def condition(value: Any) -> dict[str, Any]:
    return {"comparison": {"field": "a", "operator": "COMPARISON_OPERATOR_EQUAL", "value": value}}


def test_none_and_text() -> None:
    assert filters.where(search_service_pb2.SearchRequest()) is None
    assert filters.where(search_service_pb2.SearchRequest(filter="a = 1")) == parse("a = 1")


@settings(max_examples=30)
@given(random_filters.filters())
def test_a_tree_says_the_same(filter_: Filter) -> None:
    assert filters.where(request_of(tree_of(filter_))) == filter_


def test_both_forms_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="filter: give filter or filter_tree, not both"):
        filters.where(request_of({"exists": "a"}, filter="exists a"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"comparison\.value: null given; ask with exists"),
        ([1], r"comparison\.value: required: a string, a number or a boolean"),
        ({"x": 1}, r"comparison\.value: required: a string, a number or a boolean"),
    ],
)
def test_a_value_that_is_none_is_named_with_its_path(value: Any, message: str) -> None:
    tree = {"all_of": {"filters": [{"exists": "a"}, {"negation": condition(value)}]}}
    with pytest.raises(InvalidRequest, match=message) as caught:
        filters.where(request_of(tree))
    (violation,) = caught.value.violations
    assert violation.field == "filter_tree.all_of.filters[1].negation.comparison.value"


def test_one_of_many_values_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"filter_tree\.inclusion\.values\[2\]: null given"):
        filters.where(request_of({"inclusion": {"field": "a", "values": [1, 2, None]}}))


def test_depth_and_terms_are_bounded() -> None:
    deep: dict[str, Any] = {"exists": "a"}
    for _ in range(31):
        deep = {"negation": deep}
    assert filters.where(request_of(deep)) is not None
    with pytest.raises(InvalidRequest, match="nests deeper than 32 levels"):
        filters.where(request_of({"negation": deep}))
    thousand = {"any_of": {"filters": [condition(1)] * 1000}}
    ten_thousand = {"all_of": {"filters": [thousand] * 10}}
    assert filters.where(request_of(ten_thousand)) is not None
    began = time.monotonic()
    with pytest.raises(InvalidRequest, match="filter_tree: has more than 10000 terms"):
        filters.where(request_of({"all_of": {"filters": [thousand] * 20}}))
    assert time.monotonic() < began + 5
