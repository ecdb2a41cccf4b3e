"""Parts that go away: a clear status within the deadline, and healed afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh import Document, Service
from searchmesh.errors import DeadlineExceeded, ServiceError, Unavailable
from searchmesh.results import Health
from tests.mesh import wait_for

if TYPE_CHECKING:
    from tests.mesh import Mesh

MODEL = "all-minilm-l6-v2"

pytestmark = pytest.mark.slow


@pytest.fixture
def notes(own_mesh: Mesh) -> str:
    own_mesh.start()
    own_mesh.client.create_collection("notes", model=MODEL)
    own_mesh.client.upsert(
        "notes", [Document("tap", "The tap drips."), Document("bread", "Buy bread.")]
    )
    return "notes"


def _finds(mesh: Mesh, collection: str) -> bool:
    try:
        return [hit.id for hit in mesh.client.search(collection, "water", limit=1)] == ["tap"]
    except ServiceError:
        return False


def test_a_killed_engine_is_back_by_itself_with_every_document(own_mesh: Mesh, notes: str) -> None:
    engine = own_mesh.engine()
    engine.kill()
    wait_for(lambda: _finds(own_mesh, notes), "the engine to be back")
    assert own_mesh.engine().pid != engine.pid
    assert own_mesh.client.count_documents(notes) == 2
    assert len(own_mesh.client.search(notes, "water").hits) == 2
    own_mesh.client.upsert(notes, [Document("milk", "Buy milk.")])
    assert len(own_mesh.client.search(notes, "water").hits) == 3


def test_a_stopped_engine_costs_no_more_than_the_deadline(own_mesh: Mesh, notes: str) -> None:
    engine = own_mesh.engine()
    engine.suspend()
    try:
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, Unavailable)):
            own_mesh.client.search(notes, "water", timeout=1.5)
        assert time.monotonic() - started < 3
        own_mesh.wait_until(Service.SEARCH, Health.NOT_SERVING)
        assert own_mesh.health(Service.SEARCH, "") is Health.SERVING
    finally:
        if engine.is_running():
            engine.resume()
    own_mesh.wait_until(Service.SEARCH, Health.SERVING)
    wait_for(lambda: _finds(own_mesh, notes), "the search to find again")


def test_without_the_encoder_vectors_and_ids_still_search(own_mesh: Mesh, notes: str) -> None:
    vector = own_mesh.client.encode(MODEL, ["water"]).vectors[0]
    own_mesh.kill(Service.ENCODER)

    assert own_mesh.client.search(notes, vector=vector, limit=1).hits[0].id == "tap"
    assert own_mesh.client.search(notes, document_id="tap").hits[0].id == "bread"
    own_mesh.client.upsert(notes, [Document("own", vector=np.ones(384, np.float32))])
    assert own_mesh.health(Service.SEARCH) is Health.SERVING
    started = time.monotonic()
    with pytest.raises(Unavailable):
        own_mesh.client.search(notes, "water", timeout=5)
    with pytest.raises(Unavailable):
        own_mesh.client.upsert(notes, [Document("new", "A text.")], timeout=5)
    assert time.monotonic() - started < 10

    own_mesh.start(Service.ENCODER)
    wait_for(lambda: _finds(own_mesh, notes), "the search to find again")


def test_a_draining_encoder_costs_no_search(own_mesh: Mesh, notes: str) -> None:
    """What was sent before the drain is answered; what comes later is told UNAVAILABLE at once."""
    assert _finds(own_mesh, notes)
    assert own_mesh.stop(Service.ENCODER) == 0
    started = time.monotonic()
    with pytest.raises(Unavailable):
        own_mesh.client.search(notes, "water", timeout=10)
    assert time.monotonic() - started < 8
