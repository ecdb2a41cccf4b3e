"""What is collected and what is not; the model has all else that may happen."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import DataLoss, Unavailable
from searchmesh_search import content_collector as module
from searchmesh_search import content_store
from searchmesh_search.content_collector import SHARED_GRACE_SECONDS, ContentCollector
from searchmesh_search.content_store import ContentStore, pack_path
from searchmesh_search.journal import content_rows

from .stack import document, soon
from .test_content_collector_model import Hearer
from .test_content_store import packs

if TYPE_CHECKING:
    from pathlib import Path

    from searchmesh_search.collection_spec import Collection

    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def no_small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL_PACK_BYTES", 0)


async def collected(stack: Stack, *, grace_seconds: float = 0.0) -> Hearer:
    """Collect all that there is; what is left of it."""
    hearer = Hearer()
    collector = ContentCollector(stack.journal, stack.contents, hearer)
    collector._grace_seconds = grace_seconds
    while await collector.collect():
        pass
    await collector.collect()
    return hearer


async def filled(stack: Stack, count: int = 20) -> Collection:
    """A collection, in one pack that is not appended to any more."""
    things = await stack.collection()
    payloads = (document(f"{n:02d}", stored=bytes([n]) * 100) for n in range(count))
    await stack.upsert(things, *payloads)
    stack.contents._retire_current()
    return things


async def delete(stack: Stack, things: Collection, first: int, end: int) -> None:
    ids = [f"{n:02d}" for n in range(first, end)]
    assert await stack.writer.delete(things, ids, "", soon()) == end - first


async def stored(stack: Stack, things: Collection) -> dict[str, bytes]:
    page = await stack.documents.list_page(things, 100, "", soon())
    return {one.id: one.stored for one in page.documents}


async def test_a_pack_is_kept_as_it_is_while_half_of_it_is_in_use(stack: Stack) -> None:
    things = await filled(stack)
    await delete(stack, things, 0, 9)
    before = packs(stack.folder / "content")
    left = await collected(stack)
    assert packs(stack.folder / "content") == before
    assert (left.packs, left.live_bytes) == (1, 11 * 108)
    assert left.dead_bytes == len(content_store.MAGIC) + 9 * 108


async def test_what_is_in_use_of_a_mostly_dead_pack_is_moved_and_the_pack_deleted(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP_BYTES", 250)
    monkeypatch.setattr(content_rows, "DOCUMENTS", 3)
    things = await filled(stack)
    before = packs(stack.folder / "content")
    await delete(stack, things, 0, 13)
    left = await collected(stack)
    assert (left.packs, left.live_bytes, left.dead_bytes) == (1, 7 * 108, 8)
    assert packs(stack.folder / "content") != before
    assert await stored(stack, things) == {f"{n:02d}": bytes([n]) * 100 for n in range(13, 20)}


async def test_a_pack_that_nothing_points_to_is_deleted_and_closed(stack: Stack) -> None:
    things = await filled(stack)
    assert await stored(stack, things)
    await delete(stack, things, 0, 20)
    assert await collected(stack) == Hearer()
    assert packs(stack.folder / "content") == []
    deleted = [one for one in os.listdir("/proc/self/fd") if _is_deleted_pack(one)]  # noqa: PTH208
    assert deleted == []


def _is_deleted_pack(descriptor: str) -> bool:
    try:
        target = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - no path to a file
    except FileNotFoundError:
        return False
    return target.endswith(f"{content_store.SUFFIX} (deleted)")


async def test_small_packs_are_put_together_once_there_are_many(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SMALL_PACK_BYTES", 4096)
    monkeypatch.setattr(module, "MANY_SMALL", 4)
    things = await stack.collection()
    for n in range(4):
        assert (await collected(stack)).packs == n
        await stack.upsert(things, document(str(n)))
        stack.contents._retire_current()
    assert (await collected(stack)).packs == 1
    assert set(await stored(stack, things)) == set("0123")


async def test_a_round_copies_no_more_than_it_may(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_BYTES", 600)
    monkeypatch.setattr(module, "MOSTLY_DEAD", 1.1)
    things = await filled(stack, 2)
    for n in range(2, 10, 2):
        payloads = [document(f"{n + i:02d}", stored=b"payload" * 20) for i in range(2)]
        await stack.upsert(things, *payloads)
        stack.contents._retire_current()
    collector = ContentCollector(stack.journal, stack.contents, Hearer())
    collector._grace_seconds = 0
    before = set(packs(stack.folder / "content"))
    assert await collector.collect()
    await collector.collect()
    # two of five were emptied by the first round, and nothing more deleted by the second
    assert len(before - set(packs(stack.folder / "content"))) == 2


async def test_a_document_that_is_replaced_while_it_is_copied_stays_replaced(
    stack: Stack,
) -> None:
    things = await filled(stack)
    await delete(stack, things, 1, 20)
    get = stack.contents.get

    async def replacing(refs: object) -> list[bytes]:
        payloads = await get(refs)  # type: ignore[arg-type]
        stack.contents.get = get  # type: ignore[method-assign]
        await stack.upsert(things, document("00", stored=b"new"))
        return payloads

    stack.contents.get = replacing  # type: ignore[method-assign]
    await collected(stack)
    assert await stored(stack, things) == {"00": b"new"}


async def test_readers_do_not_notice(stack: Stack) -> None:
    things = await filled(stack)
    await delete(stack, things, 0, 13)
    ended = asyncio.Event()

    async def read() -> int:
        rounds = 0
        while not ended.is_set():
            assert len(await stored(stack, things)) == 7
            assert (await stack.documents.get(things, "15", soon())).stored == bytes([15]) * 100
            rounds += 1
        return rounds

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for _ in range(5):
        await collected(stack)
        stack.contents._retire_current()
        for path in packs(stack.folder / "content"):
            os.truncate(path, path.stat().st_size * 3)  # as if all else of it were dead
    ended.set()
    assert all(await asyncio.gather(*readers))


async def test_a_damaged_pack_is_kept_and_told(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    things = await filled(stack)
    await delete(stack, things, 0, 15)
    (path,) = packs(stack.folder / "content")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    await collected(stack)
    assert path.exists()
    assert "a pack is damaged and kept" in caplog.text
    assert (await stack.documents.get(things, "15", soon())).stored == bytes([15]) * 100
    with pytest.raises(DataLoss, match="damaged"):
        await stack.documents.get(things, "19", soon())


async def test_packs_that_others_may_write_to_are_left_alone(stack: Stack) -> None:
    other = ContentStore(stack.folder / "content")
    await other.open()
    async with other.storing([b"the journal is yet to be told"], soon()) as contents:
        path = pack_path(stack.folder / "content", contents.refs[0].pack)
        await collected(stack, grace_seconds=SHARED_GRACE_SECONDS)
        assert path.exists()
    await other.close()
    long_ago = time.time() - SHARED_GRACE_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    await collected(stack, grace_seconds=SHARED_GRACE_SECONDS)
    assert not path.exists()


async def test_only_a_journal_that_others_share_makes_it_wait(stack: Stack) -> None:
    collector = ContentCollector(stack.journal, stack.contents, Hearer())
    assert (collector._grace_seconds > 0) == stack.journal.is_shared


async def test_what_was_stored_too_long_ago_may_not_be_told(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = await stack.collection()
    monkeypatch.setattr(content_store, "CLAIM_SECONDS", -1.0)
    with pytest.raises(Unavailable, match="too long ago"):
        await stack.writer.upsert(things, [document("late")], soon())
    monkeypatch.undo()
    assert await stack.ids(things) == []


async def test_a_pack_is_closed_when_it_is_old(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, max_pack_seconds=0)
    await store.open()
    for _ in range(3):
        async with store.storing([b"one"], soon()):
            pass
    assert len(packs(tmp_path)) == 3
    await store.close()
