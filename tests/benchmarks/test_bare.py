from __future__ import annotations

from encoder.bare import batches_of
from hypothesis import given
from hypothesis import strategies as st

LENGTHS = st.lists(st.integers(2, 256), min_size=1, max_size=100)


@given(LENGTHS, st.integers(16, 1024))
def test_batches_hold_every_text_and_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    texts = [[length] * length for length in sorted(lengths, reverse=True)]
    batches = batches_of(texts, budget)
    assert [text for batch in batches for text in batch] == texts
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget
