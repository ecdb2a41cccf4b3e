"""A collection moves to a search service with an engine of its own, as docs/moving.md says."""

from __future__ import annotations

import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from searchmesh import Document, Field, FieldType, Segmentation, Service
from searchmesh.cli import main
from tests.e2e.test_operating import bound_ports
from tests.mesh import MODEL, Mesh, free_connection
from tests.search.milvus_server import running_milvus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from searchmesh import Client

pytestmark = pytest.mark.slow

LONG = "Bread is baked of flour. " * 120 + "The ship sails at noon. " * 120

GIVEN = [
    Document("é#1", "A train in the snow.", attributes={"year": 1999, "deep": {"a": [1, None]}}),
    Document("long", LONG, attributes={"kind": "it's", "good": True}),
    *(Document(f"n{n:03d}", f"Note {n}.", attributes={"year": n, "x": n / 7}) for n in range(300)),
]

FILTER = 'EXISTS year OR kind = "it\'s"'


@contextmanager
def beside(mesh: Mesh, home: Path, engine: str) -> Iterator[Mesh]:
    """Another search service of the same encoder. engine: empty for an embedded one."""
    connection = replace(mesh.connection, search=free_connection().search)
    other = Mesh(home, connection, environ={"SEARCH_ENGINE": engine} if engine else {})
    try:
        other.start(Service.SEARCH)
        yield other
    finally:
        other.close()


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def other(request: pytest.FixtureRequest, mesh: Mesh, tmp_path: Path) -> Iterator[Mesh]:
    if request.param == "embedded":
        with beside(mesh, tmp_path / "other", "") as other:
            yield other
    else:
        with running_milvus() as server, beside(mesh, tmp_path / "other", server.uri) as other:
            yield other


def run(mesh: Mesh, *arguments: str) -> None:
    """A command that succeeds."""
    addresses = ("--encoder", mesh.connection.encoder, "--search", mesh.connection.search)
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *addresses])
    assert ended.value.code == 0


def encoded(mesh: Mesh) -> float:
    """Contents that the encoder has taken in so far."""
    port = bound_ports(mesh, Service.ENCODER)["metrics"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    (contents,) = (one for one in families if one.name == "encoder_contents")
    return sum(one.value for one in contents.samples if one.name == "encoder_contents_total")


def vectors(document: Document) -> np.ndarray:
    """Those of its passages, one a row."""
    return np.stack([one.vector for one in document.segments])


def everything(client: Client, collection: str) -> dict[str, Document]:
    return {one.id: one for one in client.export_documents(collection, include_vectors=True)}


def test_a_collection_moves_whole_and_nothing_is_encoded_again(
    mesh: Mesh, other: Mesh, tmp_path: Path
) -> None:
    file = str(tmp_path / "moving.parquet")
    fields = [Field("year", FieldType.INT64), Field("kind", FieldType.STRING)]
    for one in (mesh, other):
        one.client.create_collection(
            "moving", model=MODEL, fields=fields, segmentation=Segmentation.SEGMENTS
        )
    mesh.client.upsert_documents("moving", GIVEN)
    try:
        before = encoded(mesh)
        run(mesh, "export", "moving", file)
        run(other, "import", file, "moving")
        assert encoded(mesh) == before
        here, there = (everything(one.client, "moving") for one in (mesh, other))
        assert list(there) == list(here)
        assert len(there) == len(GIVEN)
        for given in GIVEN:
            kept, moved = here[given.id], there[given.id]
            assert (moved.content, moved.attributes) == (given.content, given.attributes)
            assert [one.segment for one in moved.segments] == [one.segment for one in kept.segments]
            np.testing.assert_array_equal(vectors(moved), vectors(kept))
        assert len(here["long"].segments) > 2
        for query in ("winter", "ship", "Note 7."):
            kept_hits, moved_hits = (
                one.client.search("moving", query, limit=5, filter=FILTER).hits
                for one in (mesh, other)
            )
            assert [(one.id, one.segment) for one in moved_hits] == [
                (one.id, one.segment) for one in kept_hits
            ]
    finally:
        mesh.client.delete_collection("moving")
