"""Rows of the table `import_batches`: what an import received at once, and who works on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from searchmesh_search.content_refs import pack_refs, unpack_refs
from searchmesh_search.journal.clock import NOW_US, SECOND_US
from searchmesh_search.journal.import_rows import State
from searchmesh_search.journal.replica_rows import is_gone
from searchmesh_search.journal.tables import import_batches, imports

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from searchmesh_search.content_store import ContentRef

WAITING = "WAITING"
DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in the hands of one worker."""

    import_id: str
    number: int
    position: int
    """The first document's place in the import."""
    generation: int
    """Of the first document; the others' follow."""
    refs: Sequence[ContentRef]
    fence: int
    """How many workers have begun it: what an earlier one says no longer counts."""
    attempts: int
    collection_id: int
    collection_name: str

    @property
    def key(self) -> tuple[str, int]:
        return self.import_id, self.number

    @property
    def intent(self) -> str:
        """What its pending writes are noted by."""
        return intent_of(self.import_id, self.number)


@dataclass(frozen=True, slots=True)
class Digests:
    """What tells a batch's documents from others."""

    number: int
    position: int
    digests: bytes
    """Of each document, one behind the other."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who asks for a batch."""

    replica_id: str
    in_hand: Collection[tuple[str, int]]
    """Batches that it works on: of those that bear its name, the ones that it did not lose."""
    held_up: Collection[str]
    """Imports of which it wants none now."""


def intent_of(import_id: str, number: int) -> str:
    """What a batch's pending writes are noted by."""
    return f"import:{import_id}:{number}"


def add(
    connection: Connection,
    import_id: str,
    number: int,
    position: int,
    generation: int,
    refs: Sequence[ContentRef],
    digests: bytes,
) -> None:
    """Add a batch, to be worked on from now on."""
    connection.execute(
        insert(import_batches).values(
            import_id=import_id,
            number=number,
            position=position,
            documents=len(refs),
            generation=generation,
            refs=pack_refs(refs),
            digests=digests,
            state=WAITING,
            fence=0,
            attempts=0,
            due_time=NOW_US,
            encoded=0,
            create_time=NOW_US,
        )
    )


def digests_at(connection: Connection, import_id: str, position: int) -> Digests | None:
    """Those of the batch that holds the document at a position."""
    return _digests(
        connection,
        import_id,
        (import_batches.c.position <= position)
        & (import_batches.c.position + import_batches.c.documents > position),
    )


def digests_of(connection: Connection, import_id: str, number: int) -> Digests | None:
    """Those of a batch."""
    return _digests(connection, import_id, import_batches.c.number == number)


def is_due(connection: Connection, claimant: Claimant) -> bool:
    """Whether there is a batch to claim."""
    return connection.execute(_due(claimant)).one_or_none() is not None


def claim(connection: Connection, claimant: Claimant) -> Batch | None:
    """Take the batch that has been due for longest; None where there is none."""
    due = connection.execute(_due(claimant)).one_or_none()
    if due is None:
        return None
    row = connection.execute(
        update(import_batches)
        .where(
            import_batches.c.import_id == due.import_id,
            import_batches.c.number == due.number,
            import_batches.c.fence == due.fence,
            import_batches.c.state == WAITING,
        )
        .values(
            owner=claimant.replica_id,
            fence=import_batches.c.fence + 1,
            attempts=import_batches.c.attempts + 1,
        )
        .returning(import_batches)
    ).one_or_none()
    if row is None:
        return None
    return Batch(
        import_id=row.import_id,
        number=row.number,
        position=row.position,
        generation=row.generation,
        refs=unpack_refs(row.refs),
        fence=row.fence,
        attempts=row.attempts,
        collection_id=due.collection_id,
        collection_name=due.collection_name,
    )


def put_off(connection: Connection, batch: Batch, seconds: float) -> None:
    """Give a batch back, to be claimed by anyone after a time."""
    connection.execute(
        update(import_batches)
        .where(_held(batch))
        .values(owner=None, due_time=NOW_US + int(seconds * SECOND_US))
    )


def count_encoded(connection: Connection, batch: Batch, encoded: int) -> int | None:
    """Note how many documents of a batch are encoded; returns how many more than at any attempt
    before, None where the batch is not this worker's any more.
    """
    before: int | None = connection.execute(
        select(import_batches.c.encoded).where(_held(batch))
    ).scalar_one_or_none()
    if before is None:
        return None
    if encoded > before:
        connection.execute(update(import_batches).where(_held(batch)).values(encoded=encoded))
    return max(0, encoded - before)


def finish(connection: Connection, batch: Batch) -> bool:
    """Take note that a batch is done; False where it is not this worker's any more."""
    done = update(import_batches).where(_held(batch)).values(state=DONE, owner=None, refs=None)
    return bool(connection.execute(done).rowcount)


def drop_waiting(connection: Connection, import_id: str, limit: int) -> Sequence[str]:
    """Drop up to `limit` waiting batches of an ended import; returns their intents."""
    waiting = import_batches.c.state == WAITING
    of_import = import_batches.c.import_id == import_id
    numbers = list(
        connection.execute(
            select(import_batches.c.number).where(of_import, waiting).limit(limit)
        ).scalars()
    )
    connection.execute(
        update(import_batches)
        .where(of_import, waiting, import_batches.c.number.in_(numbers))
        .values(state=DONE, owner=None, refs=None, fence=import_batches.c.fence + 1)
    )
    return [intent_of(import_id, number) for number in numbers]


def waiting(connection: Connection) -> tuple[int, float]:
    """How many batches are not done, and the seconds since the oldest of them was received."""
    oldest = func.min(import_batches.c.create_time)
    count, age_us = connection.execute(
        select(func.count(), NOW_US - oldest).where(import_batches.c.state == WAITING)
    ).one()
    return count, (age_us or 0) / SECOND_US


def _digests(
    connection: Connection, import_id: str, condition: ColumnElement[bool]
) -> Digests | None:
    row = connection.execute(
        select(import_batches.c.number, import_batches.c.position, import_batches.c.digests).where(
            import_batches.c.import_id == import_id, condition
        )
    ).one_or_none()
    return None if row is None else Digests(row.number, row.position, row.digests)


def _due(claimant: Claimant) -> Select[tuple[str, int, int, int, str]]:
    owner = import_batches.c.owner
    key = tuple_(import_batches.c.import_id, import_batches.c.number)
    due = (
        select(
            import_batches.c.import_id,
            import_batches.c.number,
            import_batches.c.fence,
            imports.c.collection_id,
            imports.c.collection_name,
        )
        .join(imports, imports.c.id == import_batches.c.import_id)
        .where(
            import_batches.c.state == WAITING,
            import_batches.c.due_time <= NOW_US,
            imports.c.state.in_([State.RECEIVING.value, State.RUNNING.value]),
            or_(owner.is_(None), owner == claimant.replica_id, is_gone(owner)),
        )
        .order_by(import_batches.c.due_time, import_batches.c.import_id, import_batches.c.number)
        .limit(1)
    )
    if claimant.in_hand:
        due = due.where(key.not_in(list(claimant.in_hand)))
    if claimant.held_up:
        due = due.where(import_batches.c.import_id.not_in(list(claimant.held_up)))
    return due


def _held(batch: Batch) -> ColumnElement[bool]:
    """Whether a row is a batch and still this worker's."""
    return (
        (import_batches.c.import_id == batch.import_id)
        & (import_batches.c.number == batch.number)
        & (import_batches.c.state == WAITING)
        & (import_batches.c.fence == batch.fence)
    )
