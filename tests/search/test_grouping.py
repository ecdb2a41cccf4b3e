from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from searchmesh_search.grouping import best_of_groups


@given(groups=st.lists(st.sampled_from([None, "a", "b", 1, True])), size=st.integers(1, 4))
def test_each_group_has_its_first(groups: list[str | int | None], size: int) -> None:
    items = list(enumerate(groups))
    best = best_of_groups(items, size)
    assert best == sorted(best)
    for group in set(groups) - {None}:
        members = [place for place, one in items if one == group]
        assert [place for place in best if place in members] == members[:size]
    alone = {place for place, one in items if one is None}
    assert alone <= set(best)
