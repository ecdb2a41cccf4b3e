"""Calls that ask in more ways than one search: what both clients send and read."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh import (
    Connection,
    Diversity,
    Document,
    DocumentId,
    Field,
    FieldType,
    RecommendStrategy,
    Search,
    errors,
)
from searchmesh.calls.search import search
from tests.client.both import AnyClient
from tests.mesh import MODEL

if TYPE_CHECKING:
    from tests.mesh import Mesh

Connect = Callable[[Connection], Awaitable[AnyClient]]

NOTES = [
    Document("milk", "Where can I buy milk?", attributes={"kind": "food", "reply": "At the shop."}),
    Document("bread", "Who sells bread?", attributes={"kind": "food", "reply": "The baker."}),
    Document(
        "train", "When does the train leave?", attributes={"kind": "travel", "reply": "Noon."}
    ),
]


@pytest.fixture
async def client(mesh: Mesh, connect: Connect) -> AnyClient:
    return await connect(mesh.connection)


@pytest.fixture
async def notes(client: AnyClient) -> AsyncIterator[str]:
    declared = [Field("kind", FieldType.STRING)]
    made = await client.call("create_collection", "answering", model=MODEL, fields=declared)
    await client.call("upsert", made.name, NOTES)
    yield made.name
    await client.call("delete_collection", made.name)


def test_a_search_of_a_batch_takes_what_a_search_takes() -> None:
    parameters = list(inspect.signature(search).parameters.values())
    assert [one.name for one in fields(Search)] == [one.name for one in parameters[:-1]]
    assert [one.default for one in fields(Search)[1:]] == [one.default for one in parameters[1:-1]]


async def test_batch_search(client: AnyClient, notes: str) -> None:
    searches = [
        Search(notes, "a glass of milk", limit=1),
        Search(notes, document_id="missing"),
        Search(notes, vector=np.ones(384), filter='kind = "travel"'),
    ]
    found, missing, by_vector = await client.call("batch_search", searches)
    assert [hit.id for hit in found.result] == ["milk"]
    assert found.error is None
    assert isinstance(missing.error, errors.NotFound)
    assert missing.result is None
    assert [hit.id for hit in by_vector.result] == ["train"]
    with pytest.raises(errors.InvalidRequest, match=r"searches\[1\]\.query: give exactly one"):
        await client.call("batch_search", [Search(notes, "a"), Search(notes)])


async def test_groups_and_diversity(client: AnyClient, notes: str) -> None:
    question = "Where can I buy milk?"
    grouped = await client.call("search", notes, question, group_by="kind")
    assert [hit.id for hit in grouped] == ["milk", "train"]
    pairs = await client.call("search", notes, question, group_by="kind", group_size=2)
    assert [hit.id for hit in pairs] == ["milk", "bread", "train"]
    differing = await client.call("search", notes, question, diversity=Diversity(0.1), limit=2)
    assert [hit.id for hit in differing] == ["milk", "train"]
    few = Search(notes, question, diversity=Diversity(candidates=1))
    (found,) = await client.call("batch_search", [few])
    assert [hit.id for hit in found.result] == ["milk"]


async def test_recommend(client: AnyClient, notes: str) -> None:
    liked = [DocumentId("milk"), "food", np.ones(384)]
    found = await client.call("recommend", notes, liked, ["a railway"], seen_ids=["x"])
    assert sorted(hit.id for hit in found) == ["bread", "train"]
    best = await client.call(
        "recommend",
        notes,
        liked[:2],
        strategy=RecommendStrategy.BEST,
        seen_ids=["bread"],
        filter="EXISTS kind",
        output_fields=["reply"],
        limit=1,
    )
    assert [(hit.id, hit.attributes) for hit in best] == [("train", {"reply": "Noon."})]
    assert best.metric == "COSINE"
    with pytest.raises(errors.NotFound, match=r"disliked\[0\]\.document_id: no document 'x'"):
        await client.call("recommend", notes, liked, [DocumentId("x")])
    with pytest.raises(errors.InvalidRequest, match=r"liked\[1\]: holds a control character"):
        await client.call("recommend", notes, ["a", DocumentId("\n")])


async def test_classify(client: AnyClient, notes: str) -> None:
    found = await client.call("classify", notes, "a bottle of milk", "kind", neighbours=2)
    assert [(one.value, one.share, one.count) for one in found] == [("food", 1.0, 2)]
    assert {hit.id for hit in found.neighbours} == {"milk", "bread"}
    assert found.neighbours[0].attributes["kind"] == "food"
    assert found.metric == "COSINE"
    itself = await client.call("classify", notes, DocumentId("train"), "kind")
    assert [one.value for one in itself] == ["food"]
    with pytest.raises(errors.InvalidRequest, match="field: reply is not declared"):
        await client.call("classify", notes, np.ones(384), "reply")


async def test_answer(client: AnyClient, notes: str) -> None:
    found = await client.call("answer", notes, "Where do I get milk?", "reply", alternatives=1)
    assert (found.answer.id, found.answer.answer) == ("milk", "At the shop.")
    assert found.answer.question == "Where can I buy milk?"
    assert [one.id for one in found.alternatives] == ["bread"]
    assert found.metric == "COSINE"
    none = await client.call("answer", notes, "Who won the match?", "reply", filter="EXISTS kind")
    assert none.answer is None
    assert len(none.alternatives) == 3
    near = await client.call("answer", notes, "Who won the match?", "reply", threshold=-1)
    assert near.answer == none.alternatives[0]
