"""The embedded engine's process and file: killed, stopped, orphaned, in use, misplaced."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from searchmesh_common.errors import DeadlineExceeded, Unavailable
from searchmesh_common.ports import StartError
from searchmesh_search import milvus_file, milvus_lite
from searchmesh_search.engine import row_key
from searchmesh_search.milvus_engine import MilvusEngine

from .disks import filled, small_disk
from .engines import SOON, rows, schema, started, until_up, vectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LITE = "milvus-lite"

PARENT = """
import asyncio, sys
import numpy as np
from searchmesh_search.engine import CollectionSchema, Metric, Row
from searchmesh_search.milvus_engine import MilvusEngine

async def main():
    engine = MilvusEngine(sys.argv[1])
    await engine.start()
    await engine.create_collection("one", CollectionSchema(8, Metric.COSINE), 20)
    await engine.insert("one", [Row("kept", 1, 0, np.ones(8, np.float32))], 20)
    print(engine.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


STOPPED_WITH_LOCK = """
import fcntl, os, signal, sys
lock = open(sys.argv[1], "r+")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture(autouse=True, scope="module")
def no_engine_outlives_its_test() -> Iterator[None]:
    before = engine_pids()
    yield
    assert engine_pids() == before


def engine_pids() -> set[int]:
    """Of every engine that this process has started, those of other tests' meshes included."""
    children = psutil.Process().children(recursive=True)
    return {one.pid for one in children if one.name() == "milvus"}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[MilvusEngine]:
    async with started(LITE, tmp_path) as engine:
        yield engine


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Another process that owns an engine over `tmp_path`, and that engine's process."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "milvus.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        its_engine = psutil.Process(int(process.stdout.readline()))
        try:
            yield process, its_engine
        finally:
            process.kill()
            process.wait()
            for left in psutil.wait_procs([its_engine], timeout=2)[1]:
                left.kill()


@pytest.fixture
def stopped_with_lock(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that could be an engine over `tmp_path`, stopped when it had just got the lock."""
    lock = tmp_path / ".milvus.db.lock"
    lock.touch()
    command = [sys.executable, "-c", STOPPED_WITH_LOCK, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def pid_of(engine: MilvusEngine) -> int:
    assert engine.pid is not None
    return engine.pid


async def until_away(engine: MilvusEngine, reason: str) -> None:
    """Wait until the engine says that it is away for this reason."""
    give_up = time.monotonic() + SOON
    while True:
        try:
            await engine.ping(1.0)
        except Unavailable as error:
            if reason in error.message:
                return
        assert time.monotonic() < give_up
        await asyncio.sleep(0.001)


async def stop(engine: MilvusEngine) -> None:
    """Stop its process; the signal takes effect a moment later."""
    process = psutil.Process(pid_of(engine))
    process.suspend()
    give_up = time.monotonic() + SOON
    while process.status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.001)


def temporary_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("searchmesh-*"))


class TestKilled:
    async def test_it_comes_back_with_its_rows(self, engine: MilvusEngine) -> None:
        stored = vectors(500, 32)
        await engine.create_collection("one", schema(32), SOON)
        await engine.insert("one", rows(stored), SOON)
        first = pid_of(engine)
        os.kill(first, signal.SIGKILL)
        await until_away(engine, "ended with -9")
        assert await until_up(engine) < 2.0
        assert pid_of(engine) != first
        found = await engine.search("one", stored[:5], 1, SOON)
        assert [hits[0].document_id for hits in found] == [f"d{place}" for place in range(5)]
        assert await engine.count_rows("one", SOON) == 500

    async def test_a_call_rides_over_the_restart(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        os.kill(pid_of(engine), signal.SIGKILL)
        await until_away(engine, "ended with -9")
        assert await engine.count_rows("one", SOON) == 0

    @pytest.mark.slow
    async def test_no_acknowledged_write_is_lost(self, engine: MilvusEngine) -> None:
        """Four writers, killed four times at moments of chance."""
        chance = random.Random(7)
        await engine.create_collection("one", schema(64), SOON)
        kept: set[str] = set()
        dropped: set[str] = set()
        over = asyncio.Event()

        async def write(writer: int) -> None:
            turn = 0
            while not over.is_set():
                turn += 1
                batch = rows(vectors(20, 64, seed=turn), prefix=f"w{writer}t{turn}d")
                keys = [one.key for one in batch]
                try:
                    await engine.insert("one", batch, 5.0)
                    kept.update(keys)
                    if turn % 3 == 0:
                        kept.difference_update(keys[:10])
                        await engine.delete("one", keys[:10], 5.0)
                        dropped.update(keys[:10])
                except (Unavailable, DeadlineExceeded):
                    await until_up(engine)

        async with asyncio.TaskGroup() as writers:
            for writer in range(4):
                writers.create_task(write(writer))
            for _ in range(4):
                enough = len(kept) + chance.randrange(200, 500)
                while len(kept) < enough:  # noqa: ASYNC110 - any moment will do
                    await asyncio.sleep(0.001)
                os.kill(pid_of(engine), signal.SIGKILL)
                await until_up(engine)
            over.set()
        await until_up(engine)
        assert len(kept) > 1000
        there = await engine.vectors("one", [*kept, *dropped], SOON)
        assert kept - there.keys() == set()
        assert dropped & there.keys() == set()
        # nor is a row there twice
        everything = await engine.search("one", vectors(1, 64), 16_384, SOON)
        keys = [row_key(hit.document_id, hit.generation, hit.segment) for hit in everything[0]]
        assert len(keys) == len(set(keys)) == await engine.count_rows("one", SOON)

    async def test_one_that_cannot_start_says_why(
        self, engine: MilvusEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "milvus"
        program.write_text("#!/bin/sh\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setattr(milvus_lite, "_library_folder", lambda: tmp_path)
        os.kill(pid_of(engine), signal.SIGKILL)
        await until_away(engine, "ended with 3")


class TestStopped:
    async def test_calls_end_in_time_and_it_heals(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        await engine.insert("one", rows(vectors(3)), SOON)
        await stop(engine)
        try:
            began = time.monotonic()
            outcomes = await asyncio.gather(
                engine.ping(0.3),
                engine.search("one", vectors(1), 1, 0.3),
                engine.insert("one", rows(vectors(3), prefix="late"), 0.3),
                engine.delete("one", ["d0#1#0"], 0.3),
                engine.count_rows("one", 0.3),
                return_exceptions=True,
            )
            assert time.monotonic() < began + 1.0
        finally:
            os.kill(pid_of(engine), signal.SIGCONT)
        assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 5
        await until_up(engine)
        # what timed out may have been done; repeating it is safe
        await engine.insert("one", rows(vectors(3), prefix="late"), SOON)
        await engine.delete("one", ["d0#1#0"], SOON)
        assert await engine.count_rows("one", SOON) == 5

    async def test_a_write_given_up_is_not_overtaken(self, engine: MilvusEngine) -> None:
        """Both at once would store the key twice."""
        await engine.create_collection("one", schema(), SOON)
        await stop(engine)
        given_up = [
            asyncio.create_task(engine.insert("one", rows(vectors(200)), 0.2)) for _ in range(2)
        ]
        outcomes = await asyncio.gather(*given_up, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 2
        writing = asyncio.create_task(engine.insert("one", rows(vectors(200)), SOON))
        os.kill(pid_of(engine), signal.SIGCONT)
        await writing
        assert await engine.count_rows("one", SOON) == 200

    async def test_it_is_ended_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(milvus_lite, "_END_SECONDS", 0.1)
        async with started(LITE, tmp_path) as engine:
            pid = pid_of(engine)
            await stop(engine)
        assert not psutil.pid_exists(pid)


class TestRestartedService:
    async def test_it_finds_everything_again(self, tmp_path: Path) -> None:
        described = schema(16)
        async with started(LITE, tmp_path) as engine:
            await engine.create_collection("one", described, SOON)
            await engine.insert("one", rows(vectors(10, 16)), SOON)
            first = pid_of(engine)
        assert not psutil.pid_exists(first)
        async with started(LITE, tmp_path) as engine:
            assert await engine.list_collections(SOON) == ["one"]
            assert await engine.count_rows("one", SOON) == 10
            await engine.create_collection("one", described, SOON)
            ((hit,),) = await engine.search("one", vectors(1, 16), 1, SOON)
            assert hit.document_id == "d0"

    async def test_it_leaves_no_socket(self, tmp_path: Path) -> None:
        async with started(LITE, tmp_path):
            assert (tmp_path / "milvus.db.sock").is_socket()
        assert not (tmp_path / "milvus.db.sock").exists()

    async def test_what_a_dead_service_left_is_no_obstacle(self, tmp_path: Path) -> None:
        (tmp_path / "milvus.db.sock").write_text("stale")
        (tmp_path / ".milvus.db.lock").write_text(str(os.getpid()))
        async with started(LITE, tmp_path) as engine:
            await engine.create_collection("one", schema(), SOON)

    async def test_an_engine_ends_with_its_killed_parent(
        self, parent: tuple[subprocess.Popen[str], psutil.Process], tmp_path: Path
    ) -> None:
        process, its_engine = parent
        process.kill()
        process.wait()
        its_engine.wait(timeout=5)
        async with started(LITE, tmp_path) as engine:
            assert set(await engine.vectors("one", ["kept#1#0"], SOON)) == {"kept#1#0"}

    async def test_a_stopped_orphan_is_ended(
        self, parent: tuple[subprocess.Popen[str], psutil.Process], tmp_path: Path
    ) -> None:
        """It would wake up beside our own engine."""
        process, its_engine = parent
        its_engine.suspend()
        process.kill()
        process.wait()
        assert its_engine.is_running()
        async with started(LITE, tmp_path) as engine:
            its_engine.wait(timeout=5)
            assert await engine.count_rows("one", SOON) == 1

    async def test_an_orphan_stopped_with_the_lock_is_ended(
        self, stopped_with_lock: subprocess.Popen[bytes], tmp_path: Path
    ) -> None:
        """It got the lock of its dead owner and would have ended."""
        async with started(LITE, tmp_path):
            assert stopped_with_lock.wait(5) == -signal.SIGKILL


class TestSecondService:
    async def test_in_another_process_is_refused(
        self,
        parent: tuple[subprocess.Popen[str], psutil.Process],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(milvus_file, "_CLAIM_SECONDS", 0.1)
        engine = MilvusEngine(str(tmp_path / "milvus.db"))
        with pytest.raises(StartError, match=r"milvus.db is in use by another process"):
            await engine.start()
        await engine.close()
        assert parent[1].is_running()

    async def test_in_this_process_is_refused(self, engine: MilvusEngine, tmp_path: Path) -> None:
        second = MilvusEngine(str(tmp_path / "milvus.db"))
        with pytest.raises(StartError, match="in use"):
            await second.start()
        await second.close()
        await engine.ping(SOON)


async def test_a_fault_of_ours_at_its_start_does_not_keep_it_away(tmp_path: Path) -> None:
    faults = [RuntimeError("unforeseen")]

    async def warm_up() -> None:
        if faults:
            raise faults.pop()

    lite = milvus_lite.MilvusLite(tmp_path / "milvus.db", warm_up)
    await lite.start()
    try:
        await lite.wait_up(SOON)
    finally:
        await lite.close()


async def test_a_full_disk_is_told_and_heals(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        async with started(LITE, disk) as engine:
            await engine.create_collection("one", schema(256), SOON)
            with filled(disk, left_bytes=30_000):
                for _ in range(2):
                    with pytest.raises(Unavailable, match="No space left"):
                        await engine.insert("one", rows(vectors(200, 256)), SOON)
                    with pytest.raises(Unavailable, match="No space left"):
                        await engine.ping(SOON)
            await until_up(engine)
            await engine.insert("one", rows(vectors(200, 256)), SOON)
            assert await engine.count_rows("one", SOON) == 200


async def test_a_cancelled_write_lets_the_next_through(engine: MilvusEngine) -> None:
    await engine.create_collection("one", schema(384), SOON)
    writing = asyncio.create_task(engine.insert("one", rows(vectors(4000, 384)), SOON))
    while await engine.count_rows("one", SOON) == 0:
        pass
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await engine.insert("one", rows(vectors(1, 384), prefix="after"), SOON)
    assert 1 < await engine.count_rows("one", SOON) < 4001


async def test_the_terminal_cannot_interrupt_it(engine: MilvusEngine) -> None:
    assert os.getsid(pid_of(engine)) == pid_of(engine) != os.getsid(0)


class TestPlaces:
    async def refused(self, path: Path, message: str) -> None:
        engine = MilvusEngine(str(path))
        with pytest.raises(StartError, match=message):
            await engine.start()
        await engine.close()

    @pytest.mark.parametrize("name", ["a b.db", "x" * 37, "é.db"])
    async def test_a_name_that_the_engine_does_not_take(self, tmp_path: Path, name: str) -> None:
        await self.refused(tmp_path / name, "cannot name the engine's file")

    async def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        await self.refused(tmp_path / "file" / "milvus.db", "cannot open the engine's file")

    async def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "milvus.db").write_text("some text, and much more of it than a header" * 50)
        await self.refused(tmp_path / "milvus.db", "no file of the engine")

    async def test_no_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(milvus_lite, "_library_folder", lambda: tmp_path / "nowhere")
        await self.refused(tmp_path / "milvus.db", "cannot start the engine")

    async def test_a_long_and_odd_path(self, tmp_path: Path) -> None:
        """Its socket goes to the temporary folder, and away with the engine."""
        folder = tmp_path / "with space, é and #%" / ("long" * 30)
        before = temporary_folders()
        async with started(LITE, folder) as engine:
            await engine.create_collection("one", schema(), SOON)
            assert temporary_folders() != before
        assert temporary_folders() == before

    @pytest.mark.parametrize("temporary", ["missing", "long" * 30])
    async def test_no_place_for_the_socket(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str
    ) -> None:
        if temporary != "missing":
            (tmp_path / temporary).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / temporary))
        await self.refused(
            tmp_path / ("long" * 30) / "milvus.db", "no place for the engine's socket"
        )
