"""The collector against a dictionary: any order of writes, crashes and rounds that break off."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update

from searchmesh_search import content_collector as module
from searchmesh_search.content_collector import ContentCollector
from searchmesh_search.content_store import ContentStore, NewContents
from searchmesh_search.journal import (
    Journal,
    batch_rows,
    collection_rows,
    content_rows,
    document_rows,
    import_rows,
    tables,
    write_rows,
)
from searchmesh_search.journal.clock import NOW_US
from searchmesh_search.journal.write_rows import Write

from .stack import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from searchmesh_search.content_store import ContentRef

    Write_ = tuple[str, Sequence[str]]
    Steps = Sequence[tuple[Write_, tuple[str, int, Write_] | None]]

THINGS = 1
IMPORT = "import"
PACK_BYTES = 60

IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True)
WRITES: st.SearchStrategy[tuple[str, list[str]]] = st.one_of(
    st.tuples(st.sampled_from(["upsert", "receive", "begin", "put", "lose", "delete"]), IDS),
    st.tuples(st.sampled_from(["store", "finish", "tell", "crash"]), st.just([])),
)
ROUNDS = st.tuples(
    st.sampled_from(["collect", "break_off", "interfere"]), st.integers(0, 12), WRITES
)
STEPS = st.lists(st.tuples(WRITES, st.none() | ROUNDS), min_size=8, max_size=25)


@dataclass
class Hearer:
    """What the collector has told last."""

    packs: int = 0
    live_bytes: int = 0
    dead_bytes: int = 0

    def contents(self, packs: int, live_bytes: int, dead_bytes: int) -> None:
        self.packs, self.live_bytes, self.dead_bytes = packs, live_bytes, dead_bytes


@dataclass
class Begun:
    """Something that the journal knows and that no reader sees yet."""

    payloads: dict[str, bytes]
    writes: Sequence[Write]


@dataclass
class World:
    """A content store and a journal, written to as the service does, and what they must hold."""

    folder: Path
    journal: Journal
    contents: ContentStore
    hearer: Hearer = field(default_factory=Hearer)
    current: dict[str, bytes] = field(default_factory=dict)
    batches: dict[int, Begun] = field(default_factory=dict)
    pending: dict[str, Begun] = field(default_factory=dict)
    untold: list[tuple[AsyncExitStack, dict[str, bytes], NewContents]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    async def step(self, name: str, *given: Any) -> None:
        await getattr(self, name)(*given)

    async def upsert(self, ids: Sequence[str]) -> None:
        await self.begin(ids)
        await self.store()

    async def lose(self, ids: Sequence[str]) -> None:
        """An upsert that ends before the journal hears of it."""
        async with self.contents.storing(list(self.new(ids).values()), soon()):
            pass

    async def delete(self, ids: Sequence[str]) -> None:
        await self.journal.write(lambda c: document_rows.remove(c, THINGS, ids), soon())
        for one in ids:
            self.current.pop(one, None)

    async def collect(self, *_: object) -> None:
        while await self.collector().collect():
            pass

    async def break_off(self, calls: int, *_: object) -> None:
        """A process that ends in the middle of a round."""
        with suppress(BreakError):
            await self.collector(calls, BreakError).collect()

    async def interfere(self, calls: int, step: tuple[str, Sequence[str]]) -> None:
        """A round, and something else in the middle of it."""
        if step[0] not in {"crash", "finish"}:
            await self.collector(calls, lambda: self.step(*step)).collect()

    def new(self, ids: Sequence[str]) -> dict[str, bytes]:
        self.counts["new"] += 1
        return {one: f"{one}{self.counts['new']}".encode() * 12 for one in ids}

    async def begin(self, ids: Sequence[str]) -> None:
        """An upsert as far as its writes are pending."""
        await self.put(ids)
        await self.tell()

    async def put(self, ids: Sequence[str]) -> None:
        """An upsert as far as the contents are stored."""
        payloads = self.new(ids)
        open_block = AsyncExitStack()
        contents = await open_block.enter_async_context(
            self.contents.storing(list(payloads.values()), soon())
        )
        self.untold.append((open_block, payloads, contents))

    async def tell(self, _ids: Sequence[str] = ()) -> None:
        if not self.untold:
            return
        open_block, payloads, contents = self.untold.pop()
        intent = f"intent-{self.counts['new']}-{len(self.pending)}"
        async with open_block:
            writes = await self.journal.write(
                lambda c: _add_pending(c, intent, list(payloads), contents), soon()
            )
        self.pending[intent] = Begun(payloads, writes)

    async def store(self, _ids: Sequence[str] = ()) -> None:
        if not self.pending:
            return
        intent, begun = self.pending.popitem()

        def store(connection: Connection) -> None:
            assert write_rows.take_pending(connection, intent) == len(begun.writes)
            document_rows.make_current(connection, THINGS, begun.writes)

        await self.journal.write(store, soon())
        await self.note_current(begun)

    async def note_current(self, begun: Begun) -> None:
        """Of two writes of a document, the one that began last wins."""
        ids = [one.document_id for one in begun.writes]
        rows = await self.journal.read(lambda c: document_rows.find(c, THINGS, ids), soon())
        for write in begun.writes:
            if rows[write.document_id].generation == write.generation:
                self.current[write.document_id] = begun.payloads[write.document_id]

    async def receive(self, ids: Sequence[str]) -> None:
        payloads = self.new(ids)
        number = self.counts["new"]
        async with self.contents.storing(list(payloads.values()), soon()) as contents:

            def receive(connection: Connection) -> list[Write]:
                contents.claim()
                writes = _writes(connection, list(payloads), contents.refs)
                batch_rows.add(
                    connection, IMPORT, number, 0, writes[0].generation, contents.refs, b""
                )
                return writes

            writes = await self.journal.write(receive, soon())
        self.batches[number] = Begun(payloads, writes)

    async def finish(self, _ids: Sequence[str] = ()) -> None:
        """A batch, from beginning to end."""
        if not self.batches:
            return
        number, begun = self.batches.popitem()
        intent = batch_rows.intent_of(IMPORT, number)
        await self.journal.write(
            lambda c: write_rows.add_pending(c, THINGS, intent, None, begun.writes), soon()
        )
        await self.collector().collect()

        def finish(connection: Connection) -> None:
            batch = tables.import_batches
            connection.execute(update(batch).where(batch.c.number == number).values(refs=None))
            write_rows.take_pending(connection, intent)
            document_rows.make_current(connection, THINGS, begun.writes)

        await self.journal.write(finish, soon())
        await self.note_current(begun)

    async def crash(self, _ids: Sequence[str] = ()) -> None:
        """Begin anew on the same files: the next start takes pending writes back."""
        for open_block, _, _ in self.untold:
            await open_block.aclose()
        self.untold.clear()
        await self.contents.close()
        self.contents = _contents(self.folder)
        await self.contents.open()
        await self.journal.write(lambda c: write_rows.roll_back(c, self.pending, 0), soon())
        self.pending.clear()

    def collector(self, calls: int = -1, then: Callable[[], Any] | None = None) -> ContentCollector:
        """then: what happens after so many calls of the journal."""
        journal: Any = Watched(self.journal, calls, then)
        return ContentCollector(journal, self.contents, self.hearer)

    async def check(self) -> None:
        rows = await self.journal.read(lambda c: document_rows.find(c, THINGS, "abcdefgh"), soon())
        stored = await self.contents.get([one.content for one in rows.values()])
        assert dict(zip(rows, stored, strict=True)) == self.current
        for begun in (*self.pending.values(), *self.batches.values()):
            refs = [one.content for one in begun.writes]
            assert await self.contents.get(refs) == list(begun.payloads.values())
        for _, payloads, contents in self.untold:
            assert await self.contents.get(contents.refs) == list(payloads.values())


class BreakError(Exception):
    """A process ends here."""


class Watched:
    """A journal; before one of its calls something else happens."""

    def __init__(self, journal: Journal, calls: int, then: Callable[[], Any] | None) -> None:
        self.is_shared = journal.is_shared
        self._journal = journal
        self._calls = calls
        self._then = then

    def __getattr__(self, name: str) -> Any:
        async def call(*given: Any) -> Any:
            self._calls -= 1
            if self._calls == -1 and self._then is not None:
                happened = self._then()
                if isinstance(happened, Exception):
                    raise happened
                await happened
            return await getattr(self._journal, name)(*given)

        return call


def _contents(folder: Path) -> ContentStore:
    return ContentStore(folder / "contents", max_pack_bytes=PACK_BYTES, max_open_packs=3)


def _writes(connection: Connection, ids: Sequence[str], refs: Sequence[ContentRef]) -> list[Write]:
    first = write_rows.allocate_generations(connection, THINGS, len(ids))
    return [
        Write(one, generation, 1, ref)
        for one, generation, ref in zip(ids, range(first, first + len(ids)), refs, strict=True)
    ]


def _add_pending(
    connection: Connection, intent: str, ids: Sequence[str], contents: NewContents
) -> list[Write]:
    contents.claim()
    writes = _writes(connection, ids, contents.refs)
    write_rows.add_pending(connection, THINGS, intent, "me", writes)
    return writes


def _found(connection: Connection) -> None:
    """A collection, and an import into it."""
    connection.execute(
        insert(tables.collections).values(
            id=THINGS,
            name="things",
            physical="c_1",
            state="READY",
            fingerprint="",
            dimension=4,
            metric="COSINE",
            kind="FLOAT",
            spec="{}",
            document_count=0,
            next_generation=1,
            create_time=NOW_US,
            update_time=NOW_US,
        )
    )
    things = collection_rows.find_by_id(connection, THINGS)
    assert things is not None
    import_rows.add(connection, IMPORT, "", things)


@asynccontextmanager
async def a_world(folder: Path, journal_url: str = "") -> AsyncIterator[World]:
    journal = Journal(journal_url or f"sqlite:///{folder}/journal.db")
    await journal.open()
    await journal.write(_found, soon())
    world = World(folder, journal, _contents(folder))
    await world.contents.open()
    try:
        yield world
    finally:
        await world.crash()
        await world.contents.close()
        await journal.close()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL_PACK_BYTES", 100)
    monkeypatch.setattr(module, "MANY_SMALL", 3)
    monkeypatch.setattr(module, "ROUND_BYTES", 500)
    monkeypatch.setattr(module, "STEP_BYTES", 100)
    monkeypatch.setattr(module, "STEP_ROWS", 3)
    monkeypatch.setattr(content_rows, "DOCUMENTS", 3)
    monkeypatch.setattr(content_rows, "BATCHES", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
def test_nothing_alive_is_lost_and_what_is_dead_goes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @settings(max_examples=50, deadline=None)
    @given(STEPS)
    def check(steps: Steps) -> None:
        asyncio.run(run(tmp_path_factory.mktemp("world"), steps))

    check()


async def run(folder: Path, steps: Steps) -> None:
    async with a_world(folder) as world:
        for write, collecting in steps:
            await world.step(*write)
            if collecting is not None:
                await world.step(*collecting)
            await world.check()
        while world.batches:
            await world.finish()
        await world.crash()
        await world.collect()
        await world.collect()
        await world.check()
        assert world.hearer.dead_bytes <= world.hearer.live_bytes + 2 * 100
        await world.delete("abcdefgh")
        await world.crash()
        await world.collect()
        await world.collect()
        assert world.hearer == Hearer()
