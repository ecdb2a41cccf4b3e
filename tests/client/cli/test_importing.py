"""`searchmesh import` against the real services."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from searchmesh import Client, errors
from searchmesh.search.v1 import collection_service_pb2, document_service_pb2
from tests.client.cli.conftest import Ran
from tests.mesh import MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from searchmesh.local import LocalMesh
    from tests.client.scripted import Scripted

Run = Callable[..., Ran]


def test_a_csv_file_of_declared_types(on_mesh: Run, mesh: LocalMesh, tmp_path: Path) -> None:
    file = tmp_path / "films.csv"
    file.write_text('key,plot,year,good\r\n1,"A man, a dog",1999,true\r\n2,A ship,,\r\n')
    ran = on_mesh(
        *("import", str(file), "--model", MODEL, "--field", "year:int64", "--field", "good:bool"),
        *("--id", "key", "--text", "plot", "--json"),
    )
    assert ran.exit_code == 0
    assert (ran.json["collection"], ran.json["stored"], ran.json["failed"]) == ("films", 2, 0)
    with Client(mesh.connection) as client:
        first = client.get_document("films", "1")
        assert first.content == "A man, a dog"
        assert first.attributes == {"year": 1999, "good": True}
        assert client.get_document("films", "2").attributes == {}
        client.delete_collection("films")


def test_failures_are_told_by_line_and_kept(on_mesh: Run, collection: str, tmp_path: Path) -> None:
    file, failures = tmp_path / "x.jsonl", tmp_path / "failures.jsonl"
    file.write_text(
        '{"id": "a", "text": "milk"}\n'
        "oops\n"
        '{"id": "b", "text": "   "}\n'
        '{"id": "c", "text": "x", "n": 9007199254740993}\n'
        '{"id": "a", "text": "twice"}\n'
    )
    ran = on_mesh("import", str(file), collection, "--failures", str(failures))
    assert ran.exit_code == 1
    assert f"{collection}: 1 stored, 4 failed" in ran.stdout
    assert "line 2: not JSON" in ran.stderr
    assert "line 4: c: attributes.n: 9007199254740993 is past 2^53" in ran.stderr
    kept = [json.loads(line) for line in failures.read_text().splitlines()]
    assert sorted((one["line"], one["id"]) for one in kept) == [
        (2, ""),
        (3, "b"),
        (4, "c"),
        (5, "a"),
    ]
    assert not any("documents[" in one["reason"] for one in kept if one["line"] != 5)


@pytest.mark.parametrize("as_json", [False, True])
def test_an_id_of_half_a_character_is_one_failure(
    on_mesh: Run, collection: str, tmp_path: Path, as_json: bool
) -> None:
    file, failures = tmp_path / "x.jsonl", tmp_path / "failures.jsonl"
    file.write_text('{"id": "\\ud800", "text": "x"}\n{"id": "a", "text": "milk"}\n')
    flags = ("--json",) if as_json else ()
    ran = on_mesh("import", str(file), collection, "--failures", str(failures), *flags)
    assert ran.exit_code == 1
    assert "line 1: \\ud800: id: holds half a character" in ran.stderr
    assert json.loads(failures.read_text())["id"] == "\ud800"
    if as_json:
        assert (ran.json["stored"], ran.json["failed"]) == (1, 1)


def test_standard_input(on_mesh: Run, collection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(json.dumps({"id": f"d{n}", "text": f"number {n}"}) + "\n" for n in range(600))
    piped = io.BufferedReader(io.BytesIO(lines.encode()))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=piped))
    ran = on_mesh("import", "-", collection, "--batch-size", "100", "--json")
    assert ran.exit_code == 0
    assert ran.json["stored"] == 600


def test_an_empty_file(on_mesh: Run, collection: str, tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.touch()
    ran = on_mesh("import", str(file), collection)
    assert ran.exit_code == 0
    assert "the file holds no document" in ran.stderr


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.csv", "name,text\n", "--id"),
        ("a.csv", "", "the file is empty"),
        ("a.jsonl", '[{"id": 1}]', "JSON array"),
    ],
)
def test_a_file_that_cannot_be_read_is_exit_code_2(
    on_mesh: Run, collection: str, tmp_path: Path, name: str, data: str, sentence: str
) -> None:
    file = tmp_path / name
    file.write_text(data)
    ran = on_mesh("import", str(file), collection)
    assert ran.exit_code == 2
    assert sentence in " ".join(ran.stderr.replace("│", " ").split())


def test_a_missing_collection_is_made_only_when_asked(on_mesh: Run, tmp_path: Path) -> None:
    file = tmp_path / "unasked.jsonl"
    file.write_text('{"id": "a", "text": "milk"}\n')
    ran = on_mesh("import", str(file))
    assert ran.exit_code == 1
    assert "unasked" in ran.stderr
    assert on_mesh("collections", "get", "unasked").exit_code == 1


def test_a_service_that_fails_midway_says_how_far_it_came(
    run: Run, server: Scripted, tmp_path: Path
) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text("".join(f'{{"id": "d{n}", "text": "x"}}\n' for n in range(10)))
    stored = document_service_pb2.UpsertDocumentsResponse(
        results=[document_service_pb2.UpsertResult(id="d") for _ in range(2)]
    )

    def answer(request: bytes) -> document_service_pb2.UpsertDocumentsResponse | errors.Internal:
        first = document_service_pb2.UpsertDocumentsRequest.FromString(request).documents[0]
        return stored if first.id == "d0" else errors.Internal("a fault")

    server.answer("GetCollection", collection_service_pb2.Collection(name="notes"))
    server.answer("UpsertDocuments", answer)
    ran = run("import", str(file), "--search", server.address, "--batch-size", "2")
    assert ran.exit_code == 1
    assert "stopped after 2 documents; run it again to go on" in ran.stderr
    assert "error: a fault" in ran.stderr
