"""The service as callers meet it: a real server on loopback, with a small real model."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import content_pb2, vector_pb2
from searchmesh_common.errors import InvalidRequest, Overloaded
from searchmesh_common.logs import JsonFormatter
from searchmesh_common.status import from_rpc_error
from searchmesh_encoder.servicer import SERVICE
from tests.models import write_text_model

from .serving import NOT_SERVING, SERVING, quick_settings, serving, texts, vectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .serving import Served

StatusCode = grpc.StatusCode


@pytest_asyncio.fixture
async def served(tiny_cards: Path, tiny_home: Path) -> AsyncIterator[Served]:
    async with serving(quick_settings(tiny_home, tiny_cards)) as running:
        yield running


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def violations(error: grpc.aio.AioRpcError) -> dict[str, str]:
    ours = from_rpc_error(error)
    assert isinstance(ours, InvalidRequest)
    return {one.field: one.description for one in ours.violations}


async def model_after_loading(served: Served, name: str) -> pb.Model:
    """Asks until the model is neither waited for nor loaded; health cannot tell of a failure."""
    async with asyncio.timeout(10):
        while True:
            model: pb.Model = await served.encoder.GetModel(pb.GetModelRequest(name=name))
            if model.state != pb.MODEL_STATE_LOADING:
                return model


async def test_encodes_in_order_and_says_what_it_did(served: Served) -> None:
    response = await served.encoder.Encode(texts("one", "two", "one"))
    one, two, again = vectors(response)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)
    assert (response.model, response.dimension) == ("tiny", 16)
    assert len(response.fingerprint) == 32
    assert [embedding.tokens for embedding in response.embeddings] == [5, 5, 5]
    timing = response.timing
    assert timing.total_ms >= timing.compute_ms > 0
    assert timing.preprocess_ms > 0


async def test_answers_in_every_form(served: Served) -> None:
    (expected,) = vectors(await served.encoder.Encode(texts("one")))

    async def vector(vector_format: int) -> vector_pb2.Vector:
        request = texts("one", vector_format=vector_format)
        response: pb.EncodeResponse = await served.encoder.Encode(request)
        return response.embeddings[0].vector

    floats = await vector(vector_pb2.VECTOR_FORMAT_FLOATS)
    assert np.array_equal(np.array(floats.floats.values, np.float32), expected)
    half = await vector(vector_pb2.VECTOR_FORMAT_FLOAT16_LE)
    assert np.array_equal(np.frombuffer(half.float16_le, "<f2"), expected.astype(np.float16))
    single = await vector(vector_pb2.VECTOR_FORMAT_FLOAT32_LE)
    assert np.array_equal(np.frombuffer(single.float32_le, "<f4"), expected)


async def test_roles_and_truncation(served: Served) -> None:
    query = await served.encoder.Encode(texts("a", input_role=pb.INPUT_ROLE_QUERY))
    document = await served.encoder.Encode(texts("q a", "a" * 100, lane=pb.LANE_BULK))
    assert np.array_equal(vectors(query)[0], vectors(document)[0])
    long = document.embeddings[1]
    assert (long.tokens, long.original_tokens, long.truncated) == (24, 102, True)
    rejected = await served.encoder.Encode(texts("a" * 100, "a", on_too_long=pb.ON_TOO_LONG_REJECT))
    assert rejected.embeddings[0].error.code == StatusCode.INVALID_ARGUMENT.value[0]
    assert "102 tokens given" in rejected.embeddings[0].error.message
    assert (rejected.embeddings[0].tokens, rejected.embeddings[0].original_tokens) == (0, 102)
    assert rejected.embeddings[1].WhichOneof("outcome") == "vector"


async def test_bad_contents_fail_alone(served: Served) -> None:
    request = texts("good", "", "x" * 1_000_001)
    request.contents.add(image=b"\x89PNG")
    request.contents.append(content_pb2.Content())
    response = await served.encoder.Encode(request)
    outcomes = [one.WhichOneof("outcome") for one in response.embeddings]
    assert outcomes == ["vector", "error", "error", "error", "error"]
    assert {one.error.code for one in response.embeddings[1:]} == {3}
    assert [one.error.message for one in response.embeddings[1:]] == [
        "contents[1].text: must hold a character that is not white space",
        "contents[2].text: 1000001 characters given, at most 1000000; split it",
        "contents[3].content: image given, tiny reads text",
        "contents[4].content: nothing given, tiny reads text",
    ]


async def test_256_bad_contents_are_256_answers(served: Served) -> None:
    response = await served.encoder.Encode(texts(*[""] * 256))
    assert [one.WhichOneof("outcome") for one in response.embeddings] == ["error"] * 256


@pytest.mark.parametrize(
    ("request_", "code", "field", "sentence"),
    [
        (texts(), StatusCode.INVALID_ARGUMENT, "contents", "at least 1"),
        (texts(*["a"] * 257), StatusCode.INVALID_ARGUMENT, "contents", "257 given, at most 256"),
        (texts("a", model="No!"), StatusCode.INVALID_ARGUMENT, "model", '"No!" given, must be'),
        (texts("a", model=""), StatusCode.INVALID_ARGUMENT, "model", "required"),
        (texts("a", lane=77), StatusCode.INVALID_ARGUMENT, "lane", "77 given"),
        (texts("a", dimensions=-1), StatusCode.INVALID_ARGUMENT, "dimensions", "-1 given"),
        (
            texts("a", vector_format=vector_pb2.VECTOR_FORMAT_PACKED_BITS),
            StatusCode.INVALID_ARGUMENT,
            "vector_format",
            "only binary models",
        ),
        (
            texts("a", model="big"),
            StatusCode.NOT_FOUND,
            None,
            "all-minilm-l6-v2-int8, tiny",
        ),
        (
            texts("a", model="all-minilm-l6-v2"),
            StatusCode.UNAVAILABLE,
            None,
            "all-minilm-l6-v2 is unloaded",
        ),
        (texts("a", fingerprint="f"), StatusCode.FAILED_PRECONDITION, None, "cannot be compared"),
        (
            texts("a", dimensions=8),
            StatusCode.INVALID_ARGUMENT,
            "dimensions",
            "8 given, tiny allows 16",
        ),
    ],
)
async def test_bad_requests_are_told_what_to_change(
    served: Served,
    request_: pb.EncodeRequest,
    code: grpc.StatusCode,
    field: str | None,
    sentence: str,
) -> None:
    error = await refused(served.encoder.Encode(request_))
    assert error.code() is code
    assert sentence in (error.details() or "")
    if field:
        assert sentence in violations(error)[field]


async def test_many_faults_are_named_together(served: Served) -> None:
    request = texts(
        *["a"] * 300, model="No!", lane=9, input_role=9, fingerprint="f" * 200, dimensions=-1
    )
    named = violations(await refused(served.encoder.Encode(request)))
    assert set(named) == {
        "contents",
        "dimensions",
        "fingerprint",
        "input_role",
        "lane",
        "model",
    }


async def test_a_message_over_the_limit_is_refused_and_the_server_stays_up(
    served: Served,
) -> None:
    error = await refused(served.encoder.Encode(texts("a" * 70_000_000)))
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    await served.encoder.Encode(texts("a"))


async def test_deadlines(served: Served) -> None:
    error = await refused(served.encoder.Encode(texts(*["a b c"] * 256), timeout=0.001))
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    await served.encoder.Encode(texts("a"))


async def test_the_servers_deadline_holds_where_the_caller_sets_none(
    tiny_cards: Path, tiny_home: Path
) -> None:
    settings = quick_settings(tiny_home, tiny_cards, default_deadline_seconds=0.001)
    async with serving(settings) as served:
        error = await refused(served.encoder.Encode(texts(*["a" * 20] * 256)))
        assert error.code() is StatusCode.DEADLINE_EXCEEDED


async def test_overload_says_when_to_come_back(tiny_cards: Path, tiny_home: Path) -> None:
    settings = quick_settings(
        tiny_home,
        tiny_cards,
        workers=1,
        batch_tokens=1,
        queue_tokens=100,
        cache_bytes=0,
        coalesce=False,
    )
    async with serving(settings) as served:
        calls = [served.encoder.Encode(texts(*["a" * 20] * 256)) for _ in range(10)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [one for one in results if isinstance(one, grpc.aio.AioRpcError)]
    assert len(errors) < len(results)
    assert {error.code() for error in errors} == {StatusCode.RESOURCE_EXHAUSTED}
    ours = from_rpc_error(errors[0])
    assert isinstance(ours, Overloaded)
    assert ours.retry_after_seconds > 0


async def test_lists_models_by_page(served: Served) -> None:
    first = await served.encoder.ListModels(pb.ListModelsRequest(page_size=1))
    assert [model.name for model in first.models] == ["all-minilm-l6-v2"]
    second = await served.encoder.ListModels(
        pb.ListModelsRequest(page_size=1, page_token=first.next_page_token)
    )
    assert [model.name for model in second.models] == ["all-minilm-l6-v2-int8"]
    last = await served.encoder.ListModels(
        pb.ListModelsRequest(page_size=1, page_token=second.next_page_token)
    )
    assert [model.name for model in last.models] == ["tiny"]
    assert last.next_page_token == ""
    everything = await served.encoder.ListModels(pb.ListModelsRequest())
    assert list(everything.models) == [*first.models, *second.models, *last.models]
    error = await refused(served.encoder.ListModels(pb.ListModelsRequest(page_token="made-up")))
    assert "not a token of this list" in violations(error)["page_token"]


async def test_gets_a_model(served: Served) -> None:
    model = await served.encoder.GetModel(pb.GetModelRequest(name="tiny"))
    assert (model.state, model.state_message) == (pb.MODEL_STATE_READY, "")
    assert model.default_model
    assert model.modality == content_pb2.MODALITY_TEXT
    assert model.vector_space == vector_pb2.VectorSpace(
        dimension=16, metric=vector_pb2.METRIC_COSINE, kind=vector_pb2.VECTOR_KIND_FLOAT
    )
    assert (model.window, model.precision, model.license) == (24, "fp32", "CC0-1.0")
    response = await served.encoder.Encode(texts("a"))
    assert model.fingerprint == response.fingerprint
    unloaded = await served.encoder.GetModel(pb.GetModelRequest(name="all-minilm-l6-v2"))
    assert unloaded.state == pb.MODEL_STATE_UNLOADED
    assert unloaded.state_message
    error = await refused(served.encoder.GetModel(pb.GetModelRequest(name="big")))
    assert error.code() is StatusCode.NOT_FOUND


async def test_what_comes_later_says_so(served: Served) -> None:
    for call in (
        served.encoder.LoadModel(pb.LoadModelRequest(name="tiny")),
        served.encoder.UnloadModel(pb.UnloadModelRequest(name="tiny")),
    ):
        error = await refused(call)
        assert error.code() is StatusCode.UNIMPLEMENTED
        assert "is not implemented yet" in (error.details() or "")


async def test_health_names(served: Served) -> None:
    assert await served.health_of("") == SERVING
    assert await served.health_of(SERVICE) == SERVING
    assert await served.health_of(f"{SERVICE}/tiny") == SERVING
    assert await served.health_of(f"{SERVICE}/all-minilm-l6-v2") == NOT_SERVING
    error = await refused(served.health_of(f"{SERVICE}/big"))
    assert error.code() is StatusCode.NOT_FOUND


async def test_a_model_that_cannot_be_loaded_is_told_and_the_server_stays_up(
    tmp_path: Path,
) -> None:
    cards = write_text_model(tmp_path / "cards").parent
    write_text_model(cards, "broken", weights={"path": "missing", "sha256": "00" * 32})
    settings = quick_settings(tmp_path / "home", cards, models=("broken",))
    async with serving(settings) as served:
        await served.encoder.Encode(texts("a"))
        model = await model_after_loading(served, "broken")
        assert model.state == pb.MODEL_STATE_FAILED
        assert "cannot read" in model.state_message
        assert await served.health_of(f"{SERVICE}/broken") == NOT_SERVING
        error = await refused(served.encoder.Encode(texts("a", model="broken")))
        assert error.code() is StatusCode.UNAVAILABLE
        assert "cannot read" in (error.details() or "")


async def test_the_request_id_is_logged_and_answered(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    written = asyncio.Event()

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # formatted here, as on standard error
            line = json.loads(JsonFormatter().format(record))
            if line.get("request_id") == "from-a-test":
                written.set()

    handler = Lines()
    log = logging.getLogger("searchmesh.call")
    log.addHandler(handler)
    caplog.set_level(logging.INFO, "searchmesh.call")
    try:
        call = served.encoder.Encode(texts("a"), metadata=(("x-request-id", "from-a-test"),))
        await call
        assert ("x-request-id", "from-a-test") in tuple(await call.trailing_metadata())
        await asyncio.wait_for(written.wait(), 5)  # lines are written many at a time
    finally:
        log.removeHandler(handler)


async def test_metrics(tiny_cards: Path, tiny_home: Path) -> None:
    settings = quick_settings(tiny_home, tiny_cards, metrics_listen="127.0.0.1:0")
    async with serving(settings) as served:
        await served.encoder.Encode(texts("a"))
        url = f"http://127.0.0.1:{served.ports.metrics}/metrics"
        with await asyncio.to_thread(urllib.request.urlopen, url) as response:
            page = response.read().decode()
    for line in (
        'encoder_model_ready{model="tiny"} 1.0',
        'encoder_queue_seconds_count{lane="query",model="tiny"} 1.0',
        'encoder_compute_seconds_bucket{lane="query",le="0.0001",model="tiny"}',
        'encoder_contents_total{lane="query",model="tiny",outcome="vector"} 1.0',
        'encoder_queue_tokens{lane="query"} 0.0',
        'grpc_method="Encode"',
    ):
        assert line in page


async def test_reflection_shows_the_contract(served: Served) -> None:
    stub_class: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = stub_class(served.channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
    (answer,) = [one async for one in stub.ServerReflectionInfo(iter([request]))]
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(one)
        for one in answer.file_descriptor_response.file_descriptor_proto
    ]
    (service,) = [one for file in files for one in file.service if one.name == "EncoderService"]
    assert [method.name for method in service.method][:2] == ["Encode", "EncodeStream"]


async def test_health_has_a_port_of_its_own(tiny_cards: Path, tiny_home: Path) -> None:
    settings = quick_settings(tiny_home, tiny_cards, health_listen="127.0.0.1:0")
    async with serving(settings) as served:
        address = f"127.0.0.1:{served.ports.health}"
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            response = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
            assert response.status == SERVING
