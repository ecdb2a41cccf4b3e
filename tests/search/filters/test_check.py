"""Filters against declared fields."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.engine import DeclaredField, FieldType
from searchmesh_search.filters.check import checked
from searchmesh_search.filters.filter import Comparison, Filter, Operator
from searchmesh_search.filters.text import parse

from .random_filters import FIELDS, filters

DECLARED = (
    DeclaredField("name", FieldType.STRING),
    DeclaredField("year", FieldType.INT64),
    DeclaredField("price", FieldType.DOUBLE),
    DeclaredField("sold", FieldType.BOOL),
)


@settings(max_examples=30)
@given(filters())
def test_what_fits_stays_as_it_is(filter_: Filter) -> None:
    assert checked(filter_, FIELDS) == filter_


@pytest.mark.parametrize(
    ("text", "value"), [("price = 2", 2.0), ("year = 2.0", 2), ("year = 2e3", 2000)]
)
def test_a_number_is_of_its_field(text: str, value: float) -> None:
    fitting = checked(parse(text), DECLARED)
    assert isinstance(fitting, Comparison)
    assert fitting.value == value
    assert type(fitting.value) is type(value)
    assert fitting.operator is Operator.EQUAL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "colour is not declared; the collection's fields are name, year, price"),
        ("Name = 'x'", "Name is not declared"),
        ("exists colour", "colour is not declared"),
        ("year = 'x'", '"x" given, year is declared int64: give a whole number'),
        ("year = true", "true given, year is declared int64: give a whole number"),
        ("year = 1.5", "1.5 given, int64 is declared: give a whole number"),
        ("year = 9007199254740992", r"9007199254740992 given, 2\^53 or more in magnitude"),
        ("year > -1e300", r"-1e\+300 given, 2\^53 or more in magnitude"),
        ("price < 1e400", "inf given, give a finite number"),
        ("name = 1", "1 given, name is declared string: give a string"),
        ("name in ('a', false)", "false given, name is declared string: give a string"),
        ("sold = 1", "1 given, sold is declared bool: give true or false"),
        ("sold < true", "sold is declared bool, which has no order; use = or !="),
        ("sold between false and true", "sold is declared bool, which has no order"),
        ("year like '1%'", "year is declared int64; a prefix is one of strings"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        checked(parse(f"exists name AND {text}"), DECLARED)
    (violation,) = caught.value.violations
    assert violation.field == "filter"
    assert violation.description.startswith("at character 17: ")


def test_every_fault_is_named_and_many_are_counted() -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked(parse("year = 'x' OR price = 'y'"), DECLARED)
    assert len(caught.value.violations) == 2
    with pytest.raises(InvalidRequest, match="and 9950 more"):
        checked(parse("name in (" + ",".join("1" * 10_000) + ")"), DECLARED)


def test_a_collection_without_fields_says_so() -> None:
    with pytest.raises(InvalidRequest, match="nor is any field of this collection"):
        checked(parse("year = 1"), ())
