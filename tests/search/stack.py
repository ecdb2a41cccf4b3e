"""The storage of the search service, put together on a folder for a test."""

from __future__ import annotations

import asyncio
import functools
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import InvalidRequest, NotFound, ServiceError
from searchmesh_search.collection_spec import (
    CollectionSpec,
    ModelInfo,
    Segmentation,
    VectorSpace,
)
from searchmesh_search.collections import Collections
from searchmesh_search.content import Content, Modality
from searchmesh_search.content_store import ContentStore
from searchmesh_search.deadline import Deadline
from searchmesh_search.document_checks import NewDocument
from searchmesh_search.document_writer import DocumentWriter
from searchmesh_search.documents import Documents
from searchmesh_search.encoder_client import EncodedQuery
from searchmesh_search.engine import Metric
from searchmesh_search.filter_deletes import FilterDeletes
from searchmesh_search.journal import Journal
from searchmesh_search.matching import Matching
from searchmesh_search.replica import Replica
from searchmesh_search.segments import Segments, TextSpan
from searchmesh_search.sweeper import InHand, Sweeper

from .engines import started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.milvus_engine import MilvusEngine

SPACE = VectorSpace(4, Metric.INNER_PRODUCT)
MODEL = ModelInfo("tiny", "print-1", Modality.TEXT, VectorSpace(4, Metric.COSINE))


def soon() -> Deadline:
    """A deadline that a test never reaches unless something hangs."""
    return Deadline.after(20)


def document(
    document_id: str,
    vector: Sequence[float] | None = (1, 0, 0, 0),
    *,
    text: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    stored: bytes | None = None,
) -> NewDocument:
    return NewDocument(
        id=document_id,
        stored=document_id.encode() if stored is None else stored,
        content=None if text is None else Content(Modality.TEXT, text),
        vector=None if vector is None else np.array(vector, np.float32),
        attributes=attributes or {},
    )


class TinyModels:
    """An encoder of one model: a text's vector tells its length; an empty text is its own error."""

    def __init__(self) -> None:
        self.fingerprint = MODEL.fingerprint

    async def get_model(self, name: str, deadline: Deadline) -> ModelInfo:
        if name != MODEL.name:
            raise NotFound("model", name, f"no model {name!r}")
        return MODEL

    async def encode(
        self,
        model: str,
        fingerprint: str,
        segmentation: Segmentation,
        contents: Sequence[Content],
        deadline: Deadline,
    ) -> Sequence[Segments | ServiceError]:
        return [_encoded(segmentation, one) for one in contents]

    async def encode_query(
        self, model: str, fingerprint: str, content: Content, deadline: Deadline
    ) -> EncodedQuery:
        return _encoded_query(content)

    async def encode_queries(
        self, model: str, fingerprint: str, contents: Sequence[Content], deadline: Deadline
    ) -> Sequence[EncodedQuery | ServiceError]:
        return [
            _encoded_query(one) if one.data else InvalidRequest.of("text", "is empty")
            for one in contents
        ]


def _encoded_query(content: Content) -> EncodedQuery:
    return EncodedQuery(np.array([len(content.data), 1, 0, 0], np.float32), 0.0, 0.0)


def _encoded(segmentation: Segmentation, content: Content) -> Segments | ServiceError:
    """In segments, each word is a passage and has a vector of its own."""
    text = str(content.data)
    if not text:
        return InvalidRequest.of("text", "is empty")
    if segmentation is Segmentation.WHOLE:
        return Segments(np.array([[len(text), 1, 0, 0]], np.float32))
    words = list(re.finditer(r"\S+", text))
    return Segments(
        np.stack([word_vector(one.group()) for one in words]),
        [TextSpan(*one.span()) for one in words],
    )


def word_vector(word: str) -> np.ndarray:
    """(4,) float32: of a direction of the word's own."""
    seed = int.from_bytes(word.encode(), "big")
    return np.random.default_rng(seed).standard_normal(4, np.float32)


class Patchable:
    """An engine; a test may put a function of its own around one of its methods."""

    def __init__(self, engine: MilvusEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def patch(self, method: str, around: Callable[..., Awaitable[Any]]) -> None:
        """Let calls of a method go to `around`, which gets the method and then the arguments."""
        setattr(self, method, functools.partial(around, getattr(self._engine, method)))

    def restore(self, method: str) -> None:
        """Undo `patch`."""
        delattr(self, method)

    def hold(self, method: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Hold the next call of a method: two events, the first set once it is there, the second
        to be set to let it go on.
        """
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def wait(work: Callable[..., Awaitable[Any]], *given: object, **named: object) -> Any:
            self.restore(method)
            entered.set()
            await go_on.wait()
            return await work(*given, **named)

        self.patch(method, wait)
        return entered, go_on

    def fail_once(self, method: str, error: Exception) -> None:
        """Let the next call of a method fail, before it does anything."""

        async def fail(*_arguments: object, **_named: object) -> None:
            self.restore(method)
            raise error

        self.patch(method, fail)


@dataclass
class Stack:
    journal: Journal
    replica: Replica
    folder: Path
    contents: ContentStore
    engine: Patchable
    models: TinyModels
    sweeper: Sweeper
    in_hand: InHand
    collections: Collections
    documents: Documents
    writer: DocumentWriter
    matching: Matching
    filter_deletes: FilterDeletes

    async def collection(
        self, name: str = "things", model: str | None = None, **definition: Any
    ) -> Collection:
        spec = CollectionSpec(
            name, model=model, vector_space=None if model else SPACE, **definition
        )
        return await self.collections.create(spec, "", soon())

    async def upsert(self, collection: Collection, *documents: NewDocument) -> None:
        """Upsert documents that must all be stored."""
        result = await self.writer.upsert(collection, documents, soon())
        assert result.errors == [None] * len(documents)

    async def ids(self, collection: Collection) -> list[str]:
        """Every id, by pages of two."""
        listed: list[str] = []
        token = ""
        while True:
            page = await self.documents.list_page(collection, 2, token, soon())
            listed += [one.id for one in page.documents]
            token = page.next_page_token
            if not token:
                return listed

    async def sweep_until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Sweep until the condition holds, which may take until a lease is over."""
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.05)
                await self.sweeper.sweep(soon())


@asynccontextmanager
async def open_stack(
    folder: Path,
    engine: MilvusEngine | None = None,
    journal_url: str = "",
    *,
    lease_seconds: float = 15.0,
) -> AsyncIterator[Stack]:
    """The storage in a folder; with an engine that is there already, or with one of its own.

    journal_url: a file in the folder where there is none.
    """
    if engine is None:
        async with (
            started("milvus-lite", folder) as own,
            open_stack(folder, own, journal_url, lease_seconds=lease_seconds) as stack,
        ):
            yield stack
        return
    journal = Journal(journal_url or f"sqlite:///{folder}/journal.db")
    replica = Replica(journal, lease_seconds=lease_seconds)
    contents = ContentStore(folder / "content")
    patchable = Patchable(engine)
    models = TinyModels()
    in_hand = InHand(replica.id)
    await journal.open()
    await replica.join(soon())
    await contents.open()
    sweeper = Sweeper(journal, patchable, in_hand, late_insert_seconds=0)
    matching = Matching(journal, patchable)
    await sweeper.recover(soon())
    try:
        yield Stack(
            journal,
            replica,
            folder,
            contents,
            patchable,
            models,
            sweeper,
            in_hand,
            Collections(journal, patchable, models, sweeper, in_hand),
            Documents(journal, contents, patchable),
            DocumentWriter(journal, contents, patchable, models.encode, sweeper, in_hand),
            matching,
            FilterDeletes(journal, matching, sweeper),
        )
    finally:
        await replica.leave()
        await journal.close()
        await contents.close()
