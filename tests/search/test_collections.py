from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from searchmesh_search.collection_spec import Collection, CollectionSpec, VectorSpace
from searchmesh_search.content import Modality
from searchmesh_search.engine import DeclaredField, FieldType, Index, Metric, VectorKind

from .stack import MODEL, SPACE, document, open_stack, soon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import Any

    from searchmesh_search.milvus_engine import MilvusEngine

    from .stack import Patchable, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


SPEC = CollectionSpec(
    "things",
    vector_space=SPACE,
    fields=(DeclaredField("year", FieldType.INT64), DeclaredField("kind", FieldType.STRING)),
    index=Index("IVF_FLAT", {"nlist": 8, "nprobe": 4}),
)


async def test_a_collection_is_as_it_was_defined(stack: Stack) -> None:
    made = await stack.collections.create(SPEC, "", soon())
    assert made.spec == SPEC
    assert made.space == SPACE
    assert (made.model, made.fingerprint, made.modality) == (None, "", None)
    assert made.document_count == 0
    assert made.create_time <= made.update_time
    assert await stack.collections.get("things", soon()) == made
    assert made.physical in await stack.engine.list_collections(5)


async def test_a_model_lends_its_space_and_its_fingerprint_is_pinned(stack: Stack) -> None:
    made = await stack.collections.create(CollectionSpec("texts", model="tiny"), "", soon())
    assert (made.model, made.fingerprint) == ("tiny", "print-1")
    assert made.space == MODEL.space
    assert made.modality is Modality.TEXT


async def test_an_unknown_model_makes_nothing(stack: Stack) -> None:
    with pytest.raises(NotFound, match="no model 'huge'"):
        await stack.collections.create(CollectionSpec("texts", model="huge"), "", soon())
    with pytest.raises(NotFound):
        await stack.collections.get("texts", soon())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Upper"}, "collection.name"),
        ({"name": "a" * 64}, "collection.name"),
        ({"vector_space": None}, "collection"),
        ({"model": "tiny"}, "collection"),
        ({"vector_space": VectorSpace(0, Metric.COSINE)}, "collection.vector_space.dimension"),
        (
            {"vector_space": VectorSpace(12, Metric.JACCARD, VectorKind.BINARY)},
            "collection.vector_space.dimension",
        ),
        ({"vector_space": VectorSpace(8, Metric.HAMMING)}, "collection.vector_space.metric"),
        (
            {"vector_space": VectorSpace(8, Metric.COSINE, VectorKind.BINARY)},
            "collection.vector_space.metric",
        ),
        ({"fields": (DeclaredField("a", FieldType.BOOL),) * 2}, "collection.fields[1].name"),
    ],
)
async def test_a_faulty_definition_names_its_field(
    stack: Stack, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await stack.collections.create(replace(SPEC, **changes), "", soon())
    assert [one.field for one in caught.value.violations] == [field]


async def test_what_the_engine_lacks_is_refused(stack: Stack) -> None:
    for spec in (
        replace(SPEC, index=Index("HNSW")),
        replace(SPEC, vector_space=VectorSpace(40_000, Metric.COSINE)),
        replace(
            SPEC,
            vector_space=VectorSpace(8, Metric.JACCARD, VectorKind.BINARY),
            index=Index("IVF_FLAT", {"nlist": 8}),
        ),
    ):
        with pytest.raises(
            FailedPrecondition, match=r"does not have (index HNSW|index IVF|dimension 40000)"
        ):
            await stack.collections.create(spec, "", soon())


async def test_a_name_is_taken_once(stack: Stack) -> None:
    outcomes = await asyncio.gather(
        *(stack.collections.create(SPEC, "", soon()) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, AlreadyExists) for one in outcomes) == 4
    made = [one.physical for one in outcomes if isinstance(one, Collection)]
    assert made == [(await stack.collections.get("things", soon())).physical]


async def test_a_repeated_request_answers_the_same_and_another_is_refused(stack: Stack) -> None:
    outcomes = await asyncio.gather(
        *(stack.collections.create(SPEC, "r-1", soon()) for _ in range(3))
    )
    assert outcomes[0] == outcomes[1] == outcomes[2]
    with pytest.raises(AlreadyExists, match="request_id: 'r-1' was used for another"):
        await stack.collections.create(replace(SPEC, name="other"), "r-1", soon())
    with pytest.raises(AlreadyExists, match="collection 'things' exists"):
        await stack.collections.create(SPEC, "r-2", soon())


async def test_one_request_id_for_two_collections_at_once_makes_one(stack: Stack) -> None:
    outcomes = await asyncio.gather(
        *(stack.collections.create(replace(SPEC, name=name), "r-1", soon()) for name in "ab"),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["AlreadyExists", "Collection"]


async def test_a_repeated_creation_after_the_deletion_says_so(stack: Stack) -> None:
    await stack.collections.create(SPEC, "r-1", soon())
    await stack.collections.delete("things", "", soon())
    with pytest.raises(NotFound, match="deleted since; use a new request_id"):
        await stack.collections.create(SPEC, "r-1", soon())


async def test_a_deletion_frees_the_name_and_never_reuses_the_physical_one(stack: Stack) -> None:
    first = await stack.collection()
    await stack.upsert(first, document("a"))
    await stack.collections.delete("things", "d-1", soon())
    with pytest.raises(NotFound):
        await stack.collections.get("things", soon())
    second = await stack.collection()
    assert second.physical != first.physical
    assert await stack.documents.count(second, soon()) == 0
    await stack.collections.delete("things", "d-1", soon())  # repeated: deletes nothing more
    assert await stack.collections.get("things", soon()) == second
    await stack.sweeper.sweep(soon())
    held = await stack.engine.list_collections(5)
    assert first.physical not in held
    assert second.physical in held


async def test_deleting_what_is_not_there_is_not_found(stack: Stack) -> None:
    with pytest.raises(NotFound, match="no collection 'things'"):
        await stack.collections.delete("things", "d-1", soon())


async def test_pages_hold_every_collection_once_by_name(stack: Stack) -> None:
    names = ["b", "a", "d", "c", "e"]
    for name in names:
        await stack.collection(name)
    listed: list[str] = []
    token = ""
    while True:
        page = await stack.collections.list_page(2, token, soon())
        listed += [one.name for one in page.collections]
        token = page.next_page_token
        if not token:
            break
    assert listed == sorted(names)
    with pytest.raises(InvalidRequest, match="page_token"):
        await stack.collections.list_page(2, "bm9uc2Vuc2U=", soon())


async def test_a_creation_that_the_engine_refuses_leaves_nothing(stack: Stack) -> None:
    before = await stack.engine.list_collections(5)
    stack.engine.fail_once("create_collection", Unavailable("the engine is away"))
    with pytest.raises(Unavailable, match="engine is away"):
        await stack.collections.create(SPEC, "r-1", soon())
    made = await stack.collections.create(SPEC, "r-1", soon())
    await stack.sweeper.sweep(soon())
    assert set(await stack.engine.list_collections(5)) == {*before, made.physical}
    assert (await stack.collections.list_page(10, "", soon())).collections == [made]


async def test_a_creation_that_is_cancelled_leaves_nothing(stack: Stack) -> None:
    entered, _ = stack.engine.hold("create_collection")
    creating = asyncio.create_task(stack.collections.create(SPEC, "", soon()))
    await entered.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert await stack.collection()


async def test_a_start_undoes_creations_and_finishes_deletions_that_were_begun(
    tmp_path: Path, engine: MilvusEngine, journal_url: str
) -> None:
    async with open_stack(tmp_path, engine, journal_url, lease_seconds=0.5) as stack:
        deleted = await stack.collection("deleted")
        await stack.upsert(deleted, *(document(str(n)) for n in range(20)))
        kept = await stack.collection("kept")
        creating = asyncio.create_task(stack.collections.create(SPEC, "", soon()))
        made = await hang_after(stack.engine, "create_collection")
        await stack.collections.delete("deleted", "", soon())
        # as for a process that dies here, nothing more reaches the journal
        await stack.journal.close()
        creating.cancel()
        with pytest.raises(Unavailable):
            await creating
    async with open_stack(tmp_path, engine, journal_url) as stack:

        async def is_done() -> bool:
            return not {deleted.physical, made} & set(await stack.engine.list_collections(5))

        await stack.sweep_until(is_done)
        assert kept.physical in await stack.engine.list_collections(5)
        assert (await stack.collections.list_page(10, "", soon())).collections == [kept]
        await stack.collection("things")


async def hang_after(engine: Patchable, method: str) -> str:
    """Let a method of the engine do its work and then hang; returns its first argument."""
    called: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work_and_hang(work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        await work(*arguments)
        called.set_result(arguments[0])
        await asyncio.sleep(60)

    engine.patch(method, work_and_hang)
    return await called
