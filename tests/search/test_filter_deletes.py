"""Documents deleted by a filter, while they are written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import AlreadyExists
from searchmesh_search.filters.text import parse

from .stack import soon
from .test_matching import OLD, books, of_year

if TYPE_CHECKING:
    from searchmesh_search.collection_spec import Collection

    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_deleted_all_at_once_and_once_a_request(stack: Stack) -> None:
    things = await books(stack, a=1999.0, b=1998.0, c=2001.0)
    assert await stack.filter_deletes.delete(things, OLD, "r1", soon()) == 2
    assert await stack.ids(things) == ["c"]
    assert await stack.documents.count(things, soon()) == 1
    await stack.upsert(things, of_year("a", 1999.0))
    assert await stack.filter_deletes.delete(things, OLD, "r1", soon()) == 2
    assert await stack.ids(things) == ["a", "c"]
    assert await stack.filter_deletes.delete(things, OLD, "r2", soon()) == 1
    assert await stack.filter_deletes.delete(things, OLD, "", soon()) == 0
    for other in (parse("year < 2001"), parse("NOT year < 2000")):
        with pytest.raises(AlreadyExists, match="r1"):
            await stack.filter_deletes.delete(things, other, "r1", soon())
    with pytest.raises(AlreadyExists, match="r1"):
        await stack.writer.delete(things, ["a"], "r1", soon())
    await stack.sweep_until(lambda: holds_rows(stack, things, 1))


async def holds_rows(stack: Stack, collection: Collection, count: int) -> bool:
    return bool(await stack.engine.count_rows(collection.physical, 5) == count)


async def test_a_request_at_once_with_itself_deletes_once(stack: Stack) -> None:
    things = await books(stack, a=1999.0, b=1998.0)
    answers = await asyncio.gather(
        *(stack.filter_deletes.delete(things, OLD, "same", soon()) for _ in range(5))
    )
    assert answers == [2] * 5


async def test_a_document_replaced_before_its_delete_stays(stack: Stack) -> None:
    things = await books(stack, a=1999.0, b=1999.0)
    entered, go_on = stack.engine.hold("query")
    deleting = asyncio.create_task(stack.filter_deletes.delete(things, OLD, "", soon()))
    await entered.wait()
    await stack.upsert(things, of_year("a", 2001.0))
    go_on.set()
    assert await deleting == 1
    assert await stack.ids(things) == ["a"]


async def test_readers_see_all_of_a_delete_or_nothing(stack: Stack) -> None:
    names = [f"d{place}" for place in range(1200)]
    things = await books(stack, **dict.fromkeys(names[:600], 1999.0))
    await stack.upsert(things, *(of_year(one, 1998.0) for one in names[600:]))
    counts = set()
    deleting = asyncio.create_task(stack.filter_deletes.delete(things, OLD, "", soon()))
    while not deleting.done():
        counts.add(await stack.documents.count(things, soon()))
    assert await deleting == 1200
    assert counts <= {0, 1200}
    assert await stack.ids(things) == []
