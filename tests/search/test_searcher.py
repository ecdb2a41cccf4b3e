from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh_common.errors import NotFound
from searchmesh_search.searcher import SPARE_ROWS, Searcher, SearchQuery

from .stack import document, soon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from searchmesh_search.searcher import SearchResult

    from .stack import Stack

    Search = Callable[..., Awaitable[Any]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


def query(**changes: Any) -> SearchQuery:
    return SearchQuery("things", vector=np.array([1, 0, 0, 0], np.float32), **changes)


def searcher(stack: Stack) -> Searcher:
    return Searcher(
        stack.journal, stack.collections, stack.documents, stack.engine, stack.models.encode_query
    )


def ids(result: SearchResult) -> list[str]:
    return [hit.document_id for hit in result.hits]


async def test_rows_that_were_replaced_cost_no_hit(stack: Stack) -> None:
    """The engine still holds more old rows than were asked for: it is asked for more."""
    things = await stack.collection()
    many = [f"{number:03d}" for number in range(4 * SPARE_ROWS)]
    await stack.upsert(things, *(document(one, [9, 0, 0, 0]) for one in many))
    await stack.upsert(things, *(document(one, [1, 0, 0, 0]) for one in many))
    result = await searcher(stack).search(query(limit=3), soon())
    assert [(hit.document_id, hit.score) for hit in result.hits] == [
        ("000", 1),
        ("001", 1),
        ("002", 1),
    ]


async def test_a_document_replaced_during_the_search_is_still_found(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("always", [1, 0, 0, 0]))

    async def search_and_replace(search: Search, *given: Any, **named: Any) -> Any:
        found = await search(*given, **named)
        stack.engine.restore("search")
        await stack.upsert(things, document("always", [2, 0, 0, 0]))
        return found

    stack.engine.patch("search", search_and_replace)
    result = await searcher(stack).search(query(), soon())
    assert [(hit.document_id, hit.score) for hit in result.hits] == [("always", 2)]


async def test_a_document_that_is_replaced_all_the_time_does_not_hold_the_search(
    stack: Stack,
) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("restless"), document("calm"))

    async def search_and_replace(search: Search, *given: Any, **named: Any) -> Any:
        found = await search(*given, **named)
        await stack.upsert(things, document("restless"))
        return found

    stack.engine.patch("search", search_and_replace)
    assert ids(await searcher(stack).search(query(), soon())) == ["calm"]


async def test_deleted_documents_are_not_found_before_the_engine_has_dropped_them(
    stack: Stack,
) -> None:
    things = await stack.collection()
    await stack.upsert(things, *(document(one) for one in "abc"))
    await stack.writer.delete(things, ["a", "b"], "", soon())
    assert await stack.engine.count_rows(things.physical, 5) == 3
    assert ids(await searcher(stack).search(query(), soon())) == ["c"]


@pytest.mark.parametrize("swept", [False, True])
async def test_a_collection_deleted_during_the_search_is_not_found(
    stack: Stack, swept: bool
) -> None:
    """Rather than that it had no documents."""
    await stack.upsert(await stack.collection(), document("a"))

    async def delete_and_search(search: Search, *given: Any, **named: Any) -> Any:
        found = await search(*given, **named)
        await stack.collections.delete("things", "", soon())
        if swept:
            await stack.sweeper.sweep(soon())
            return await search(*given, **named)
        return found

    stack.engine.patch("search", delete_and_search)
    with pytest.raises(NotFound, match="collection 'things' was deleted"):
        await searcher(stack).search(query(), soon())
