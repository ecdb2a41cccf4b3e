"""Two files that are written to all the time, seen at one moment."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import FailedPrecondition, Unavailable
from searchmesh_search.backups import moment as module
from searchmesh_search.backups.moment import one_moment

if TYPE_CHECKING:
    from pathlib import Path


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA journal_mode=WAL")
    return connection


def made(path: Path) -> Path:
    with closing(opened(path)) as connection:
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, state TEXT)")
    return path


def write(journal: Path, engine: Path, ending: threading.Event) -> None:
    """As the service does: a row is noted, put into the engine, made current, and dropped."""
    with closing(opened(journal)) as noted, closing(opened(engine)) as stored:
        number = 0
        while not ending.is_set():
            number += 1
            noted.execute("INSERT INTO rows VALUES (?, 'pending')", (number,))
            stored.execute("INSERT INTO rows VALUES (?, '')", (number,))
            noted.execute("UPDATE rows SET state = 'current' WHERE id = ?", (number,))
            noted.execute("UPDATE rows SET state = 'garbage' WHERE id = ?", (number - 3,))
            stored.execute("DELETE FROM rows WHERE id = ?", (number - 3,))
            noted.execute("DELETE FROM rows WHERE id = ?", (number - 3,))


def test_what_is_current_is_in_the_engine_and_all_in_the_engine_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = module._begin

    def begin_slowly(connection: sqlite3.Connection, path: Path) -> None:
        begin(connection, path)
        time.sleep(0.005)  # in which the writer would get through several rows

    monkeypatch.setattr(module, "_begin", begin_slowly)
    journal, engine = made(tmp_path / "journal.db"), made(tmp_path / "engine.db")
    ending = threading.Event()
    writer = threading.Thread(target=write, args=(journal, engine, ending))
    writer.start()
    try:
        seen = [look(journal, engine) for _ in range(30)]
    finally:
        ending.set()
        writer.join()
    for current, noted, stored in seen:
        assert current <= stored <= noted
    assert len({frozenset(stored) for _, _, stored in seen}) > 1


def look(journal: Path, engine: Path) -> tuple[set[int], set[int], set[int]]:
    """What the journal calls current, what it knows, and what the engine holds."""
    time.sleep(0.02)  # the writer's turn
    with one_moment(journal, engine) as (of_journal, of_engine):
        stored = {row[0] for row in of_engine.execute("SELECT id FROM rows")}
        states = dict(of_journal.execute("SELECT id, state FROM rows").fetchall())
    return {one for one, state in states.items() if state == "current"}, set(states), stored


def test_a_file_that_cannot_be_read_beside_its_writer_is_refused(tmp_path: Path) -> None:
    journal, engine = made(tmp_path / "journal.db"), made(tmp_path / "engine.db")
    with closing(sqlite3.connect(engine)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with (
        pytest.raises(FailedPrecondition, match=r"engine\.db has no write-ahead log"),
        one_moment(journal, engine),
    ):
        pass
    with (
        pytest.raises(Unavailable, match=r"nothing\.db cannot be"),
        one_moment(tmp_path / "nothing.db", engine),
    ):
        pass
    # and nobody is kept from writing
    with closing(opened(journal)) as connection:
        connection.execute("INSERT INTO rows VALUES (1, 'pending')")
