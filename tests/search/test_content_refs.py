from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common.errors import DataLoss
from searchmesh_search.content_refs import pack_refs, unpack_refs
from searchmesh_search.content_store import ContentRef

NAMES = st.one_of(st.sampled_from(["a" * 32, "b" * 32]), st.text(max_size=64))
NUMBERS = st.integers(0, 2**40)
LONE = st.builds(ContentRef, NAMES, NUMBERS, NUMBERS)


@st.composite
def neighbours(draw: st.DrawFn) -> list[ContentRef]:
    """Records one behind the other, as one call stores them."""
    refs = [draw(LONE)]
    for length in draw(st.lists(st.integers(0, 2**20), max_size=20)):
        refs.append(ContentRef(refs[-1].pack, refs[-1].end, length))
    return refs


@given(st.lists(st.one_of(LONE.map(lambda one: [one]), neighbours())))
def test_any_references_come_back(groups: list[list[ContentRef]]) -> None:
    refs = [one for group in groups for one in group]
    assert unpack_refs(pack_refs(refs)) == refs


def test_a_batch_takes_two_bytes_a_document() -> None:
    refs = [ContentRef("f" * 32, 0, 1000)]
    while len(refs) < 1000:
        refs.append(ContentRef("f" * 32, refs[-1].end, 1000))
    assert len(pack_refs(refs)) < 2100


@given(st.lists(LONE, min_size=1, max_size=3), st.data())
def test_what_was_cut_is_never_read_as_something_else(
    refs: list[ContentRef], data: st.DataObject
) -> None:
    packed = pack_refs(refs)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    with contextlib.suppress(DataLoss):
        assert unpack_refs(cut) == refs[: len(unpack_refs(cut))]


@pytest.mark.parametrize("damaged", [b"\x80", b"\x01\xff\x00\x00", b"\x05abc"])
def test_damage_is_data_loss(damaged: bytes) -> None:
    with pytest.raises(DataLoss, match="batch"):
        unpack_refs(damaged)
