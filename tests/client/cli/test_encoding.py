"""`searchmesh encode` against the real encoder, and against one that answers as it is told."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from tests.client.cli.conftest import Ran
from tests.mesh import MODEL, free_addresses

if TYPE_CHECKING:
    from tests.client.scripted import Scripted

Run = Callable[..., Ran]

LONG = "This is one sentence of many. " * 100


@pytest.fixture
def on_stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def test_a_text_becomes_a_vector(on_mesh: Run) -> None:
    ran = on_mesh("encode", "milk and bread", "--json")
    assert ran.exit_code == 0
    assert (ran.json["model"], ran.json["dimension"]) == (MODEL, 384)
    (embedding,) = ran.json["embeddings"]
    assert len(embedding["vector"]) == 384
    assert (embedding["segments"], embedding["error"], embedding["tokens"]) == ([], None, 5)
    shown = on_mesh("encode", "milk and bread", "--model", MODEL, "--query")
    assert ", …" in shown.stdout
    assert "5 tokens" in shown.stdout


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input_becomes_segments(
    on_mesh: Run, on_stdin: Callable[[bytes], None], arguments: tuple[str, ...]
) -> None:
    on_stdin(LONG.encode())
    ran = on_mesh("encode", *arguments, "--segments", "--json")
    (embedding,) = ran.json["embeddings"]
    assert embedding["vector"] is None
    spans = [one["segment"] for one in embedding["segments"]]
    assert len(spans) > 1
    assert all(LONG[span["start"] : span["end"]] == span["text"] for span in spans)
    on_stdin(LONG.encode())
    shown = on_mesh("encode", *arguments, "--segments").stdout
    assert "This is one sentence of many." in shown
    assert f" {spans[1]['start']} " in shown


def test_a_text_that_is_too_long(on_mesh: Run) -> None:
    assert "the end is left out" in on_mesh("encode", LONG).stdout
    refused = on_mesh("encode", LONG, "--reject-too-long", "--json")
    assert refused.exit_code == 1
    assert refused.json["error"]["violations"][0]["field"] == "contents[0].text"


def test_faults_are_exit_code_1(on_mesh: Run, on_stdin: Callable[[bytes], None]) -> None:
    assert "dimensions: 7 given" in on_mesh("encode", "milk", "--dimensions", "7").stderr
    assert on_mesh("encode", " ").exit_code == 1
    assert on_mesh("encode", "milk", "--model", "nothing").exit_code == 1
    on_stdin(b"caf\xe9")
    ran = on_mesh("encode")
    assert (ran.exit_code, ran.stderr) == (1, "error: text: standard input is not UTF-8\n")


def test_without_a_text_or_a_default_model(
    run: Run, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer("ListModels", pb.ListModelsResponse())
    ran = run("encode", "milk", "--encoder", server.address)
    assert ran.exit_code == 1
    assert "give --model" in ran.stderr
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert run("encode", "--encoder", server.address).exit_code == 2


def test_nobody_there_is_exit_code_3(run: Run) -> None:
    (address,) = free_addresses(1)
    assert run("encode", "milk", "--encoder", address).exit_code == 3
