"""Gives back the space of contents that nothing points to any more.

Packs are only appended to, so what is replaced or deleted stays in them. A pack to which nothing
points is deleted; of one that is mostly dead, what is alive is copied to another and the journal
told where it is now, which leaves a pack to which nothing points.

Nothing that is alive is removed, because a pack is left alone until it can only lose references.
New ones come from whoever stores something there and then tells the journal:

    this process    its packs count as in use until it has done so (`ContentStore.storing`)
    another         appends to a pack for APPEND_SECONDS and is heard by the journal for
                    CLAIM_SECONDS (`NewContents.claim`); where there may be others, a pack is left
                    alone for SHARED_GRACE_SECONDS after it was last written to

While a backup copies packs, none is deleted (`pack_hold`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from searchmesh_common.errors import DataLoss, ServiceError
from searchmesh_common.logs import fields
from searchmesh_search.content_store import PackGone
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, content_rows
from searchmesh_search.journal.content_rows import NOTHING
from searchmesh_search.parts import parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.content_store import ContentStore, Pack
    from searchmesh_search.journal.content_rows import PackUsage, Placed

_log = logging.getLogger("searchmesh.collector")

SHARED_GRACE_SECONDS = 3600.0
"""More than APPEND_SECONDS and CLAIM_SECONDS together, and than the clocks of machines that share a
folder may be apart."""

MOSTLY_DEAD = 0.5
"""Share of a pack that is in use, below which the rest is worth copying."""

SMALL_PACK_BYTES = 4 << 20
"""Smaller packs are put together once there are MANY_SMALL of them: a service that is fed slowly
makes one every few minutes."""

MANY_SMALL = 16

ROUND_BYTES = 64 << 20
"""Contents copied before the packs that this empties are deleted: bounds the space that it takes
meanwhile."""

STEP_BYTES = 1 << 20
STEP_ROWS = 500
"""Contents copied at once, and told to the journal in one transaction: others wait meanwhile."""

STEP_SECONDS = 60.0
"""Time for each step."""


class Listener(Protocol):
    """Who is told what the content store takes."""

    def contents(self, packs: int, live_bytes: int, dead_bytes: int) -> None:
        """Packs that there are, and how much of them is in use and how much is not."""


class ContentCollector:
    """Collects at intervals, and rests as long as it works: others want the disk, too."""

    def __init__(self, journal: Journal, contents: ContentStore, listener: Listener) -> None:
        self._journal = journal
        self._contents = contents
        self._listener = listener
        self._grace_seconds = SHARED_GRACE_SECONDS if journal.is_shared else 0.0
        self._damaged: set[str] = set()

    async def run(self, interval_seconds: float) -> None:
        """Collect until cancelled."""
        while True:
            try:
                while await self.collect():
                    pass
            except ServiceError as error:
                _log.warning("collecting is put off", extra=fields(reason=error.message))
            except Exception:  # noqa: BLE001 - whatever a round meets, the next must come
                _log.exception("collecting failed")
            await asyncio.sleep(interval_seconds)

    async def collect(self) -> bool:
        """One round: delete the packs that are unused, then empty some of those that are nearly.

        Returns whether it has emptied any, which the next round deletes. While a backup copies
        packs, it does neither. Raises what the content store and the journal raise.
        """
        packs = await self._contents.packs()
        # now the journal knows what was stored before and is not in use any more, or never will
        await self._journal.settle(_step())
        used = await self._used()
        self._tell(packs, used)
        settled = [
            pack for pack in packs if not pack.in_use and pack.idle_seconds >= self._grace_seconds
        ]
        if not await self._delete([pack for pack in settled if pack.name not in used]):
            return False  # what is emptied now would only take more room
        emptied = _worth_copying([pack for pack in settled if pack.name not in self._damaged], used)
        await self._empty([pack.name for pack in emptied])
        return bool(emptied)

    async def _used(self) -> Mapping[str, PackUsage]:
        """What is in use of each pack that anything points to."""
        packs: dict[str, PackUsage] = {}
        for part in content_rows.PARTS:
            after, more = None, True
            while more:
                used, after = await self._journal.read(
                    lambda c: part(c, after),  # noqa: B023 - run at once
                    _step(),
                )
                packs = content_rows.total([*packs.items(), *used.items()])
                more = after is not None
        return packs

    def _tell(self, packs: Sequence[Pack], used: Mapping[str, PackUsage]) -> None:
        live = sum(used.get(pack.name, NOTHING).bytes for pack in packs)
        self._listener.contents(len(packs), live, sum(pack.bytes for pack in packs) - live)

    async def _delete(self, packs: Sequence[Pack]) -> bool:
        """Whether they may be deleted now: not while a backup copies packs."""
        allowed = await self._contents.remove([pack.name for pack in packs])
        if packs and allowed:
            freed = sum(pack.bytes for pack in packs)
            _log.info("deleted unused contents", extra=fields(packs=len(packs), bytes=freed))
        return allowed

    async def _empty(self, packs: Collection[str]) -> None:
        """Copy what is in use of packs, and tell the journal where it is now."""
        last: Placed | None = None
        while packs and (
            placed := await self._journal.read(
                lambda c: content_rows.placed_in(c, packs, last, STEP_ROWS),  # noqa: B023 - at once
                _step(),
            )
        ):
            for part in parts(placed, _length, most=STEP_ROWS, most_size=STEP_BYTES):
                begun = time.monotonic()
                await self._move(part)
                await asyncio.sleep(time.monotonic() - begun)
            last = placed[-1]

    async def _move(self, placed: Sequence[Placed]) -> None:
        try:
            payloads = await self._contents.get([one.content for one in placed])
        except DataLoss:
            await self._note_damaged(placed)
            return
        deadline = _step()
        async with self._contents.storing(payloads, deadline) as copies:

            def move(connection: Connection) -> None:
                copies.claim()
                content_rows.move(connection, placed, copies.refs)

            await self._journal.write(move, deadline)

    async def _note_damaged(self, placed: Sequence[Placed]) -> None:
        """Leave packs alone that cannot be read: a copy would make the damage look like content."""
        for one in placed:
            try:
                await self._contents.get([one.content])
            except PackGone:
                pass  # moved and deleted by another process
            except DataLoss as error:
                self._damaged.add(one.content.pack)
                _log.error("a pack is damaged and kept", extra=fields(reason=error.message))


def _worth_copying(packs: Iterable[Pack], used: Mapping[str, PackUsage]) -> Sequence[Pack]:
    """Packs, those of which the least is in use first, as many as one round may copy."""
    movable = [pack for pack in packs if pack.name in used and used[pack.name].movable]
    small = [pack for pack in movable if pack.bytes < SMALL_PACK_BYTES]
    dead = [pack for pack in movable if used[pack.name].bytes < pack.bytes * MOSTLY_DEAD]
    worth = {pack.name: pack for pack in (*dead, *(small if len(small) >= MANY_SMALL else ()))}
    by_use = sorted(worth.values(), key=lambda pack: used[pack.name].bytes / pack.bytes)
    return list(_within_round(by_use, used))


def _within_round(packs: Iterable[Pack], used: Mapping[str, PackUsage]) -> Iterator[Pack]:
    """The first of them, as many as one round may copy, and at least one."""
    copied = 0
    for pack in packs:
        copied += used[pack.name].bytes
        if copied > used[pack.name].bytes and copied > ROUND_BYTES:
            return
        yield pack


def _length(placed: Placed) -> int:
    return placed.content.length


def _step() -> Deadline:
    return Deadline.after(STEP_SECONDS)
