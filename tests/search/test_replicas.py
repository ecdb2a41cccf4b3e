"""Two search services as processes on one PostgreSQL and one Milvus server share the work."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from searchmesh import Document, Metric, Service, VectorSpace
from searchmesh.errors import ServiceError
from searchmesh.results import Health, ImportState
from tests.mesh import wait_for
from tests.replicas import Replicas

from .postgres import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from searchmesh import Client
    from tests.mesh import Mesh

    from .milvus_server import MilvusServer
    from .postgres import PostgresServer

pytestmark = pytest.mark.slow

SPACE = VectorSpace(4, Metric.INNER_PRODUCT)
PER_CALL = 20
VICTIM = 0
"""The replica that is killed; the ids of what is written on it begin with its number."""
IMPORTED = 5000
"""Documents of each import."""
SECONDS = 30
"""Of a call that nothing holds up but other tests."""


@dataclass
class Scene:
    postgres: PostgresServer
    replicas: Replicas
    database: str

    @property
    def meshes(self) -> list[Mesh]:
        return self.replicas.meshes

    def count(self, table: str) -> int:
        ((count,),) = self.postgres.execute(f"SELECT count(*) FROM {table}", self.database)
        assert isinstance(count, int)
        return count


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, milvus_server: MilvusServer) -> Iterator[Scene]:
    with running_server() as postgres, postgres.database() as url:
        replicas = Replicas(tmp_path_factory.mktemp("replicas"), url, milvus_server.uri)
        try:
            replicas.start()
            yield Scene(postgres, replicas, url.rpartition("/")[2])
        finally:
            replicas.close()


def document(document_id: str, number: int) -> Document:
    """Its content tells which write it is of, and so does its vector."""
    return Document(document_id, str(number), vector=np.array([number, 1, 0, 0], np.float32))


def contents(client: Client, collection: str, token: str) -> dict[str, str]:
    """What a collection holds after a write, by its list, its count and a search alike."""
    listed = {one.id: str(one.content) for one in client.list_documents(collection, page_size=1000)}
    assert client.count_documents(collection) == len(listed)
    hits = client.search(
        collection,
        vector=[1, 0, 0, 0],
        limit=1000,
        output_fields=["$content"],
        read_after=token,
        timeout=SECONDS,
    ).hits
    assert len(hits) == len({hit.id for hit in hits})
    assert {hit.id: str(hit.content) for hit in hits} == listed
    return listed


def test_what_one_replica_wrote_the_other_shows_when_asked_with_its_token(scene: Scene) -> None:
    writing, reading = (one.client for one in scene.meshes)
    writing.create_collection("shared", space=SPACE, timeout=SECONDS)
    for number in range(1, 7):
        batch = [document(f"{part}", number) for part in range(PER_CALL)]
        token = writing.upsert("shared", batch, timeout=SECONDS).write_token
        hits = reading.search(
            "shared",
            vector=[1, 0, 0, 0],
            limit=PER_CALL,
            output_fields=["$content"],
            read_after=token,
            timeout=SECONDS,
        ).hits
        assert {(hit.id, hit.content) for hit in hits} == {(one.id, one.content) for one in batch}
        gone = writing.delete_documents("shared", ["0"], timeout=SECONDS)
        assert reading.count_documents("shared", read_after=gone.write_token) == PER_CALL - 1
        writing, reading = reading, writing
    writing.delete_collection("shared")
    assert [one.name for one in reading.list_collections()] == []


@dataclass
class Writer:
    """Writes documents of its own, again and again, to one replica, until it is told to end."""

    client: Client
    name: str
    acknowledged: int = 0
    """The last write of all documents that was answered."""
    attempted: int = 0
    ending: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.thread = Thread(target=self._run, name=self.name)

    def _run(self) -> None:
        while not self.ending.is_set():
            self.attempted += 1
            batch = [document(f"{self.name}-{part}", self.attempted) for part in range(PER_CALL)]
            try:
                self.client.upsert("notes", batch, timeout=SECONDS)
            except ServiceError:
                time.sleep(0.02)
            else:
                self.acknowledged = self.attempted

    def check(self, found: dict[str, str]) -> None:
        """All documents show one write: the last that was answered, or one that came after it."""
        shown = {found[f"{self.name}-{part}"] for part in range(PER_CALL)}
        assert len(shown) == 1
        assert self.acknowledged <= int(shown.pop()) <= self.attempted


@contextmanager
def writing(scene: Scene) -> Iterator[list[Writer]]:
    """While two callers write on each replica."""
    writers = [
        Writer(mesh.client, f"{place}{caller}")
        for place, mesh in enumerate(scene.meshes)
        for caller in "ab"
    ]
    for one in writers:
        one.thread.start()
    try:
        yield writers
    finally:
        for one in writers:
            one.ending.set()
        for one in writers:
            one.thread.join()


def wait_for_writes(writers: list[Writer], count: int) -> None:
    """Wait until each of them was answered that many times more."""
    wanted = [one.acknowledged + count for one in writers]
    wait_for(
        lambda: all(one.acknowledged >= least for one, least in zip(writers, wanted, strict=True)),
        "writes",
    )


def kill_in_the_middle(scene: Scene, victim: Mesh, of_victim: str) -> None:
    """Kill a replica while the journal has rows of what it has begun.

    of_victim: a table, and what tells those rows.
    """
    process = psutil.Process(victim.children[Service.SEARCH].pid)

    def is_caught() -> bool:
        process.suspend()
        time.sleep(0.05)  # what it had sent to the database is done now
        if scene.count(of_victim):
            return True
        process.resume()
        return False

    wait_for(is_caught, f"rows of {of_victim}")
    victim.kill(Service.SEARCH)
    assert scene.count(of_victim) > 0


def test_a_replica_that_is_killed_loses_nothing_and_the_other_undoes_what_it_had_begun(
    scene: Scene,
) -> None:
    victim, other = scene.meshes[VICTIM], scene.meshes[1 - VICTIM]
    other.client.create_collection("notes", space=SPACE, timeout=SECONDS)
    with writing(scene) as writers:
        wait_for_writes(writers, 5)
        kill_in_the_middle(scene, victim, f"pending WHERE document_id LIKE '{VICTIM}%'")
        wait_for_writes(writers[2:], 5)
        # its lease is over, and what it had begun is undone while the other goes on
        wait_for(lambda: scene.count("replicas") == 1, "the end of its lease")
        victim.start(Service.SEARCH)
        wait_for_writes(writers, 5)
    token = other.client.upsert("notes", [document("last", 1)], timeout=SECONDS).write_token
    for mesh in scene.meshes:
        found = contents(mesh.client, "notes", token)
        assert len(found) == len(writers) * PER_CALL + 1
        for one in writers:
            one.check(found)
    wait_for(lambda: scene.count("pending") == 0, "pending writes to end")
    other.client.delete_collection("notes")


def imported(client: Client, name: str) -> None:
    """Bring in the documents of an import, or what is missing of them, and wait for its end."""
    documents = (document(f"{name}-{n:05d}", n) for n in range(IMPORTED))
    operation = client.import_documents("films", documents, request_id=name, timeout=2 * SECONDS)
    operation.wait(timeout=2 * SECONDS)


def replica_id(mesh: Mesh) -> str:
    """How the journal knows a search service: it says so when it starts."""
    log = mesh.children[Service.SEARCH].log_file.read_text()
    (joined,) = re.findall(r'"replica": "(\w+)"', log)
    return str(joined)


def test_of_two_replicas_that_import_one_is_killed_and_the_other_ends_both_imports(
    scene: Scene,
) -> None:
    victim, other = scene.meshes[VICTIM], scene.meshes[1 - VICTIM]
    other.client.create_collection("films", space=SPACE, timeout=SECONDS)
    in_hand = f"import_batches WHERE state = 'WAITING' AND owner = '{replica_id(victim)}'"
    with ThreadPoolExecutor(2) as threads:
        cut = threads.submit(imported, victim.client, "cut")
        whole = threads.submit(imported, other.client, "whole")
        wait_for(lambda: scene.count("import_batches WHERE state = 'DONE'") > 1, "batches stored")
        kill_in_the_middle(scene, victim, in_hand)
        imported(other.client, "cut")
        whole.result()
        assert scene.count("import_batches WHERE state = 'DONE' AND fence > 1") > 0
        victim.start(Service.SEARCH)
        # its caller has tried again all the while, and is told the same
        cut.result()
    for name in ("cut", "whole"):
        progress = victim.client.get_operation(f"operations/{name}").progress
        assert progress is not None
        assert progress.state is ImportState.SUCCEEDED
        assert (progress.received_count, progress.searchable_count) == (IMPORTED, IMPORTED)
    for mesh in scene.meshes:
        found = mesh.client.list_documents("films", page_size=1000)
        assert {one.id: one.content for one in found} == {
            f"{name}-{n:05d}": str(n) for name in ("cut", "whole") for n in range(IMPORTED)
        }
    # nothing twice, in the engine either: a row for each of the last numbers of each import
    hits = other.client.search("films", vector=[1, 0, 0, 0], limit=1000).hits
    assert {int(hit.score) for hit in hits} == set(range(IMPORTED - 500, IMPORTED))
    assert len({hit.id for hit in hits}) == 1000
    other.client.delete_collection("films")


def test_a_database_that_is_away_is_told_by_health_and_heals(scene: Scene) -> None:
    one, other = scene.meshes
    one.client.create_collection("healing", space=SPACE, timeout=SECONDS)
    one.client.upsert("healing", [document("a", 1)], timeout=SECONDS)
    scene.postgres.stop()
    for mesh in scene.meshes:
        mesh.wait_until(Service.SEARCH, Health.NOT_SERVING)
        with pytest.raises(ServiceError, match="journal's database"):
            mesh.client.get_document("healing", "a", timeout=5)
    scene.postgres.start()
    for mesh in scene.meshes:
        mesh.wait_until(Service.SEARCH, Health.SERVING)
    token = other.client.upsert("healing", [document("a", 2)], timeout=SECONDS).write_token
    assert contents(one.client, "healing", token) == {"a": "2"}
