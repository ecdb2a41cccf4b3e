"""Contents read by references that may be outdated the moment they are found.

The collector moves contents to other packs, tells the journal, and deletes the packs of before.
Who found a reference in the journal before that reads it after that: the pack is gone, and the
journal knows where the content is now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from searchmesh_search.content_store import PackGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from searchmesh_search.content_store import ContentRef, ContentStore

Found = TypeVar("Found")


async def read_contents(
    contents: ContentStore,
    found: Found,
    refs_of: Callable[[Found], Sequence[ContentRef]],
    find_again: Callable[[], Awaitable[Found]],
) -> tuple[Found, list[bytes]]:
    """The contents of what was found in the journal, and what they belong to.

    refs_of: the references in it. find_again: called where a content is no longer where it was;
    what it finds takes the place of `found`. Raises what it raises, and DataLoss where it finds
    what was found before.
    """
    while True:
        refs = refs_of(found)
        try:
            return found, await contents.get(refs)
        except PackGone:
            found = await find_again()
            if refs_of(found) == refs:
                raise
