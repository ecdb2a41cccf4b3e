"""Where contents lie: what the tables `import_batches`, `pending` and `documents` point to.

References go from the first of these tables to the last, each step in one transaction. So whoever
reads the tables in this order, a part at a time, meets every reference that was there when it began
and still is when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, true, tuple_, update

from searchmesh_search.content_refs import unpack_refs
from searchmesh_search.content_store import HEADER_BYTES, ContentRef
from searchmesh_search.journal.tables import documents, import_batches, pending

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    Key = tuple[Any, ...]
    """Of a row, as its table orders them."""
    Part = Callable[[Connection, Key | None], tuple[Mapping[str, "PackUsage"], Key | None]]

BATCHES = 50
"""Batches looked through at once; each has hundreds of references."""
DOCUMENTS = 20_000
"""Documents looked through at once."""


@dataclass(frozen=True, slots=True)
class PackUsage:
    """What points to a pack's records."""

    bytes: int
    """Of the records."""
    movable: bool
    """Whether all of it is of the table `documents`."""

    def __add__(self, other: PackUsage) -> PackUsage:
        return PackUsage(self.bytes + other.bytes, self.movable and other.movable)


NOTHING = PackUsage(0, movable=True)


@dataclass(frozen=True, slots=True)
class Placed:
    """The content of a document's current generation, and where it is."""

    collection_id: int
    document_id: str
    generation: int
    content: ContentRef


_KEY = (documents.c.collection_id, documents.c.document_id)

_MOVE = (
    update(documents)
    .where(
        documents.c.collection_id == bindparam("of_collection"),
        documents.c.document_id == bindparam("of_document"),
        documents.c.generation == bindparam("of_generation"),
        documents.c.pack == bindparam("old_pack"),
        documents.c.offset == bindparam("old_offset"),
    )
    .values(pack=bindparam("new_pack"), offset=bindparam("new_offset"))
)


def used_by_batches(
    connection: Connection, after: Key | None
) -> tuple[Mapping[str, PackUsage], Key | None]:
    """What some batches of imports use, those after that one; and the last of them, None when there
    are no more.
    """
    key = (import_batches.c.import_id, import_batches.c.number)
    rows = connection.execute(
        select(*key, import_batches.c.refs)
        .where(import_batches.c.refs.is_not(None), _after(key, after))
        .order_by(*key)
        .limit(BATCHES)
    ).all()
    refs = (ref for row in rows for ref in unpack_refs(row.refs))
    used = total((ref.pack, PackUsage(ref.end - ref.offset, movable=False)) for ref in refs)
    return used, (rows[-1].import_id, rows[-1].number) if len(rows) == BATCHES else None


def used_by_pending(
    connection: Connection,
    _start: Key | None,
) -> tuple[Mapping[str, PackUsage], None]:
    """What the writes in hand use."""
    return _grouped(connection, pending.c, true(), movable=False), None


def used_by_documents(
    connection: Connection, after: Key | None
) -> tuple[Mapping[str, PackUsage], Key | None]:
    """As `used_by_batches`, of documents."""
    following = _after(_KEY, after)
    last = connection.execute(
        select(*_KEY).where(following).order_by(*_KEY).offset(DOCUMENTS - 1).limit(1)
    ).one_or_none()
    some = following if last is None else following & (tuple_(*_KEY) <= tuple_(*last))
    used = _grouped(connection, documents.c, some, movable=True)
    return used, None if last is None else tuple(last)


PARTS: Sequence[Part] = (used_by_batches, used_by_pending, used_by_documents)
"""All that uses contents, in the order in which to ask."""


def used(connection: Connection) -> Mapping[str, PackUsage]:
    """What is in use of each pack that anything points to, in one snapshot."""
    packs: dict[str, PackUsage] = {}
    for part in PARTS:
        after, more = None, True
        while more:
            some, after = part(connection, after)
            packs = total([*packs.items(), *some.items()])
            more = after is not None
    return packs


def total(used: Iterable[tuple[str, PackUsage]]) -> dict[str, PackUsage]:
    """Put together what uses the same pack."""
    packs: dict[str, PackUsage] = {}
    for name, usage in used:
        packs[name] = packs.get(name, NOTHING) + usage
    return packs


def placed_in(
    connection: Connection, packs: Collection[str], after: Placed | None, limit: int
) -> Sequence[Placed]:
    """Documents whose contents are in those packs, those after `after` in an order of their own."""
    key = None if after is None else (after.collection_id, after.document_id)
    found = connection.execute(
        select(documents)
        .where(documents.c.pack.in_(packs), _after(_KEY, key))
        .order_by(*_KEY)
        .limit(limit)
    )
    return [
        Placed(
            row.collection_id,
            row.document_id,
            row.generation,
            ContentRef(row.pack, row.offset, row.length),
        )
        for row in found
    ]


def move(connection: Connection, contents: Sequence[Placed], copies: Sequence[ContentRef]) -> None:
    """Let documents point to copies of their contents, at least one; those that have changed since
    stay as they are.
    """
    connection.execute(
        _MOVE,
        [
            {
                "of_collection": one.collection_id,
                "of_document": one.document_id,
                "of_generation": one.generation,
                "old_pack": one.content.pack,
                "old_offset": one.content.offset,
                "new_pack": copy.pack,
                "new_offset": copy.offset,
            }
            for one, copy in zip(contents, copies, strict=True)
        ],
    )


def _after(key: tuple[ColumnElement[Any], ...], after: Key | None) -> ColumnElement[bool]:
    return true() if after is None else tuple_(*key) > tuple_(*after)


def _grouped(
    connection: Connection, columns: Any, condition: ColumnElement[bool], *, movable: bool
) -> dict[str, PackUsage]:
    size = func.sum(columns.length + HEADER_BYTES).label("bytes")
    rows = connection.execute(select(columns.pack, size).where(condition).group_by(columns.pack))
    return {row.pack: PackUsage(int(row.bytes), movable) for row in rows}
