"""Rows of the tables `pending` and `garbage`: writes in hand, and what the engine must still drop.

A write is noted as pending before its rows reach the engine. In one transaction it then becomes
current, or, when it failed, garbage; so at every moment each row of the engine is current, pending,
or garbage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, insert, literal, select, update

from searchmesh_search.engine import row_key
from searchmesh_search.journal.collection_rows import State
from searchmesh_search.journal.tables import collections, garbage, pending

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from searchmesh_search.content_store import ContentRef


@dataclass(frozen=True, slots=True)
class Write:
    """One generation of one document."""

    document_id: str
    generation: int
    segments: int
    """Rows that it has in the engine."""
    content: ContentRef

    def columns(self) -> dict[str, Any]:
        """As columns of the tables `documents` and `pending`."""
        return {
            "document_id": self.document_id,
            "generation": self.generation,
            "segments": self.segments,
            "pack": self.content.pack,
            "offset": self.content.offset,
            "length": self.content.length,
        }


@dataclass(frozen=True, slots=True)
class Littered:
    """A collection that has garbage."""

    id: int
    physical: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """A generation whose rows the engine must drop."""

    document_id: str
    generation: int
    segments: int

    def row_keys(self) -> list[str]:
        """Primary keys of its rows in the engine."""
        return [
            row_key(self.document_id, self.generation, segment) for segment in range(self.segments)
        ]


def allocate_generations(connection: Connection, collection_id: int, count: int) -> int:
    """Take `count` generations, never given out again; returns the first."""
    following: int = connection.execute(
        update(collections)
        .where(collections.c.id == collection_id)
        .values(next_generation=collections.c.next_generation + count)
        .returning(collections.c.next_generation)
    ).scalar_one()
    return following - count


def add_pending(
    connection: Connection, collection_id: int, intent: str, writes: Sequence[Write]
) -> None:
    """Note writes as begun by the call `intent`."""
    connection.execute(
        insert(pending),
        [{**one.columns(), "collection_id": collection_id, "intent": intent} for one in writes],
    )


def take_pending(connection: Connection, intent: str) -> int:
    """Remove a call's writes from the pending ones; returns how many there were."""
    return connection.execute(delete(pending).where(pending.c.intent == intent)).rowcount


def pending_intents(connection: Connection) -> set[str]:
    """The calls that have pending writes."""
    return set(connection.execute(select(pending.c.intent).distinct()).scalars())


def roll_back(connection: Connection, intents: Iterable[str], due_time: int) -> int:
    """Turn the pending writes of those calls into garbage; returns how many there were."""
    count = 0
    for intent in intents:
        by_intent = pending.c.intent == intent
        columns = [pending.c[one.name] for one in garbage.c if one.name != "due_time"]
        moved = select(*columns, literal(due_time)).where(by_intent)
        connection.execute(
            insert(garbage).from_select([*(one.name for one in columns), "due_time"], moved)
        )
        count += connection.execute(delete(pending).where(by_intent)).rowcount
    return count


def add_garbage(
    connection: Connection, collection_id: int, writes: Sequence[Write], due_time: int
) -> None:
    """Have the rows of these generations dropped once `due_time` (microseconds) has come."""
    if writes:
        connection.execute(
            insert(garbage),
            [
                {
                    "collection_id": collection_id,
                    "generation": one.generation,
                    "document_id": one.document_id,
                    "segments": one.segments,
                    "due_time": due_time,
                }
                for one in writes
            ],
        )


def with_due_garbage(connection: Connection, now: int) -> Sequence[Littered]:
    """The collections that are there and of which the engine should drop something now."""
    rows = connection.execute(
        select(collections.c.id, collections.c.physical)
        .join(garbage, collections.c.id == garbage.c.collection_id)
        .where(garbage.c.due_time <= now, collections.c.state == State.READY.value)
        .distinct()
    )
    return [Littered(row.id, row.physical) for row in rows]


def due_garbage(
    connection: Connection, collection_id: int, now: int, limit: int
) -> Sequence[Garbage]:
    """What the engine should drop now of a collection."""
    rows = connection.execute(
        select(garbage)
        .where(garbage.c.collection_id == collection_id, garbage.c.due_time <= now)
        .limit(limit)
    )
    return [Garbage(row.document_id, row.generation, row.segments) for row in rows]


def drop_garbage(connection: Connection, collection_id: int, dropped: Sequence[Garbage]) -> None:
    """Forget garbage that the engine has dropped; at least one."""
    connection.execute(
        delete(garbage).where(
            garbage.c.collection_id == bindparam("of_collection"),
            garbage.c.generation == bindparam("of_generation"),
        ),
        [{"of_collection": collection_id, "of_generation": one.generation} for one in dropped],
    )
