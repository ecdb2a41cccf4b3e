"""What is particular to a journal in a file."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import psutil
import pytest
from sqlalchemy import text

from searchmesh_common.errors import DataLoss, FailedPrecondition, Unavailable
from searchmesh_search.journal import Journal
from searchmesh_search.journal import sqlite as module

from .disks import filled, small_disk
from .stack import soon
from .test_journal import add_counter, read_counter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/journal.db"


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(url(tmp_path))
    await journal.open()
    yield journal
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


async def test_a_file_that_may_grow_no_more_is_unavailable_and_heals(journal: Journal) -> None:
    def fill(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.execute(text("CREATE TABLE large (value BLOB)"))
        connection.execute(text("INSERT INTO large VALUES (zeroblob(1000000))"))

    with pytest.raises(Unavailable, match="full"):
        await journal.write(fill, soon())
    # the connection that met it, with its limit, is not used again
    await journal.write(add_counter, soon())


async def test_a_full_disk_is_unavailable_until_it_has_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        journal = Journal(url(disk))
        await journal.open()
        await journal.write(add_counter, soon())
        assert await journal.read(read_counter, soon()) == 0
        with filled(disk):
            for _ in range(2):
                with pytest.raises(Unavailable, match="disk that holds the journal is full"):
                    await journal.write(grow, soon())
                # health says so too, though it needs hardly any room
                with pytest.raises(Unavailable, match="disk that holds the journal is full"):
                    await journal.ping(soon())
            assert await journal.read(read_counter, soon()) == 0
        await journal.ping(soon())
        await journal.write(grow, soon())
        await journal.close()


def grow(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE large (value BLOB)"))
    connection.execute(text("INSERT INTO large VALUES (zeroblob(300000))"))


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


async def test_space_that_is_not_used_any_more_is_given_back(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLACK_PAGES", 50)
    monkeypatch.setattr(module, "STEP_PAGES", 30)
    await journal.write(fill, soon())
    await journal.compact(soon())
    full = await journal.read(pages, soon())
    await journal.write(lambda c: c.execute(text("DELETE FROM large")).rowcount, soon())
    await journal.compact(soon())
    assert await journal.read(pages, soon()) < full / 2
    assert await journal.read(lambda c: pragma(c, "freelist_count"), soon()) <= 50
    before = journal.size_bytes
    await journal.close()
    assert journal.size_bytes < before


async def test_a_file_from_before_that_was_possible_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLACK_PAGES", 50)
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("CREATE TABLE early (value BLOB)")
    other.close()
    journal = Journal(url(tmp_path))
    await journal.open()
    await journal.write(fill, soon())
    await journal.write(lambda c: c.execute(text("DELETE FROM large")).rowcount, soon())
    full = await journal.read(pages, soon())
    await journal.compact(soon())
    assert await journal.read(pages, soon()) == full
    await journal.close()


def fill(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE large (value BLOB)"))
    for _ in range(100):
        connection.execute(text("INSERT INTO large VALUES (zeroblob(10000))"))


def pages(connection: Connection) -> int:
    return pragma(connection, "page_count")


def pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


async def test_a_second_process_is_refused(journal: Journal, tmp_path: Path) -> None:
    assert not journal.is_shared
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


async def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"something else entirely" * 1000)
    journal = Journal(url(tmp_path))
    before = psutil.Process().num_fds()
    with pytest.raises(DataLoss, match="not a database"):
        await journal.open()
    assert psutil.Process().num_fds() == before
