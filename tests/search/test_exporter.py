"""Exports while nothing and while everything changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh_common.errors import DataLoss, NotFound
from searchmesh_search import exporter as module
from searchmesh_search.engine import row_key
from searchmesh_search.exporter import PART_BYTES, Exporter

from .stack import document, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.documents import StoredDocument

    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


def export(
    stack: Stack, things: Collection, after: str = "", *, with_vectors: bool = False
) -> AsyncIterator[Sequence[StoredDocument]]:
    exporter = Exporter(stack.documents, stack.contents)
    return exporter.export(things, after, soon, with_vectors=with_vectors)


async def whole(parts: AsyncIterator[Sequence[StoredDocument]]) -> list[StoredDocument]:
    return [one async for part in parts for one in part]


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_ROWS", 3)


async def test_every_document_comes_once_in_order_with_its_vector(
    stack: Stack, short_pages: None
) -> None:
    things = await stack.collection()
    ids = [f"{n:02d}" for n in range(10)]
    await stack.upsert(things, *(document(one, [int(one), 1, 0, 0]) for one in reversed(ids)))
    plain = await whole(export(stack, things))
    assert [one.id for one in plain] == ids
    assert [one.stored for one in plain] == [one.encode() for one in ids]
    assert all(one.segments is None for one in plain)
    with_vectors = await whole(export(stack, things, with_vectors=True))
    assert [one.id for one in with_vectors] == ids
    vectors = [one.segments.vectors[0] for one in with_vectors if one.segments is not None]
    assert [one.tolist() for one in vectors] == [[int(one), 1, 0, 0] for one in ids]


async def test_an_export_goes_on_after_any_id(stack: Stack, short_pages: None) -> None:
    things = await stack.collection()
    await stack.upsert(things, *(document(one) for one in "abcdefg"))
    for after, expected in (
        ("", "abcdefg"),
        ("c", "defg"),
        ("cc", "defg"),
        ("g", ""),
        ("A", "abcdefg"),
    ):
        assert "".join(one.id for one in await whole(export(stack, things, after))) == expected


async def test_an_empty_collection_has_no_part(stack: Stack) -> None:
    things = await stack.collection()
    assert [part async for part in export(stack, things, with_vectors=True)] == []


async def test_parts_are_of_about_a_mebibyte(stack: Stack) -> None:
    things = await stack.collection()
    large = bytes(PART_BYTES * 3 // 10)
    await stack.upsert(
        things,
        *(document(f"a{n}", stored=large) for n in range(7)),
        document("b", stored=bytes(3 * PART_BYTES)),
        *(document(f"c{n:03d}") for n in range(200)),
    )
    sizes = [len(part) async for part in export(stack, things)]
    assert sizes == [3, 3, 1, 1, 200]


async def test_what_changes_meanwhile_comes_in_one_of_its_states(
    stack: Stack, short_pages: None
) -> None:
    things = await stack.collection()
    await stack.upsert(things, *(document(one, [1, 0, 0, 0], stored=b"old") for one in "abcdefghi"))
    exported: list[StoredDocument] = []
    async for part in export(stack, things, with_vectors=True):
        exported += part
        if part[0].id == "a":
            # of the next page all are replaced, and the engine has dropped what they were
            await stack.upsert(
                things, *(document(one, [2, 0, 0, 0], stored=b"new") for one in "def")
            )
            await stack.writer.delete(things, ["a", "h"], "", soon())
            await stack.upsert(things, document("aa"), document("ee", [2, 0, 0, 0], stored=b"new"))
            await stack.sweeper.sweep(soon())
    assert [one.id for one in exported] == ["a", "b", "c", "d", "e", "ee", "f", "g", "i"]
    for one in exported:
        assert one.segments is not None
        assert (one.stored, one.segments.vectors[0, 0]) in {(b"old", 1), (b"new", 2)}
    assert {one.stored for one in exported if one.id in "def"} == {b"new"}


@pytest.mark.parametrize("left", ["", "b"])
async def test_a_part_whose_documents_went_while_it_was_read(stack: Stack, left: str) -> None:
    things = await stack.collection()
    await stack.upsert(things, *(document(one) for one in "abc"))

    async def delete_first(vectors: Any, *given: Any) -> Any:
        stack.engine.restore("vectors")
        await stack.writer.delete(things, set("abc") - set(left), "", soon())
        await stack.sweeper.sweep(soon())
        return await vectors(*given)

    stack.engine.patch("vectors", delete_first)
    assert "".join(one.id for one in await whole(export(stack, things, with_vectors=True))) == left


async def test_a_document_that_is_replaced_all_the_time(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a", [0, 0, 0, 0]))
    rounds = iter(range(1, 4))

    async def replace_first(vectors: Any, *given: Any) -> Any:
        number = next(rounds, None)
        if number is not None:
            await stack.upsert(things, document("a", [number, 0, 0, 0], stored=bytes([number])))
            await stack.sweeper.sweep(soon())
        return await vectors(*given)

    stack.engine.patch("vectors", replace_first)
    (only,) = await whole(export(stack, things, with_vectors=True))
    assert only.segments is not None
    assert (only.stored, only.segments.vectors[0, 0]) == (b"\x03", 3)


async def test_a_collection_deleted_meanwhile_is_not_found(stack: Stack, short_pages: None) -> None:
    things = await stack.collection()
    await stack.upsert(things, *(document(one) for one in "abcdefg"))
    parts = export(stack, things, with_vectors=True)
    await anext(parts)
    await stack.collections.delete("things", "", soon())
    await stack.sweeper.sweep(soon())
    await stack.collection()  # of the same name
    with pytest.raises(NotFound, match="things"):
        await anext(parts)


async def test_a_lost_vector_is_named(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a"), document("b"))
    row = (await stack.documents.rows(things, ["b"], soon()))["b"]
    await stack.engine.delete(things.physical, [row_key("b", row.generation, 0)], 5)
    with pytest.raises(DataLoss, match="document 'b'"):
        await whole(export(stack, things, with_vectors=True))
    assert len(await whole(export(stack, things))) == 2


async def test_under_writes_without_end(stack: Stack, short_pages: None) -> None:
    """Whatever is written meanwhile, what stays is exported exactly once, with its own vector."""
    things = await stack.collection()
    ids = [f"{n:02d}" for n in range(20)]
    await stack.upsert(things, *(document(one, [0, 0, 0, 0], stored=b"0") for one in ids))
    exported = asyncio.Event()

    async def write() -> None:
        number = 0
        while not exported.is_set():
            number += 1
            some = ids[number % 5 :: 5]
            stored = str(number).encode()
            await stack.upsert(
                things, *(document(one, [number, 0, 0, 0], stored=stored) for one in some)
            )
            await stack.writer.delete(things, [f"{number % 20:02d}x"], "", soon())
            await stack.upsert(
                things, document(f"{number % 20:02d}x", [number, 0, 0, 0], stored=stored)
            )
            await stack.sweeper.sweep(soon())

    writing = asyncio.create_task(write())
    try:
        for _ in range(5):
            whole_export = await whole(export(stack, things, with_vectors=True))
            found = [one.id for one in whole_export]
            assert [one for one in found if "x" not in one] == ids
            assert len(found) == len(set(found))
            for one in whole_export:
                assert one.segments is not None
                assert int(one.stored) == one.segments.vectors[0, 0]
    finally:
        exported.set()
        await writing
