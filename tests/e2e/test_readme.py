"""Every grpcurl line of the README is run, by `buf curl`, and its answer compared."""

from __future__ import annotations

import heapq
import json
import re
import shlex
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from searchmesh import Document, Field, FieldType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mesh import Mesh

README = Path(__file__).parents[2] / "README.md"
BUF = Path(sysconfig.get_path("scripts")) / "buf"

# the library's docstrings differ a little from one Python to the next
SCORE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Example:
    """One `$ grpcurl …` of the README and what it says the answer is."""

    arguments: list[str]
    answer: str

    def __str__(self) -> str:
        return " ".join(self.arguments[-2:])


def examples() -> list[Example]:
    found = []
    for block in re.findall(r"```console\n(.*?)```", README.read_text(), flags=re.DOTALL):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, answer = re.sub(r"\\\n\s*", "", command).partition("\n")
            name, *arguments = shlex.split(line, comments=True)
            if name == "grpcurl":
                found.append(Example(arguments, answer.strip()))
    return found


@pytest.fixture(scope="module")
def python_docs(mesh: Mesh) -> Iterator[None]:
    """The README's collection, with enough of its documents for its answers."""
    fields = [Field("module", FieldType.STRING), Field("kind", FieldType.STRING)]
    mesh.client.create_collection("python_docs", model="all-minilm-l6-v2", fields=fields)
    described = [heapq.merge, heapq.nlargest, json.dumps, re.compile, sorted]
    documents = [
        Document(
            f"{one.__module__}.{one.__name__}",
            f"{one.__module__}.{one.__name__}: {one.__doc__}",
            attributes={"module": one.__module__, "kind": "function", "name": one.__name__},
        )
        for one in described[1:]
    ]
    merge = "(*iterables, key=None, reverse=False)"
    documents.append(
        Document(
            "heapq.merge",
            f"heapq.merge: {heapq.merge.__doc__}",
            attributes={
                "module": "heapq",
                "kind": "function",
                "signature": merge,
                "name": "merge",
            },
        )
    )
    mesh.client.upsert("python_docs", documents)
    yield
    mesh.client.delete_collection("python_docs")


def test_the_readme_has_examples() -> None:
    assert len(examples()) >= 5


@pytest.mark.usefixtures("python_docs")
@pytest.mark.parametrize("example", examples(), ids=str)
def test_an_example_answers_as_the_readme_says(mesh: Mesh, example: Example) -> None:
    assert example.arguments[0] == "-plaintext"
    options, (address, *what) = _split(example.arguments[1:])
    address = {
        "localhost:50051": mesh.connection.encoder,
        "localhost:50052": mesh.connection.search,
    }[address]
    match what:
        case ["list"]:
            assert "searchmesh.search.v1.SearchService" in _buf("--list-services", address)
        case ["describe", symbol]:
            assert "Required. The collection's name." in _comments(address, symbol)
        case [method]:
            answer = _buf("-d", options["-d"], f"{address}/{method}")
            _compare(answer, example.answer)


def test_the_filters_of_the_readme_choose_what_it_says(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (block,) = (one for one in blocks if "filter_value" in one)
    connected = block.replace("Client()", "Client(connection)")
    try:
        exec(connected, {"connection": mesh.connection})
        assert capsys.readouterr().out.splitlines() == [
            "2",
            "2",
            str([("Melville", 1), ("O'Brian", 1)]),
        ]
        assert mesh.client.count_documents("books") == 2
    finally:
        mesh.client.delete_collection("books")


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options with their values, and what is left."""
    if arguments[0] == "-d":
        return {"-d": arguments[1]}, arguments[2:]
    return {}, arguments


def _buf(*arguments: str) -> str:
    *options, url = arguments
    run = subprocess.run(
        [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *options, f"http://{url}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return run.stdout or run.stderr


def _compare(answer: str, expected: str) -> None:
    got = json.loads(answer)
    if expected.startswith("ERROR:"):
        code, message = re.findall(r"(?:Code|Message): (.*)", expected)
        assert got["code"].replace("_", "") == code.lower()
        assert got["message"] == message
    else:
        assert _without_scores(got) == _without_scores(json.loads(expected))
        for mine, readmes in zip(_scores(got), _scores(json.loads(expected)), strict=True):
            assert mine == pytest.approx(readmes, abs=SCORE_TOLERANCE)


def _scores(answer: Any) -> list[float]:
    return [hit["score"] for hit in answer.get("hits", ())]


def _without_scores(answer: Any) -> Any:
    hits = [{**hit, "score": None} for hit in answer.get("hits", ())]
    return {**answer, "hits": hits}


def _comments(address: str, symbol: str) -> str:
    """The comments of the file that holds a symbol and of its imports: what grpcurl prints."""
    with grpc.insecure_channel(address) as channel:
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        (response,) = reflection.ServerReflectionInfo(iter([request]), timeout=10)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(one)
        for one in response.file_descriptor_response.file_descriptor_proto
    ]
    return "".join(
        place.leading_comments for file in files for place in file.source_code_info.location
    )
