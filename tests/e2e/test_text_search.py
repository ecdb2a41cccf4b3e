"""The main job over real gRPC: texts in, the right ones out, through stops and starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh import Document, Service
from searchmesh.errors import NotFound
from searchmesh.resources import Metric, VectorSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mesh import Mesh

MODEL = "all-minilm-l6-v2"

NOTES = [
    Document("groceries", "Milk, bread and apples from the market.", attributes={"week": 1}),
    Document("plumber", "Call the plumber about the dripping tap.", attributes={"week": 2}),
    Document("flight", "The plane to Lisbon leaves at seven.", attributes={"week": 2}),
    Document("chess", "White opens with the queen's gambit.", attributes={"week": 3}),
]


@pytest.fixture(scope="module")
def notes(mesh: Mesh) -> Iterator[str]:
    mesh.client.create_collection("notes", model=MODEL)
    summary = mesh.client.upsert("notes", NOTES)
    assert (summary.stored_count, summary.failures) == (len(NOTES), ())
    yield "notes"
    mesh.client.delete_collection("notes")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("what do I need to buy", "groceries"),
        ("water leak", "plumber"),
        ("when do I have to be at the airport", "flight"),
        ("board games", "chess"),
    ],
)
def test_a_text_finds_what_means_the_same(
    mesh: Mesh, notes: str, query: str, expected: str
) -> None:
    result = mesh.client.search(notes, query)
    assert result.hits[0].id == expected
    assert result.metric is Metric.COSINE
    assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)


def test_a_stored_document_finds_its_neighbours_but_not_itself(mesh: Mesh, notes: str) -> None:
    hits = mesh.client.search(notes, document_id="groceries").hits
    assert {hit.id for hit in hits} == {"plumber", "flight", "chess"}


def test_the_encoders_vector_finds_what_its_text_finds(mesh: Mesh, notes: str) -> None:
    vector = mesh.client.encode(MODEL, ["water leak"]).vectors[0]
    by_vector = mesh.client.search(notes, vector=vector).hits
    by_text = mesh.client.search(notes, "water leak").hits
    assert [(hit.id, hit.score) for hit in by_vector] == [(hit.id, hit.score) for hit in by_text]


def test_pages_of_hits_join_to_the_whole_list(mesh: Mesh, notes: str) -> None:
    whole = mesh.client.search(notes, "travel").hits
    pages = [mesh.client.search(notes, "travel", limit=2, offset=at).hits for at in (0, 2)]
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in whole]
    assert mesh.client.search(notes, "travel", offset=len(NOTES)).hits == ()


def test_hits_carry_what_was_asked_for(mesh: Mesh, notes: str) -> None:
    (hit,) = mesh.client.search(notes, "water leak", limit=1).hits
    assert (hit.attributes, hit.content) == ({"week": 2}, None)
    (hit,) = mesh.client.search(notes, "water leak", limit=1, output_fields=["$content"]).hits
    assert (hit.attributes, hit.content) == ({}, NOTES[1].content)
    (hit,) = mesh.client.search(notes, "water leak", limit=1, output_fields=["$id"]).hits
    assert (hit.attributes, hit.content) == ({}, None)


def test_an_explanation_adds_up(mesh: Mesh, notes: str) -> None:
    explain = mesh.client.search(notes, "water leak", explain=True).explain
    assert explain is not None
    assert explain.model == MODEL
    assert explain.fingerprint == mesh.client.get_model(MODEL).fingerprint
    parts = explain.encode_ms + explain.search_ms + explain.fuse_ms
    assert 0 < parts <= explain.total_ms
    assert explain.queue_ms <= explain.encode_ms


def test_a_replaced_document_is_found_as_it_is_now_only(mesh: Mesh, notes: str) -> None:
    mesh.client.upsert(notes, [Document("chess", "Black answers with the Sicilian defence.")])
    try:
        hits = mesh.client.search(notes, "chess opening", limit=10, output_fields=["$content"]).hits
        found = [hit.content for hit in hits if hit.id == "chess"]
        assert found == ["Black answers with the Sicilian defence."]
        assert mesh.client.count_documents(notes) == len(NOTES)
    finally:
        mesh.client.upsert(notes, [NOTES[3]])


def test_a_collection_of_the_callers_own_space(mesh: Mesh) -> None:
    mesh.client.create_collection("points", space=VectorSpace(3, Metric.EUCLIDEAN))
    try:
        points = {"origin": (0, 0, 0), "near": (0, 0, 1), "far": (3, 4, 0)}
        mesh.client.upsert(
            "points",
            [Document(name, vector=np.array(at, np.float32)) for name, at in points.items()],
        )
        hits = mesh.client.search("points", vector=np.zeros(3, np.float32)).hits
        assert [(hit.id, hit.score) for hit in hits] == [
            ("origin", 0.0),
            ("near", pytest.approx(-1.0)),
            ("far", pytest.approx(-5.0)),
        ]
    finally:
        mesh.client.delete_collection("points")


def test_pages_of_equal_scores_neither_overlap_nor_leave_out(mesh: Mesh) -> None:
    mesh.client.create_collection("ties", space=VectorSpace(4))
    try:
        names = [f"{number:03}" for number in range(300)]
        same = np.array([1, 1, 0, 0], np.float32)
        mesh.client.upsert("ties", [Document(name, vector=same) for name in reversed(names)])
        pages = [
            mesh.client.search("ties", vector=same, limit=10, offset=at).hits
            for at in range(0, 300, 10)
        ]
        assert [hit.id for page in pages for hit in page] == names
    finally:
        mesh.client.delete_collection("ties")


@pytest.mark.slow
def test_everything_survives_a_restart(own_mesh: Mesh) -> None:
    own_mesh.start()
    own_mesh.client.create_collection("kept", model=MODEL)
    own_mesh.client.upsert("kept", NOTES)
    own_mesh.client.delete_documents("kept", ["chess"])
    before = own_mesh.client.search("kept", "water leak").hits
    collection = own_mesh.client.get_collection("kept")

    assert own_mesh.stop(Service.SEARCH) == 0
    assert own_mesh.stop(Service.ENCODER) == 0
    own_mesh.start()

    assert own_mesh.client.search("kept", "water leak").hits == before
    assert own_mesh.client.get_collection("kept") == collection
    assert own_mesh.client.count_documents("kept") == 3
    with pytest.raises(NotFound):
        own_mesh.client.get_document("kept", "chess")
