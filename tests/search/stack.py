"""The storage of the search service, put together on a folder for a test."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import InvalidRequest, NotFound, ServiceError
from searchmesh_search.collection_spec import CollectionSpec, ModelInfo, VectorSpace
from searchmesh_search.collections import Collections
from searchmesh_search.content import Content, Modality
from searchmesh_search.content_store import ContentStore
from searchmesh_search.deadline import Deadline
from searchmesh_search.document_writer import DocumentWriter, NewDocument
from searchmesh_search.documents import Documents
from searchmesh_search.engine import Metric
from searchmesh_search.journal import Journal
from searchmesh_search.sweeper import InHand, Sweeper

from .fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from searchmesh_search.collection_spec import Collection

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
        self, model: str, fingerprint: str, contents: Sequence[Content], deadline: Deadline
    ) -> Sequence[np.ndarray | ServiceError]:
        return [
            np.array([len(one.data), 1, 0, 0], np.float32)
            if one.data
            else InvalidRequest.of("text", "is empty")
            for one in contents
        ]


@dataclass
class Stack:
    journal: Journal
    contents: ContentStore
    engine: FakeEngine
    models: TinyModels
    sweeper: Sweeper
    in_hand: InHand
    collections: Collections
    documents: Documents
    writer: DocumentWriter

    async def collection(self, name: str = "things", model: str | None = None) -> Collection:
        spec = CollectionSpec(name, model=model, vector_space=None if model else SPACE)
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


@asynccontextmanager
async def open_stack(folder: Path, engine: FakeEngine | None = None) -> AsyncIterator[Stack]:
    journal = Journal(f"sqlite:///{folder}/journal.db")
    contents = ContentStore(folder / "content")
    engine = engine or FakeEngine()
    models = TinyModels()
    in_hand = InHand()
    await journal.open()
    await contents.open()
    sweeper = Sweeper(journal, engine, in_hand, late_insert_seconds=0)
    await sweeper.recover(soon())
    try:
        yield Stack(
            journal,
            contents,
            engine,
            models,
            sweeper,
            in_hand,
            Collections(journal, engine, models, sweeper, in_hand),
            Documents(journal, contents, engine),
            DocumentWriter(journal, contents, engine, models.encode, sweeper, in_hand),
        )
    finally:
        await journal.close()
        await contents.close()
