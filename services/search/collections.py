"""Collections: made, found, listed and deleted under the names that callers use."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from searchmesh_common import page_tokens
from searchmesh_common.errors import Aborted, AlreadyExists, NotFound
from searchmesh_search.collection_spec import Collection, CollectionSpec, ModelInfo
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, collection_rows, request_rows
from searchmesh_search.journal.collection_rows import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.engine import Engine
    from searchmesh_search.journal.collection_rows import NewCollection
    from searchmesh_search.sweeper import InHand, Sweeper

CREATE = "CreateCollection"
DELETE = "DeleteCollection"

POLL_SECONDS = 0.05
"""Time between two looks at whether another call has made the collection."""

UNDO_SECONDS = 5.0
"""Time to take back a creation that failed; the sweeper does it otherwise."""


class Models(Protocol):
    """Where a model's particulars are found: the encoder."""

    async def get_model(self, name: str, deadline: Deadline) -> ModelInfo:
        """Raises NotFound for an unknown model, Unavailable when the encoder is away."""


@dataclass(frozen=True, slots=True)
class CollectionPage:
    """Some collections, and the token of the page that follows; empty after the last."""

    collections: Sequence[Collection]
    next_page_token: str


class Collections:
    """The collections of the service.

    The journal says which there are; the engine holds their rows.
    """

    def __init__(
        self, journal: Journal, engine: Engine, models: Models, sweeper: Sweeper, in_hand: InHand
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._models = models
        self._sweeper = sweeper
        self._in_hand = in_hand

    async def create(self, spec: CollectionSpec, request_id: str, deadline: Deadline) -> Collection:
        """Make a collection, ready for documents.

        Repeating a request_id with the same spec returns what the first call made. Raises
        AlreadyExists for a name in use or a request_id used for another spec, InvalidRequest for a
        bad spec, FailedPrecondition for what the engine lacks or segments or words that the model
        lacks.
        """
        spec.validate()
        while True:
            try:
                return await self._made_or_create(spec, request_id, deadline)
            except _BeingMadeError:
                # another call, perhaps of this very request and perhaps on another replica, makes
                # one of that name; how that ends decides what becomes of this call
                await asyncio.sleep(min(POLL_SECONDS, deadline.remaining()))

    async def get(self, name: str, deadline: Deadline) -> Collection:
        """Raises NotFound."""
        return await self._journal.read(lambda c: _find(c, name), deadline)

    async def list_page(
        self, page_size: int, page_token: str, deadline: Deadline
    ) -> CollectionPage:
        """Collections in order of name. Raises InvalidRequest for a token of another list."""
        scope = ("collections",)
        after = page_tokens.decode(scope, page_token)
        rows = await self._journal.read(
            lambda c: collection_rows.page(c, after, page_size + 1), deadline
        )
        shown = [Collection.from_row(row) for row in rows[:page_size]]
        more = len(rows) > page_size
        return CollectionPage(shown, page_tokens.encode(scope, shown[-1].name) if more else "")

    async def delete(self, name: str, request_id: str, deadline: Deadline) -> None:
        """Delete a collection and its documents: for every caller at once, in the engine soon
        after.

        Raises NotFound, but not when the same request_id has deleted it before.
        """
        await self._journal.write(lambda c: _delete(c, name, request_id), deadline)
        self._sweeper.wake()

    async def _made_or_create(
        self, spec: CollectionSpec, request_id: str, deadline: Deadline
    ) -> Collection:
        made = await self._journal.read(lambda c: _made_before(c, spec, request_id), deadline)
        return made or await self._create(spec, request_id, deadline)

    async def _create(
        self, spec: CollectionSpec, request_id: str, deadline: Deadline
    ) -> Collection:
        model = await self._models.get_model(spec.model, deadline) if spec.model else None
        if model is not None:
            spec.require_segments_of(model)
            spec.require_words_of(model)
        space = spec.vector_space if model is None else model.space
        assert space is not None
        schema = spec.schema(space)
        self._engine.capabilities.require(schema)
        new = spec.row(f"c_{uuid.uuid4().hex}", model, space)
        self._in_hand.creations.add(new.physical)
        try:
            added = await self._journal.write(
                lambda c: _begin_creation(c, new, self._in_hand.owner, spec, request_id), deadline
            )
            async with self._undone_on_failure(new):
                await self._engine.create_collection(new.physical, schema, deadline.remaining())
                return await self._journal.write(
                    lambda c: _finish_creation(c, added, spec, request_id), deadline
                )
        finally:
            # whatever is still being created now is the sweeper's to undo
            self._in_hand.creations.discard(new.physical)

    @asynccontextmanager
    async def _undone_on_failure(self, new: NewCollection) -> AsyncIterator[None]:
        """Where the last step was committed after all, the collection stays."""
        try:
            yield
        except BaseException:
            await asyncio.shield(self._undo_creation(new))
            raise

    async def _undo_creation(self, new: NewCollection) -> None:
        try:
            await self._journal.write(
                lambda c: collection_rows.take_back(c, new), Deadline.after(UNDO_SECONDS)
            )
        finally:
            self._sweeper.wake()


class _BeingMadeError(Aborted):
    """A collection of that name is being made."""


def _made_before(
    connection: Connection, spec: CollectionSpec, request_id: str
) -> Collection | None:
    """What an earlier call of this request made.

    Raises AlreadyExists when the name is taken otherwise, _BeingMadeError where that is not settled
    yet.
    """
    result = request_rows.recall(connection, CREATE, request_id, spec.digest())
    if result is not None:
        row = collection_rows.find_by_id(connection, int(result))
        if row is None:
            raise NotFound(
                "collection",
                spec.name,
                f"request_id: {request_id!r} made collection {spec.name!r}, which was deleted "
                "since; use a new request_id",
            )
        return Collection.from_row(row)
    state = collection_rows.state_of(connection, spec.name)
    if state is State.CREATING:
        raise _BeingMadeError(f"collection {spec.name!r} is being made; try again")
    if state is not None:
        raise AlreadyExists(
            "collection", spec.name, f"collection {spec.name!r} exists; choose another name"
        )
    return None


def _begin_creation(
    connection: Connection, new: NewCollection, owner: str, spec: CollectionSpec, request_id: str
) -> int:
    """Take the name; returns the collection's id."""
    if _made_before(connection, spec, request_id) is not None:
        raise _BeingMadeError(f"collection {spec.name!r} was made a moment ago; look again")
    return collection_rows.add(connection, new, owner)


def _finish_creation(
    connection: Connection, collection_id: int, spec: CollectionSpec, request_id: str
) -> Collection:
    # another name may have been made by the same request_id meanwhile
    request_rows.recall(connection, CREATE, request_id, spec.digest())
    if not collection_rows.make_ready(connection, collection_id):
        raise Aborted(f"collection {spec.name!r} was taken back while it was made; try again")
    request_rows.remember(connection, CREATE, request_id, spec.digest(), str(collection_id))
    return _find(connection, spec.name)


def _delete(connection: Connection, name: str, request_id: str) -> None:
    digest = hashlib.sha256(name.encode()).digest()
    if request_rows.recall(connection, DELETE, request_id, digest) is not None:
        return
    collection_rows.begin_deletion(connection, _find(connection, name).id)
    request_rows.remember(connection, DELETE, request_id, digest, "")


def _find(connection: Connection, name: str) -> Collection:
    row = collection_rows.find(connection, name)
    if row is None:
        raise NotFound("collection", name, f"no collection {name!r}")
    return Collection.from_row(row)
