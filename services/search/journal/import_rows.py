"""Rows of the tables `imports` and `import_failures`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    case,
    delete,
    exists,
    insert,
    literal,
    select,
    update,
)

from searchmesh_search.journal.clock import NOW_US, SECOND_US, to_datetime
from searchmesh_search.journal.collection_rows import State as CollectionState
from searchmesh_search.journal.tables import collections, import_batches, import_failures, imports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from searchmesh_search.journal.collection_rows import CollectionRow


class State(enum.Enum):
    """Where an import is in its life."""

    RECEIVING = "RECEIVING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class ImportRow:
    """An import as the journal knows it."""

    id: str
    request_id: str
    """Empty where the caller gave none."""
    collection_id: int
    collection_name: str
    state: State
    receiver: int
    """Counts the streams that have brought documents."""
    received_count: int
    encoded_count: int
    stored_count: int
    searchable_count: int
    failed_count: int
    batch_count: int
    write_token: bytes
    """The engine's newest; empty when nothing was stored."""
    error: bytes | None
    """google.rpc.Status of a FAILED one."""
    waiting_for: bytes | None
    """google.rpc.Status: why nothing can be stored at present."""
    create_time: datetime
    update_time: datetime
    end_time: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.end_time is not None

    @property
    def done_count(self) -> int:
        """Documents that need no more work."""
        return self.searchable_count + self.failed_count


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that an import set aside."""

    position: int
    """Its place in the import."""
    document_id: str
    status: bytes
    """google.rpc.Status"""


@dataclass(frozen=True, slots=True)
class Progress:
    """What an import has got on by."""

    encoded: int = 0
    searchable: int = 0
    failed: int = 0
    write_token: bytes = b""


_COLUMNS = [imports.c[one.name] for one in fields(ImportRow)]
_TIMES = ("create_time", "update_time", "end_time")

_ACTIVE = imports.c.state.in_([State.RECEIVING.value, State.RUNNING.value])
_HAS_WAITING = exists().where(
    import_batches.c.import_id == imports.c.id, import_batches.c.state == "WAITING"
)


def add(
    connection: Connection, import_id: str, request_id: str, collection: CollectionRow
) -> ImportRow:
    """Begin an import, with its first stream. Its id must be free."""
    counts = {one.name: 0 for one in imports.c if one.name.endswith("_count")}
    added = insert(imports).values(
        id=import_id,
        request_id=request_id,
        collection_id=collection.id,
        collection_name=collection.name,
        state=State.RECEIVING.value,
        receiver=1,
        write_token=b"",
        create_time=NOW_US,
        update_time=NOW_US,
        **counts,
    )
    return _from_row(connection.execute(added.returning(*_COLUMNS)).one())


def find(connection: Connection, import_id: str) -> ImportRow | None:
    """The import of that id."""
    row = connection.execute(select(*_COLUMNS).where(imports.c.id == import_id)).one_or_none()
    return None if row is None else _from_row(row)


def page(connection: Connection, after: str, limit: int) -> Sequence[ImportRow]:
    """Imports in order of id, those after `after`."""
    rows = connection.execute(
        select(*_COLUMNS).where(imports.c.id > after).order_by(imports.c.id).limit(limit)
    )
    return [_from_row(row) for row in rows]


def active(connection: Connection) -> Sequence[ImportRow]:
    """Imports that have not ended."""
    rows = connection.execute(select(*_COLUMNS).where(imports.c.end_time.is_(None)))
    return [_from_row(row) for row in rows]


def take_over(connection: Connection, import_id: str) -> ImportRow | None:
    """Begin another stream of an import; what earlier ones bring no longer counts. None where it
    receives no more.
    """
    return _changed(connection, import_id, _is(State.RECEIVING), receiver=imports.c.receiver + 1)


def receive(
    connection: Connection, import_id: str, receiver: int, documents: int
) -> ImportRow | None:
    """Count one more batch. None where the import does not take it from this stream."""
    return _changed(
        connection,
        import_id,
        _is(State.RECEIVING) & (imports.c.receiver == receiver),
        received_count=imports.c.received_count + documents,
        batch_count=imports.c.batch_count + 1,
    )


def end_receiving(connection: Connection, import_id: str, receiver: int) -> ImportRow | None:
    """Take note that all is received. None where the import does not hear it from this stream."""
    of_stream = _is(State.RECEIVING) & (imports.c.receiver == receiver)
    return _changed(connection, import_id, of_stream, state=State.RUNNING.value)


def advance(connection: Connection, import_id: str, progress: Progress) -> bool:
    """Count what was done; False where the import has ended."""
    token = literal(progress.write_token, LargeBinary)
    changed = _changed(
        connection,
        import_id,
        _ACTIVE,
        encoded_count=imports.c.encoded_count + progress.encoded,
        stored_count=imports.c.stored_count + progress.searchable,
        searchable_count=imports.c.searchable_count + progress.searchable,
        failed_count=imports.c.failed_count + progress.failed,
        # batches end in any order, and their tokens are ordered as their bytes are
        write_token=case((imports.c.write_token < token, token), else_=imports.c.write_token),
        waiting_for=None,
    )
    return changed is not None


def succeed_if_done(connection: Connection, import_id: str) -> bool:
    """End an import of which all is received and no batch waits; whether it was."""
    done = _is(State.RUNNING) & ~_HAS_WAITING
    return _ended(connection, import_id, done, State.SUCCEEDED)


def end(connection: Connection, import_id: str, state: State, error: bytes | None = None) -> bool:
    """End an import before it is done; False where it has ended already."""
    return _ended(connection, import_id, _ACTIVE, state, error)


def hold_up(connection: Connection, import_id: str, reason: bytes) -> None:
    """Note why nothing of an import can be stored at present."""
    connection.execute(
        update(imports).where(imports.c.id == import_id, _ACTIVE).values(waiting_for=reason)
    )


def orphans(connection: Connection) -> Sequence[str]:
    """Active imports whose collection was deleted."""
    ready = select(collections.c.id).where(collections.c.state == CollectionState.READY.value)
    return _ids(connection, _ACTIVE & imports.c.collection_id.not_in(ready))


def lapsed(connection: Connection, seconds: float) -> Sequence[str]:
    """Imports that wait for documents alone, and have for longer than that."""
    silent = imports.c.update_time < NOW_US - int(seconds * SECOND_US)
    return _ids(connection, _is(State.RECEIVING) & silent & ~_HAS_WAITING)


def ended_with_waiting(connection: Connection) -> Sequence[str]:
    """Ended imports that still have batches waiting."""
    return _ids(connection, imports.c.end_time.is_not(None) & _HAS_WAITING)


def ended_before(connection: Connection, seconds: float) -> Sequence[str]:
    """Imports that ended longer ago than that."""
    return _ids(connection, imports.c.end_time < NOW_US - int(seconds * SECOND_US))


def forget(connection: Connection, import_id: str, limit: int) -> bool:
    """Drop up to `limit` rows of an ended import, and itself with the last; whether it is gone.

    Bounded, because other writers wait meanwhile.
    """
    for table, key in (
        (import_failures, import_failures.c.position),
        (import_batches, import_batches.c.number),
    ):
        of_import = table.c.import_id == import_id
        keys = select(key).where(of_import).limit(limit)
        if connection.execute(delete(table).where(of_import, key.in_(keys))).rowcount == limit:
            return False
    connection.execute(delete(imports).where(imports.c.id == import_id))
    return True


def add_failures(connection: Connection, import_id: str, failures: Sequence[Failure]) -> None:
    """Note documents that were set aside."""
    if failures:
        connection.execute(
            insert(import_failures).values(import_id=import_id),
            [
                {
                    "position": one.position,
                    "document_id": one.document_id,
                    "status": one.status,
                }
                for one in failures
            ],
        )


def failures(connection: Connection, import_id: str, after: int, limit: int) -> Sequence[Failure]:
    """Documents that were set aside, by their position, those after `after`."""
    rows = connection.execute(
        select(import_failures)
        .where(import_failures.c.import_id == import_id, import_failures.c.position > after)
        .order_by(import_failures.c.position)
        .limit(limit)
    )
    return [Failure(row.position, row.document_id, row.status) for row in rows]


def _is(state: State) -> ColumnElement[bool]:
    return imports.c.state == state.value


def _ids(connection: Connection, condition: ColumnElement[bool]) -> Sequence[str]:
    return list(connection.execute(select(imports.c.id).where(condition)).scalars())


def _ended(
    connection: Connection,
    import_id: str,
    condition: ColumnElement[bool],
    state: State,
    error: bytes | None = None,
) -> bool:
    changed = _changed(
        connection,
        import_id,
        condition,
        state=state.value,
        error=error,
        waiting_for=None,
        end_time=NOW_US,
    )
    return changed is not None


def _changed(
    connection: Connection, import_id: str, condition: ColumnElement[bool], **values: Any
) -> ImportRow | None:
    row = connection.execute(
        update(imports)
        .where(imports.c.id == import_id, condition)
        .values(update_time=NOW_US, **values)
        .returning(*_COLUMNS)
    ).one_or_none()
    return None if row is None else _from_row(row)


def _from_row(row: Row[Any]) -> ImportRow:
    values = {one.name: getattr(row, one.name) for one in fields(ImportRow)}
    for name in _TIMES:
        values[name] = None if values[name] is None else to_datetime(values[name])
    return ImportRow(**{**values, "state": State(values["state"])})
