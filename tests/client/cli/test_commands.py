"""Commands against the real services: what they print, and their exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from grpc_health.v1 import health_pb2

from searchmesh import Client
from searchmesh.encoder.v1 import encoder_service_pb2
from searchmesh.errors import Unauthenticated
from searchmesh.search.v1 import document_service_pb2
from searchmesh.type.v1 import vector_pb2
from tests.client.cli.conftest import Ran
from tests.mesh import MODEL, free_addresses

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.scripted import Scripted
    from tests.mesh import Mesh

Run = Callable[..., Ran]


def test_models(on_mesh: Run) -> None:
    model = next(one for one in on_mesh("models", "--json").json if one["name"] == MODEL)
    assert (model["state"], model["space"]["dimension"]) == ("READY", 384)
    shown = on_mesh("models")
    assert MODEL in shown.stdout
    assert "default" in shown.stdout
    assert shown.stderr == ""


def test_models_tell_the_dimensions_that_may_be_asked_for(run: Run, server: Scripted) -> None:
    space = vector_pb2.VectorSpace(dimension=768)
    model = encoder_service_pb2.Model(name="m", vector_space=space, dimensions=[64, 256])
    server.answer("ListModels", encoder_service_pb2.ListModelsResponse(models=[model]))
    assert "768 (or 64, 256)" in run("models", "--encoder", server.address).stdout
    ran = run("models", "--encoder", server.address, "--json")
    assert ran.json[0]["dimensions"] == [64, 256]


def test_status(on_mesh: Run, collection: str) -> None:
    ran = on_mesh("status", "--json")
    assert ran.exit_code == 0
    assert {check["health"] for check in ran.json["health"]} == {"SERVING"}
    assert collection in {one["name"] for one in ran.json["collections"]}
    assert collection in on_mesh("status").stdout


def test_status_of_nothing_is_exit_code_3(run: Run) -> None:
    encoder, search = free_addresses(2)
    ran = run("status", "--json", "--encoder", encoder, "--search", search)
    assert ran.exit_code == 3
    assert [check["health"] for check in ran.json["health"]] == ["UNREACHABLE"] * 2


def test_status_of_what_does_not_serve_is_exit_code_1(run: Run, server: Scripted) -> None:
    server.answer("Check", health_pb2.HealthCheckResponse(status="NOT_SERVING"))
    ran = run("status", "--encoder", server.address, "--search", server.address)
    assert ran.exit_code == 1
    assert "not serving" in ran.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_status_without_the_token_it_needs_is_exit_code_1(
    run: Run, server: Scripted, as_json: bool
) -> None:
    server.answer("Check", health_pb2.HealthCheckResponse(status="SERVING"))
    for method in ("ListModels", "ListCollections"):
        server.answer(method, Unauthenticated("send metadata"))
    flags = ("--json",) if as_json else ()
    ran = run("status", "--encoder", server.address, "--search", server.address, *flags)
    assert ran.exit_code == 1
    assert ran.stderr == (
        "error: send metadata\nGive a token: --token-file FILE, or the variable SEARCHMESH_TOKEN.\n"
    )
    if as_json:
        assert [one["kind"] for one in ran.json["errors"]] == ["Unauthenticated"] * 2


def test_deleting_without_a_terminal_asks_for_yes(
    run: Run, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    server.answer("CountDocuments", document_service_pb2.CountDocumentsResponse(count=3))
    ran = run("collections", "delete", "notes", "--json", "--search", server.address)
    assert ran.exit_code == 1
    assert "give --yes" in json.loads(ran.stdout)["error"]["message"]
    assert "DeleteCollection" not in server.calls


def test_a_collection_from_creation_to_deletion(on_mesh: Run) -> None:
    made = on_mesh(
        *("collections", "create", "cli_life", "--model", MODEL),
        *("--field", "year:int64", "--field", "tag:STRING", "--json"),
    )
    assert made.exit_code == 0
    assert made.json["fields"] == [
        {"name": "year", "type": "INT64"},
        {"name": "tag", "type": "STRING"},
    ]
    assert on_mesh("collections", "get", "cli_life", "--json").json == made.json
    assert "field year" in on_mesh("collections", "get", "cli_life").stdout
    assert "cli_life" in on_mesh("collections").stdout
    assert "cli_life" in on_mesh("collections", "list").stdout
    again = on_mesh("collections", "create", "cli_life", "--model", MODEL, "--json")
    assert (again.exit_code, again.json["error"]["kind"]) == (1, "AlreadyExists")
    assert on_mesh("collections", "delete", "cli_life", "--yes").exit_code == 0
    gone = on_mesh("collections", "get", "cli_life")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "cli_life" in gone.stderr


def test_deleting_asks_first(on_mesh: Run, collection: str, mesh: Mesh) -> None:
    ran = on_mesh("collections", "delete", collection)
    assert ran.exit_code == 1
    with Client(mesh.connection) as client:
        assert client.get_collection(collection).name == collection


def test_search(on_mesh: Run, collection: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text(
        '{"id": "milk", "text": "Milk, bread [bold]and[/bold] apples.", "shop": "corner"}\n'
        '{"id": "train", "text": "The train leaves at noon."}\n'
    )
    assert on_mesh("import", str(file), collection).exit_code == 0
    found = on_mesh("search", collection, "groceries", "--limit", "1", "--explain", "--json")
    (hit,) = found.json["hits"]
    assert (hit["id"], hit["attributes"]) == ("milk", {"shop": "corner"})
    assert found.json["explain"]["model"] == MODEL
    shown = on_mesh("search", collection, "groceries", "--fields", "$content", "--explain")
    assert "Milk, bread [bold]and[/bold] apples." in shown.stdout
    assert "total" in shown.stdout
    like = on_mesh("search", collection, "--id", "milk", "--fields", "$id", "--json")
    assert [hit["id"] for hit in like.json["hits"]] == ["train"]
    vector = tmp_path / "vector.json"
    vector.write_text(json.dumps([1.0] * 384))
    by_vector = on_mesh("search", collection, "--vector", f"@{vector}", "--offset", "1", "--json")
    assert len(by_vector.json["hits"]) == 1


def test_filters_and_facets(on_mesh: Run, tmp_path: Path) -> None:
    declared = ("--field", "shop:string", "--field", "price:double")
    assert on_mesh("collections", "create", "cli_f", "--model", MODEL, *declared).exit_code == 0
    file = tmp_path / "notes.jsonl"
    file.write_text(
        '{"id": "milk", "text": "Milk and apples.", "shop": "corner", "price": 2}\n'
        '{"id": "bread", "text": "Bread.", "shop": "corner", "price": 3.5}\n'
        '{"id": "train", "text": "The train leaves at noon."}\n'
    )
    assert on_mesh("import", str(file), "cli_f").exit_code == 0
    found = on_mesh("search", "cli_f", "food", "--filter", "price > 2", "--json")
    assert [hit["id"] for hit in found.json["hits"]] == ["bread"]
    assert on_mesh("documents", "count", "cli_f").stdout == "3\n"
    counted = on_mesh("documents", "count", "cli_f", "--filter", "EXISTS shop", "--json")
    assert counted.json == {"count": 2}
    facets = on_mesh("facets", "cli_f", "shop", "--json")
    assert facets.json == {"facets": [{"value": "corner", "count": 2}], "other_count": 0}
    shown = on_mesh("facets", "cli_f", "price", "--limit", "1").stdout
    assert "and 1 with other values" in shown
    wrong = on_mesh("search", "cli_f", "food", "--filter", "price > 'x'", "--json")
    assert wrong.exit_code == 1
    assert wrong.json["error"]["violations"][0]["field"] == "filter"
    assert on_mesh("documents", "delete", "cli_f", "--filter", "price > 2").exit_code == 1
    assert on_mesh("documents", "count", "cli_f").stdout == "3\n"
    gone = on_mesh("documents", "delete", "cli_f", "--filter", "price > 2", "--yes", "--json")
    assert gone.json == {"deleted_count": 1}
    assert on_mesh("documents", "delete", "cli_f", "milk", "nobody", "-y").stdout == "deleted 1\n"
    assert on_mesh("collections", "delete", "cli_f", "--yes").exit_code == 0


def test_search_shows_the_passage_that_matched(on_mesh: Run, tmp_path: Path) -> None:
    made = on_mesh("collections", "create", "cli_long", "--model", MODEL, "--segments", "--json")
    assert made.json["segmentation"] == "SEGMENTS"
    file = tmp_path / "long.jsonl"
    text = "Milk and bread. " * 200 + "The train leaves at noon."
    file.write_text(json.dumps({"id": "long", "text": text}) + "\n")
    assert on_mesh("import", str(file), "cli_long").exit_code == 0
    (hit,) = on_mesh("search", "cli_long", "railway", "--json").json["hits"]
    passage = hit["segment"]
    assert passage["text"].endswith("The train leaves at noon.")
    assert text[passage["start"] : passage["end"]] == passage["text"]
    shown = on_mesh("search", "cli_long", "groceries").stdout
    assert "passage" in shown
    assert "Milk and bread." in shown
    assert on_mesh("collections", "delete", "cli_long", "--yes").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "c"],
        ["search", "c", "text", "--id", "a"],
        ["search", "c", "text", "--limit", "0"],
        ["search", "c", "--vector", "[1,"],
        ["search", "c", "--vector", '{"a": 1}'],
        ["search", "c", "--vector", "@nowhere.json"],
        ["documents", "delete", "c"],
        ["documents", "delete", "c", "a", "--filter", "a = 1"],
        ["facets", "c"],
        ["facets", "c", "a", "--limit", "0"],
        ["collections", "create", "c"],
        ["collections", "create", "c", "--model", "m", "--dimension", "3"],
        ["collections", "create", "c", "--model", "m", "--field", "year"],
        ["import", "nowhere.jsonl"],
        ["import", "README.txt"],
        ["import", "-"],
        ["models", "--timeout", "0"],
        ["models", "--token", "a", "--token-file", __file__],
        ["nothing"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert "Usage: searchmesh" in ran.stderr


def test_nobody_there_is_exit_code_3(run: Run) -> None:
    (address,) = free_addresses(1)
    ran = run("search", "c", "text", "--search", address, "--json")
    assert ran.exit_code == 3
    assert ran.json["error"]["kind"] == "Unreachable"
    assert "searchmesh up" in ran.stderr


def test_help_tells_the_exit_codes_and_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.exit_code == 0
    words = " ".join(ran.stdout.split())
    assert "3 a service cannot be reached" in words
    commands = ("up", "status", "models", "collections", "documents", "import", "search", "facets")
    for command in (*commands, "encode"):
        assert f" {command} " in words
        assert run(command, "-h").exit_code == 0


def test_a_reader_that_leaves_early_is_no_traceback(mesh: Mesh) -> None:
    command = [sys.executable, "-m", "searchmesh.cli", "models", "--json"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SEARCHMESH_ENCODER": mesh.connection.encoder},
    ) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
