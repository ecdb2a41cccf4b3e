"""Filters written as text."""

from __future__ import annotations

from hypothesis import given, settings

from searchmesh_search.filters.filter import (
    MAX_DEPTH,
    AllOf,
    AnyOf,
    Comparison,
    Exists,
    Filter,
    Inclusion,
    Not,
    Operator,
)
from searchmesh_search.filters.text import parse
from searchmesh_search.filters.writing import write

from .random_filters import filters


@settings(max_examples=30)
@given(filters())
def test_what_is_written_is_read_back(filter_: Filter) -> None:
    assert parse(write(filter_)) == filter_


def test_as_a_reader_expects_it() -> None:
    one = Comparison("a", Operator.LESS, 1.5)
    filter_ = AllOf((Not(one), AnyOf((Inclusion("b", ("x", True)), Not(Not(Exists("c")))))))
    assert write(filter_) == 'NOT `a` < 1.5 AND (`b` IN ("x", TRUE) OR NOT NOT EXISTS `c`)'


def test_the_deepest_is_read_back() -> None:
    filter_: Filter = Exists("a")
    for _ in range(MAX_DEPTH - 1):
        filter_ = Not(filter_)
    assert parse(write(filter_)) == filter_
