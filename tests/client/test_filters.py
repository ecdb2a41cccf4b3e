"""Values as a filter's text has them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh import errors, filter_value
from searchmesh_search.filters.filter import Comparison
from searchmesh_search.filters.text import parse


@given(st.text() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False))
def test_a_value_stays_one_whatever_it_holds(value: Any) -> None:
    try:
        written = filter_value(value)
    except errors.InvalidRequest:
        assert value in (float("inf"), float("-inf"))
        return
    parsed = parse(f"a = {written}")
    assert isinstance(parsed, Comparison)
    assert parsed.value == value
    assert type(parsed.value) is type(value)


@pytest.mark.parametrize("value", [None, [1], float("nan"), 10**400, "\ud800"])
def test_what_no_attribute_can_be_is_refused(value: Any) -> None:
    with pytest.raises(errors.InvalidRequest, match="filter: "):
        filter_value(value)
