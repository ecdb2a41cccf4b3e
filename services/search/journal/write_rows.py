"""Rows of the tables `pending` and `garbage`: writes in hand, and what the engine must still drop.

A write is noted as pending before its rows reach the engine. In one transaction it then becomes
current, or, when it failed, garbage; so at every moment each row of the engine is current, pending,
or garbage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from searchmesh_search.engine import row_keys
from searchmesh_search.journal.chunks import chunks
from searchmesh_search.journal.clock import NOW_US, now_us
from searchmesh_search.journal.collection_rows import State
from searchmesh_search.journal.replica_rows import is_gone
from searchmesh_search.journal.tables import collections, garbage, pending

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from searchmesh_search.content_store import ContentRef


@dataclass(frozen=True, slots=True)
class Write:
    """One generation of one document."""

    document_id: str
    generation: int
    segments: int
    """Rows that it has in the engine."""
    content: ContentRef
    spans: bytes | None = None
    """Where each segment lies in the content; None where the document is one segment."""

    def columns(self) -> dict[str, Any]:
        """As columns of the tables `documents` and `pending`."""
        return {
            "document_id": self.document_id,
            "generation": self.generation,
            "segments": self.segments,
            "spans": self.spans,
            "pack": self.content.pack,
            "offset": self.content.offset,
            "length": self.content.length,
        }


@dataclass(frozen=True, slots=True)
class Littered:
    """A collection that has garbage which was due at a moment."""

    id: int
    physical: str
    due_by: int
    """Microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A generation whose rows the engine must drop."""

    document_id: str
    generation: int
    segments: int
    due_time: int

    def row_keys(self) -> list[str]:
        """Primary keys of its rows in the engine."""
        return row_keys(self.document_id, self.generation, self.segments)


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
    connection: Connection,
    collection_id: int,
    intent: str,
    owner: str | None,
    writes: Sequence[Write],
) -> None:
    """Note writes as begun by the call `intent`.

    owner: the replica that serves the call. Writes of nobody are never taken for abandoned ones.
    """
    of_all = {"collection_id": collection_id, "intent": intent, "owner": owner}
    connection.execute(insert(pending), [{**one.columns(), **of_all} for one in writes])


def take_pending(connection: Connection, intent: str) -> int:
    """Remove a call's writes from the pending ones; returns how many there were."""
    return connection.execute(delete(pending).where(pending.c.intent == intent)).rowcount


def abandoned_intents(connection: Connection, replica_id: str, in_hand: Set[str]) -> set[str]:
    """The calls that have pending writes and that nobody serves any more: those of replicas that
    are gone, and of this one all but those that it has in hand.
    """
    of_owner = or_(pending.c.owner == replica_id, is_gone(pending.c.owner))
    found = connection.execute(select(pending.c.intent).where(of_owner).distinct())
    return set(found.scalars()) - in_hand


def roll_back(connection: Connection, intents: Iterable[str], delay_us: int) -> int:
    """Turn the pending writes of those calls into garbage, to be dropped after a delay; returns how
    many there were.
    """
    count = 0
    for intent in intents:
        of_intent = pending.c.intent == intent
        copy_to_garbage(connection, pending, of_intent, delay_us)
        count += connection.execute(delete(pending).where(of_intent)).rowcount
    return count


def pending_generations(connection: Connection, intent: str) -> set[int]:
    """The generations that are pending by that intent."""
    of_intent = pending.c.intent == intent
    return set(connection.execute(select(pending.c.generation).where(of_intent)).scalars())


def roll_back_others(
    connection: Connection, intent: str, stored: Set[int], delay_us: int
) -> Set[int]:
    """Turn the pending writes of an intent into garbage, all but those generations, which are taken
    from the pending ones; returns the ones that were there.
    """
    found = pending_generations(connection, intent)
    of_intent = pending.c.intent == intent
    for some in chunks(sorted(found - stored)):
        among = of_intent & pending.c.generation.in_(some)
        copy_to_garbage(connection, pending, among, delay_us)
    take_pending(connection, intent)
    return found & stored


def copy_to_garbage(
    connection: Connection, table: Table, condition: ColumnElement[bool], delay_us: int = 0
) -> None:
    """Have the generations dropped, after a delay, that the rows of `documents` or `pending` name
    for which the condition holds.
    """
    columns = [table.c[one.name] for one in garbage.c if one.name != "due_time"]
    copied = select(*columns, NOW_US + delay_us).where(condition)
    connection.execute(
        insert(garbage).from_select([*(one.name for one in columns), "due_time"], copied)
    )


def add_garbage(
    connection: Connection, collection_id: int, writes: Sequence[Write], delay_us: int = 0
) -> None:
    """Have the rows of these generations dropped, after a delay."""
    if writes:
        connection.execute(
            insert(garbage).values(due_time=NOW_US + delay_us),
            [
                {
                    "collection_id": collection_id,
                    "generation": one.generation,
                    "document_id": one.document_id,
                    "segments": one.segments,
                }
                for one in writes
            ],
        )


def drop_again(connection: Connection, collection_id: int, writes: Sequence[Write]) -> None:
    """Have the rows of writes that were taken back dropped once more: they may have reached the
    engine only after it had dropped them.
    """
    for some in chunks([one.generation for one in writes]):
        connection.execute(
            delete(garbage).where(
                garbage.c.collection_id == collection_id, garbage.c.generation.in_(some)
            )
        )
    add_garbage(connection, collection_id, writes)


def with_due_garbage(connection: Connection) -> Sequence[Littered]:
    """The collections that are there and of which the engine should drop something now."""
    now = now_us(connection)
    rows = connection.execute(
        select(collections.c.id, collections.c.physical)
        .join(garbage, collections.c.id == garbage.c.collection_id)
        .where(garbage.c.due_time <= now, collections.c.state == State.READY.value)
        .distinct()
    )
    return [Littered(row.id, row.physical, now) for row in rows]


def due_garbage(connection: Connection, littered: Littered, limit: int) -> Sequence[Garbage]:
    """Of what the engine should drop of a collection: generations that have `limit` rows together,
    or one that has more.
    """
    due: list[Garbage] = []
    segments = 0
    for row in connection.execute(
        select(garbage)
        .where(garbage.c.collection_id == littered.id, garbage.c.due_time <= littered.due_by)
        .limit(limit)
    ):
        segments += row.segments
        if due and segments > limit:
            break
        due.append(Garbage(row.document_id, row.generation, row.segments, row.due_time))
    return due


def drop_garbage(connection: Connection, collection_id: int, dropped: Sequence[Garbage]) -> None:
    """Forget garbage that the engine has dropped; at least one.

    What was put off since it was read stays: its rows may have come back meanwhile.
    """
    connection.execute(
        delete(garbage).where(
            garbage.c.collection_id == bindparam("of_collection"),
            garbage.c.generation == bindparam("of_generation"),
            garbage.c.due_time == bindparam("of_due_time"),
        ),
        [
            {
                "of_collection": collection_id,
                "of_generation": one.generation,
                "of_due_time": one.due_time,
            }
            for one in dropped
        ],
    )
