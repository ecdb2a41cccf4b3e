"""What no caller should send, or do: each is told so, and whoever calls meanwhile notices nothing.

Callers whose own library refuses such input (half a character in a string) are in tests/client.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import psutil
import pytest
import pytest_asyncio

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import segment_pb2, vector_pb2
from searchmesh_common import status
from searchmesh_common.errors import InvalidRequest
from tests.models import WINDOW

from .serving import quick_settings, serving, texts, vectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from .serving import Served

_METHOD = "/searchmesh.encoder.v1.EncoderService/"
_NEIGHBOUR_SECONDS = 10
"""More than a call takes on a busy machine, and less than what only a timeout would end."""


@pytest_asyncio.fixture
async def served(tiny_cards: Path, tiny_home: Path) -> AsyncIterator[Served]:
    async with serving(quick_settings(tiny_home, tiny_cards)) as running:
        yield running


@asynccontextmanager
async def neighbour(served: Served) -> AsyncIterator[None]:
    """Someone who calls all the while, on a connection of their own, and is always answered."""
    (expected,) = vectors(await served.encoder.Encode(texts("abc")))
    leaving = asyncio.Event()

    async def call() -> None:
        address = f"127.0.0.1:{served.ports.grpc}"
        async with grpc.aio.insecure_channel(address) as channel:
            encode = channel.unary_unary(
                _METHOD + "Encode",
                request_serializer=pb.EncodeRequest.SerializeToString,
                response_deserializer=pb.EncodeResponse.FromString,
            )
            number = 0
            while number < 3 or not leaving.is_set():
                number += 1
                # not always the same, which the cache would know
                response = await encode(texts("abc", f"{number}"), timeout=_NEIGHBOUR_SECONDS)
                assert np.array_equal(vectors(response)[0], expected)

    calling = asyncio.create_task(call())
    try:
        yield
    finally:
        leaving.set()
        await calling


def faults(response: pb.EncodeResponse) -> dict[str, str]:
    """What is wrong with each content that has no vector, by its path."""
    found = {}
    for one in response.embeddings:
        if one.WhichOneof("outcome") == "error":
            error = status.from_proto(one.error)
            assert isinstance(error, InvalidRequest)
            found.update({violation.field: violation.description for violation in error.violations})
    return found


@pytest.mark.slow
async def test_texts_of_a_megabyte(served: Served) -> None:
    # words of more than 100 letters are a token each
    longest = ("a" * 124 + " ") * 8000
    request = texts(longest, longest + "b", "abc " * 70_000, "abc")
    async with neighbour(served):
        whole = await served.encoder.Encode(request)
        request.segmentation = segment_pb2.SEGMENTATION_SEGMENTS
        cut = await served.encoder.Encode(request)
    first = whole.embeddings[0]
    assert (first.tokens, first.original_tokens, first.truncated) == (WINDOW, 8002, True)
    over = {"contents[1].text": "1000001 characters given, at most 1000000; split it"}
    assert faults(whole) == over
    assert faults(cut) == over | {
        "contents[2].text": f"makes more than 10,000 passages of {WINDOW} tokens; split it"
    }
    assert cut.embeddings[0].segments.segments[-1].segment.text.end == len(longest) - 1
    assert len(cut.embeddings[3].segments.segments) == 1


UNREADABLE = [
    "",
    " ",
    "\u3000\n\t\u2028",
    "\x00",
    "\x01\x02\x7f\x80",
    "\u200b\u200d\ufeff",
    "\ufffd",
]


@pytest.mark.parametrize("segmentation", [0, segment_pb2.SEGMENTATION_SEGMENTS])
@pytest.mark.parametrize("role", [pb.INPUT_ROLE_DOCUMENT, pb.INPUT_ROLE_QUERY])
async def test_texts_of_nothing_to_read(served: Served, segmentation: int, role: int) -> None:
    async with neighbour(served):
        response = await served.encoder.Encode(
            texts("a", *UNREADABLE, "b", segmentation=segmentation, input_role=role)
        )
    named = faults(response)
    assert list(named) == [f"contents[{index}].text" for index in range(1, len(UNREADABLE) + 1)]
    assert set(named.values()) == {
        "must hold a character that is not white space",
        "holds no character that the model reads",
    }


def not_utf8(text: bytes) -> bytes:
    """A request as only a client without checks of its own can write it."""
    marked = texts("\x07" * len(text)).SerializeToString()
    assert marked.count(b"\x07" * len(text)) == 1
    return marked.replace(b"\x07" * len(text), text)


@pytest.mark.parametrize(
    "text", [b"\xff\xfe\xfd", b"\xed\xa0\x80", b"\xc0\x80\x80", b"ab\xe2"], ids=repr
)
async def test_texts_that_are_not_utf8(served: Served, text: bytes) -> None:
    request = not_utf8(text)
    channel: Any = served.channel
    async with neighbour(served):
        with pytest.raises(grpc.aio.AioRpcError) as alone:
            await channel.unary_unary(_METHOD + "Encode")(request)
        in_stream = pb.EncodeStreamRequest(id="1").SerializeToString()
        in_stream += bytes([2 << 3 | 2, len(request)]) + request
        with pytest.raises(grpc.aio.AioRpcError) as streamed:
            await channel.stream_stream(_METHOD + "EncodeStream")(iter([in_stream])).read()
    for error in (alone.value, streamed.value):
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "not what this rpc takes" in (error.details() or "")


async def test_a_full_call_of_full_texts(served: Served) -> None:
    given = [f"{number:0{WINDOW - 2}}" for number in range(256)]
    async with neighbour(served):
        responses = await asyncio.gather(*(served.encoder.Encode(texts(*given)) for _ in range(4)))
    for response in responses:
        assert {one.tokens for one in response.embeddings} == {WINDOW}
        assert len({one.vector.float32_le for one in response.embeddings}) == 256


@pytest.mark.parametrize("seconds", [-1, 0, 1e-6])
async def test_a_deadline_that_is_past(served: Served, seconds: float) -> None:
    request = texts(*(f"{number} late" for number in range(256)))
    async with neighbour(served):
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await served.encoder.Encode(request, timeout=seconds)
        # grpc.aio loses the status of a stream that it writes to
        code = await asyncio.to_thread(code_of_stream, served.ports.grpc, request, seconds)
    assert unary.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_deadline_that_nothing_meets(served: Served) -> None:
    request = texts(*(f"{number} late" for number in range(256)))
    async with neighbour(served):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await served.encoder.Encode(request, timeout=0.001)
    # the refusal may reach a caller that still waits
    assert ended.value.code() in {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }


def code_of_stream(port: int, request: pb.EncodeRequest, seconds: float) -> grpc.StatusCode:
    """How a stream ends that has so much time."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream: Any = channel.stream_stream(
            _METHOD + "EncodeStream",
            request_serializer=pb.EncodeStreamRequest.SerializeToString,
        )
        with pytest.raises(grpc.RpcError) as ended:
            next(stream(iter([pb.EncodeStreamRequest(id="1", request=request)]), timeout=seconds))
    code: grpc.StatusCode = ended.value.code()
    return code


_VANISHING = """
import sys, time, grpc
from searchmesh.encoder.v1 import encoder_service_pb2 as pb
request = pb.EncodeRequest(model="tiny", contents=[{"text": "a b"}] * 256)
def requests():
    for number in range(1000):
        yield pb.EncodeStreamRequest(id=str(number), request=request).SerializeToString()
    time.sleep(60)
stream = grpc.insecure_channel(sys.argv[1]).stream_stream(sys.argv[2])(requests())
next(stream)
print("reading", flush=True)
time.sleep(60)
"""


async def test_a_client_that_vanishes_within_a_stream(served: Served) -> None:
    before = open_streams(served)
    async with neighbour(served):
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _VANISHING),
            *(f"127.0.0.1:{served.ports.grpc}", _METHOD + "EncodeStream"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert client.stdout
            await client.stdout.readline()
            assert open_streams(served) - before
        finally:
            client.kill()
            await client.wait()
        await until(lambda: not open_streams(served) - before)
    await until(lambda: work_left(served) == 0)


@pytest.mark.slow
async def test_a_stream_that_never_reads_is_not_worked_for(served: Served) -> None:
    requests = 2000
    resident = psutil.Process().memory_info().rss
    stream = served.encoder.EncodeStream()
    request = texts(*["a b"] * 256, vector_format=vector_pb2.VECTOR_FORMAT_FLOATS)
    async with neighbour(served):
        for number in range(requests):
            await stream.write(pb.EncodeStreamRequest(id=str(number), request=request))
    before = -1.0
    while (done := contents_done(served)) > before:
        before = done
        await asyncio.sleep(0.3)
    # what the connection has room for
    assert 0 < done < 256 * requests / 2
    # all answers would take 39 MB
    assert psutil.Process().memory_info().rss - resident < 24 * 2**20
    stream.cancel()
    await until(lambda: work_left(served) == 0)


async def until(comes_true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if comes_true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it does not come to that")


def work_left(served: Served) -> float:
    """All that the server counts as long as it works for somebody."""
    left = {f"encoder_{name}" for name in ("queue_tokens", "unread_tokens", "pending_bytes")}
    return sum(
        sample.value
        for family in served.server._registry.collect()
        for sample in family.samples
        if sample.name in left | {"encoder_in_flight"}
    )


def contents_done(served: Served) -> float:
    """Contents that the server has answered to the callers of the tests' model."""
    samples = (one for family in served.server._registry.collect() for one in family.samples)
    return sum(
        one.value
        for one in samples
        if one.name == "encoder_contents_total" and one.labels["model"] == "tiny"
    )


def open_streams(served: Served) -> set[Any]:
    """Streams that the server has open."""
    return set(served.server._open_calls._streams)
