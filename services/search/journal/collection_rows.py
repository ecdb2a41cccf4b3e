"""Rows of the table `collections`, as the rest of the service sees them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update

from searchmesh_common.errors import NotFound
from searchmesh_search.journal.clock import NOW_US, to_datetime
from searchmesh_search.journal.replica_rows import is_gone
from searchmesh_search.journal.tables import collections, deletions, documents, garbage, pending

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set
    from datetime import datetime


class State(enum.Enum):
    """Where a collection is in its life. Callers see READY ones only."""

    CREATING = "CREATING"
    READY = "READY"
    DELETING = "DELETING"


@dataclass(frozen=True, slots=True)
class NewCollection:
    """What the journal is told of a collection when it is made."""

    name: str
    physical: str
    model: str | None
    fingerprint: str
    """Empty without a model."""
    dimension: int
    metric: str
    kind: str
    spec: str
    """JSON of what else it was created with."""


@dataclass(frozen=True, slots=True)
class CollectionRow(NewCollection):
    """A collection as the journal knows it."""

    id: int
    document_count: int
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Leftover:
    """A collection that is on its way out."""

    id: int
    physical: str


# a statement made once is compiled once; every search runs these
_READY = collections.c.state == State.READY.value
_BY_NAME = select(collections).where(collections.c.name == bindparam("of_name"), _READY)
_BY_ID = select(collections).where(collections.c.id == bindparam("of_id"), _READY)
_COUNT = select(collections.c.document_count).where(collections.c.id == bindparam("of_id"), _READY)


def add(connection: Connection, new: NewCollection, owner: str) -> int:
    """Add a collection in state CREATING; returns its id. Its name must be free.

    owner: the replica that makes it.
    """
    inserted = connection.execute(
        insert(collections).values(state=State.CREATING.value, owner=owner, **_columns(new))
    )
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


def state_of(connection: Connection, name: str) -> State | None:
    """Whether a collection of that name is there or being made; None where the name is free."""
    state = connection.execute(
        select(collections.c.state).where(collections.c.name == name)
    ).scalar_one_or_none()
    return None if state is None else State(state)


def find(connection: Connection, name: str) -> CollectionRow | None:
    """The READY collection of that name."""
    row = connection.execute(_BY_NAME, {"of_name": name}).one_or_none()
    return None if row is None else _from_row(row)


def find_by_id(connection: Connection, collection_id: int) -> CollectionRow | None:
    """The READY collection of that id."""
    row = connection.execute(_BY_ID, {"of_id": collection_id}).one_or_none()
    return None if row is None else _from_row(row)


def require(connection: Connection, collection_id: int, name: str) -> int:
    """The number of documents of the READY collection of that id.

    name: as the caller calls it. Raises NotFound when it was deleted since it was looked up; what
    the same transaction reads of it is then complete.
    """
    count = connection.execute(_COUNT, {"of_id": collection_id}).scalar_one_or_none()
    if count is None:
        raise NotFound("collection", name, f"collection {name!r} was deleted")
    return int(count)


def ready(connection: Connection) -> Sequence[CollectionRow]:
    """All READY collections."""
    return [_from_row(row) for row in connection.execute(select(collections).where(_READY))]


def page(connection: Connection, after: str, limit: int) -> Sequence[CollectionRow]:
    """READY collections in order of name, those after `after`."""
    rows = connection.execute(
        select(collections)
        .where(collections.c.name > after, _READY)
        .order_by(collections.c.name)
        .limit(limit)
    )
    return [_from_row(row) for row in rows]


def make_ready(connection: Connection, collection_id: int) -> bool:
    """From CREATING to READY. False when it is not there any more."""
    return bool(
        connection.execute(
            update(collections)
            .where(collections.c.id == collection_id, collections.c.state == State.CREATING.value)
            .values(state=State.READY.value, owner=None, update_time=NOW_US)
        ).rowcount
    )


def begin_deletion(connection: Connection, collection_id: int) -> None:
    """Hide a collection and free its name, at once; `leftovers` names it from now on."""
    connection.execute(
        update(collections)
        .where(collections.c.id == collection_id)
        .values(state=State.DELETING.value, name=None, update_time=NOW_US)
    )


def abandoned(connection: Connection, replica_id: str, in_hand: Set[str]) -> set[str]:
    """Physical names of the collections that nobody makes any more: those of replicas that are
    gone, and of this one all but those that it has in hand.
    """
    of_owner = or_(collections.c.owner == replica_id, is_gone(collections.c.owner))
    found = connection.execute(
        select(collections.c.physical).where(collections.c.state == State.CREATING.value, of_owner)
    )
    return set(found.scalars()) - in_hand


def abandon(connection: Connection, physicals: Iterable[str]) -> None:
    """Begin the deletion of those that are still being created."""
    connection.execute(
        update(collections)
        .where(
            collections.c.physical.in_(list(physicals)),
            collections.c.state == State.CREATING.value,
        )
        .values(state=State.DELETING.value, owner=None, name=None, update_time=NOW_US)
    )


def take_back(connection: Connection, new: NewCollection) -> None:
    """Free the name of a creation that failed and have the engine drop what it made.

    Where another replica did so before, it is done again: the engine may have made it since.
    """
    abandon(connection, [new.physical])
    known = select(collections.c.id).where(collections.c.physical == new.physical)
    if connection.execute(known).one_or_none() is None:
        values = {**_columns(new), "name": None}
        connection.execute(insert(collections).values(state=State.DELETING.value, **values))


def leftovers(connection: Connection) -> Sequence[Leftover]:
    """Collections whose deletion has begun."""
    rows = connection.execute(
        select(collections.c.id, collections.c.physical).where(
            collections.c.state == State.DELETING.value
        )
    )
    return [Leftover(row.id, row.physical) for row in rows]


def purge(connection: Connection, collection_id: int, limit: int) -> bool:
    """Drop up to `limit` document rows of a collection being deleted, and the collection with the
    last.

    Returns whether it is gone. Bounded, because other writers wait meanwhile.
    """
    for table, key in (
        (documents, documents.c.document_id),
        (pending, pending.c.generation),
        (garbage, garbage.c.generation),
        (deletions, deletions.c.document_id),
    ):
        of_collection = table.c.collection_id == collection_id
        keys = select(key).where(of_collection).limit(limit)
        if connection.execute(delete(table).where(of_collection, key.in_(keys))).rowcount == limit:
            return False
    connection.execute(delete(collections).where(collections.c.id == collection_id))
    return True


def _columns(new: NewCollection) -> dict[str, Any]:
    given = {slot: getattr(new, slot) for slot in NewCollection.__slots__}
    fresh = {"document_count": 0, "next_generation": 1}
    return {**given, **fresh, "create_time": NOW_US, "update_time": NOW_US}


def _from_row(row: Row[Any]) -> CollectionRow:
    values = {slot: getattr(row, slot) for slot in NewCollection.__slots__}
    return CollectionRow(
        id=row.id,
        document_count=row.document_count,
        create_time=to_datetime(row.create_time),
        update_time=to_datetime(row.update_time),
        **values,
    )
