"""A page's token leads on in the list that gave it, and in no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common import page_tokens
from searchmesh_common.errors import InvalidRequest

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=256)


@given(scope=st.lists(NAMES, min_size=1, max_size=3), last=NAMES)
def test_leads_back_to_what_it_was_made_of(scope: list[str], last: str) -> None:
    assert page_tokens.decode(tuple(scope), page_tokens.encode(tuple(scope), last)) == last


def test_the_first_page_needs_none() -> None:
    assert page_tokens.decode(("models",), "") == ""


@pytest.mark.parametrize(
    "token",
    [
        "made-up",
        "%",
        "é",
        "AAAA",
        "_" * 32,
        page_tokens.encode(("documents", "1"), "a"),
        page_tokens.encode(("models",), "a")[:-4],
    ],
)
def test_any_other_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest, match="page_token: not a token of this list"):
        page_tokens.decode(("models",), token)
