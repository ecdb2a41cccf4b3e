"""What callers get wrong, over the wire: the right status, the field, a sentence that helps."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from searchmesh.encoder.v1 import encoder_service_pb2, encoder_service_pb2_grpc
from searchmesh.search.v1 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    document_service_pb2,
    document_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from tests.mesh import Mesh

MODEL = "all-minilm-l6-v2"
INVALID = grpc.StatusCode.INVALID_ARGUMENT

FILES = (
    encoder_service_pb2,
    collection_service_pb2,
    document_service_pb2,
    search_service_pb2,
)


class Wire:
    """Calls any method by name, with a request as JSON has it."""

    def __init__(self, mesh: Mesh) -> None:
        large = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._encoder = grpc.insecure_channel(mesh.connection.encoder, large)
        self._search = grpc.insecure_channel(mesh.connection.search, large)
        self._stubs: dict[str, Any] = {
            "EncoderService": encoder_service_pb2_grpc.EncoderServiceStub(self._encoder),
            "CollectionService": collection_service_pb2_grpc.CollectionServiceStub(self._search),
            "DocumentService": document_service_pb2_grpc.DocumentServiceStub(self._search),
            "SearchService": search_service_pb2_grpc.SearchServiceStub(self._search),
        }

    def call(self, method: str, request: dict[str, Any]) -> Any:
        service, name = method.split(".")
        return getattr(self._stubs[service], name)(_message(service, name, request), timeout=20)

    def upsert(self, request: document_service_pb2.UpsertDocumentsRequest) -> Any:
        return self._stubs["DocumentService"].UpsertDocuments(request, timeout=20)

    def refusal(self, method: str, request: dict[str, Any]) -> tuple[grpc.StatusCode, str, Status]:
        """How a call fails; it must."""
        with pytest.raises(grpc.RpcError) as raised:
            self.call(method, request)
        error: Any = raised.value
        return error.code(), error.details(), rpc_status.from_call(error) or status_pb2.Status()

    def close(self) -> None:
        self._encoder.close()
        self._search.close()


Status = status_pb2.Status


def _message(service: str, method: str, request: dict[str, Any]) -> Message:
    for file in FILES:
        if service in file.DESCRIPTOR.services_by_name:
            described = file.DESCRIPTOR.services_by_name[service].methods_by_name[method]
            message: Message = getattr(file, described.input_type.name)()
            return ParseDict(request, message)
    raise AssertionError(f"no service {service}")


def _violations(status: Status) -> list[error_details_pb2.BadRequest.FieldViolation]:
    detail = error_details_pb2.BadRequest()
    for packed in status.details:
        packed.Unpack(detail)  # where it is of this type
    return list(detail.field_violations)


@pytest.fixture(scope="module")
def wire(mesh: Mesh) -> Iterator[Wire]:
    wire = Wire(mesh)
    wire.call("CollectionService.CreateCollection", {"collection": {"name": "bad", "model": MODEL}})
    space = {"dimension": 3}
    wire.call(
        "CollectionService.CreateCollection",
        {"collection": {"name": "bad_points", "vector_space": space}},
    )
    wire.call(
        "DocumentService.UpsertDocuments",
        {"collection": "bad", "documents": [{"id": "a", "content": {"text": "a text"}}]},
    )
    yield wire
    for name in ("bad", "bad_points"):
        wire.call("CollectionService.DeleteCollection", {"name": name})
    wire.close()


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


@pytest.mark.parametrize(
    ("method", "request_", "field", "sentence"),
    [
        pytest.param(
            "EncoderService.Encode",
            {"model": MODEL},
            "contents",
            "0 given, at least 1",
            id="no contents",
        ),
        pytest.param(
            "EncoderService.Encode",
            {"model": MODEL, "contents": [_text("x")] * 257},
            "contents",
            "257 given, at most 256",
            id="257 contents",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad", "text": "x", "limit": 0},
            "limit",
            "0 given, must be from 1 to 1000",
            id="limit 0",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad", "text": "x", "limit": 100_000},
            "limit",
            "100000 given, must be from 1 to 1000",
            id="limit 100000",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad"},
            "query",
            "required",
            id="no query",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad", "text": " \n"},
            "text",
            "",
            id="a query of white space",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad", "text": "x", "mode": 77},
            "mode",
            "",
            id="an unknown enum value",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "Not A Name", "text": "x"},
            "collection",
            "",
            id="a malformed name",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad", "vector": {"floats": {"values": [1, 2, 3]}}},
            "vector",
            "384",
            id="a vector of the wrong length",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad_points", "vector": {"floats": {"values": [1, "NaN", 3]}}},
            "vector",
            "finite",
            id="a vector with NaN",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad_points", "vector": {"floats": {"values": [0, 1e30, 0]}}},
            "vector",
            "1e+15",
            id="a vector too long for float32",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad_points", "vector": {"floats": {"values": [0, 1e-30, 0]}}},
            "vector",
            "1e-15",
            id="a vector too short for a cosine",
        ),
        pytest.param(
            "SearchService.Search",
            {"collection": "bad", "text": "x", "read_after": "made up"},
            "read_after",
            "write_token",
            id="a token of nobody's",
        ),
        pytest.param(
            "DocumentService.UpsertDocuments",
            {"collection": "bad", "documents": [{"id": "ok"}, {"id": "a\x07b"}]},
            "documents[1].id",
            "control",
            id="an id with a control character",
        ),
        pytest.param(
            "DocumentService.UpsertDocuments",
            {"collection": "bad", "documents": [{"id": "é" * 129}]},
            "documents[0].id",
            "256",
            id="an id of 258 bytes",
        ),
        pytest.param(
            "DocumentService.DeleteDocuments",
            {"collection": "bad"},
            "",
            "exactly one of ids, filter and filter_tree",
            id="nothing to delete",
        ),
        pytest.param(
            "CollectionService.CreateCollection",
            {"collection": {"name": "new"}},
            "collection.vectors",
            "required",
            id="a collection without vectors",
        ),
        pytest.param(
            "CollectionService.ListCollections",
            {"page_token": "made up"},
            "page_token",
            "next_page_token",
            id="a page token of nobody's",
        ),
    ],
)
def test_a_request_that_breaks_a_rule_is_told_which_and_how(
    wire: Wire, method: str, request_: dict[str, Any], field: str, sentence: str
) -> None:
    code, message, status = wire.refusal(method, request_)
    assert code is INVALID
    (violation,) = _violations(status)
    assert violation.field == field
    assert sentence in violation.description
    assert violation.description in message


@pytest.mark.parametrize(
    ("method", "request_", "name"),
    [
        ("EncoderService.Encode", {"model": "nobody", "contents": [_text("x")]}, "nobody"),
        ("EncoderService.GetModel", {"name": "nobody"}, "nobody"),
        ("SearchService.Search", {"collection": "nobody", "text": "x"}, "nobody"),
        ("SearchService.Search", {"collection": "bad", "document_id": "nobody"}, "nobody"),
        ("DocumentService.GetDocument", {"collection": "bad", "id": "nobody"}, "nobody"),
        ("DocumentService.CountDocuments", {"collection": "nobody"}, "nobody"),
        (
            "CollectionService.CreateCollection",
            {"collection": {"name": "new", "model": "nobody"}},
            "nobody",
        ),
    ],
)
def test_what_is_not_there_is_named(
    wire: Wire, method: str, request_: dict[str, Any], name: str
) -> None:
    code, message, status = wire.refusal(method, request_)
    assert code is grpc.StatusCode.NOT_FOUND
    assert name in message
    resource = error_details_pb2.ResourceInfo()
    assert status.details[0].Unpack(resource)
    assert resource.resource_name == name


@pytest.mark.parametrize(
    ("method", "request_", "named"),
    [
        (
            "SearchService.Search",
            {"collection": "bad", "text": "x", "substructure": "C"},
            "substructure",
        ),
        (
            "SearchService.Locate",
            {"collection": "bad", "document_id": "a", "references": [{"document_id": "a"}]},
            "Locate",
        ),
        ("EncoderService.LoadModel", {"name": MODEL}, "LoadModel"),
    ],
)
def test_what_comes_later_says_so(
    wire: Wire, method: str, request_: dict[str, Any], named: str
) -> None:
    code, message, _ = wire.refusal(method, request_)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert named in message


def test_one_bad_content_fails_alone(wire: Wire) -> None:
    texts = ["fine", "", "  ", "fine"]
    response = wire.call(
        "EncoderService.Encode", {"model": MODEL, "contents": [_text(one) for one in texts]}
    )
    outcomes = [embedding.WhichOneof("outcome") for embedding in response.embeddings]
    assert outcomes == ["vector", "error", "error", "vector"]
    assert response.embeddings[1].error.code == INVALID.value[0]
    assert response.embeddings[0].vector == response.embeddings[3].vector


def test_one_bad_document_fails_alone(wire: Wire) -> None:
    not_a_number = struct.pack("<f", float("nan"))
    documents = [
        {"id": "good", "vector": {"floats": {"values": [1, 0, 0]}}},
        {"id": "short", "vector": {"floats": {"values": [1, 0]}}},
        {"id": "good", "vector": {"floats": {"values": [0, 1, 0]}}},
        {"id": "huge", "vector": {"floats": {"values": [1, 0, 0]}}, "attributes": {"n": 2.0**60}},
        {"id": "none"},
    ]
    message = ParseDict(
        {"collection": "bad_points", "documents": documents},
        document_service_pb2.UpsertDocumentsRequest(),
    )
    message.documents.add(id="nan").vector.float32_le = not_a_number * 3
    response = wire.upsert(message)
    codes = [result.status.code for result in response.results]
    assert codes == [0, *[INVALID.value[0]] * 5]
    assert response.stored_count == 1
    assert "string" in response.results[3].status.message
    count = wire.call("DocumentService.CountDocuments", {"collection": "bad_points"})
    assert count.count == 1


def test_three_hundred_faults_fit_one_status(wire: Wire) -> None:
    documents = [{"id": ""} for _ in range(300)]
    code, _, status = wire.refusal(
        "DocumentService.UpsertDocuments", {"collection": "bad", "documents": documents}
    )
    assert code is INVALID
    assert status.ByteSize() < 4096
    violations = _violations(status)
    assert violations[0].field == "documents[0].id"
    assert violations[-1].description.startswith("and ")


def test_a_message_over_the_limit_is_refused_and_the_server_stays_up(wire: Wire) -> None:
    for method, request in (
        ("EncoderService.Encode", {"model": MODEL, "contents": [_text("x" * 70_000_000)]}),
        ("SearchService.Search", {"collection": "bad", "text": "x" * 70_000_000}),
    ):
        code, _, _ = wire.refusal(method, request)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert wire.call("SearchService.Search", {"collection": "bad", "text": "a text"}).hits
    assert wire.call("EncoderService.Encode", {"model": MODEL, "contents": [_text("x")]})


def test_a_query_of_a_kind_that_the_model_does_not_read(wire: Wire) -> None:
    code, message, status = wire.refusal(
        "SearchService.Search", {"collection": "bad", "smiles": "CCO"}
    )
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert MODEL in message
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("searchmesh", "MODALITY_MISMATCH")


def test_a_fingerprint_that_is_not_the_models(wire: Wire) -> None:
    code, _, _ = wire.refusal(
        "EncoderService.Encode",
        {"model": MODEL, "contents": [_text("x")], "fingerprint": "another"},
    )
    assert code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("dimension", [1, 32_768])
def test_a_dimension_that_the_engine_lacks(wire: Wire, dimension: int) -> None:
    space = {"dimension": dimension}
    code, message, _ = wire.refusal(
        "CollectionService.CreateCollection",
        {"collection": {"name": "wide", "vector_space": space}},
    )
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert f"dimension {dimension} (from 2 to 8192)" in message


def test_a_taken_name(wire: Wire) -> None:
    code, message, _ = wire.refusal(
        "CollectionService.CreateCollection", {"collection": {"name": "bad", "model": MODEL}}
    )
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert "bad" in message
