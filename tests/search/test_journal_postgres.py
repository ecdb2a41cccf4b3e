"""What is particular to a journal on a PostgreSQL server: it is away, and others write it too."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import text

from searchmesh_common.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    ServiceError,
    Unavailable,
)
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, postgres
from searchmesh_search.journal.clock import now_us
from tests.mesh import wait_for

from .disks import filled, small_disk
from .postgres import running_server
from .stack import soon
from .test_journal import add_counter, increment, read_counter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from .postgres import PostgresServer


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server for tests that stop it."""
    with running_server() as server:
        yield server


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Journal]:
    journal = Journal(url, **options)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def fails_with(code: str, times: int = 1) -> Callable[[Connection], None]:
    """An operation that meets a database error the first times it is run."""
    runs = iter(range(times))

    def operation(connection: Connection) -> None:
        if next(runs, None) is not None:
            connection.execute(
                text(f"DO $$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE = '{code}'; END $$")
            )
        increment(connection)

    return operation


def add_numbers(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))


def add_number(connection: Connection, number: int) -> int:
    connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})
    return number


def numbers(connection: Connection) -> set[int]:
    return set(connection.execute(text("SELECT number FROM numbers")).scalars())


def wait_for_size(growing: set[int], size: int) -> None:
    wait_for(lambda: len(growing) >= size, f"{size} numbers")


async def healed(journal: Journal) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await journal.ping(soon())
            except ServiceError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_journals_of_several_processes_lose_nothing_of_each_other(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        assert one.is_shared
        await one.write(add_counter, soon())
        seen = await asyncio.gather(
            *(journal.write(increment, soon()) for _ in range(100) for journal in (one, other))
        )
        assert sorted(seen) == list(range(1, 201))
        assert await other.read(read_counter, soon()) == 200


async def test_journals_that_are_opened_at_once_migrate_once(postgres_url: str) -> None:
    journals = [Journal(postgres_url) for _ in range(4)]
    await asyncio.gather(*(one.open() for one in journals))
    revisions = text("SELECT count(*) FROM alembic_version")
    assert await journals[0].read(lambda c: c.execute(revisions).scalar_one(), soon()) == 1
    await asyncio.gather(*(one.close() for one in journals))


async def test_texts_are_compared_by_their_bytes(postgres_url: str) -> None:
    columns = text(
        "SELECT table_name, column_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'character varying' "
        "AND table_name <> 'alembic_version' AND collation_name IS DISTINCT FROM 'C'"
    )
    async with opened(postgres_url) as journal:
        assert await journal.read(lambda c: c.execute(columns).all(), soon()) == []


async def test_a_database_that_cannot_hold_every_text_is_refused(
    postgres_server: PostgresServer,
) -> None:
    options = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc"
    with (
        postgres_server.database(options) as url,
        pytest.raises(FailedPrecondition, match="encoding LATIN1; make one with UTF8") as caught,
    ):
        await Journal(url).open()
    assert caught.value.reason == "JOURNAL_ENCODING"


async def test_writes_are_on_disk_when_acknowledged_whatever_the_default(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.database() as url:
        name = url.rpartition("/")[2]
        postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        async with opened(url) as journal:
            asked = text("SHOW synchronous_commit")
            assert await journal.write(lambda c: c.execute(asked).scalar_one(), soon()) == "on"


async def test_times_are_the_servers(postgres_url: str) -> None:
    async with opened(postgres_url) as journal:
        asked = text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")
        now, server = await journal.read(
            lambda c: (now_us(c), int(c.execute(asked).scalar_one())), soon()
        )
        assert server - 1_000_000 < now <= server


async def test_what_the_database_undid_is_done_again(postgres_url: str) -> None:
    async with opened(postgres_url) as journal:
        await journal.write(add_counter, soon())
        await asyncio.gather(
            journal.write(fails_with("40P01"), soon()),
            journal.write(fails_with("40001"), soon()),
            journal.write(increment, soon()),
        )
        assert await journal.read(read_counter, soon()) == 3
        with pytest.raises(Unavailable, match="written by others"):
            await journal.write(fails_with("40001", times=9), soon())


@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        ("53100", Unavailable, "disk that holds the journal's database is full"),
        ("53300", Unavailable, "takes no more connections"),
        ("25006", Unavailable, "read-only"),
        ("57P03", Unavailable, "being stopped or started"),
        ("58030", Unavailable, "disk that holds the journal's database fails"),
        ("XX001", DataLoss, "damaged"),
        ("42P01", psycopg.errors.UndefinedTable, "told"),
    ],
)
async def test_its_errors_are_told_in_our_words(
    postgres_url: str, code: str, error: type[Exception], told: str
) -> None:
    async with opened(postgres_url) as journal:
        await journal.write(add_counter, soon())
        with pytest.raises(Exception, match=told) as caught:
            await journal.write(fails_with(code), soon())
        assert isinstance(getattr(caught.value, "orig", caught.value), error)
        await journal.write(increment, soon())


async def test_a_text_that_it_cannot_hold_is_its_own_operations_fault(postgres_url: str) -> None:
    async with opened(postgres_url) as journal:
        await journal.write(add_counter, soon())
        bad = journal.write(lambda c: c.execute(text("SELECT :x"), {"x": "\0"}), soon())
        outcomes = await asyncio.gather(
            bad, *(journal.write(increment, soon()) for _ in range(5)), return_exceptions=True
        )
        assert [isinstance(one, Exception) for one in outcomes] == [True, *[False] * 5]


async def test_no_place_for_a_connection_is_unavailable_and_heals(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.database() as url:
        name = url.rpartition("/")[2]
        async with opened(url) as journal:
            await journal.write(add_counter, soon())
            postgres_server.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
            cut_off(postgres_server, name)
            for use in (journal.write, journal.read, journal.renew):
                with pytest.raises(Unavailable, match="too many connections"):
                    await use(read_counter, soon())
            postgres_server.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            assert await journal.write(increment, soon()) == 1
            assert await journal.read(read_counter, soon()) == 1


async def test_a_read_only_database_is_unavailable_and_heals(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.database() as url:
        name = url.rpartition("/")[2]
        async with opened(url) as journal:
            await journal.write(add_counter, soon())
            postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            cut_off(postgres_server, name)
            for use in (journal.write(increment, soon()), journal.ping(soon())):
                with pytest.raises(Unavailable, match="read-only"):
                    await use
            assert await journal.read(read_counter, soon()) == 0
            postgres_server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            cut_off(postgres_server, name)
            assert await journal.write(increment, soon()) == 1


def cut_off(server: PostgresServer, database: str) -> None:
    """End every connection to a database; those who had one make a new one."""
    server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    )


async def test_a_full_disk_is_unavailable_until_it_has_room(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = postgres_server.folder / "disk"
    with small_disk(folder, megabytes=24) as disk:
        place = disk / "tablespace"
        place.mkdir()
        postgres_server.own(place)
        postgres_server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        try:
            with postgres_server.database("TABLESPACE small") as url:
                await fill_and_empty(url, disk)
        finally:
            postgres_server.execute("DROP TABLESPACE small")


async def fill_and_empty(url: str, disk: Path) -> None:
    async with opened(url) as journal:
        await journal.write(add_counter, soon())
        with filled(disk):
            with pytest.raises(Unavailable, match="disk that holds the journal's database is full"):
                await journal.write(grow, soon())
            assert await journal.read(read_counter, soon()) == 0
        await journal.write(grow, soon())


def grow(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE large AS SELECT generate_series(1, 50000) AS number"))


async def test_a_statement_that_takes_too_long_is_given_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, STATEMENT=0.2)
    async with opened(postgres_url) as journal:
        for use in (journal.read, journal.write):
            with pytest.raises(Unavailable, match="did not answer in time"):
                await use(lambda c: c.execute(text("SELECT pg_sleep(60)")), soon())
        await journal.ping(soon())


async def test_whoever_stands_still_in_its_turn_loses_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgres_url) as other:
        await other.write(add_counter, soon())
        shorten(monkeypatch, IDLE=0.3)
        async with opened(postgres_url) as journal:

            def stand_still(connection: Connection) -> None:
                increment(connection)
                time.sleep(1.5)

            standing = asyncio.create_task(journal.write(stand_still, soon()))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await other.write(increment, soon())
            assert time.monotonic() < began + 1.2
            with pytest.raises(Unavailable):
                await standing
            assert await journal.write(increment, soon()) == 2


def shorten(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Use other bounds for connections made from now on."""
    for name, value in seconds.items():
        given = getattr(postgres, f"{name}_SECONDS")
        session = postgres._SESSION.replace(f"'{given}s'", f"'{int(value * 1000)}ms'")
        monkeypatch.setattr(postgres, "_SESSION", session)


def shorten_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For answers of a server that stands still."""
    monkeypatch.setattr(postgres, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 1)


async def test_a_server_that_stands_still_is_told_within_the_deadline_and_heals(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_waits(monkeypatch)
    with own_server.database() as url:
        async with opened(url) as journal:
            await journal.write(add_counter, soon())
            with own_server.standing_still():
                for use in (journal.write, journal.read, journal.renew):
                    began = time.monotonic()
                    with pytest.raises(DeadlineExceeded):
                        await use(read_counter, Deadline.after(0.2))
                    assert time.monotonic() < began + 1
                # the threads are not kept for as long as it stands still
                with pytest.raises(Unavailable, match="journal's database is away"):
                    await journal.read(read_counter, Deadline.after(10))
            await healed(journal)
            assert await journal.write(increment, soon()) >= 1


async def test_it_closes_while_the_server_stands_still(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_waits(monkeypatch)
    with own_server.database() as url:
        async with opened(url) as journal:
            await journal.write(add_counter, soon())
            with own_server.standing_still():
                with pytest.raises(DeadlineExceeded):
                    await journal.write(read_counter, Deadline.after(0.1))
                async with asyncio.timeout(10):
                    await journal.close()


async def test_a_server_that_was_started_again_is_not_noticed(own_server: PostgresServer) -> None:
    with own_server.database() as url:
        async with opened(url) as journal:
            await journal.write(add_counter, soon())
            await journal.read(read_counter, soon())
            await journal.renew(read_counter, soon())
            await asyncio.to_thread(own_server.stop)
            for use in (journal.write, journal.read, journal.renew):
                with pytest.raises(Unavailable, match="journal's database is"):
                    await use(read_counter, soon())
            await asyncio.to_thread(own_server.start)
            assert await journal.write(increment, soon()) == 1
            assert await journal.read(read_counter, soon()) == 1
            await asyncio.to_thread(own_server.stop)
            await asyncio.to_thread(own_server.start)
            # connections that were open before
            assert await journal.write(increment, soon()) == 2
            assert await journal.read(read_counter, soon()) == 2


async def test_a_server_killed_during_writes_loses_nothing_acknowledged(
    own_server: PostgresServer,
) -> None:
    with own_server.database() as url:
        async with opened(url) as one, opened(url) as other:
            await one.write(add_numbers, soon())
            acknowledged: set[int] = set()

            async def write(place: int) -> None:
                journal = (one, other)[place % 2]
                for number in range(place, 4_000, 8):
                    try:
                        acknowledged.add(
                            await journal.write(lambda c, n=number: add_number(c, n), soon())  # type: ignore[misc]
                        )
                    except Unavailable:
                        await asyncio.sleep(0.01)

            writing = [asyncio.create_task(write(place)) for place in range(8)]
            for wanted in (200, 400):
                await asyncio.to_thread(wait_for_size, acknowledged, wanted)
                await asyncio.to_thread(own_server.kill)
                await asyncio.to_thread(own_server.start)
            for one_writing in writing:
                one_writing.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
            await healed(one)
            assert acknowledged <= await one.read(numbers, soon())
