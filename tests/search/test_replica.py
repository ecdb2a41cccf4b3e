"""A replica's lease: renewed whatever the journal is busy with, and over for those that die."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import literal, select

from searchmesh_common.errors import Unavailable
from searchmesh_search.journal import Journal, replica_rows
from searchmesh_search.journal.tables import replicas
from searchmesh_search.replica import Replica
from tests.mesh import wait_for

from .stack import soon
from .test_journal import blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Journal]:
    journal = Journal(url)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


@pytest.fixture
async def journal(postgres_url: str) -> AsyncIterator[Journal]:
    async with opened(postgres_url) as journal:
        yield journal


@asynccontextmanager
async def running(replica: Replica) -> AsyncIterator[None]:
    renewing = asyncio.create_task(replica.run())
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing


async def is_gone(journal: Journal, replica: Replica) -> bool:
    """What the others think of it."""
    asked = select(replica_rows.is_gone(literal(replica.id)))
    return bool(await journal.read(lambda c: c.execute(asked).scalar_one(), soon()))


async def lease_ends(journal: Journal) -> set[int]:
    asked = select(replicas.c.lease_until)
    return await journal.read(lambda c: set(c.execute(asked).scalars()), soon())


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_for, condition, "a change of the lease")


async def renewed(journal: Journal, before: set[int]) -> None:
    """Wait until the leases are others than they were."""
    for _ in range(400):
        if await lease_ends(journal) != before:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no lease was renewed")


async def test_alone_it_has_the_journal_for_ever_and_those_of_before_are_gone(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    async with opened(url) as journal:
        before = Replica(journal)
        await before.join(soon())
    async with opened(url) as journal:
        replica = Replica(journal, lease_seconds=0.01)
        await replica.join(soon())
        await asyncio.wait_for(replica.run(), 1)  # there is nothing to renew
        await asyncio.sleep(0.02)
        assert not await is_gone(journal, replica)
        assert await is_gone(journal, before)
        assert replica.lease_age_seconds == 0
        await replica.check()


async def test_it_renews_its_lease_as_long_as_it_runs(journal: Journal) -> None:
    replica = Replica(journal, lease_seconds=3)
    await replica.join(soon())
    joined = await lease_ends(journal)
    async with running(replica):
        await renewed(journal, joined)
        assert not await is_gone(journal, replica)
        await replica.check()


async def test_a_lease_is_renewed_while_a_write_takes_long(journal: Journal) -> None:
    replica = Replica(journal, lease_seconds=3)
    await replica.join(soon())
    joined = await lease_ends(journal)
    async with running(replica), blocked(journal):
        await renewed(journal, joined)


async def test_without_renewal_it_is_gone_for_the_others_and_knows_until_it_renews(
    journal: Journal,
) -> None:
    replica, other = Replica(journal, lease_seconds=0.05), Replica(journal)
    await replica.join(soon())
    await other.join(soon())
    await asyncio.sleep(0.1)
    assert await is_gone(journal, replica)
    assert not await is_gone(journal, other)
    with pytest.raises(Unavailable, match="lease of the journal is over"):
        await replica.check()
    await journal.write(replica_rows.forget_gone, soon())
    await replica.join(soon())
    assert len(await lease_ends(journal)) == 2


async def test_one_that_leaves_is_gone_at_once(journal: Journal) -> None:
    replica = Replica(journal)
    await replica.join(soon())
    await replica.leave()
    assert await is_gone(journal, replica)


async def test_a_database_that_is_away_is_told_once_and_the_lease_comes_back(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "searchmesh.replica")
    replica = Replica(journal, lease_seconds=0.3)
    await replica.join(soon())
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_renew_once", is_away)
        async with running(replica):
            await until(lambda: replica.lease_age_seconds > 1)
            patch.undo()
            await until(lambda: "the lease is renewed again" in caplog.messages)
    assert caplog.messages == ["joined", "the lease is not renewed", "the lease is renewed again"]


def is_away(_operation: object) -> None:
    raise Unavailable("the journal's database is away")


async def test_leaving_a_database_that_is_away_takes_no_harm(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    replica = Replica(journal)
    await replica.join(soon())
    await journal.close()
    await replica.leave()
    assert "left without a word" in caplog.messages
