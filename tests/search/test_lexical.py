"""Search by words through the service: collections that have it, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from searchmesh.search.v1 import collection_service_pb2 as collections_pb
from searchmesh.search.v1 import document_service_pb2 as documents_pb
from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1 import segment_pb2, vector_pb2
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.collection_spec import CollectionSpec, ModelInfo, VectorSpace
from searchmesh_search.content import Modality
from searchmesh_search.engine import CollectionSchema, Lexical, Metric
from searchmesh_search.milvus_capabilities import lite_capabilities, server_capabilities

from .mesh import SECONDS, faults, floats, refused

if TYPE_CHECKING:
    from .mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIND = collections_pb.Field(name="kind", type=collections_pb.FIELD_TYPE_STRING)


def document(name: str, text: str, **attributes: str) -> Document:
    made = Document(id=name, content=Content(text=text), vector=floats(1, 0, 0, 0))
    made.attributes.update(attributes)
    return made


async def words(mesh: Mesh, collection: str, text: str, **query: Any) -> list[str]:
    answer = await mesh.find(collection, text=text, mode=pb.MODE_LEXICAL, **query)
    return [hit.id for hit in answer.hits]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def animals(mesh: Mesh) -> str:
    await mesh.create("animals", lexical=collections_pb.Lexical(), fields=[KIND])
    await mesh.upsert(
        "animals",
        document("dogs", "The running dogs bark", kind="pet"),
        document("dog", "dog", kind="pet"),
        document("wolf", "A wolf is no dog, said the wolf", kind="wild"),
        document("cat", "a cat sits", kind="pet"),
        Document(id="silent", vector=floats(1, 0, 0, 0)),
    )
    return "animals"


async def test_a_collection_keeps_what_it_was_created_with(mesh: Mesh) -> None:
    given = collections_pb.Lexical(analyzer="standard", k1=0.0, b=1.0)
    made = await mesh.create("kept", lexical=given)
    assert made.lexical == given
    defaults = await mesh.create("kept_too", lexical=collections_pb.Lexical())
    assert defaults.lexical == collections_pb.Lexical(analyzer="english", k1=1.2, b=0.75)
    assert not (await mesh.create("without")).HasField("lexical")


@pytest.mark.parametrize(
    ("lexical", "field"),
    [
        ({"analyzer": "klingon"}, "collection.lexical.analyzer"),
        ({"k1": 3.1}, "collection.lexical.k1"),
        ({"k1": -0.1}, "collection.lexical.k1"),
        ({"b": 1.1}, "collection.lexical.b"),
        ({"b": float("nan")}, "collection.lexical.b"),
    ],
)
async def test_a_faulty_setting_names_its_field(
    mesh: Mesh, lexical: dict[str, Any], field: str
) -> None:
    made = mesh.create("faulty", lexical=collections_pb.Lexical(**lexical))
    assert await faults(made) == [field]


async def test_a_model_without_words_is_refused() -> None:
    model = ModelInfo("eye", "print", Modality.IMAGE, VectorSpace(4, Metric.COSINE))
    with pytest.raises(FailedPrecondition, match=r"collection\.lexical: model eye reads image"):
        CollectionSpec("seen", model="eye", lexical=Lexical()).require_words_of(model)


async def test_an_engine_without_it_names_the_one_that_has_it() -> None:
    schema = CollectionSchema(4, Metric.COSINE, lexical=Lexical())
    with pytest.raises(FailedPrecondition, match="the engine milvus-lite has it") as raised:
        server_capabilities("2.3.5").require(schema)
    assert raised.value.reason == "ENGINE_LACKS"
    assert raised.value.metadata["engines_that_have_it"] == "milvus-lite"
    lite_capabilities("2.5.1").require(schema)


async def test_documents_are_found_by_stems_and_ranked_by_words(mesh: Mesh, animals: str) -> None:
    answer = await mesh.find(animals, text="Dogs", mode=pb.MODE_LEXICAL)
    assert answer.metric == vector_pb2.METRIC_BM25
    assert [hit.id for hit in answer.hits] == ["dog", "dogs", "wolf"]
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert await words(mesh, animals, "the") == []
    assert await words(mesh, animals, '") OR 1==1 -- wolf\x00 日本語') == ["wolf"]


async def test_a_standard_analyzer_takes_words_as_they_are(mesh: Mesh) -> None:
    await mesh.create("plain", lexical=collections_pb.Lexical(analyzer="standard"))
    await mesh.upsert("plain", document("one", "the dogs"), document("two", "dog"))
    assert await words(mesh, "plain", "DOGS") == ["one"]
    assert await words(mesh, "plain", "the") == ["one"]


async def test_filters_pages_and_least_scores_hold(mesh: Mesh, animals: str) -> None:
    assert await words(mesh, animals, "dog", filter='kind = "pet"') == ["dog", "dogs"]
    pages = [await words(mesh, animals, "dog", limit=1, offset=at) for at in range(4)]
    assert pages == [["dog"], ["dogs"], ["wolf"], []]
    best, *_ = (await mesh.find(animals, text="dog", mode=pb.MODE_LEXICAL)).hits
    assert await words(mesh, animals, "dog", min_score=best.score) == ["dog"]
    assert await words(mesh, animals, "dog", group_by="kind") == ["dog", "wolf"]


async def test_writes_hold_at_once(mesh: Mesh) -> None:
    await mesh.create("moving", lexical=collections_pb.Lexical())
    await mesh.upsert("moving", document("a", "old words"), document("b", "old words"))
    written = await mesh.upsert("moving", document("a", "new words"))
    assert await words(mesh, "moving", "old", read_after=written.write_token) == ["b"]
    assert await words(mesh, "moving", "new", read_after=written.write_token) == ["a"]
    request = documents_pb.DeleteDocumentsRequest(collection="moving", ids=["b"])
    await mesh.documents.DeleteDocuments(request, timeout=SECONDS)
    assert await words(mesh, "moving", "words") == ["a"]


async def test_a_text_beyond_what_an_engine_holds_is_found_by_its_start(mesh: Mesh) -> None:
    await mesh.create("long", lexical=collections_pb.Lexical())
    await mesh.upsert("long", document("long", "start " + "é" * 40_000 + " finish"))
    assert await words(mesh, "long", "start") == ["long"]
    assert await words(mesh, "long", "finish") == []


async def test_words_behind_a_zero_character_are_found(mesh: Mesh) -> None:
    await mesh.create("zero", lexical=collections_pb.Lexical())
    await mesh.upsert("zero", document("one", "apple\0pear"))
    assert await words(mesh, "zero", "pear") == ["one"]


async def test_of_segments_the_passage_that_matched_is_shown(mesh: Mesh) -> None:
    await mesh.create(
        "passages",
        model="tiny",
        segmentation=segment_pb2.SEGMENTATION_SEGMENTS,
        lexical=collections_pb.Lexical(),
    )
    text = "Apples are sweet. Bears are big. Cats can climb."
    await mesh.upsert("passages", Document(id="a", content=Content(text=text)))
    answer = await mesh.find("passages", text="bear", mode=pb.MODE_LEXICAL)
    (hit,) = answer.hits
    assert "Bears" in hit.segment.text.text
    assert text[hit.segment.text.start : hit.segment.text.end].strip() == hit.segment.text.text


@pytest.mark.parametrize("mode", [pb.MODE_LEXICAL, pb.MODE_HYBRID])
async def test_a_query_without_words_is_refused(
    mesh: Mesh, animals: str, mode: pb.Mode.ValueType
) -> None:
    for query in ({"vector": floats(1, 0, 0, 0)}, {"document_id": "cat"}, {"text": " \n"}):
        assert await faults(mesh.find(animals, mode=mode, **query)) == ["text"]
    assert await faults(mesh.find(animals, mode=mode, text="x" * 65_536)) == ["text"]
    await mesh.create(f"none_{mode}")
    error = await refused(mesh.find(f"none_{mode}", text="x", mode=mode))
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "NO_LEXICAL"


async def test_a_batch_is_searched_by_words_too(mesh: Mesh, animals: str) -> None:
    request = pb.BatchSearchRequest(
        requests=[pb.SearchRequest(collection=animals, text="cat", mode=pb.MODE_LEXICAL)]
    )
    (result,) = (await mesh.search.BatchSearch(request, timeout=SECONDS)).results
    assert [hit.id for hit in result.response.hits] == ["cat"]
