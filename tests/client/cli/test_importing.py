"""`searchmesh import` against the real services."""

from __future__ import annotations

import gzip
import io
import json
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from searchmesh import Client
from searchmesh.cli.progress import ImportBar
from searchmesh.resources import Segmentation
from tests.client.cli.conftest import Ran
from tests.mesh import MODEL, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import WriteableBuffer

    from searchmesh.local import LocalMesh

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
    assert f"{collection}: 2 stored, 3 failed" in ran.stdout
    assert "line 2: not JSON" in ran.stderr
    assert "line 4: c: attributes.n: 9007199254740993 is past 2^53" in ran.stderr
    kept = [json.loads(line) for line in failures.read_text().splitlines()]
    assert sorted((one["line"], one["id"]) for one in kept) == [
        (2, ""),
        (3, "b"),
        (4, "c"),
    ]
    assert not any("documents[" in one["reason"] for one in kept)


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
    ran = on_mesh("import", "-", collection, "--json")
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


def test_passages_of_a_collection_that_is_made(
    on_mesh: Run, mesh: LocalMesh, collection: str, tmp_path: Path
) -> None:
    file = tmp_path / "passages.jsonl"
    file.write_text(json.dumps({"id": "a", "text": "milk and bread. " * 200}) + "\n")
    asked = ("import", str(file), "--model", MODEL, "--segments", "--json")
    assert [on_mesh(*asked).json["stored"] for _again in range(2)] == [1, 1]
    with Client(mesh.connection) as client:
        assert client.get_collection("passages").segmentation is Segmentation.SEGMENTS
        assert client.search("passages", "milk").hits[0].segment is not None
        client.delete_collection("passages")
    refused = on_mesh("import", str(file), collection, "--segments")
    assert refused.exit_code == 2
    assert "one vector a document" in " ".join(refused.stderr.replace("│", " ").split())


def test_the_same_command_goes_on_with_the_same_import(
    on_mesh: Run, mesh: LocalMesh, collection: str, tmp_path: Path
) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text('{"id": "a", "text": "milk"}\n')
    first = on_mesh("import", str(file), collection, "--json").json
    with Client(mesh.connection) as client:
        client.delete_documents(collection, ["a"])
        assert on_mesh("import", str(file), collection, "--json").json == first | {
            "seconds": pytest.approx(0, abs=20)
        }
        assert client.count_documents(collection) == 0
        anew = on_mesh("import", str(file), collection, "--again", "--json").json
        assert anew["operation"] != first["operation"]
        assert client.count_documents(collection) == 1


def test_an_interrupt_says_how_to_go_on_and_loses_nothing(
    on_mesh: Run, collection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text("".join(f'{{"id": "d{n}", "text": "number {n}"}}\n' for n in range(60)))

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ImportBar, "show", interrupted)
        ran = on_mesh("import", str(file), collection, "--request-id", "mine")
    assert ran.exit_code == 130
    assert "searchmesh operations watch operations/mine" in ran.stderr
    ran = on_mesh("import", str(file), collection, "--request-id", "mine", "--json")
    assert (ran.json["operation"], ran.json["stored"]) == ("operations/mine", 60)


def test_an_import_that_is_cancelled_meanwhile_ends_and_says_so(
    on_mesh: Run, mesh: LocalMesh, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(mesh.connection) as client:

        def lines() -> Iterator[bytes]:
            yield b'{"id": "a", "text": "milk"}\n' * 600
            wait_for(lambda: "operations/piped" in _names(client), "the import's beginning")
            client.cancel_operation("operations/piped")
            while True:
                yield b'{"id": "b", "text": "bread"}\n' * 300
                time.sleep(0.01)

        piped = io.BufferedReader(Chunks(lines()))
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=piped))
        ran = on_mesh("import", "-", collection, "--request-id", "piped")
    assert ran.exit_code == 1
    assert "the import was cancelled after" in ran.stderr
    assert "--again imports all of it anew" in ran.stderr


def _names(client: Client) -> list[str]:
    return [one.name for one in client.list_operations()]


class Chunks(io.RawIOBase):
    """A file of what comes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._rest = self._rest or next(self._chunks, b"")
        view = memoryview(buffer)
        size = min(len(view), len(self._rest))
        view[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def test_compressed_files_and_folders(on_mesh: Run, collection: str, tmp_path: Path) -> None:
    packed = tmp_path / "notes.csv.gz"
    packed.write_bytes(gzip.compress(b"id,text\na,milk\n"))
    assert on_mesh("import", str(packed), collection, "--json").json["stored"] == 1
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one.md").write_text("bread")
    (folder / "two.txt").write_bytes(b"\xff")
    (folder / ".hidden.txt").write_text("cheese")
    ran = on_mesh("import", str(folder), collection, "--json")
    assert (ran.json["stored"], ran.json["failed"]) == (1, 1)
    packed.write_bytes(packed.read_bytes()[:-10])
    ran = on_mesh("import", str(packed), collection)
    assert ran.exit_code == 2
    assert "not gzip, or cut off" in ran.stderr


def test_a_parquet_table_of_others(on_mesh: Run, collection: str, tmp_path: Path) -> None:
    file = tmp_path / "films.parquet"
    table = pa.table({"id": [1, 2], "text": ["a ship", None], "year": [1999, None]})
    parquet.write_table(table, file)
    ran = on_mesh("import", str(file), collection, "--json")
    assert (ran.json["stored"], ran.json["failed"]) == (1, 1)
    assert ran.json["failures"][0]["line"] == 2


def test_not_waiting_ends_when_all_is_received(
    on_mesh: Run, collection: str, tmp_path: Path
) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text('{"id": "a", "text": "milk"}\n')
    ran = on_mesh("import", str(file), collection, "--no-wait", "--json")
    assert ran.exit_code == 0
    assert ran.json["received"] == 1
    name = ran.json["operation"]
    assert on_mesh("operations", "watch", name, "--json").json["searchable_count"] == 1
    assert name in on_mesh("operations").stdout
    assert "1 searchable" in on_mesh("operations", "get", name).stdout
    assert on_mesh("operations", "cancel", name).exit_code == 0
    assert on_mesh("operations", "delete", name).exit_code == 0
    assert on_mesh("operations", "get", name).exit_code == 1
