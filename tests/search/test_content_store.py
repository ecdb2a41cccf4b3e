from __future__ import annotations

import asyncio
import errno
import os
import resource
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_common.errors import DataLoss, DeadlineExceeded, Unavailable
from searchmesh_search.content_store import SUFFIX, ContentRef, ContentStore, pack_path
from searchmesh_search.deadline import Deadline

from .disks import filled, small_disk
from .stack import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    store = ContentStore(tmp_path)
    await store.open()
    yield store
    await store.close()


async def put(
    store: ContentStore, payloads: Sequence[bytes], deadline: Deadline | None = None
) -> list[ContentRef]:
    async with store.storing(payloads, deadline or soon()) as contents:
        return contents.refs


def packs(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/*{SUFFIX}"))


async def test_what_was_put_is_got_in_any_order(store: ContentStore) -> None:
    payloads = [b"", b"one", b"\x00" * 100_000, "ünï".encode()]
    refs = await put(store, payloads)
    assert await store.get(refs) == payloads
    assert await store.get(refs[::-1]) == payloads[::-1]
    assert await put(store, []) == []


async def test_a_store_opened_anew_reads_the_packs_of_before_and_appends_to_its_own(
    tmp_path: Path,
) -> None:
    refs: list[ContentRef] = []
    for payload in (b"first", b"second"):
        store = ContentStore(tmp_path)
        await store.open()
        refs += await put(store, [payload])
        assert await store.get(refs) == [b"first", b"second"][: len(refs)]
        await store.close()
        await store.close()
    assert len(packs(tmp_path)) == 2


async def test_concurrent_puts_share_a_pack_and_keep_apart(
    store: ContentStore, tmp_path: Path
) -> None:
    payloads = [[f"{n}-{part}".encode() for part in range(3)] for n in range(50)]
    refs = await asyncio.gather(*(put(store, one) for one in payloads))
    assert await asyncio.gather(*(store.get(one) for one in refs)) == payloads
    assert len(packs(tmp_path)) == 1


async def test_a_large_pack_is_followed_by_another(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, max_pack_bytes=1000, max_open_packs=2)
    await store.open()
    refs = [(await put(store, [bytes([n]) * 600]))[0] for n in range(10)]
    assert len(packs(tmp_path)) == 5
    assert await store.get(refs) == [bytes([n]) * 600 for n in range(10)]
    open_packs = [one for one in psutil.Process().open_files() if one.path.endswith(SUFFIX)]
    assert len(open_packs) <= 3
    await store.close()


@pytest.fixture
async def damaged(store: ContentStore, tmp_path: Path) -> tuple[ContentRef, Path]:
    """A reference, and its pack's file, to be damaged before the first read."""
    (ref,) = await put(store, [b"precious content"])
    return ref, pack_path(tmp_path, ref.pack)


async def test_a_flipped_bit_is_data_loss(
    store: ContentStore, damaged: tuple[ContentRef, Path]
) -> None:
    ref, path = damaged
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataLoss, match="damaged"):
        await store.get([ref])


async def test_a_cut_pack_is_data_loss(
    store: ContentStore, damaged: tuple[ContentRef, Path]
) -> None:
    ref, path = damaged
    for size in (path.stat().st_size - 1, ref.offset + 3):
        os.truncate(path, size)
        with pytest.raises(DataLoss, match=r"damaged|ends before"):
            await store.get([ref])


async def test_a_missing_pack_is_data_loss(
    store: ContentStore, damaged: tuple[ContentRef, Path]
) -> None:
    ref, path = damaged
    path.unlink()
    with pytest.raises(DataLoss, match="missing"):
        await store.get([ref])


async def test_a_reference_to_nothing_is_data_loss_never_garbage(
    store: ContentStore, damaged: tuple[ContentRef, Path]
) -> None:
    ref, _ = damaged
    for offset, length in ((ref.offset + 1, ref.length), (ref.offset, ref.length - 1), (0, 4)):
        with pytest.raises(DataLoss):
            await store.get([ContentRef(ref.pack, offset, length)])


async def test_a_full_disk_is_unavailable_and_heals(store: ContentStore, tmp_path: Path) -> None:
    (before,) = await put(store, [b"before"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # a file that may not grow: the nearest to a full disk that a test can have
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(Unavailable, match=os.strerror(errno.EFBIG)):
            await put(store, [b"small", bytes(10_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (after,) = await put(store, [b"after"])
    assert await store.get([before, after]) == [b"before", b"after"]
    assert after.pack != before.pack


async def test_a_full_disk_is_told_until_it_has_room_and_is_not_littered(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        store = ContentStore(disk / "content")
        await store.open()
        await store.ping(soon())
        assert packs(disk / "content") == []
        with filled(disk):
            for _ in range(3):
                with pytest.raises(Unavailable, match="No space left"):
                    await put(store, [b"content"])
                with pytest.raises(Unavailable, match="No space left"):
                    await store.ping(soon())
            assert packs(disk / "content") == []
        await store.ping(soon())
        refs = await put(store, [b"content"])
        assert await store.get(refs) == [b"content"]
        await store.close()


async def test_a_pack_that_cannot_even_be_closed_is_left_behind(store: ContentStore) -> None:
    await put(store, [b"before"])
    assert store._current is not None
    os.close(store._current._descriptor)
    with pytest.raises(Unavailable, match=os.strerror(errno.EBADF)):
        await put(store, [b"lost"])
    refs = await put(store, [b"after"])
    assert await store.get(refs) == [b"after"]


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ContentStore(tmp_path / "file" / "content")
    with pytest.raises(Unavailable, match="content store"):
        await store.open()
    await store.close()


async def test_a_passed_deadline_stores_nothing(store: ContentStore, tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        await put(store, [b"late"], Deadline.after(-1))
    assert packs(tmp_path) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=300), max_size=5), max_size=8))
def test_any_payloads_come_back(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[bytes]]
) -> None:
    async def round_trip() -> list[list[bytes]]:
        store = ContentStore(tmp_path_factory.mktemp("content"), max_pack_bytes=400)
        await store.open()
        refs = await asyncio.gather(*(put(store, group) for group in groups))
        got = [await store.get(one) for one in refs]
        await store.close()
        return got

    assert asyncio.run(round_trip()) == groups
