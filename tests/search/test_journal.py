from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psutil
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from searchmesh_common.errors import (
    DataLoss,
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
    from pathlib import Path
    from typing import Any

    from sqlalchemy import Connection


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/journal.db"


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(url(tmp_path))
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
    with pytest.raises(DBAPIError, match="no such table"):
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


async def test_a_full_queue_is_overload(tmp_path: Path) -> None:
    journal = Journal(url(tmp_path), max_waiting=1)
    await journal.open()
    async with blocked(journal):
        waiting = asyncio.create_task(journal.write(lambda c: 1, soon()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="1 writes waiting"):
            await journal.write(lambda c: 2, soon())
    assert await waiting == 1
    await journal.close()


async def test_a_locked_journal_is_unavailable_until_it_is_free(
    journal: Journal, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another program"):
        await journal.ping(soon())
    other.execute("ROLLBACK")
    other.close()
    await journal.ping(soon())


async def test_a_full_disk_is_unavailable_and_heals(journal: Journal) -> None:
    def fill(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.execute(text("CREATE TABLE large (value BLOB)"))
        connection.execute(text("INSERT INTO large VALUES (zeroblob(1000000))"))

    with pytest.raises(Unavailable, match="full"):
        await journal.write(fill, soon())
    # the connection that met it, with its limit, is not used again
    await journal.write(add_counter, soon())


async def test_a_read_only_journal_is_unavailable(journal: Journal) -> None:
    await journal.write(lambda c: c.exec_driver_sql("PRAGMA query_only = ON"), soon())
    with pytest.raises(Unavailable, match="read-only"):
        await journal.write(add_counter, soon())
    await journal.write(add_counter, soon())


async def test_writes_are_on_disk_when_acknowledged(journal: Journal) -> None:
    def durability(connection: Connection) -> tuple[str, int]:
        return (
            connection.exec_driver_sql("PRAGMA journal_mode").scalar_one(),
            connection.exec_driver_sql("PRAGMA synchronous").scalar_one(),
        )

    assert await journal.write(durability, soon()) == ("wal", 2)


async def test_a_second_process_is_refused(journal: Journal, tmp_path: Path) -> None:
    second = Journal(url(tmp_path))
    with pytest.raises(FailedPrecondition, match="another search service uses"):
        await second.open()


async def test_closing_folds_the_log_into_the_file(tmp_path: Path) -> None:
    journal = Journal(url(tmp_path))
    await journal.open()
    await journal.write(add_counter, soon())
    assert await journal.read(read_counter, soon()) == 0
    await journal.close()
    assert set(os.listdir(tmp_path)) == {"journal.db", "journal.db.lock"}  # noqa: PTH208


async def test_a_closed_journal_opens_again_and_refuses_in_between(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(url(tmp_path))
        await journal.open()
        await journal.close()
        await journal.close()
        with pytest.raises(Unavailable, match="closed"):
            await journal.write(add_counter, soon())


async def test_migrations_make_what_the_tables_say(journal: Journal) -> None:
    def differences(connection: Connection) -> Any:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, tables.metadata)

    assert await journal.read(differences, soon()) == []


async def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    journal = Journal(url(tmp_path))
    await journal.open()
    await journal.write(
        lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")), soon()
    )
    await journal.close()
    newer = Journal(url(tmp_path))
    with pytest.raises(FailedPrecondition, match="schema 9999, which a newer version") as caught:
        await newer.open()
    assert caught.value.reason == "JOURNAL_TOO_NEW"


async def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"something else entirely" * 1000)
    journal = Journal(url(tmp_path))
    before = psutil.Process().num_fds()
    with pytest.raises(DataLoss, match="not a database"):
        await journal.open()
    assert psutil.Process().num_fds() == before


@pytest.mark.parametrize("given", ["postgresql://host/db", "sqlite://", "nonsense"])
def test_only_a_file_is_supported(given: str) -> None:
    with pytest.raises(Unsupported, match="sqlite:///"):
        Journal(given)
