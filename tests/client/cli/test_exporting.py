"""`searchmesh export`, and the way back in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh import Client, Document
from tests.client.cli.conftest import Ran
from tests.mesh import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from searchmesh.local import LocalMesh

Run = Callable[..., Ran]

TEXTS = ["a ship at sea", "milk and bread", "a train in the snow", "cheese"]


@pytest.fixture
def client(mesh: LocalMesh) -> Iterator[Client]:
    with Client(mesh.connection) as made:
        yield made


@pytest.fixture
def filled(client: Client, collection: str) -> str:
    # vectors that the encoder makes of no text: where they are found again, nothing was encoded
    dimension = client.get_collection(collection).space.dimension
    vectors = np.random.default_rng(7).normal(size=(len(TEXTS), dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    given = [
        Document(f"d{n}", text, vectors[n], {"n": n, "deep": {"list": [1, None, "x"]}})
        for n, text in enumerate(TEXTS)
    ]
    client.upsert_documents(collection, given)
    return collection


@pytest.mark.parametrize(
    ("name", "options"), [("all.parquet", ()), ("all.jsonl", ("--vector", "vector"))]
)
def test_what_is_exported_comes_in_again_without_being_encoded(
    on_mesh: Run,
    client: Client,
    filled: str,
    tmp_path: Path,
    name: str,
    options: tuple[str, ...],
) -> None:
    file = tmp_path / name
    assert on_mesh("export", filled, str(file), "--json").json["exported"] == len(TEXTS)
    client.create_collection("moved", model=MODEL)
    try:
        assert on_mesh("import", str(file), "moved", *options, "--json").json["stored"] == 4
        for n in range(len(TEXTS)):
            here = client.get_document(filled, f"d{n}", include_vector=True)
            there = client.get_document("moved", f"d{n}", include_vector=True)
            assert (here.content, here.attributes) == (there.content, there.attributes)
            assert here.vector is not None
            assert there.vector is not None
            np.testing.assert_array_equal(here.vector, there.vector)
        found = [client.search(one, "bread", limit=4).hits for one in (filled, "moved")]
        assert [(hit.id, hit.score) for hit in found[0]] == [
            (hit.id, hit.score) for hit in found[1]
        ]
    finally:
        client.delete_collection("moved")


def test_what_json_lines_cannot_hold_is_told_and_no_file_is_left(
    on_mesh: Run, client: Client, collection: str, tmp_path: Path
) -> None:
    client.upsert_documents(collection, [Document("a", "milk", attributes={"id": 7})])
    ran = on_mesh("export", collection, str(tmp_path / "all.jsonl"))
    assert ran.exit_code == 2
    assert "export to FILE.parquet" in " ".join(ran.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_parquet_without_pyarrow_says_what_to_install(
    on_mesh: Run, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = on_mesh("export", filled, str(tmp_path / "all.parquet"))
    assert ran.exit_code == 2
    assert "searchmesh[parquet]" in " ".join(ran.stderr.replace("│", " ").split())
