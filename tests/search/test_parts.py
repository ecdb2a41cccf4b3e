"""Parts: everything once, in order, none larger than it must be and none smaller."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from searchmesh_search.parts import parts


@given(st.lists(st.integers(0, 12)), st.integers(1, 5), st.integers(0, 20))
def test_parts_are_as_large_as_they_may_be(sizes: list[int], most: int, most_size: int) -> None:
    cut = [list(one) for one in parts(sizes, int, most=most, most_size=most_size)]
    assert list(itertools.chain(*cut)) == sizes
    for part in cut:
        assert len(part) <= most
        assert len(part) == 1 or sum(part) <= most_size
    for part, following in itertools.pairwise(cut):
        assert len(part) == most or sum(part) + following[0] > most_size
