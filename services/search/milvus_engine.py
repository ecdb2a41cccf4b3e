"""Engine over Milvus: Milvus Lite in a process of ours, or a server.

Calls go through Milvus's gRPC stub itself. pymilvus's clients keep mutation timestamps to
themselves, put keys unescaped into expressions, and retry and log on their own
(docs/decisions/embedded-engine.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from searchmesh_common.channels import Credentials, Target, aio_channel
from searchmesh_common.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    ServiceError,
    Unavailable,
)
from searchmesh_common.logs import fields
from searchmesh_common.ports import StartError
from searchmesh_search import milvus_filters
from searchmesh_search import milvus_messages as messages
from searchmesh_search.deadline import Deadline
from searchmesh_search.engine import VectorKind
from searchmesh_search.filters.filter import terms
from searchmesh_search.milvus_calls import MilvusCalls, local_channel
from searchmesh_search.milvus_capabilities import lite_capabilities, server_capabilities
from searchmesh_search.milvus_lite import MilvusLite, lite_version
from searchmesh_search.milvus_stubs import common, milvus
from searchmesh_search.off_loop import off_loop
from searchmesh_search.parts import parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    import numpy as np

    from searchmesh_search.engine import (
        Capabilities,
        CollectionSchema,
        EngineHit,
        FoundRow,
        Row,
    )
    from searchmesh_search.filters.filter import Filter

_log = logging.getLogger("searchmesh.engine")

_Answer = TypeVar("_Answer")

_PORT = 19530
_TOKEN_BYTES = 8
_VISIBLE_AFTER_SECONDS = 0.002
_LOAD_POLL_SECONDS = 0.1
_WARM_UP_SECONDS = 600.0
_WRITE_SECONDS = 600.0
_ANSWER_SECONDS = 10.0
_FETCH_BYTES = 4 << 20
_VALUE_BYTES = 32
_KEYS_PER_CALL = 500


@dataclass(frozen=True, slots=True)
class _Batch:
    """How much one write call carries."""

    rows: int
    bytes: int


_LITE_BATCH = _Batch(rows=256, bytes=512 << 10)
"""Its time grows with the square of the bytes; this is where rows per second peak (measured)."""

_SERVER_BATCH = _Batch(rows=1000, bytes=4 << 20)
"""Far below the 64 MiB a server takes: a larger message blocks the event loop for long."""


class MilvusEngine:
    """See `Engine`. `uri`: `http://host:19530` or `https://…` of a server, or a file's path."""

    def __init__(self, uri: str, token: str = "") -> None:
        """token: what a server asks for, as user:password or an API key.

        Raises StartError for a URI of another scheme.
        """
        self._server = _server_target(uri)
        self._token = token
        self._lite = None if self._server else MilvusLite(Path(uri), self._warm_up)
        self._batch = _SERVER_BATCH if self._server else _LITE_BATCH
        self._version = ""
        self._calls: MilvusCalls | None = None
        self._schemas: dict[str, CollectionSchema] = {}
        self._may_lack_room = False
        self._writing = asyncio.Lock()
        self._written: asyncio.Task[Any] | None = None

    @property
    def capabilities(self) -> Capabilities:
        described = server_capabilities if self._lite is None else lite_capabilities
        return described(self._version)

    @property
    def pid(self) -> int | None:
        """The engine's process, where it is ours."""
        return self._lite.pid if self._lite else None

    async def start(self) -> None:
        if self._lite is None:
            assert self._server is not None
            self._calls = MilvusCalls(aio_channel(self._server), self._token)
        else:
            await self._lite.start()
            self._version = lite_version()

    async def close(self) -> None:
        if self._lite is not None:
            await self._lite.close()
        if self._calls is not None:
            await self._calls.close()
            self._calls = None
        if self._written is not None:
            await asyncio.wait([self._written])

    async def ping(self, timeout: float) -> None:
        deadline = Deadline.after(timeout)
        if self._lite is not None:
            self._lite.require_up()
            if self._may_lack_room:
                await self._lite.require_room()
                self._may_lack_room = False
        if not self._version:
            answer = await self._call("Connect", milvus.ConnectRequest(), deadline)
            self._version = answer.server_info.build_tags
        await self._call(
            "HasCollection", milvus.HasCollectionRequest(collection_name="_"), deadline
        )

    async def create_collection(
        self, physical: str, schema: CollectionSchema, timeout: float
    ) -> None:
        self.capabilities.require(schema)
        deadline = await self._begin(timeout)
        await self._alone(lambda until: self._create(physical, schema, until), deadline)
        await self._load(physical, deadline)

    async def drop_collection(self, physical: str, timeout: float) -> None:
        deadline = await self._begin(timeout)
        self._schemas.pop(physical, None)
        request = milvus.DropCollectionRequest(collection_name=physical)
        with contextlib.suppress(NotFound):
            await self._write("DropCollection", request, deadline, physical)

    async def has_collection(self, physical: str, timeout: float) -> bool:
        deadline = await self._begin(timeout)
        request = milvus.HasCollectionRequest(collection_name=physical)
        return bool((await self._call("HasCollection", request, deadline, physical)).value)

    async def list_collections(self, timeout: float) -> list[str]:
        deadline = await self._begin(timeout)
        answer = await self._call("ShowCollections", milvus.ShowCollectionsRequest(), deadline)
        return list(answer.collection_names)

    async def insert(self, physical: str, rows: Sequence[Row], timeout: float) -> bytes:
        deadline = await self._begin(timeout)
        schema = await self._schema(physical, deadline)
        timestamp = 0
        for batch in parts(rows, _row_bytes, most=self._batch.rows, most_size=self._batch.bytes):
            _check_rows(schema, batch)
            # of rows with one key the last counts; the engine would keep all of one message
            distinct = list({row.key: row for row in batch}.values())
            # a batch of full size would keep the loop for milliseconds
            request = await off_loop(
                _width(schema) * len(distinct) // 1024 + len(distinct),
                messages.upsert,
                physical,
                schema,
                distinct,
            )
            timestamp = (await self._write("Upsert", request, deadline, physical)).timestamp
        return await self._visible(physical, timestamp, deadline) if rows else b""

    async def delete(self, physical: str, keys: Sequence[str], timeout: float) -> bytes:
        deadline = await self._begin(timeout)
        timestamp = 0
        for batch in parts(
            list(dict.fromkeys(keys)), len, most=_KEYS_PER_CALL, most_size=self._batch.bytes
        ):
            request = messages.delete(physical, batch)
            timestamp = (await self._write("Delete", request, deadline, physical)).timestamp
        return await self._visible(physical, timestamp, deadline) if keys else b""

    async def search(
        self,
        physical: str,
        vectors: np.ndarray,
        limit: int,
        timeout: float,
        *,
        where: Filter | None = None,
        read_after: bytes = b"",
    ) -> list[list[EngineHit]]:
        timestamp = _timestamp(read_after)
        deadline = await self._begin(timeout)
        schema = await self._schema(physical, deadline)
        _check_width(schema, vectors.shape[1], "vectors")
        expression = await self._expression(where, schema)
        request = messages.search(physical, schema, vectors, limit, timestamp, expression)
        answer = await self._call("Search", request, deadline, physical)
        return await off_loop(
            len(vectors) * limit, messages.hits_of, answer, schema.metric, len(vectors)
        )

    async def search_words(
        self,
        physical: str,
        text: str,
        limit: int,
        timeout: float,
        *,
        where: Filter | None = None,
        read_after: bytes = b"",
    ) -> list[EngineHit]:
        timestamp = _timestamp(read_after)
        deadline = await self._begin(timeout)
        schema = await self._schema(physical, deadline)
        expression = await self._expression(where, schema)
        request = messages.search_words(physical, text, limit, timestamp, expression)
        answer = await self._call("Search", request, deadline, physical)
        (hits,) = await off_loop(limit, messages.hits_of, answer, None, 1)
        return hits

    async def query(
        self,
        physical: str,
        where: Filter | None,
        limit: int,
        timeout: float,
        *,
        after: str = "",
        keys: Sequence[str] = (),
        field: str = "",
    ) -> list[FoundRow]:
        deadline = await self._begin(timeout)
        schema = await self._schema(physical, deadline)
        declared = next((one for one in schema.fields if one.name == field), None)
        expression = await self._expression(where, schema)
        request = messages.matching(
            physical, expression, limit, after=after, keys=keys, declared=declared
        )
        answer = await self._call("Query", request, deadline, physical)
        return await off_loop(limit, messages.rows_of, answer, declared)

    async def vectors(
        self, physical: str, keys: Sequence[str], timeout: float
    ) -> dict[str, np.ndarray]:
        deadline = await self._begin(timeout)
        schema = await self._schema(physical, deadline)
        row_bytes = _width(schema) * (4 if schema.kind is VectorKind.FLOAT else 1)

        async def fetch(some: Sequence[str], timestamp: int) -> dict[str, np.ndarray]:
            request = messages.fetch(physical, some, timestamp)
            return messages.vectors_of(await self._call("Query", request, deadline, physical))

        return await self._by_key(keys, row_bytes, fetch)

    async def values(
        self, physical: str, keys: Sequence[str], field: str, timeout: float
    ) -> dict[str, str | int | float | bool | None]:
        deadline = await self._begin(timeout)
        schema = await self._schema(physical, deadline)
        (declared,) = (one for one in schema.fields if one.name == field)

        async def fetch(
            some: Sequence[str], timestamp: int
        ) -> dict[str, str | int | float | bool | None]:
            request = messages.fetch_values(physical, some, declared, timestamp)
            answer = await self._call("Query", request, deadline, physical)
            return messages.values_of(answer, declared)

        return await self._by_key(keys, _VALUE_BYTES, fetch)

    async def count_rows(self, physical: str, timeout: float) -> int:
        deadline = await self._begin(timeout)
        answer = await self._call("Query", messages.count(physical), deadline, physical)
        return messages.count_of(answer)

    async def _expression(
        self, where: Filter | None, schema: CollectionSchema
    ) -> milvus_filters.Expression | None:
        """Raises FailedPrecondition, reason ENGINE_LACKS, for what the engine cannot be asked."""
        if where is None:
            return None
        dialect = milvus_filters.SERVER if self._lite is None else milvus_filters.LITE
        expression = await off_loop(
            terms(where), milvus_filters.compiled, where, schema.fields, dialect
        )
        self.capabilities.require_filter(len(expression.text.encode()), expression.depth)
        return expression

    async def _by_key(
        self,
        keys: Sequence[str],
        row_bytes: int,
        fetch: Callable[[Sequence[str], int], Awaitable[dict[str, _Answer]]],
    ) -> dict[str, _Answer]:
        """What `fetch` gives of keys, in calls of bounded size. row_bytes: of an answer, about."""
        found: dict[str, _Answer] = {}
        for batch in parts(
            keys,
            lambda key: row_bytes + len(key),
            most=_KEYS_PER_CALL,
            most_size=_FETCH_BYTES,
        ):
            found |= await fetch(batch, messages.ANYTHING)
            missing = [key for key in batch if key not in found]
            if missing and self._lite is None:
                # a server that has just moved the collection may be behind what it has answered
                found |= await fetch(missing, messages.NEWEST)
        return found

    async def _begin(self, timeout: float) -> Deadline:
        deadline = Deadline.after(timeout)
        if self._lite is not None:
            await self._lite.wait_up(timeout)
        return deadline

    async def _warm_up(self) -> None:
        """Connect to a process just started, and load what it holds."""
        assert self._lite is not None
        if self._calls is None:
            self._calls = MilvusCalls(local_channel(self._lite.address))
        answer = await self._calls.call(
            "ShowCollections",
            milvus.ShowCollectionsRequest(),
            Deadline.after(_ANSWER_SECONDS),
            wait_for_ready=True,
        )
        for physical in answer.collection_names:
            try:
                await self._load(physical, Deadline.after(_WARM_UP_SECONDS))
            except (Unavailable, DeadlineExceeded):
                raise
            except ServiceError as error:
                # one damaged collection must not keep the others away
                _log.error(
                    "a collection cannot be loaded",
                    extra=fields(collection=physical, reason=error.message),
                )

    async def _create(self, physical: str, schema: CollectionSchema, deadline: Deadline) -> None:
        """Whatever of it is not there yet: the collection, its index, the index over its keys."""
        self._schemas.pop(physical, None)
        try:
            existing = await self._schema(physical, deadline)
        except NotFound:
            request = messages.create_collection(physical, schema)
            await self._call("CreateCollection", request, deadline, physical)
        else:
            if not messages.same_schema(existing, schema):
                raise AlreadyExists(
                    "collection", physical, f"collection {physical!r} exists with another schema"
                )
        request = messages.create_index(physical, schema)
        await self._call("CreateIndex", request, deadline, physical)
        if schema.lexical is not None:
            request = messages.create_terms_index(physical, schema.lexical)
            await self._call("CreateIndex", request, deadline, physical)
        if self._lite is not None:
            await self._lite.index_keys(physical)

    async def _load(self, physical: str, deadline: Deadline) -> None:
        request = milvus.LoadCollectionRequest(collection_name=physical, replica_number=1)
        await self._call("LoadCollection", request, deadline, physical)
        state = milvus.GetLoadStateRequest(collection_name=physical)
        while True:
            answer = await self._call("GetLoadState", state, deadline, physical)
            if answer.state == common.LoadState.LoadStateLoaded:
                return
            await asyncio.sleep(_LOAD_POLL_SECONDS)

    async def _schema(self, physical: str, deadline: Deadline) -> CollectionSchema:
        """What a collection was created with; it never changes under a physical name."""
        known = self._schemas.get(physical)
        if known is None:
            request = milvus.DescribeCollectionRequest(collection_name=physical)
            answer = await self._call("DescribeCollection", request, deadline, physical)
            known = self._schemas[physical] = messages.schema_of(answer, physical)
        return known

    async def _write(self, method: str, request: Any, deadline: Deadline, physical: str) -> Any:
        """A call that changes rows.

        Milvus Lite sees a row of this millisecond from the next one on: reads do, and so does
        another write of its key, which would leave both rows.
        """

        async def write(until: Deadline) -> Any:
            answer = await self._call(method, request, until, physical)
            if self._lite is not None:
                await asyncio.sleep(_VISIBLE_AFTER_SECONDS)
            return answer

        return await self._alone(write, deadline)

    async def _call(self, method: str, request: Any, deadline: Deadline, physical: str = "") -> Any:
        if self._calls is None:
            raise Unavailable("the engine is not connected")
        try:
            return await self._calls.call(method, request, deadline, physical)
        except NotFound:
            self._schemas.pop(physical, None)
            raise
        except ServiceError as error:
            if self._lite is not None and type(error) is ServiceError:
                self._may_lack_room = True
                await self._lite.require_room()
            raise

    async def _alone(
        self, write: Callable[[Deadline], Coroutine[Any, Any, _Answer]], deadline: Deadline
    ) -> _Answer:
        """Write while nobody else does. A server needs no such care.

        Milvus Lite lets two upserts of one key both store their row, and fails what it is asked
        while its file is worked on. A caller that gives up cannot take back what was sent, so
        others wait on until that is over.
        """
        if self._lite is None:
            return await write(deadline)
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._writing.acquire()
                self._written = asyncio.create_task(write(Deadline.after(_WRITE_SECONDS)))
                self._written.add_done_callback(self._let_next_write)
                return await asyncio.shield(self._written)
        except TimeoutError:
            raise DeadlineExceeded("the engine did not finish the write in time") from None

    def _let_next_write(self, written: asyncio.Task[Any]) -> None:
        self._writing.release()
        if not written.cancelled():
            written.exception()  # seen: whoever waited for it may have gone

    async def _visible(self, physical: str, timestamp: int, deadline: Deadline) -> bytes:
        """The token of a write, once every read sees it.

        Milvus Lite names no timestamp and ignores the one it is given; its write has waited. A
        server shows a write when its clock's next tick has come through; reads without a timestamp
        do not wait for that.
        """
        if self._lite is None:
            # servers of 2.3 name no timestamp for a delete
            timestamp = timestamp or messages.NEWEST
            request = messages.nothing(physical, timestamp)
            await self._call("Query", request, deadline, physical)
        return timestamp.to_bytes(_TOKEN_BYTES, "big")


def _server_target(uri: str) -> Target | None:
    """None for a file's path."""
    if "://" not in uri:
        return None
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise StartError(
            f"{uri!r} names no engine: give http://host:19530, https://host:19530 or a file's path"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    address = f"{host}:{parts.port or _PORT}"
    return Target(address, Credentials() if parts.scheme == "https" else None)


def _check_rows(schema: CollectionSchema, rows: Sequence[Row]) -> None:
    names = {declared.name for declared in schema.fields}
    for row in rows:
        _check_width(schema, row.vector.shape[-1], f"document {row.document_id!r}")
        unknown = row.fields.keys() - names
        if unknown:
            raise InvalidRequest.of(
                f"document {row.document_id!r}",
                f"field {min(unknown)!r} is not declared in the collection",
            )


def _check_width(schema: CollectionSchema, width: int, path: str) -> None:
    if width != _width(schema):
        raise InvalidRequest.of(
            path, f"{width} components given, the collection holds {_width(schema)}"
        )


def _width(schema: CollectionSchema) -> int:
    """Components of a vector's array."""
    return schema.dimension if schema.kind is VectorKind.FLOAT else schema.dimension // 8


def _timestamp(token: bytes) -> int:
    if len(token) not in {0, _TOKEN_BYTES}:
        raise InvalidRequest.of("read_after", "not a token of this engine")
    return int.from_bytes(token, "big")


def _row_bytes(row: Row) -> int:
    strings = sum(len(value) for value in row.fields.values() if isinstance(value, str))
    return row.vector.nbytes + 2 * len(row.document_id) + strings + len(row.text) + 100
