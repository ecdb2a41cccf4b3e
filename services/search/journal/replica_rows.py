"""Rows of the table `replicas`: the search services that share the journal, each with a lease.

A replica renews its lease as long as it runs. One whose lease is over has died, or is as good as
dead: what it had begun is undone or goes to another, and what it still says of that no longer
counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from searchmesh_search.journal.clock import NOW_US
from searchmesh_search.journal.tables import replicas

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LIVE = select(replicas.c.id).where(replicas.c.lease_until > NOW_US)

_NO_END_US = 2**62


def is_gone(owner: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a row, by its column `owner`, belongs to a replica whose lease is over.

    False for a row that belongs to nobody.
    """
    return and_(owner.is_not(None), owner.not_in(_LIVE))


def renew(connection: Connection, replica_id: str, lease_us: int) -> None:
    """Give a replica a lease from now on, whether it had one or not."""
    values = {"lease_until": NOW_US + lease_us}
    renewed = update(replicas).where(replicas.c.id == replica_id).values(**values)
    if not connection.execute(renewed).rowcount:
        connection.execute(insert(replicas).values(id=replica_id, **values))


def leave(connection: Connection, replica_id: str) -> None:
    """End a replica's lease; others need not wait until it would be over."""
    connection.execute(delete(replicas).where(replicas.c.id == replica_id))


def be_alone(connection: Connection, replica_id: str) -> None:
    """Give a replica a lease without an end, and end all others: nobody else has the journal."""
    connection.execute(delete(replicas))
    connection.execute(insert(replicas).values(id=replica_id, lease_until=_NO_END_US))


def forget_gone(connection: Connection) -> None:
    """Drop the leases that are over."""
    connection.execute(delete(replicas).where(replicas.c.lease_until <= NOW_US))
