from __future__ import annotations

import asyncio

from searchmesh_search.imports.intake import MAX_BYTES, MAX_DOCUMENTS, Arrival, Intake


def arrivals(count: int, size: int = 1) -> list[Arrival]:
    return [Arrival(b"x" * size, b"") for _ in range(count)]


async def test_what_arrives_meanwhile_is_one_batch() -> None:
    intake = Intake()
    await intake.put(arrivals(3))
    await intake.put(arrivals(4))
    assert len(await intake.take()) == 7
    await intake.end()
    assert await intake.take() == []


async def test_a_batch_has_its_limits_and_a_large_document_one_of_its_own() -> None:
    intake = Intake()
    await intake.put(arrivals(MAX_DOCUMENTS - 1))
    await intake.put(arrivals(2))
    assert len(await intake.take()) == MAX_DOCUMENTS
    await intake.put(arrivals(2, MAX_BYTES))
    await intake.end()
    assert [len(await intake.take()) for _ in range(4)] == [1, 1, 1, 0]


async def test_a_full_intake_takes_nothing_until_there_is_room() -> None:
    intake = Intake()
    await intake.put(arrivals(1, MAX_BYTES))
    waiting = asyncio.create_task(intake.put(arrivals(1)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert len(await intake.take()) == 1
    await waiting
    assert len(await intake.take()) == 1
