"""A journal of an older version keeps what it holds, on each kind of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from searchmesh_search.journal import Journal, collection_rows, document_rows, write_rows
from searchmesh_search.journal.collection_rows import Leftover
from searchmesh_search.journal.database import database_at
from searchmesh_search.journal.migrate import _MIGRATIONS

from .stack import soon

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLD = """
INSERT INTO collections VALUES
    (1, 'things', 'c_1', 'READY', NULL, '', 4, 'INNER_PRODUCT', 'FLOAT', '{}', 2, 5, 10, 20),
    (2, 'half', 'c_2', 'CREATING', NULL, '', 4, 'INNER_PRODUCT', 'FLOAT', '{}', 0, 1, 10, 20);
INSERT INTO documents VALUES
    (1, 'a', 1, 1, 'pack', 0, 3, 15),
    (1, 'Ä', 2, 1, 'pack', 3, 4, 16);
INSERT INTO pending VALUES (1, 3, 'a-call', 'b', 1, 'pack', 7, 5);
INSERT INTO garbage VALUES (1, 4, 'c', 2, 30);
INSERT INTO requests VALUES ('CreateCollection', 'r-1', 'digest', '1', 10)
"""


def make_old(url: str) -> None:
    """A journal as version 0001 left it, in the middle of a write and of a creation."""
    database = database_at(url)
    engine = database.create_migrator()
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in OLD.split(";"):
            connection.execute(text(statement))
    engine.dispose()


async def test_what_an_older_version_wrote_is_kept_and_what_it_had_begun_is_undone(
    journal_url: str,
) -> None:
    make_old(journal_url)
    journal = Journal(journal_url)
    await journal.open()

    def check(connection: Connection) -> None:
        (things,) = collection_rows.ready(connection)
        assert (things.id, things.name, things.document_count) == (1, "things", 2)
        found = document_rows.page(connection, 1, "", 10)
        assert [(one.document_id, one.generation, one.spans) for one in found] == [
            ("a", 1, None),
            ("Ä", 2, None),
        ]
        (littered,) = write_rows.with_due_garbage(connection)
        assert [one.generation for one in write_rows.due_garbage(connection, littered, 10)] == [4]
        litter = connection.execute(text("SELECT generation FROM garbage ORDER BY 1")).scalars()
        assert list(litter) == [3, 4]
        assert collection_rows.leftovers(connection) == [Leftover(2, "c_2")]
        assert collection_rows.state_of(connection, "half") is None

    await journal.read(check, soon())
    # numbers go on where they were
    assert await journal.write(lambda c: write_rows.allocate_generations(c, 1, 1), soon()) == 5
    await journal.close()
