"""Documents found, counted and deleted by their attributes, while they are written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from searchmesh_search import matching
from searchmesh_search.collection_spec import Segmentation
from searchmesh_search.engine import DeclaredField, FieldType
from searchmesh_search.facets import count_facets
from searchmesh_search.filters.text import parse

from .stack import document, soon

if TYPE_CHECKING:
    from typing import Any

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.document_checks import NewDocument
    from searchmesh_search.filters.filter import Filter

    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS = (
    DeclaredField("kind", FieldType.STRING),
    DeclaredField("year", FieldType.INT64),
    DeclaredField("sold", FieldType.BOOL),
)
OLD = parse("year < 2000")


def of_year(document_id: str, year: float | None, **others: Any) -> NewDocument:
    return document(document_id, attributes={"year": year, **others})


async def books(stack: Stack, **years: float | None) -> Collection:
    made = await stack.collection(fields=FIELDS)
    await stack.upsert(made, *(of_year(one, year) for one, year in years.items()))
    return made


async def found(stack: Stack, collection: Collection, where: Filter | None) -> list[str]:
    rows = await stack.matching.rows(collection, where, soon())
    return sorted(row.document_id for row in rows)


async def test_found_by_their_attributes(stack: Stack) -> None:
    things = await books(stack, a=1999.0, b=2001.0, c=None)
    assert await found(stack, things, OLD) == ["a"]
    assert await found(stack, things, parse("NOT year < 2000")) == ["b", "c"]
    assert await found(stack, things, None) == ["a", "b", "c"]


async def test_a_document_counts_once_whatever_its_passages(stack: Stack) -> None:
    texts = await stack.collection(
        "texts", "tiny", segmentation=Segmentation.SEGMENTS, fields=FIELDS
    )
    await stack.upsert(
        texts,
        document("many", None, text="one two three four", attributes={"year": 1999.0}),
        document("one", None, text="one", attributes={"year": 2001.0}),
        document("given", (1, 0, 0, 0), attributes={"year": 1998.0}),
    )
    assert await found(stack, texts, OLD) == ["given", "many"]
    counts = await count_facets(stack.matching, texts, "year", None, 10, soon())
    assert counts.facets == [(1998, 1), (1999, 1), (2001, 1)]


async def test_what_was_replaced_or_deleted_is_not_found(stack: Stack) -> None:
    things = await books(stack, a=1999.0, b=1999.0, c=1999.0)
    await stack.upsert(things, of_year("a", 2001.0), of_year("b", 1998.0))
    await stack.writer.delete(things, ["c"], "", soon())
    assert await stack.engine.count_rows(things.physical, 5) > 2
    assert await found(stack, things, OLD) == ["b"]
    await stack.sweeper.sweep(soon())
    assert await found(stack, things, OLD) == ["b"]


async def test_more_than_a_page(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PAGE_ROWS", 7)
    things = await books(stack, **{f"d{place}": float(place) for place in range(40)})
    assert len(await found(stack, things, parse("year >= 5"))) == 35
    assert len(await found(stack, things, parse("year IN (1, 2, 3, 4, 5, 6, 7)"))) == 7
    assert len(await found(stack, things, None)) == 40


async def test_replaced_between_the_engines_answer_and_the_journals(stack: Stack) -> None:
    things = await books(stack, stays=1999.0, goes=1999.0, comes=2001.0, other=2001.0)

    async def replace_then(work: Any, *given: Any, **named: Any) -> Any:
        answer = await work(*given, **named)
        stack.engine.restore("query")
        await stack.upsert(
            things, of_year("stays", 1990.0), of_year("goes", 2002.0), of_year("comes", 1991.0)
        )
        return answer

    stack.engine.patch("query", replace_then)
    assert await found(stack, things, OLD) == ["comes", "stays"]


async def test_replaced_again_and_swept_before_it_is_asked_about(stack: Stack) -> None:
    things = await books(stack, a=1999.0, b=2001.0)
    years = iter((2001.0, 1999.0, 1998.0))

    async def replace_then(work: Any, *given: Any, **named: Any) -> Any:
        year = next(years, None)
        if year is None:
            stack.engine.restore("query")
        else:
            # after the engine's answer the first time, before it from then on
            before = year != 2001.0
            answer = None if before else await work(*given, **named)
            await stack.upsert(things, of_year("a", year), of_year("b", 4000.0 - year))
            await stack.sweeper.sweep(soon())
            return await work(*given, **named) if before else answer
        return await work(*given, **named)

    stack.engine.patch("query", replace_then)
    assert await found(stack, things, OLD) == ["a"]


async def test_one_of_two_matches_at_any_moment(stack: Stack) -> None:
    things = await books(stack, a=1999.0, b=2001.0)
    ended = asyncio.Event()

    async def swap() -> None:
        years = [1999.0, 2001.0]
        while not ended.is_set():
            years.reverse()
            await stack.upsert(things, of_year("a", years[0]), of_year("b", years[1]))
            await stack.sweeper.sweep(soon())

    swapping = asyncio.create_task(swap())
    try:
        for _ in range(40):
            assert await stack.matching.count(things, OLD, soon()) == 1
    finally:
        ended.set()
        await swapping


async def test_documents_replaced_all_the_time_are_counted(stack: Stack) -> None:
    things = await books(stack, **{f"d{place}": 1999.0 for place in range(20)})
    ended = asyncio.Event()

    async def write() -> None:
        place = 0
        while not ended.is_set():
            place += 1
            await stack.upsert(things, of_year(f"d{place % 20}", 1900.0 + place % 50))

    writing = asyncio.create_task(write())
    try:
        for _ in range(25):
            assert await stack.matching.count(things, OLD, soon()) == 20
    finally:
        ended.set()
        await writing


async def test_what_does_not_fit_is_refused(stack: Stack) -> None:
    things = await books(stack, a=1.0)
    for text in ("colour = 1", "year = 'x'"):
        with pytest.raises(InvalidRequest, match="filter: at character 1"):
            await stack.matching.rows(things, parse(text), soon())
        with pytest.raises(InvalidRequest, match="filter: at character 1"):
            await stack.filter_deletes.delete(things, parse(text), "", soon())
    with pytest.raises(FailedPrecondition, match="cannot be asked"):
        await stack.matching.rows(things, parse(r"kind = '\r'"), soon())


async def test_an_engine_that_is_away_or_has_lost_the_collection(stack: Stack) -> None:
    things = await books(stack, a=1.0)
    stack.engine.fail_once("query", Unavailable("away"))
    with pytest.raises(Unavailable):
        await stack.filter_deletes.delete(things, OLD, "", soon())
    assert await stack.ids(things) == ["a"]
    await stack.engine.drop_collection(things.physical, 5)
    with pytest.raises(DataLoss, match="lost the rows"):
        await stack.matching.count(things, OLD, soon())
    await stack.collections.delete("things", "", soon())
    with pytest.raises(NotFound):
        await stack.matching.count(things, OLD, soon())
