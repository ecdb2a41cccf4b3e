"""The journal on each kind of database; what is particular to one is tested beside this."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Overloaded,
    Unavailable,
    Unsupported,
)
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, tables

from .stack import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from sqlalchemy import Connection


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    journal = Journal(journal_url)
    await journal.open()
    yield journal
    await journal.close()


def add_counter(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE counter (value INTEGER)"))
    connection.execute(text("INSERT INTO counter VALUES (0)"))


def read_counter(connection: Connection) -> int:
    return int(connection.execute(text("SELECT value FROM counter")).scalar_one())


def increment(connection: Connection) -> int:
    value = read_counter(connection)
    connection.execute(text("UPDATE counter SET value = :value"), {"value": value + 1})
    return value + 1


@asynccontextmanager
async def blocked(journal: Journal) -> AsyncIterator[None]:
    """While its writer is at work on something else."""
    release, entered = threading.Event(), threading.Event()

    def block(connection: Connection) -> None:
        entered.set()
        release.wait(20)

    blocking = asyncio.create_task(journal.write(block, soon()))
    await asyncio.to_thread(entered.wait)
    yield
    release.set()
    await blocking


async def test_concurrent_increments_are_never_lost(journal: Journal) -> None:
    await journal.write(add_counter, soon())
    seen = await asyncio.gather(*(journal.write(increment, soon()) for _ in range(160)))
    assert sorted(seen) == list(range(1, 161))
    assert await journal.read(read_counter, soon()) == 160


async def test_a_failed_operation_undoes_itself_alone(journal: Journal) -> None:
    await journal.write(add_counter, soon())

    def increment_and_fail(connection: Connection) -> None:
        increment(connection)
        raise NotFound("thing", "x", "no x")

    outcomes = await asyncio.gather(
        *(journal.write(increment_and_fail if n % 2 else increment, soon()) for n in range(20)),
        return_exceptions=True,
    )
    assert [isinstance(one, NotFound) for one in outcomes] == [bool(n % 2) for n in range(20)]
    assert await journal.read(read_counter, soon()) == 10


async def test_a_faulty_statement_is_told_as_it_is_and_heals(journal: Journal) -> None:
    with pytest.raises(DBAPIError, match="nowhere"):
        await journal.write(lambda c: c.execute(text("SELECT 1 FROM nowhere")), soon())
    await journal.ping(soon())


async def test_a_broken_constraint_is_its_own_operations_fault(journal: Journal) -> None:
    await journal.write(add_counter, soon())
    await journal.write(
        lambda c: c.execute(text("CREATE UNIQUE INDEX u ON counter (value)")), soon()
    )

    def insert_twice(connection: Connection) -> None:
        increment(connection)
        connection.execute(text("INSERT INTO counter SELECT value FROM counter"))

    outcomes = await asyncio.gather(
        *(journal.write(insert_twice if n == 5 else increment, soon()) for n in range(10)),
        return_exceptions=True,
    )
    assert [isinstance(one, IntegrityError) for one in outcomes] == [n == 5 for n in range(10)]
    assert await journal.read(read_counter, soon()) == 9


async def test_reads_cannot_write(journal: Journal) -> None:
    with pytest.raises(Unavailable, match="read-only"):
        await journal.read(add_counter, soon())


async def test_a_read_sees_one_moment(journal: Journal) -> None:
    await journal.write(add_counter, soon())
    read_once, written = threading.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[int, int]:
        first = read_counter(connection)
        read_once.set()
        written.wait(20)
        return first, read_counter(connection)

    reading = asyncio.create_task(journal.read(read_twice, soon()))
    await asyncio.to_thread(read_once.wait)
    await journal.write(increment, soon())
    written.set()
    assert await reading == (0, 0)


async def test_a_write_waits_no_longer_than_its_deadline_and_is_then_left_out(
    journal: Journal,
) -> None:
    await journal.write(add_counter, soon())
    async with blocked(journal):
        with pytest.raises(DeadlineExceeded):
            await journal.write(increment, Deadline.after(0.02))
    await journal.ping(soon())
    assert await journal.read(read_counter, soon()) == 0


async def test_a_deadline_that_has_passed_starts_nothing(journal: Journal) -> None:
    with pytest.raises(DeadlineExceeded):
        await journal.write(add_counter, Deadline.after(0))
    with pytest.raises(DeadlineExceeded):
        await journal.read(read_counter, Deadline.after(0))


async def test_a_full_queue_is_overload(journal_url: str) -> None:
    journal = Journal(journal_url, max_waiting=1)
    await journal.open()
    async with blocked(journal):
        waiting = asyncio.create_task(journal.write(lambda c: 1, soon()))
        await asyncio.sleep(0)
        assert journal.waiting == 1
        with pytest.raises(Overloaded, match="1 writes waiting"):
            await journal.write(lambda c: 2, soon())
    assert await waiting == 1
    await journal.close()


async def test_a_listener_hears_of_every_transaction(journal_url: str) -> None:
    class Heard(list[tuple[int, float]]):
        def committed(self, operations: int, seconds: float) -> None:
            self.append((operations, seconds))

    heard = Heard()
    journal = Journal(journal_url, listener=heard)
    await journal.open()
    async with blocked(journal):
        waiting = [asyncio.create_task(journal.write(lambda c: 1, soon())) for _ in range(3)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert [operations for operations, _ in heard] == [1, 3]
    assert all(0 < seconds < 20 for _, seconds in heard)
    await journal.close()


async def test_a_closed_journal_opens_again_and_refuses_in_between(journal_url: str) -> None:
    for _ in range(2):
        journal = Journal(journal_url)
        await journal.open()
        await journal.close()
        await journal.close()
        for use in (journal.write, journal.read, journal.renew):
            with pytest.raises(Unavailable, match="closed"):
                await use(add_counter, soon())


async def test_migrations_make_what_the_tables_say(journal: Journal) -> None:
    def differences(connection: Connection) -> Any:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, tables.metadata)

    assert await journal.read(differences, soon()) == []


async def test_a_journal_of_a_newer_version_is_refused(journal_url: str) -> None:
    journal = Journal(journal_url)
    await journal.open()
    await journal.write(
        lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")), soon()
    )
    await journal.close()
    newer = Journal(journal_url)
    with pytest.raises(FailedPrecondition, match="schema 9999, which a newer version") as caught:
        await newer.open()
    assert caught.value.reason == "JOURNAL_TOO_NEW"


@pytest.mark.parametrize("given", ["mysql://user:secret@host/db", "sqlite://", "nonsense"])
def test_other_databases_are_refused(given: str) -> None:
    with pytest.raises(Unsupported, match="sqlite:///") as caught:
        Journal(given)
    assert "secret" not in caught.value.message
