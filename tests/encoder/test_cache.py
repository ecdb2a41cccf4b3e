"""What was encoded before is found again, as far as memory goes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common.errors import Internal
from searchmesh_encoder.cache import EmbeddingCache, content_key
from searchmesh_encoder.content import Content
from searchmesh_encoder.embedding import Embedding, SegmentVector
from searchmesh_encoder.models.card import Modality
from searchmesh_encoder.prepared import (
    InputRole,
    OnTooLong,
    PrepareOptions,
    Segmentation,
    TextSpan,
)

_ENTRY = 640 + 16


def embedding(value: float = 0.0) -> Embedding:
    return Embedding(np.full(4, value, np.float32), tokens=3, original_tokens=5, truncated=True)


def test_everything_that_an_embedding_depends_on_is_part_of_its_key() -> None:
    options = [
        PrepareOptions(*one) for one in itertools.product(InputRole, OnTooLong, Segmentation)
    ]
    contents = [
        Content(modality, data)
        for modality in (None, *Modality)
        for data in ("a", "b", b"a", "", "\ud800", "role")
    ]
    keys = {
        content_key(fingerprint, one, content)
        for fingerprint in ("f", "g")
        for one in options
        for content in contents
    }
    # a text and its bytes are one thing
    assert len(keys) == 2 * len(options) * (len(contents) - len(Modality) - 1)


def test_an_entry_is_whole_and_keeps_no_batch_alive() -> None:
    batch = np.zeros((100, 4), np.float32)
    cache = EmbeddingCache(10_000)
    cache.put(b"1", Embedding(batch[3], 3, 5, truncated=True))
    found = cache.get(b"1")
    assert found
    assert (found.tokens, found.original_tokens, found.truncated) == (3, 5, True)
    assert isinstance(found.outcome, np.ndarray)
    assert found.outcome.base is None
    segments = [SegmentVector(TextSpan(0, 1, "a"), batch[4])]
    cache.put(b"2", Embedding(segments, 1, 1))
    found = cache.get(b"2")
    assert found
    assert isinstance(found.outcome, list)
    assert found.outcome[0].vector.base is None
    assert found.outcome[0].segment.text == "a"


def test_errors_are_not_kept() -> None:
    cache = EmbeddingCache(10_000)
    cache.put(b"1", Embedding(Internal("once")))
    assert cache.get(b"1") is None
    assert cache.held_bytes == 0


def test_what_is_larger_than_the_cache_throws_nothing_out() -> None:
    cache = EmbeddingCache(_ENTRY)
    cache.put(b"1", embedding())
    cache.put(b"2", Embedding(np.zeros(1000, np.float32)))
    assert cache.get(b"1")
    assert cache.get(b"2") is None


def test_the_least_recently_used_goes_first() -> None:
    cache = EmbeddingCache(2 * _ENTRY)
    cache.put(b"1", embedding())
    cache.put(b"2", embedding())
    cache.get(b"1")
    cache.put(b"3", embedding())
    assert cache.get(b"2") is None
    assert cache.get(b"1")
    assert cache.get(b"3")


@pytest.mark.parametrize("most", [0, _ENTRY, 10 * _ENTRY + 5])
@given(keys=st.lists(st.integers(0, 20)))
def test_never_more_than_it_may_hold(most: int, keys: list[int]) -> None:
    cache = EmbeddingCache(most)
    for key in keys:
        cache.put(bytes([key]), embedding(key))
        assert cache.held_bytes <= most
    kept = list(dict.fromkeys(reversed(keys)))[: most // _ENTRY]
    for key in range(21):
        assert (cache.get(bytes([key])) is not None) == (key in kept)
    assert cache.held_bytes == _ENTRY * len(kept)
