"""Recommendations over the wire, held against the same computed from all vectors at once."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pytest_asyncio

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.collection_service_pb2 import FIELD_TYPE_BOOL, Field
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1 import vector_pb2
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_common.errors import FailedPrecondition, NotFound
from searchmesh_search import recommender
from searchmesh_search.convert.values import METRIC_VALUES
from searchmesh_search.engine import BINARY_METRICS, Metric
from searchmesh_search.similarity import similarities, unit

from .mesh import SECONDS, faults, floats, refused
from .test_search_servicer import attributes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from typing import Any

    from .mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 60
DIMENSION = 8

BEST, SUM = pb.RECOMMEND_STRATEGY_BEST, pb.RECOMMEND_STRATEGY_SUM


class Shelf:
    """A collection of documents `d00`, `d01`, … with random vectors; each second is even."""

    def __init__(self, mesh: Mesh, metric: Metric) -> None:
        self.mesh = mesh
        self.metric = metric
        self.name = f"c{uuid.uuid4().hex}"
        given = np.random.default_rng(7).standard_normal((COUNT, DIMENSION), np.float32)
        self.vectors: np.ndarray = (
            np.packbits(given > 0, axis=1) if metric in BINARY_METRICS else given
        )

    async def fill(self) -> None:
        kind = vector_pb2.VECTOR_KIND_BINARY if self.is_binary else vector_pb2.VECTOR_KIND_FLOAT
        space = vector_pb2.VectorSpace(
            dimension=DIMENSION, metric=METRIC_VALUES[self.metric], kind=kind
        )
        fields = [Field(name="even", type=FIELD_TYPE_BOOL)]
        await self.mesh.create(self.name, vector_space=space, fields=fields)
        await self.mesh.upsert(
            self.name,
            *(
                Document(
                    id=name, vector=self.message(vector), attributes=attributes(even=place % 2 == 0)
                )
                for place, (name, vector) in enumerate(zip(self.ids, self.vectors, strict=True))
            ),
        )

    @property
    def is_binary(self) -> bool:
        return self.metric in BINARY_METRICS

    @property
    def ids(self) -> list[str]:
        return [f"d{place:02d}" for place in range(COUNT)]

    def message(self, vector: np.ndarray) -> vector_pb2.Vector:
        if self.is_binary:
            return vector_pb2.Vector(packed_bits=vector.tobytes())
        return floats(*vector)

    async def recommend(
        self, liked: list[int], disliked: list[int], **request: Any
    ) -> pb.RecommendResponse:
        return await recommend(
            self.mesh,
            self.name,
            liked=[document(self.ids[one]) for one in liked],
            # as vectors, so that both ways are gone
            disliked=[pb.Query(vector=self.message(self.vectors[one])) for one in disliked],
            **request,
        )

    def scores(self, liked: list[int], disliked: list[int], strategy: int) -> Mapping[str, float]:
        """By the contract's words, over all documents."""
        to_liked = similarities(self.vectors[liked], self.vectors, self.metric)
        to_disliked = similarities(self.vectors[disliked], self.vectors, self.metric)
        match strategy:
            case pb.RECOMMEND_STRATEGY_SUM:
                scores = to_liked.sum(0) - to_disliked.sum(0)
            case pb.RECOMMEND_STRATEGY_BEST:
                nearest = to_disliked.max(0, initial=-np.inf)
                scores = np.where(to_liked.max(0) >= nearest, to_liked.max(0), np.nan)
            case _:
                vectors = unit(self.vectors) if self.metric is Metric.COSINE else self.vectors
                mean = vectors[liked].mean(0)
                mean = 2 * mean - vectors[disliked].mean(0) if disliked else mean
                scores = similarities(mean[None], self.vectors, self.metric)[0]
        return {
            name: score
            for place, (name, score) in enumerate(zip(self.ids, scores, strict=True))
            if place not in liked and not np.isnan(score)
        }


def document(document_id: str) -> pb.Query:
    return pb.Query(document_id=document_id)


async def recommend(mesh: Mesh, collection: str, **request: Any) -> pb.RecommendResponse:
    message = pb.RecommendRequest(collection=collection, **request)
    response: pb.RecommendResponse = await mesh.search.Recommend(message, timeout=SECONDS)
    return response


def ids(response: pb.RecommendResponse) -> list[str]:
    return [hit.id for hit in response.hits]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(mesh: Mesh) -> Shelf:
    shelf = Shelf(mesh, Metric.INNER_PRODUCT)
    await shelf.fill()
    return shelf


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def words(mesh: Mesh) -> str:
    """Texts in segments, one of them of several."""
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, model="tiny", segmentation="SEGMENTATION_SEGMENTS")
    texts = {"short": "alpha", "like": "alpha beta", "other": "xyz", "long": "One two. " * 20}
    documents = [Document(id=one, content=Content(text=text)) for one, text in texts.items()]
    await mesh.upsert(name, *documents)
    return name


@pytest.mark.parametrize("metric", Metric)
async def test_recommendations_are_those_that_the_contract_says(mesh: Mesh, metric: Metric) -> None:
    shelf = Shelf(mesh, metric)
    await shelf.fill()
    strategies = [BEST, SUM] if shelf.is_binary else [BEST, SUM, pb.RECOMMEND_STRATEGY_UNSPECIFIED]
    for liked, disliked in (([3], []), ([3, 4, 5], []), ([3, 4], [7, 8, 9])):
        for strategy in strategies:
            expected = shelf.scores(liked, disliked, strategy)
            # as many as there are, so that no equal scores are cut apart
            found = await shelf.recommend(liked, disliked, strategy=strategy, limit=COUNT)
            assert found.metric == METRIC_VALUES[metric]
            given = {hit.id: hit.score for hit in found.hits}
            assert given == pytest.approx(expected, abs=1e-3), (liked, disliked, strategy)
            scores = [hit.score for hit in found.hits]
            assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("strategy", pb.RecommendStrategy.values())
async def test_the_best_come_without_what_is_seen_or_filtered(shelf: Shelf, strategy: int) -> None:
    liked, disliked = [0, 1], [9, 10, 11, 12]
    scores = shelf.scores(liked, disliked, strategy)
    ordered = sorted(scores, key=lambda one: (-scores[one], one))
    seen = [*ordered[:2], "unknown"]
    even = [one for one in ordered if one not in seen and int(one[1:]) % 2 == 0]
    found = await shelf.recommend(
        liked, disliked, strategy=strategy, seen_ids=seen, filter="even = true", limit=3
    )
    assert ids(found) == even[:3]
    assert dict(found.hits[0].attributes) == {"even": True}
    bare = await shelf.recommend(liked, disliked, strategy=strategy, output_fields=["$id"], limit=1)
    assert bare.hits[0] == pb.Hit(id=ordered[0], score=bare.hits[0].score)


async def test_disliked_documents_are_not_recommended(shelf: Shelf) -> None:
    request = {"liked": [document("d00")], "disliked": [document("d01")], "limit": COUNT}
    found = await recommend(shelf.mesh, shelf.name, **request)
    assert len(found.hits) == COUNT - 2
    assert not {"d00", "d01"} & set(ids(found))


async def test_it_looks_deeper_where_a_disliked_one_is_nearer_to_the_nearest(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest 20 to the liked one are nearer to the disliked one."""
    name = f"c{uuid.uuid4().hex}"
    space = vector_pb2.VectorSpace(dimension=2, metric=vector_pb2.METRIC_EUCLIDEAN)
    await mesh.create(name, vector_space=space)
    places = [*range(1, 21), *range(-30, -25)]
    await mesh.upsert(name, *(Document(id=f"at{x}", vector=floats(x, 0)) for x in places))
    request: dict[str, Any] = {
        "liked": [pb.Query(vector=floats(0, 0))],
        "disliked": [pb.Query(vector=floats(1, 0))],
        "strategy": BEST,
        "limit": 2,
    }
    assert ids(await recommend(mesh, name, **request)) == ["at-26", "at-27"]
    monkeypatch.setattr(recommender, "MAX_DEPTH", 8)
    assert ids(await recommend(mesh, name, **request)) == []


async def test_contents_and_documents_in_segments(mesh: Mesh, words: str) -> None:
    for strategy in pb.RecommendStrategy.values():
        found = await recommend(
            mesh,
            words,
            liked=[pb.Query(content=Content(text="alpha")), document("short")],
            disliked=[pb.Query(content=Content(text="xyz"))],
            strategy=strategy,
            output_fields=["$content"],
        )
        assert ids(found)[0] == "like"
        assert found.hits[0].segment.text.text == "alpha beta"
    assert "long" in ids(await recommend(mesh, words, liked=[document("short")], limit=3))
    like_long = await recommend(mesh, words, liked=[document("long")], strategy=BEST)
    assert set(ids(like_long)) == {"short", "like", "other"}


async def test_a_faulty_request_names_the_example(mesh: Mesh, shelf: Shelf, words: str) -> None:
    fine = document("d01")

    def at(collection: str, *liked: pb.Query, **request: Any) -> Awaitable[pb.RecommendResponse]:
        return recommend(mesh, collection, liked=liked, **request)

    name = shelf.name
    assert await faults(at(name)) == ["liked"]
    assert await faults(at(name, *[fine] * 257)) == ["liked"]
    assert await faults(at(name, pb.Query())) == ["liked[0].query"]
    assert await faults(at(name, fine, pb.Query(vector=floats(1)))) == ["liked[1].vector"]
    odd = vector_pb2.Vector(float32_le=b"123")
    assert await faults(at(name, fine, disliked=[pb.Query(vector=odd)])) == [
        "disliked[0].vector.float32_le"
    ]
    assert await faults(at(name, fine, limit=1001)) == ["limit"]
    assert await faults(at(name, fine, strategy=9)) == ["strategy"]
    assert await faults(at(name, fine, filter="colour = 1")) == ["filter"]
    assert await faults(at(name, fine, output_fields=["$vector"])) == ["output_fields[0]"]
    assert await faults(at(name, fine, read_after="x")) == ["read_after"]
    empty = pb.Query(content=Content(text=" "))
    assert await faults(at(words, document("short"), empty)) == ["liked[1].content.text"]
    assert await faults(at(words, pb.Query(content=Content()))) == ["liked[0].content"]


async def test_what_cannot_be_recommended_by_says_which(
    mesh: Mesh, shelf: Shelf, words: str
) -> None:
    missing = await refused(recommend(mesh, shelf.name, liked=[document("d01"), document("x")]))
    assert isinstance(missing, NotFound)
    assert (missing.kind, missing.name) == ("document", "x")
    assert missing.message.startswith("liked[1].document_id: no document 'x'")
    for collection, query, reason, said in (
        (shelf.name, pb.Query(content=Content(text="a")), "NO_MODEL", "liked[0].content.text: "),
        (words, pb.Query(content=Content(image=b"a")), "MODALITY_MISMATCH", "liked[0].content.im"),
        (words, pb.Query(vector=odd_bits()), "VECTOR_KIND_MISMATCH", "liked[0].vector: "),
    ):
        error = await refused(recommend(mesh, collection, liked=[query]))
        assert isinstance(error, FailedPrecondition)
        assert error.reason == reason
        assert error.message.startswith(said)
    ends = [pb.Query(vector=floats(*[sign] * 16)) for sign in (1, -1)]
    cancelled = await refused(recommend(mesh, words, liked=ends))
    assert isinstance(cancelled, FailedPrecondition)
    assert cancelled.reason == "NO_MEAN"
    assert isinstance(await refused(recommend(mesh, "missing", liked=ends)), NotFound)


async def test_binary_vectors_have_no_mean(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    space = vector_pb2.VectorSpace(
        dimension=8, kind=vector_pb2.VECTOR_KIND_BINARY, metric=vector_pb2.METRIC_JACCARD
    )
    await mesh.create(name, vector_space=space)
    error = await refused(recommend(mesh, name, liked=[pb.Query(vector=odd_bits())]))
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "NO_MEAN"
    assert error.message.startswith("strategy: ")


def odd_bits() -> vector_pb2.Vector:
    return vector_pb2.Vector(packed_bits=b"\x55")
