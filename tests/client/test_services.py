"""Both clients against the real services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh import (
    Connection,
    Document,
    Field,
    FieldType,
    Health,
    IndexType,
    Metric,
    Modality,
    ModelState,
    OnTooLong,
    Role,
    Segmentation,
    Service,
    TextSpan,
    VectorFormat,
    VectorKind,
    VectorSpace,
    errors,
    filter_value,
)
from tests.client.both import AnyClient
from tests.mesh import MODEL

if TYPE_CHECKING:
    from tests.mesh import Mesh

Connect = Callable[[Connection], Awaitable[AnyClient]]

_NOTES = [
    Document("milk", "Milk, bread and apples.", attributes={"n": 1, "tags": ["a", "b"]}),
    Document("dentist", "Call the dentist on Monday."),
    Document("train", "The train to Vienna leaves at noon.", attributes={"ok": True}),
]


@pytest.fixture
async def client(mesh: Mesh, connect: Connect) -> AnyClient:
    return await connect(mesh.connection)


@pytest.fixture
async def collection_of_fields(client: AnyClient) -> AsyncIterator[str]:
    fields = [Field("author", FieldType.STRING), Field("year", FieldType.INT64)]
    made = await client.call("create_collection", "with_fields", model=MODEL, fields=fields)
    yield made.name
    await client.call("delete_collection", made.name)


async def test_models(client: AnyClient) -> None:
    model = await client.call("get_model", MODEL)
    assert model in await client.items("list_models")
    assert model.modality is Modality.TEXT
    assert model.state is ModelState.READY
    assert model.space == VectorSpace(384, Metric.COSINE, VectorKind.FLOAT)
    assert model.is_default
    with pytest.raises(errors.NotFound, match="nothing"):
        await client.call("get_model", "nothing")


async def test_encode(client: AnyClient) -> None:
    result = await client.call("encode", MODEL, ["milk", "", "milk " * 1000], role=Role.QUERY)
    short, empty, long = result.embeddings
    assert np.linalg.norm(short.vector) == pytest.approx(1, abs=1e-5)
    assert isinstance(empty.error, errors.InvalidRequest)
    assert long.truncated
    assert long.original_tokens > long.tokens
    with pytest.raises(errors.InvalidRequest):
        _ = result.vectors
    both = await client.call("encode", MODEL, ["milk", "bread"])
    assert both.vectors.shape == (2, 384)
    assert both.vectors.dtype == np.float32


async def test_encode_in_segments(client: AnyClient) -> None:
    text = "One sentence about milk. " * 60 + "The train to Vienna \U0001f682 leaves at noon."
    options = {"segmentation": Segmentation.SEGMENTS, "on_too_long": OnTooLong.REJECT}
    result = await client.call("encode", MODEL, ["milk", text], **options)
    short, long = result.embeddings
    assert [one.segment for one in short.segments] == [TextSpan(0, 4, "milk")]
    assert (short.vector, short.error, short.truncated) == (None, None, False)
    assert len(long.segments) == 2
    assert long.tokens > long.original_tokens > 256
    for one in long.segments:
        assert text[one.segment.start : one.segment.end] == one.segment.text
        assert np.linalg.norm(one.vector) == pytest.approx(1, abs=1e-5)
    assert result.vectors.shape == (3, 384)
    rejected = await client.call("encode", MODEL, [text], on_too_long=OnTooLong.REJECT)
    assert "the model reads at most 256" in str(rejected.embeddings[0].error)


async def test_encode_in_every_form(client: AnyClient) -> None:
    exact = (await client.call("encode", MODEL, ["milk"])).vectors
    for form in (VectorFormat.FLOAT16_LE, VectorFormat.INT8_SCALED, VectorFormat.FLOATS):
        result = await client.call("encode", MODEL, ["milk"], vector_format=form)
        assert result.vectors.dtype == np.float32
        assert np.abs(result.vectors - exact).max() <= np.abs(exact).max() / 254 + 1e-6
    with pytest.raises(errors.InvalidRequest, match="only binary models answer"):
        await client.call("encode", MODEL, ["milk"], vector_format=VectorFormat.PACKED_BITS)
    with pytest.raises(errors.InvalidRequest, match="dimensions: 100 given"):
        await client.call("encode", MODEL, ["milk"], dimensions=100)


async def test_encode_on_a_stream(client: AnyClient) -> None:
    batches = [["milk", ""], ["bread"] * 257, ["\ud800"], ["train"]]
    answers = await client.items("encode_stream", MODEL, iter(batches), in_flight=2)
    by_index = {one.index: one for one in answers}
    assert sorted(by_index) == [0, 1, 2, 3]
    milk, empty = by_index[0].result.embeddings
    assert str(empty.error).startswith("contents[1].text: must hold")
    alone = await client.call("encode", MODEL, ["milk"])
    assert milk.vector == pytest.approx(alone.vectors[0], abs=1e-6)
    assert "257 given, at most 256" in str(by_index[1].error)
    assert "lone surrogate" in str(by_index[2].error)
    assert by_index[3].result.dimension == 384


async def test_encode_errors_say_what_to_change(client: AnyClient) -> None:
    with pytest.raises(errors.InvalidRequest) as raised:
        await client.call("encode", MODEL, ["x"] * 257)
    (violation,) = raised.value.violations
    assert violation.field == "contents"
    with pytest.raises(errors.FailedPrecondition):
        await client.call("encode", MODEL, ["x"], fingerprint="other")


async def test_documents_there_and_back(client: AnyClient, collection: str) -> None:
    summary = await client.call("upsert", collection, _NOTES)
    assert (summary.stored_count, list(summary.failures)) == (3, [])
    count = await client.call("count_documents", collection, read_after=summary.write_token)
    assert count == 3
    milk = await client.call("get_document", collection, "milk", include_vector=True)
    assert (milk.content, milk.attributes) == (_NOTES[0].content, _NOTES[0].attributes)
    assert milk.vector.shape == (384,)
    assert abs(milk.update_time - datetime.now(UTC)) < timedelta(minutes=1)
    listed = await client.items("list_documents", collection, page_size=2)
    assert [document.id for document in listed] == ["dentist", "milk", "train"]
    deleted = await client.call("delete_documents", collection, ["milk", "nothing"])
    assert deleted.deleted_count == 1
    with pytest.raises(errors.NotFound, match="milk"):
        await client.call("get_document", collection, "milk")


async def test_search_by_text_vector_and_document(client: AnyClient, collection: str) -> None:
    await client.call("upsert", collection, _NOTES)
    found = await client.call("search", collection, "groceries", limit=2, explain=True)
    assert found.hits[0].id == "milk"
    assert found.hits[0].attributes == {"n": 1, "tags": ["a", "b"]}
    assert found.hits[0].content is None
    assert (len(found), found.metric) == (2, Metric.COSINE)
    assert found.explain.model == MODEL
    encoded = await client.call("encode", MODEL, ["groceries"], role=Role.QUERY)
    by_vector = await client.call("search", collection, vector=encoded.vectors[0], limit=2)
    assert [hit.id for hit in by_vector] == [hit.id for hit in found]
    like = await client.call(
        "search", collection, document_id="milk", output_fields=["$content", "ok"]
    )
    assert {hit.id for hit in like} == {"dentist", "train"}
    train = next(hit for hit in like if hit.id == "train")
    assert (train.content, train.attributes) == (_NOTES[2].content, {"ok": True})


async def test_passages_are_found_and_go_there_and_back(
    client: AnyClient, mesh: Mesh, request: pytest.FixtureRequest
) -> None:
    name = f"long_{'async' if 'asyncio' in request.node.name else 'blocking'}"
    made = await client.call(
        "create_collection", name, model=MODEL, segmentation=Segmentation.SEGMENTS
    )
    assert made.segmentation is Segmentation.SEGMENTS
    text = (
        "\U0001f95b One sentence about milk. " * 60
        + "The train to Vienna \U0001f682 leaves at noon."
    )
    await client.call("upsert", name, [Document("long", text), Document("short", "Call me.")])
    found = await client.call("search", name, "a railway journey", limit=1)
    (hit,) = found
    assert "Vienna" in hit.segment.text
    assert text[hit.segment.start : hit.segment.end] == hit.segment.text
    (bare,) = await client.call("search", name, "a journey", limit=1, output_fields=["$id"])
    assert bare.segment is None
    long = await client.call("get_document", name, "long", include_vector=True)
    assert long.vector is None
    assert len(long.segments) > 1
    await client.call("delete_documents", name, ["long"])
    await client.call("upsert", name, [long])
    again = await client.call("search", name, "a railway journey", limit=1)
    assert [(one.id, one.segment, one.score) for one in again] == [(hit.id, hit.segment, hit.score)]
    await client.call("delete_collection", name)


async def test_a_space_of_ones_own(
    client: AnyClient, mesh: Mesh, request: pytest.FixtureRequest
) -> None:
    name = f"own_{'async' if 'asyncio' in request.node.name else 'blocking'}"
    made = await client.call(
        "create_collection",
        name,
        space=VectorSpace(2, Metric.EUCLIDEAN),
        fields=[Field("year", FieldType.INT64)],
    )
    assert made.space == VectorSpace(2, Metric.EUCLIDEAN)
    assert made.fields == (Field("year", FieldType.INT64),)
    assert made.index.type is IndexType.FLAT
    assert made.name in {one.name for one in await client.items("list_collections")}
    summary = await client.call(
        "upsert",
        name,
        [
            Document("a", vector=np.array([0, 1]), attributes={"year": 2001}),
            Document("b", vector=np.array([3.0, 4.0])),
            Document("c", vector=np.array([1.0, 2.0, 3.0])),
        ],
    )
    assert [(one.position, one.id) for one in summary.failures] == [(2, "c")]
    found = await client.call("search", name, vector=[0, 0])
    assert [hit.id for hit in found] == ["a", "b"]
    assert found.hits[1].score == pytest.approx(-5)
    with pytest.raises(errors.AlreadyExists, match=name):
        await client.call("create_collection", name, space=VectorSpace(3))
    await client.call("delete_collection", name)
    with pytest.raises(errors.NotFound, match=name):
        await client.call("get_collection", name)


async def test_neither_a_model_nor_a_space_is_refused(client: AnyClient) -> None:
    with pytest.raises(errors.InvalidRequest) as raised:
        await client.call("create_collection", "neither")
    assert raised.value.violations


async def test_a_model_and_a_space_are_refused(client: AnyClient) -> None:
    with pytest.raises(errors.InvalidRequest, match="exactly one of model and space"):
        await client.call("create_collection", "both", model=MODEL, space=VectorSpace(2))


async def test_health(client: AnyClient) -> None:
    for service, name in (
        (Service.ENCODER, ""),
        (Service.ENCODER, f"searchmesh.encoder.v1.EncoderService/{MODEL}"),
        (Service.SEARCH, "searchmesh.search.v1.SearchService"),
    ):
        assert await client.call("health", service, name) is Health.SERVING
    with pytest.raises(errors.NotFound):
        await client.call("health", Service.SEARCH, "nothing")


async def test_filters_and_facets(client: AnyClient, collection_of_fields: str) -> None:
    name = collection_of_fields
    documents = [
        Document("1", "A whale hunt.", attributes={"author": "Melville", "year": 1851}),
        Document("2", "A man at sea.", attributes={"author": 'O"Brian \\', "year": 1969}),
        Document("3", "A sea chart."),
    ]
    await client.call("upsert", name, documents)
    author = filter_value(documents[1].attributes["author"])
    found = await client.call("search", name, "ships", filter=f"author = {author}")
    assert [hit.id for hit in found] == ["2"]
    assert await client.call("count_documents", name, filter="NOT EXISTS year") == 1
    facets = await client.call("facets", name, "year", filter="year > 0", limit=1)
    assert [(one.value, one.count) for one in facets] == [(1851, 1)]
    assert facets.other_count == 1
    with pytest.raises(errors.InvalidRequest, match="filter: at character 1: colour is not"):
        await client.call("count_documents", name, filter="colour = 1")
    with pytest.raises(errors.InvalidRequest, match="exactly one of ids, filter"):
        await client.call("delete_documents", name, ["1"], filter="year = 1")
    deleted = await client.call("delete_documents", name, filter=f"year = {filter_value(1851)}")
    assert deleted.deleted_count == 1
    assert await client.call("count_documents", name) == 2
